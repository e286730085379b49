"""The Python API over real results: the same answers as the command line, frames, and errors that name the fix."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import velodrome
from velodrome import keys
from velodrome.api.results import Results
from velodrome.cli.app import app
from velodrome.errors import LocalError, NotThere, StoreRefused, StoreUnavailable
from velodrome.store import Store

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Run = Callable[..., "Race"]


@pytest.fixture
def raced(run: Run) -> tuple[Race, Race]:
    """Two jobs on the board digits; in the second one, cnn is slower, and gru lost a trial."""
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.002)})
    return run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.002)}), run(
        {"cnn": (0.9, 0.014), "mlp": (0.8, 0.002), "gru": (0.7, 0.05)}, failed="gru"
    )


@pytest.fixture
def results(redis_server: RedisServer) -> Iterator[Results]:
    with velodrome.open_results(redis_server.url) as opened:
        yield opened


def said(redis_server: RedisServer, *arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"], env={"VELODROME_REDIS_URL": redis_server.url})
    found: dict[str, Any] = json.loads(done.output)
    return found


@pytest.mark.usefixtures("raced")
def test_a_ranking_is_what_the_command_line_says(results: Results, redis_server: RedisServer) -> None:
    board = said(redis_server, "results", "digits")
    for told, ranking in zip(board["objectives"], results.rankings("digits"), strict=True):
        assert (told["name"], told["metric"], told["unit"]) == (ranking.objective, ranking.metric, ranking.unit)
        assert (told["summary"], told["cohort"]["id"]) == (ranking.summary, ranking.cohort)
        for row, found in zip(told["ranked"], ranking.ranked, strict=True):
            assert (row["entry"], row["rank"], row["mean"]) == (found.entry, found.rank, found.interval.mean)
        assert [(row["entry"], row["reason"]) for row in told["unranked"]] == [
            (row.entry, row.reason) for row in ranking.unranked
        ]


@pytest.mark.usefixtures("raced")
def test_a_ranking_shows_itself_and_becomes_frames(results: Results) -> None:
    ranking = results.ranking("digits", "speed")
    frame = ranking.to_pandas()
    assert frame["entry"].tolist() == ["mlp", "cnn", "gru"]
    assert frame["rank"].tolist()[:2] == [1, 2]
    assert "LossNotFinite" in frame["unranked"].tolist()[2]
    assert ranking.to_polars().rows() == ranking.rows
    for shown in (str(ranking), ranking._repr_html_()):
        assert ranking.summary in shown
        assert "not ranked: gru" in shown
        assert "ms" in shown


@pytest.mark.usefixtures("raced")
def test_objectives_are_named_as_on_the_command_line(results: Results) -> None:
    name = results.ranking("digits").objective
    assert name == "accuracy"
    for wanted in ("speed", "latency_p50_seconds{batch_size=1}", "latency_p50_seconds"):
        assert results.ranking(objective=wanted).objective == "speed"


@pytest.mark.usefixtures("raced")
def test_values_have_a_row_for_each_seed(results: Results, redis_server: RedisServer) -> None:
    values = results.values("digits", "speed")
    ranking = results.ranking("digits", "speed")
    assert {(row.entry, row.seed): row.value for row in values if row.ranked} == {
        (row.entry, seed): value for row in ranking.ranked for seed, value in row.samples.items()
    }
    assert {row.entry for row in values if not row.ranked} == {"gru"}
    assert list(ranking.values) == list(values)
    written = CliRunner().invoke(
        app,
        ["results", "digits", "--objective", "speed", "--csv", "--per-seed"],
        env={"VELODROME_REDIS_URL": redis_server.url},
    )
    assert written.output.splitlines()[0] == ",".join(values.columns)
    assert len(written.output.splitlines()) == len(values) + 1


def test_jobs_boards_and_entries_are_listed(results: Results, raced: tuple[Race, Race]) -> None:
    assert [(board.name, board.jobs, board.entries) for board in results.boards()] == [("digits", 3, 3)]
    assert [job.uid for job in results.jobs("digits", limit=2)] == [raced[1].uid, raced[0].uid]
    assert results.jobs()[0].failed == 1
    states = {entry.entry: (entry.succeeded, entry.failed, entry.why) for entry in results.entries()}
    assert states["cnn"] == (5, 0, "")
    assert states["gru"] == (4, 1, "1 of 5 trials failed: LossNotFinite")
    assert [one.name for one in results.objectives()] == ["accuracy", "speed"]


def test_a_history_has_the_verdict_of_each_job(results: Results, raced: tuple[Race, Race]) -> None:
    history = results.history("digits", "cnn", "speed")
    assert [row.verdict for row in history] == ["Unknown", "Unchanged", "Regressed"]
    assert history[2].baseline_uid == raced[0].uid
    assert history.to_pandas()["mean"].tolist() == [row.mean for row in history]


@pytest.mark.usefixtures("raced")
def test_regressions_are_what_the_command_line_says(results: Results, redis_server: RedisServer) -> None:
    found = results.regressions()
    told = said(redis_server, "regressions")["comparisons"]
    assert told == [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert [(one.entry, one.objective) for one in found if one.verdict == "Regressed"] == [("cnn", "speed")]


@pytest.mark.usefixtures("raced")
@pytest.mark.parametrize(
    ("ask", "field", "words"),
    [
        (lambda one: one.ranking("digit", "speed"), "board", "did you mean digits"),
        (lambda one: one.ranking("digits", "sped"), "objective", "it has: accuracy, speed"),
        (lambda one: one.ranking("digits", "speed", cohort="nope"), "cohort", "there are: "),
        (lambda one: one.history("digits", "cn", "speed"), "entry", "it has: cnn, gru, mlp"),
        (lambda one: one.regressions("night-9"), "job", "there are: night-3"),
        (lambda one: one.values("nothing-like-it").to_pandas(), "board", "there are: digits"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error_with_those_that_do(
    results: Results, ask: Callable[[Results], object], field: str, words: str
) -> None:
    with pytest.raises(NotThere, match=words) as wrong:
        ask(results)
    assert wrong.value.field == field


def test_a_store_without_results_says_how_to_begin(results: Results) -> None:
    assert list(results.boards()) == []
    with pytest.raises(NotThere, match="velodrome init"):
        results.ranking()


def test_a_bare_metric_of_two_batch_sizes_has_to_be_chosen(
    results: Results, store: Store, make_race: type[Race]
) -> None:
    speeds = [{"name": f"batch-{size}", "metric": "latency_p50_seconds", "batchSize": size} for size in (1, 32)]
    store.register(make_race(spec={"objectives": speeds, "evaluation": {"inference": {"batchSizes": [1, 32]}}}).info)
    with pytest.raises(NotThere, match="names 2 objectives of digits: choose one of batch-1, batch-32"):
        results.ranking("digits", "latency_p50_seconds")


def test_what_a_newer_velodrome_wrote_is_left_out_with_a_warning(
    results: Results, raced: tuple[Race, Race], redis_server: RedisServer
) -> None:
    client = redis_server.client()
    name = keys.job(raced[1].uid, "info")
    document = json.loads(client.get(name))  # type: ignore[arg-type]
    client.set(name, json.dumps({**document, "schema_version": 99}))
    with pytest.warns(UserWarning, match="schema version 99.*update it") as told:
        assert raced[1].uid not in {job.uid for job in results.jobs("digits")}
    assert len(told) == 1
    assert len(results.left_out) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        results.jobs("digits")


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("redis://127.0.0.1:1", StoreUnavailable, "127.0.0.1:1"),
        ("http://results.example", StoreRefused, "redis://"),
    ],
)
def test_an_address_without_a_redis_is_an_error(where: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        velodrome.open_results(where)


def test_closed_results_say_so(redis_server: RedisServer) -> None:
    results = velodrome.open_results(redis_server.url)
    results.close()
    results.close()
    with pytest.raises(LocalError, match="closed"):
        results.boards()


def test_without_a_place_the_environment_names_it(
    redis_server: RedisServer, raced: tuple[Race, Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELODROME_REDIS_URL", redis_server.url)
    with velodrome.open_results() as results:
        assert results.jobs()[0].uid == raced[1].uid
