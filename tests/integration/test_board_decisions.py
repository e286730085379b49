"""What people decide with: trade-offs over several jobs, comparisons, files and reports, on a real Redis."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from tests.integration.conftest import any_redis
from velodrome.board.comparing import difference_words, read_comparison, win_matrix
from velodrome.board.details import band, per_class, read_details, series_of, times
from velodrome.board.exporting import sheet_csv, sheet_json, sheet_markdown
from velodrome.board.naming import told_apart
from velodrome.board.narrowing import column_of, narrow
from velodrome.board.report import read_report, report_html
from velodrome.board.sheet import read_sheet
from velodrome.board.sparks import read_sparks
from velodrome.board.trading import read_trade_off
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.cli.app import app
from velodrome.errors import NotThere
from velodrome.ranking.notes import grouped_notes
from velodrome.ranking.trade_offs import pareto
from velodrome.store import Store, open_store

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

from tools.sample_results import CLEAR, OBJECTIVES, Rider, finish, race  # noqa: E402

if TYPE_CHECKING:
    RedisServer = Any

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="session")
def redis_binary() -> str:
    return any_redis()


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Store]:
    with open_store(redis_server.url) as opened:
        yield opened


def test_a_trade_off_takes_each_entrys_newest_job_that_has_all(store: Store) -> None:
    finish(store, race("both", AT, riders=CLEAR))
    finish(store, race("one", AT + DAY, riders=CLEAR, objectives=OBJECTIVES[:1], machine="New CPU"))
    only = {"quick": Rider("velodrome/mlp", 0.91, 0.0011, 3e8, 0.001)}
    finish(store, race("again", AT + 2 * DAY, name="again", board="digits", riders=only))
    accuracy, speed, _ = objectives_of(store, "digits")
    found = read_trade_off(store, "digits", [accuracy, speed])
    assert {point.entry for point in found.trade_off.points} == set(CLEAR)
    assert found.jobs == {"slow": "digits", "middle": "digits", "quick": "again"}
    assert len(found.conditions) == 2
    other = read_trade_off(store, "digits", [accuracy, speed], found.conditions[1].cohort_id)
    assert other.chosen == found.conditions[1]
    assert other.chosen is not None
    assert "New CPU" in other.chosen.words
    assert set(other.jobs) == set(CLEAR)


def test_a_trade_off_through_older_jobs_is_the_one_of_the_rankings(store: Store) -> None:
    finish(store, race("half", AT - DAY, riders=CLEAR, objectives=OBJECTIVES[:1], machine="Old CPU"))
    finish(store, race("both", AT, riders=CLEAR))
    accuracy, speed, _ = objectives_of(store, "digits")
    found = read_trade_off(store, "digits", [accuracy, speed])
    ranked = pareto([one.ranking for one in read_objectives(store, "digits", [accuracy, speed])])
    assert found.trade_off == ranked
    assert len(found.conditions) == 2


def test_a_comparison_never_contradicts_the_ranks(store: Store) -> None:
    close = {**CLEAR, "twin": Rider("velodrome/cnn", 0.9, 0.0012, 3e8, 0.004)}
    finish(store, race("done", AT, riders=close))
    objectives = objectives_of(store, "digits")
    found = read_comparison(store, "digits", ["twin", "quick", "slow"], objectives)
    for one in found.objectives:
        rows = {row.entry: row for row in one.reading.ranking.ranked}
        assert len(one.pairs) == 3
        for pair in one.pairs:
            tied = pair.b in rows[pair.a].indistinguishable_from
            assert pair.low is not None
            assert pair.high is not None
            assert (pair.better is None) == tied == (pair.low <= 0 <= pair.high)
            assert pair.paired
    assert found.settings == ("model",)
    assert found.environments == ()
    speed = found.objectives[1].pairs[1]
    assert (speed.a, speed.b, speed.better) == ("twin", "slow", "twin")
    assert re.fullmatch(r"−8\d % \(−\d\d % to −\d\d %\)", difference_words(speed, "seconds"))


def test_a_comparison_names_what_it_cannot_find(store: Store) -> None:
    finish(store, race("done", AT, riders=CLEAR))
    with pytest.raises(NotThere, match='did you mean "quick"'):
        read_comparison(store, "digits", ["slow", "quik"], ())
    for names in (["slow"], ["slow", "slow"], [*CLEAR] * 3 + [f"e{number}" for number in range(9)]):
        with pytest.raises(NotThere, match="two to 8"):
            read_comparison(store, "digits", names, ())


def test_environments_that_differ_are_named(store: Store) -> None:
    finish(store, race("old", AT, riders={"a": CLEAR["slow"]}, machine="Old CPU"))
    finish(store, race("new", AT + DAY, riders={"b": CLEAR["quick"]}, machine="New CPU"))
    found = read_comparison(store, "digits", ["a", "b"], objectives_of(store, "digits"))
    assert found.environments == (("CPU", ("Old CPU", "New CPU")),)


def test_who_beats_whom_is_what_the_ranks_say(store: Store) -> None:
    finish(store, race("done", AT, riders={**CLEAR, "twin": CLEAR["slow"]}))
    (reading,) = read_objectives(store, "digits", objectives_of(store, "digits")[:1])
    found = win_matrix(reading.ranking)
    assert found.entries[2:] == ("quick", "middle")
    assert found.signs == (("", "=", "+", "+"), ("=", "", "+", "+"), ("-", "-", "", "+"), ("-", "-", "-", ""))


def test_details_hold_curves_classes_and_times(store: Store) -> None:
    made = race("done", AT, riders=CLEAR)
    finish(store, made)
    details = read_details(store, made.info, "slow")
    assert series_of([details]) == ["training loss", "validation_loss", "accuracy"]
    points = band(details, "training loss", "epoch")
    assert [point.at for point in points] == [float(epoch) for epoch in range(1, 16)]
    assert all(point.low <= point.mean <= point.high and point.seeds == 5 for point in points)
    assert [point.at for point in band(details, "accuracy", "samples")][:2] == [1294.0, 2588.0]
    assert band(details, "accuracy", "seconds")[0].at == pytest.approx(0.19)
    assert details.confusion is not None
    assert set(per_class(details.confusion)) == set("0123456789")


def test_the_parts_of_a_trial_are_all_of_its_time(store: Store) -> None:
    made = race("done", AT, riders=CLEAR)
    finish(store, made)
    records = read_details(store, made.info, "quick", curves=False).records
    parts = {part.what: part.seconds for part in times(records)}
    assert list(parts) == [
        "waiting for its turn",
        "starting and ending",
        "loading data",
        "training and validating",
        "evaluating",
        "timing inference",
    ]
    phases = [sum((record.result.phases or {}).values()) for record in records]
    ran = [max(known, record.observed.run_seconds or 0) for known, record in zip(phases, records, strict=True)]
    assert sum(parts.values()) - parts["waiting for its turn"] == pytest.approx(sum(ran) / len(ran))


def test_the_image_of_a_pod_and_trials_without_phases_have_parts_too(store: Store) -> None:
    made = race("done", AT, riders=CLEAR)
    finish(store, made)
    (record, *_) = read_details(store, made.info, "quick", curves=False).records
    observed = record.observed.model_copy(update={"queued_seconds": 9.0, "pull_seconds": 7.0, "run_seconds": 60.0})
    older = record.model_copy(
        update={"observed": observed, "result": record.result.model_copy(update={"phases": None})}
    )
    trained = record.result.metrics["train_seconds"]
    assert [(part.what, part.seconds) for part in times([older])] == [
        ("waiting for its turn", 2.0),
        ("getting its image", 7.0),
        ("training", trained),
        ("starting, loading, evaluating and timing", 60.0 - trained),
    ]


def test_files_hold_what_is_shown(store: Store) -> None:
    finish(store, race("done", AT, riders={**CLEAR, "a_b": CLEAR["slow"]}), {"middle": ("OutOfMemory", "it was full")})
    sheet = read_sheet(store, "digits", objectives_of(store, "digits")[0])
    rows, columns = narrow(sheet, "params > 0", "-mean"), [column_of(sheet, "params"), column_of(sheet, "optimizer")]
    table = list(csv.DictReader(io.StringIO(sheet_csv("digits", sheet, rows, columns))))
    assert [row["entry"] for row in table] == [row.entry for row in rows]
    assert {row["optimizer"] for row in table} == {"AdamW"}
    assert [float(row["mean"]) for row in table if row["mean"]] == sorted(
        (float(row["mean"]) for row in table if row["mean"]), reverse=True
    )
    document = json.loads(sheet_json("digits", sheet, rows, columns))
    assert [row["entry"] for row in document["objective"]["ranked"]] == [row.entry for row in rows if row.ranked]
    assert set(document["columns"]) == {"parameters", "optimizer"}
    lines = sheet_markdown("digits", sheet, narrow(sheet, "a_b"), columns, "https://example.org/board").splitlines()
    (row,) = [one for one in lines if one.startswith("|") and "a\\_b" in one]
    assert row.count("|") == len(columns) + 5
    assert "1 of 4 entries are shown." in lines[-1]
    assert lines[-1].endswith("[The board](https://example.org/board)")


def test_a_note_stands_once_with_its_entries(store: Store) -> None:
    finish(store, race("first", AT, name="weekly-8", board="weekly", riders=CLEAR))
    store.register(race("second", AT + DAY, name="weekly-9", board="weekly", riders=CLEAR).info)
    (reading,) = read_objectives(store, "weekly", objectives_of(store, "weekly")[:1])
    ((note, entries),) = grouped_notes(reading.ranking.ranked).items()
    assert note == "from weekly-8; the newer job weekly-9 has no value here yet"
    assert entries == ("slow", "quick", "middle")


def test_jobs_of_one_name_are_told_apart() -> None:
    jobs = [race(uid, at).info for uid, at in (("a", AT), ("b", AT + DAY), ("c", AT + DAY))]
    other = race("d", AT, name="other").info
    found = told_apart([*jobs, other], UTC)
    assert found == {
        "a": "2026-11-01 12:00 UTC",
        "b": "2026-11-02 12:00 UTC, b",
        "c": "2026-11-02 12:00 UTC, c",
        "d": "",
    }


def test_sparks_are_the_means_of_the_newest_jobs(store: Store) -> None:
    for day in range(3):
        finish(store, race(f"day-{day}", AT + day * DAY, riders=CLEAR))
    cohort = store.cohorts("digits", "accuracy")[0].cohort_id
    found = read_sparks(store, "digits", "accuracy", cohort, ["slow", "gone"])
    (row,) = [row for row in store.ranking_rows("digits", "accuracy", cohort) if row.entry == "slow"]
    assert list(found) == ["slow"]
    assert len(found["slow"]) == 3
    assert found["slow"][-1] == pytest.approx(sum(row.samples.values()) / 5)


def test_a_report_stands_alone_and_runs_nothing(store: Store) -> None:
    attack = '<script>alert("x")</script>'
    made = race("done", AT, riders={**CLEAR, "poor": CLEAR["slow"]})
    finish(store, made, {"poor": ("OutOfMemory", attack)})
    text = report_html(read_report(store, "digits", objectives_of(store, "digits")), AT)
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|src=|onerror", text)
    assert set(re.findall(r"https?://[^\s\"<]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text
    assert text.count("<svg") == 4
    assert "2 of 4 trials failed: OutOfMemory" in text or "of 5 trials failed: OutOfMemory" in text
    assert "Shaffer&#x27;s procedure corrects for all pairs" in text
    for fact in ("sha256:5a5a", "seeds", "0-4", "kind: BenchmarkJob", "velodrome run race.yaml", "Sample CPU"):
        assert fact in text
    again = report_html(read_report(store, "digits", objectives_of(store, "digits")), AT)
    assert again == text


def test_the_command_line_filters_compares_and_reports(store: Store, redis_server: RedisServer, tmp_path: Path) -> None:
    finish(store, race("done", AT, riders=CLEAR))

    def run(*arguments: str, code: int = 0) -> str:
        found = CliRunner().invoke(app, [*arguments, "--redis", redis_server.url])
        assert found.exit_code == code, found.output
        return found.output

    shown = json.loads(run("results", "digits", "--json", "--filter", "params < 5e4, speed < 5 ms", "--sort", "speed"))
    assert {one["name"]: [row["entry"] for row in one["ranked"]] for one in shown["objectives"]} == {
        "accuracy": ["quick", "middle"],
        "speed": ["quick", "middle"],
        "efficiency": ["quick", "middle"],
    }
    assert all("slow" in one["summary"] for one in shown["objectives"][:1])
    assert "2 of 3 entries shown" in run("results", "digits", "--objective", "accuracy", "--filter", "params < 5e4")
    assert "did you mean optimizer?" in " ".join(run("results", "--filter", "optimiser = SGD", code=2).split())
    compared = json.loads(run("compare", "digits", "slow", "quick", "--json"))
    assert compared["differing_parameters"] == ["model"]
    assert [one["pairs"][0]["better"] for one in compared["objectives"]] == ["slow", "quick", "quick"]
    assert "slow is better" in run("compare", "digits", "slow", "quick")
    run("compare", "digits", "slow", code=2)
    run("report", "digits", "-o", str(tmp_path / "report.html"))
    assert "slow is best" in (tmp_path / "report.html").read_text()
