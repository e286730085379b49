"""From what the operator remembers to what Prometheus gets."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from velodrome.board.latest import Latest
from velodrome.monitoring import telemetry
from velodrome.stats import Interval
from velodrome.trends.regressions import Comparison
from velodrome_operator.families import exposed
from velodrome_operator.histograms import TRIAL_BOUNDS, Durations, histogram, series_of
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.race_facts import RaceFacts, race_facts
from velodrome_operator.races import Race

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def race(*held: str, **spec: Any) -> Race:
    since = {"message": "", "lastTransitionTime": "2026-03-01T11:00:00Z"}
    conditions = [{"type": kind, "status": "True", "reason": "R", **since} for kind in held]
    trials = {"total": 9, "succeeded": 3, "failed": 1}
    metadata = {"uid": "u", "name": "night", "namespace": "team", "creationTimestamp": "2026-03-01T11:00:00Z"}
    document = {"metadata": metadata, "spec": {"dataset": {"name": "MNIST"}, **spec}}
    return Race.of({**document, "status": {"conditions": conditions, "trials": trials}})


def job(name: str = "j", *, suspended: bool = False, finished: bool = False) -> JobFacts:
    return JobFacts(name, NOW, 0, suspended, 1, frozenset(), frozenset(), finished, deleting=False)


@pytest.mark.parametrize(
    ("seen", "jobs", "state"),
    [
        (race("Reconciling"), [], "Running"),
        (race("Reconciling"), [job()], "Running"),
        (race("Complete"), [job(finished=True)], "Complete"),
        (race("Failed", "Stalled"), [job()], "Failed"),
        (race(suspend=True), [], "Suspended"),
        (race("Complete", suspend=True), [], "Complete"),
        (race("Reconciling"), [job(suspended=True)], "Suspended"),  # Kueue has no room for it
        (race("Reconciling"), [job("a", finished=True), job("b", suspended=True)], "Suspended"),
        (race("Reconciling"), [job("a"), job("b", suspended=True)], "Running"),
    ],
)
def test_a_races_state(seen: Race, jobs: list[JobFacts], state: str) -> None:
    seen.workload.jobs = {one.name: one for one in jobs}
    facts = race_facts(seen)
    assert facts.state == state
    assert (facts.progress_at is None) == (state != "Running")
    assert (facts.board, facts.namespace, facts.name) == ("mnist", "team", "night")


def test_trials_by_state() -> None:
    seen = race("Reconciling")
    seen.workload.pods = {
        str(n): PodFacts(f"p{n}", str(n), "j", n, NOW, "Running" if n else "Pending") for n in range(3)
    }
    assert race_facts(seen).trials == {"Pending": 3, "Running": 2, "Succeeded": 3, "Failed": 1}
    ended = race("Failed")
    ended.workload.pods = seen.workload.pods
    assert race_facts(ended).trials == {"Pending": 0, "Running": 0, "Succeeded": 3, "Failed": 1}, "none is to come"


def test_progress_is_what_came_last_of_starts_ends_and_reports() -> None:
    seen = race("Reconciling")
    assert race_facts(seen).progress_at == seen.parent.created_at
    pod = PodFacts("p", "p", "j", 0, NOW, "Running", started_at=NOW)
    seen.workload.pods = {"p": pod}
    assert race_facts(seen).progress_at == NOW
    seen.workload.gone = {"q": replace(pod, finished_at=NOW + timedelta(minutes=1))}
    assert race_facts(seen).progress_at == NOW + timedelta(minutes=1)
    seen.logbook.reported_at = NOW + timedelta(minutes=2)
    assert race_facts(seen).progress_at == NOW + timedelta(minutes=2)


def test_results_wait_only_where_a_race_goes_on() -> None:
    for seen, since in ((race("Reconciling"), NOW), (race("Complete"), None)):
        seen.logbook.troubled_at = NOW
        assert race_facts(seen).waiting_since == since


def test_buckets_count_what_is_at_most_their_bound() -> None:
    found = histogram(telemetry.PASS_SECONDS, (1.0, 5.0))
    for seconds in (0.0, 1.0, 1.1, 5.0, 99.0):
        found.observe(seconds)
    rows = series_of(telemetry.PASS_SECONDS, found)
    assert [(row.labels["le"], row.value) for row in rows if row.suffix == "_bucket"] == [
        ("1.0", 2), ("5.0", 4), ("+Inf", 5),
    ]  # fmt: skip
    assert {row.suffix: row.value for row in rows[-2:]} == {"_sum": pytest.approx(106.1), "_count": 5}


def test_a_time_that_two_clocks_make_negative_counts_as_none() -> None:
    found = Durations()
    found.observe("a", -0.5, 2.0)
    found.observe("b", None, -1.0)
    values = {board: {one.family.name + one.suffix: one.value for one in rows if one.suffix in ("_sum", "_count")}
              for board, rows in found.series().items()}  # fmt: skip
    queued, ran = telemetry.QUEUE_SECONDS.name, telemetry.RUN_SECONDS.name
    assert values == {
        "a": {f"{queued}_count": 1, f"{queued}_sum": 0, f"{ran}_count": 1, f"{ran}_sum": 2},
        "b": {f"{queued}_count": 0, f"{queued}_sum": 0, f"{ran}_count": 1, f"{ran}_sum": 0},
    }


def latest(entry: str, verdict: str = "Unchanged", days: float = 1) -> Latest:
    found = Comparison(
        board="b", entry=entry, objective="speed", metric_key="accuracy", cohort_id="c", verdict=verdict,  # type: ignore[arg-type]
        reason="R", relative_change=0.1, low=0.0, high=0.2, p_value=0.5, samples=5, baseline_samples=5, mean=1.0,
        baseline_mean=0.9, baseline_uid="u", job_uid="j", sentence="s", acknowledged=False,
    )  # fmt: skip
    return Latest("speed", found, Interval(1.0, 0.9, 1.1, 5, 0.1), NOW - timedelta(days=days), NOW)


def ended_or_not(name: str, state: str) -> RaceFacts:
    return RaceFacts("ns", name, "b", state, NOW, dict.fromkeys(telemetry.TRIAL_STATES, 0))


@pytest.mark.parametrize(
    ("limit", "entries", "races"),
    [
        (1000, {"worse", "new", "old"}, {"going", "done"}),
        (17 + 4 + 28 + 4 + 17 + 17, {"worse", "new", "old"}, {"going"}),
        (17 + 4 + 28 + 4 + 17, {"worse", "new"}, {"going"}),
        (17 + 4 + 28 + 4, {"worse"}, {"going"}),
        (17 + 4, {"worse"}, set()),
        (16, set(), set()),
        (0, set(), set()),
    ],
)
def test_what_matters_least_is_left_out_first_whatever_the_order(
    limit: int, entries: set[str], races: set[str]
) -> None:
    results = [
        latest("new", days=1),
        latest("old", days=2),
        latest("worse", "Regressed", days=3),
        latest("gone", days=31),
    ]
    reported = [ended_or_not("done", "Complete"), ended_or_not("going", "Suspended")]
    durations = Durations()
    durations.observe("b", 1.0, 2.0)
    dice = random.Random(limit)  # noqa: S311 - it opens nothing
    answers = []
    for _ in range(5):
        dice.shuffle(results)
        dice.shuffle(reported)
        found = exposed(results, reported, durations.series(), NOW, limit)
        samples = [sample for family in found.families for sample in family.samples]
        assert found.series == len(samples) <= limit
        assert found.series + found.dropped == 3 * 17 + 2 * 4 + 4 + 2 * (len(TRIAL_BOUNDS) + 3)
        assert {sample.labels["entry"] for sample in samples if "entry" in sample.labels} == entries
        shown = {sample.labels["benchmarkjob"] for sample in samples if "benchmarkjob" in sample.labels}
        assert shown == races
        answers.append(sorted((sample.name, sorted(sample.labels.items())) for sample in samples))
    assert all(answer == answers[0] for answer in answers)


def test_entries_that_moved_together_have_one_series_for_their_board_and_no_regression_of_their_own() -> None:
    words = "speed: all 3 entries became worse together."

    def moved(entry: str, *, acknowledged: bool = False) -> Latest:
        one = latest(entry, "Regressed")
        found = replace(one.comparison, common=0.2, together=words, visible=0.03, acknowledged=acknowledged)
        return replace(one, comparison=found)

    results = [moved("a"), moved("b"), moved("c"), latest("d", "Regressed"), moved("e", acknowledged=True)]
    found = exposed(results, [], {}, NOW, 1000)
    samples = [sample for family in found.families for sample in family.samples]
    (board,) = [one for one in samples if one.name == telemetry.MOVED.name]
    assert (board.value, board.labels["entries"], board.labels["why"]) == (0.2, "3", words)
    verdicts = {
        one.labels["entry"]: one.labels["verdict"]
        for one in samples
        if one.name == telemetry.VERDICT.name and one.value
    }
    assert verdicts == {**dict.fromkeys("abc", "MovedTogether"), "d": "Regressed", "e": "Accepted"}
    assert {one.value for one in samples if one.name == telemetry.VISIBLE.name} == {0.03}
    accepted = exposed([moved(entry, acknowledged=True) for entry in "abc"], [], {}, NOW, 1000)
    assert not [one for family in accepted.families for one in family.samples if one.name == telemetry.MOVED.name]
