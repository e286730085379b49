"""What Prometheus gets at /metrics, with a real Redis, over HTTP, and held to promtool."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import prometheus_client.exposition
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from velodrome import keys
from velodrome.monitoring import telemetry
from velodrome.results.marks import Acknowledgement
from velodrome.store import Store
from velodrome.trends.regressions import judge
from velodrome_operator.endpoint import endpoint
from velodrome_operator.exporter import Exporter
from velodrome_operator.histograms import Durations, histogram
from velodrome_operator.operator_facts import OperatorFacts
from velodrome_operator.page import RaceReport
from velodrome_operator.race_facts import RaceFacts
from velodrome_operator.ranker import Question, Ranker, answer

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

START = datetime(2026, 1, 1, tzinfo=UTC)  # when the first job is created
LATENCY = "latency_p50_seconds{batch_size=1}"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Run = Callable[..., "Race"]


class Here(Ranker):
    """It answers in this process. `each` gets each question, and the board that it is about, before that."""

    def __init__(self, store: Store) -> None:
        super().__init__("unix:///nowhere")
        self.store = store
        self.each: Callable[[str, str], None] = lambda question, board: None

    async def ask(self, question: Question, name: str = "", keys_of: Sequence[str] = ()) -> Any:
        self.each(question, name)
        return answer(self.store, question, name, keys_of)


@dataclass
class Exposition:
    """An exporter with what it gets."""

    store: Store
    races: tuple[RaceFacts, ...] = ()
    limit: int = 20_000
    seconds: float = 0.0
    now: datetime = START + timedelta(days=1)
    durations: Durations = field(default_factory=Durations)
    marked: list[tuple[str, int]] = field(default_factory=list)
    ranker: Ranker | None = None
    exporter: Exporter = field(init=False)

    def __post_init__(self) -> None:
        self.exporter = Exporter(
            self.store,
            lambda: RaceReport(self.races, self.durations.series(), START),
            lambda shown: OperatorFacts(
                "0.1.0", "https://board", True, shown.series, self.limit, shown.dropped, {"Succeeded": 3},
                histogram(telemetry.PASS_SECONDS, (1,)), {"create": 2}, {"accepted": 7}, {"TooLarge": 1},
                collected_at=START, swept_at=self.exporter.swept_at, judged_at=self.exporter.judged_at,
                task_failures={"sweep": 1}, unreadable={"Pod": 1},
            ),
            lambda board, times: self.marked.append((board, times)),
            self.limit,
            lambda: self.now,
            lambda: self.seconds,
            self.ranker,
        )  # fmt: skip

    def round(self) -> None:
        """A round, with nothing resting."""
        self.seconds += 1_000.0
        in_a_loop(self.exporter.round())

    def answer(self, accept: str = "") -> tuple[str, str]:
        """What is served over HTTP, and its content type."""
        text, content_type = in_a_loop(fetched(self.exporter, accept))
        return str(text), str(content_type)

    def series(self) -> dict[str, dict[tuple[str, ...], float]]:
        """By name, the value of each label set; label values are in the order of the labels' names."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in parse_text(self.answer()[0]):
            for sample in family.samples:
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                assert labels not in found.setdefault(sample.name, {})
                found[sample.name][labels] = sample.value
        return found

    def verdicts(self) -> dict[tuple[str, str], str]:
        """The verdict of each entry and objective."""
        values = self.series().get("velodrome_result_verdict", {})
        return {(entry, objective): name for (_, _, entry, objective, name), value in values.items() if value == 1}


def in_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        return thread.submit(asyncio.run, work).result()


async def fetched(exporter: Exporter, accept: str) -> tuple[str, str]:
    async with (
        endpoint("127.0.0.1", 0, healthz=dict, readyz=dict, scrape=exporter.scrape) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept}) as response,
    ):
        assert response.status == 200
        return await response.text(), response.headers["Content-Type"]


@pytest.fixture
def page(store: Store) -> Exposition:
    return Exposition(store)


def race_of(name: str, state: str = "Running", **facts: Any) -> RaceFacts:
    trials = dict(zip(telemetry.TRIAL_STATES, (1, 2, 3, 4), strict=True))
    return RaceFacts("team", name, "digits", state, START, trials, **facts)


def test_every_family_is_exposed_and_promtool_finds_nothing_to_say(page: Exposition, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    run({"cnn": (0.9, 0.012)})
    page.races = (race_of("going", progress_at=START, waiting_since=START),)
    page.durations.observe("digits", 3.0, 70.0)
    page.round()

    text, content_type = page.answer()

    assert content_type.startswith("text/plain")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    families = {family.name: family for family in parse_text(text)}
    for wanted in (*telemetry.RESULTS, *telemetry.RACES, *telemetry.OPERATOR):
        found = families[wanted.exposed if wanted.type == "info" else wanted.name]
        assert found.documentation == wanted.help
        assert found.samples, wanted.name
        for sample in found.samples:
            assert sample.labels.keys() - {"le"} == set(wanted.labels), sample.name


def test_the_same_is_exposed_in_openmetrics(page: Exposition, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    page.durations.observe("digits", 3.0, 70.0)
    page.round()
    text, content_type = page.answer(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in parse_openmetrics(text)}
    assert {wanted.name for wanted in (*telemetry.RESULTS, *telemetry.RACES, *telemetry.OPERATOR)} <= names
    page.round()
    assert {family.name for family in parse_openmetrics(page.answer(OPENMETRICS)[0])} == names


def test_a_regression_shows_with_its_values_and_an_improvement_is_none(page: Exposition, run: Run) -> None:
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.010)})
    run({"cnn": (0.9, 0.012), "mlp": (0.8, 0.008)})
    page.round()
    assert page.verdicts() == {
        ("cnn", "accuracy"): "Unchanged", ("cnn", "speed"): "Regressed",
        ("mlp", "accuracy"): "Unchanged", ("mlp", "speed"): "Improved",
    }  # fmt: skip
    found = page.series()
    [(labels, mean)] = [(labels, value) for labels, value in found["velodrome_result_mean"].items()
                        if labels[2] == "cnn" and LATENCY in labels]  # fmt: skip
    assert labels[0] == "digits"
    assert labels[-2:] == ("speed", "seconds")
    assert found["velodrome_result_low"][labels] < mean < found["velodrome_result_high"][labels]
    assert mean == pytest.approx(0.012, rel=0.02)
    [change] = [
        value for labels, value in found["velodrome_result_change_ratio"].items() if labels[2:] == ("cnn", "speed")
    ]
    assert change == pytest.approx(0.2, abs=0.03)
    assert set(found["velodrome_result_samples"].values()) == {5}
    assert set(found["velodrome_result_timestamp_seconds"].values()) == {START.timestamp() + 2}
    assert set(found["velodrome_result_last_success_timestamp_seconds"].values()) == {START.timestamp() + 100}
    assert page.exporter.judged_at == page.now


def test_a_race_in_progress_changes_nothing_until_an_entry_is_through_with_it(page: Exposition, run: Run) -> None:
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.010)})
    run({"cnn": (0.9, 0.012), "mlp": (0.8, 0.010)})
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.010)}, done=8)
    page.round()
    assert page.verdicts()["cnn", "speed"] == "Regressed"
    times = page.series()["velodrome_result_timestamp_seconds"]
    assert set(times.values()) == {START.timestamp() + 2}

    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.010)}, done=9)  # the last trial of mlp is still to come
    page.round()
    assert page.verdicts()["cnn", "speed"] == "Unchanged"
    times = page.series()["velodrome_result_timestamp_seconds"]
    assert times[told_of(times, "cnn")] == START.timestamp() + 4
    assert times[told_of(times, "mlp")] == START.timestamp() + 2


def told_of(found: dict[tuple[str, ...], float], entry: str) -> tuple[str, ...]:
    """The labels of an entry's speed, in the order of their names: board, cohort, entry, objective."""
    return next(labels for labels in found if labels[2:] == (entry, "speed"))


def test_what_is_to_come_in_a_race_takes_no_verdict_back(store: Store, run: Run) -> None:
    """The first entry that is through is held to all comparisons of its race, those to come too."""
    entries = {f"e{number}": (0.9, 0.010) for number in range(8)}
    run(entries)
    part = run(dict(entries, e0=(0.9, 0.020)), done=33)

    def p_value() -> float:
        (found,) = (one for one in judge(store, part.uid) if (one.entry, one.objective) == ("e0", "speed"))
        assert found.p_value is not None
        return found.p_value

    early = p_value()
    rest = [part.record(index, values={"accuracy": 0.9, LATENCY: 0.01}) for index in range(33, 40)]
    store.accept(part.uid, 2, rest)
    assert 0 < p_value() <= early < 1


def test_jobs_that_failed_or_only_tried_something_clear_nothing(page: Exposition, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    run({"cnn": (0.9, 0.012)})
    run({"cnn": (0.9, 0.010)}, failed="cnn")
    run({"cnn": (0.9, 0.010)}, repeats=1)
    page.round()
    assert page.verdicts()["cnn", "speed"] == "Regressed"
    run({"mlp": (0.9, 0.010)}, repeats=1)
    page.round()
    assert page.verdicts()["mlp", "speed"] == "Unknown", "an entry that has nothing better is shown so"


def test_a_new_cohort_is_no_alarm_and_the_only_one_that_is_exposed(page: Exposition, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    run({"cnn": (0.9, 0.012)})
    run({"cnn": (0.9, 0.020)}, cpu="Xeon")
    page.round()
    assert page.verdicts() == {("cnn", "accuracy"): "Unchanged", ("cnn", "speed"): "Unknown"}
    assert len(page.series()["velodrome_result_mean"]) == 2


def test_a_regression_that_was_accepted_is_reported_as_such(page: Exposition, store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    second = run({"cnn": (0.9, 0.012)})
    page.round()
    assert page.marked == []
    mark = Acknowledgement(board="digits", entry="cnn", metric_key=LATENCY, job_uid=second.uid, at=START)
    store.mark(mark)
    page.round()
    assert page.verdicts()["cnn", "speed"] == "Accepted"
    assert page.marked == [("digits", 1)]
    assert store.unmark(mark)
    page.round()
    assert page.verdicts()["cnn", "speed"] == "Regressed"
    assert page.marked == [("digits", 1), ("digits", 2)]


def test_an_entry_that_was_renamed_is_shown_under_its_new_name_alone(page: Exposition, run: Run) -> None:
    run({"cnn": (0.9, 0.010)})
    run({"cnn": (0.9, 0.012)})
    run({"convnet": (0.9, 0.010)})
    page.round()
    assert page.verdicts() == {("convnet", "accuracy"): "Unchanged", ("convnet", "speed"): "Unchanged"}


def test_entries_of_older_jobs_stay_until_they_are_too_old(page: Exposition, run: Run) -> None:
    run({"mlp": (0.8, 0.010), "cnn": (0.9, 0.010)})
    run({"mlp": (0.8, 0.010), "cnn": (0.9, 0.012)})
    for _ in range(3):
        run({"mlp": (0.8, 0.010)})
    page.round()
    assert page.verdicts()["cnn", "speed"] == "Regressed"
    page.now = START + timedelta(days=29)
    page.round()
    assert len(page.verdicts()) == 4
    page.now = START + timedelta(days=31)
    page.round()
    assert page.verdicts() == {}


def test_a_restarted_operator_shows_the_same(page: Exposition, store: Store, run: Run) -> None:
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.010)})
    run({"cnn": (0.9, 0.012), "mlp": (0.8, 0.008)})
    page.round()
    run({"cnn": (0.9, 0.010), "mlp": (0.8, 0.010)}, done=4)
    page.round()
    again = Exposition(store)
    again.round()
    results = {family.name for family in telemetry.RESULTS}
    of_results = [{name: values for name, values in one.series().items() if name in results} for one in (page, again)]
    assert of_results[0] == of_results[1]


def test_only_boards_that_changed_are_judged_again(store: Store, run: Run) -> None:
    here, judged = Here(store), list[str]()
    page = Exposition(store, ranker=here)

    def note(question: str, board: str) -> None:
        if question == "board":
            judged.append(board)

    here.each = note
    run({"cnn": (0.9, 0.010)}, board="one")
    run({"cnn": (0.9, 0.010)}, board="two")
    page.round()
    page.round()
    assert judged == ["one", "two"]
    run({"cnn": (0.9, 0.010)}, board="two")
    page.round()
    assert judged == ["one", "two", "two"]


def test_without_redis_results_stay_and_show_their_age(start_redis: Any, make_race: type[Race]) -> None:
    server, race = start_redis("--appendonly", "yes", "--appendfsync", "always"), make_race()
    with Store(server.client()) as store:
        store.register(race.info)
        store.accept(race.uid, 1, [race.record(index) for index in range(race.info.trials)])
        page = Exposition(store)
        page.round()
        before = page.series()
        server.kill()
        page.now += timedelta(hours=1)
        page.round()
        assert page.series()["velodrome_result_mean"] == before["velodrome_result_mean"]
        age = "velodrome_exporter_judged_timestamp_seconds"
        assert page.series()[age] == before[age]
        server.start()
        page.round()
        assert page.series()[age][()] == page.now.timestamp()


def test_what_can_not_be_read_is_logged_once_with_the_reason(
    page: Exposition, store: Store, run: Run, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        run({"cnn": (0.9, 0.010)})
    infos = [keys.job(job.uid, "info") for job in store.jobs()]
    client = redis_server.client()

    def logged() -> list[str]:
        page.round()
        page.round()  # what one round reads, the next one logs
        page.round()
        found = [record.getMessage() for record in caplog.records if "can't be read in Redis" in record.getMessage()]
        caplog.clear()
        return found

    assert logged() == []
    client.set(infos[0], "{")
    run({"cnn": (0.9, 0.010)})
    (first,) = logged()
    assert "left out: 1 new item, 1 so far: " in first
    assert infos[0] in first
    assert logged() == []
    for info in infos[1:]:
        client.set(info, "{")
    run({"cnn": (0.9, 0.010)})
    (second,) = logged()
    assert "left out: 4 new items, 5 so far: " in second
    assert second.endswith("; and 1 more")
    assert infos[0] not in second


def test_beyond_the_limit_what_matters_least_is_left_out(page: Exposition, store: Store, run: Run) -> None:
    run({f"e{number}": (0.9, 0.010) for number in range(4)})
    run({"e2": (0.9, 0.012)})
    page.round()
    everything = page.series()
    results = sum(len(values) for name, values in everything.items() if name.startswith("velodrome_result_"))
    assert everything["velodrome_exporter_series"][()] == results
    assert everything["velodrome_exporter_series_dropped"][()] == 0

    small = Exposition(store, limit=results - 1)
    small.round()
    told_now = small.series()
    assert small.verdicts()["e2", "speed"] == "Regressed"
    kept = sum(len(values) for name, values in told_now.items() if name.startswith("velodrome_result_"))
    assert told_now["velodrome_exporter_series"][()] == kept <= results - 1
    assert told_now["velodrome_exporter_series_dropped"][()] == results - kept
    assert told_now["velodrome_exporter_series_limit"][()] == results - 1
    again = Exposition(store, limit=results - 1)
    again.round()
    assert again.verdicts() == small.verdicts()

    one = Exposition(store, limit=18)
    one.round()
    assert one.verdicts() == {("e2", "speed"): "Regressed"}


def test_the_times_that_alerts_wait_for_come_no_sooner_than_what_they_are_of(store: Store, run: Run) -> None:
    here = Here(store)
    page = Exposition(store, (race_of("going"),), ranker=here)

    def slowly(question: str, _: str) -> None:
        if question == "board":
            page.seconds += 5.0

    here.each = slowly
    run({"cnn": (0.9, 0.010)})
    times = ("velodrome_exporter_judged_timestamp_seconds", "velodrome_operator_swept_timestamp_seconds")
    assert not page.series().keys() & {"velodrome_result_mean", "velodrome_benchmarkjob_state", *times}
    in_a_loop(page.exporter.results.judge_changed())
    assert not page.series().keys() & {"velodrome_result_mean", "velodrome_benchmarkjob_state", *times}
    in_a_loop(page.exporter.round())
    assert page.series().keys() >= {"velodrome_result_mean", "velodrome_benchmarkjob_state", *times}

    run({"cnn": (0.9, 0.012)})
    page.now += timedelta(minutes=1)
    page.seconds += 30.0  # too soon to judge it again
    in_a_loop(page.exporter.round())
    assert page.verdicts()["cnn", "speed"] == "Unknown"
    assert page.series()[times[0]][()] == page.now.timestamp() - 60


def test_a_time_is_not_later_than_the_results_of_the_first_scrape(
    page: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = prometheus_client.exposition.choose_encoder

    def choose_slowly(accept: str) -> Any:
        encode, content_type = choose(accept)

        def encode_slowly(registry: Any) -> bytes:
            text = encode(registry)
            if b"process_" not in text:  # that of results: meanwhile a round comes to its end
                page.exporter.judged_at = START
            return text

        return encode_slowly, content_type

    monkeypatch.setattr("velodrome_operator.page.choose_encoder", choose_slowly)
    assert "velodrome_exporter_judged_timestamp_seconds" not in page.series()
    assert "velodrome_exporter_judged_timestamp_seconds" in page.series()


def test_a_board_does_not_rest_for_what_was_imported(store: Store, run: Run) -> None:
    here = Here(store)
    page = Exposition(store, ranker=here)

    def slowly(question: str, _: str) -> None:
        if question == "load":
            page.seconds += 5.0

    here.each = slowly
    for seconds in (0.010, 0.012):
        run({"cnn": (0.9, seconds)})
        in_a_loop(page.exporter.round())
    assert page.verdicts()["cnn", "speed"] == "Regressed"
    assert page.exporter.judged_at == page.now


def test_a_board_that_cannot_be_judged_holds_up_no_other_and_shows_no_time(
    page: Exposition, redis_server: RedisServer, run: Run
) -> None:
    client = redis_server.client()
    broken, _ = run({"cnn": (0.9, 0.010)}, board="broken"), run({"cnn": (0.9, 0.010)}, board="whole")
    samples, elsewhere = keys.job(broken.uid, "samples"), "elsewhere"
    client.rename(samples, elsewhere)
    client.set(samples, "no hash")
    page.round()
    assert {labels[0] for labels in page.series()["velodrome_result_verdict"]} == {"whole"}
    assert page.exporter.judged_at is None
    client.rename(elsewhere, samples)
    page.round()
    assert {labels[0] for labels in page.series()["velodrome_result_verdict"]} == {"broken", "whole"}
    assert page.exporter.judged_at == page.now
