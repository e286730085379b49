"""The status of a race in each of its states, and the queue of passes that write it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import plan
from velodrome.ranking.places import ObjectiveRanking, RankedRow
from velodrome.spec import BenchmarkJob, read_jobs
from velodrome.stats import Interval
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.outcome import Ending
from velodrome_operator.pass_input import Observation
from velodrome_operator.regressed import Regressed
from velodrome_operator.status import ObjectiveStanding, judged, news, refused, status
from velodrome_operator.wakeups import Wakeups

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
(JOB,) = read_jobs(Path(__file__).parents[2] / "deploy/examples/digits.yaml")
COMPLETE = Ending("Complete", "AllTrialsFinished", "25 of 25 trials succeeded")
FAILED = Ending("Failed", "TooManyFailedTrials", "1 of 25 trials failed; maxFailed is 0")


def observation(**changes: Any) -> Observation:
    facts = JobFacts("digits-0", NOW, 1, suspended=False, parallelism=1, completed=frozenset(), failed=frozenset(),
                     finished=False, deleting=False)  # fmt: skip
    pods = (PodFacts("p", "u", "digits-0", 0, NOW, "Running"),)
    seen = Observation(plan(JOB), "uid", 3, suspended=False, jobs={"digits-0": facts}, pods=pods, finished={},
                       status={}, now=NOW)  # fmt: skip
    return replace(seen, **changes)


def made(verdict: Ending | None = None, **changes: Any) -> dict[str, Any]:
    return status(observation(**changes), verdict, [], "runner@sha256:0")


def true(found: dict[str, Any]) -> list[str]:
    return [condition["type"] for condition in found["conditions"] if condition["status"] == "True"]


@pytest.mark.parametrize(
    ("verdict", "changes", "conditions"),
    [
        (None, {}, ["Reconciling"]),
        (None, {"suspended": True}, ["Suspended"]),
        (COMPLETE, {}, ["Complete"]),
        (FAILED, {}, ["Failed", "Stalled"]),
    ],
)
def test_which_conditions_hold(verdict: Ending | None, changes: dict[str, Any], conditions: list[str]) -> None:
    assert true(made(verdict, **changes)) == conditions


def test_a_pass_that_finds_nothing_new_makes_the_same_status() -> None:
    first = made()
    assert made(status=first, now=NOW + timedelta(hours=1)) == first


def test_a_condition_keeps_its_time_until_it_turns() -> None:
    first = made()
    later = made(COMPLETE, status=first, now=NOW + timedelta(minutes=5))
    times = {condition["type"]: condition["lastTransitionTime"] for condition in later["conditions"]}
    assert times["Complete"] == times["Reconciling"] == "2026-03-01T12:05:00Z"
    assert times["Failed"] == "2026-03-01T12:00:00Z"


def test_what_is_said_of_regressions_stands_behind_how_the_race_ended_and_is_news_once() -> None:
    first = made()
    worse = Regressed("True", "SignificantlyWorse", "cnn is slower")
    ended = status(observation(status=first), COMPLETE, [], "runner@sha256:0", worse)
    assert true(ended) == ["Complete", "Regressed"]
    assert [(item.reason, item.message, item.warning) for item in news(first, ended)] == [
        ("AllTrialsFinished", COMPLETE.message, False), ("Regressed", "cnn is slower", True),
    ]  # fmt: skip
    accepted = judged(ended, Regressed("False", "RegressionAccepted", "cnn is slower"), 3, NOW + timedelta(hours=1))
    assert true(accepted) == ["Complete"]
    assert news(ended, accepted) == []
    assert {key: value for key, value in accepted.items() if key != "conditions"} == {
        key: value for key, value in ended.items() if key != "conditions"
    }
    times = {condition["type"]: condition["lastTransitionTime"] for condition in accepted["conditions"]}
    assert (times["Regressed"], times["Complete"]) == ("2026-03-01T13:00:00Z", "2026-03-01T12:00:00Z")
    assert judged(accepted, Regressed("False", "RegressionAccepted", "cnn is slower"), 3, NOW) == accepted


def test_every_condition_names_the_generation_that_it_is_of() -> None:
    found = made()
    assert found["observedGeneration"] == 3
    assert {condition["observedGeneration"] for condition in found["conditions"]} == {3}


def test_counts() -> None:
    trials = made(finished={0: True, 1: True, 2: False})["trials"]
    assert trials == {"total": 25, "active": 1, "succeeded": 2, "failed": 1, "disrupted": 0, "done": "3/25"}


def test_a_pods_trouble_is_the_message() -> None:
    pod = PodFacts("p", "u", "digits-0", 0, NOW, "Pending", trouble="Unschedulable: 0/1 nodes are available")
    assert made(pods=(pod,))["message"] == "pod p: Unschedulable: 0/1 nodes are available"


def test_disruptions_are_not_forgotten_by_an_operator_that_starts_again() -> None:
    first = made(disrupted=2)
    assert first["trials"]["disrupted"] == 2
    assert made(disrupted=0, status=first)["trials"]["disrupted"] == 2


def test_what_holds_results_up_is_the_message() -> None:
    assert made(trouble="Redis at redis:6379 is full")["message"] == "results wait: Redis at redis:6379 is full"


def test_why_a_job_gets_no_pod_is_the_message() -> None:
    message = made(pods=(), refused={"digits-0": "exceeded quota: none"})["message"]
    assert message == "Job digits-0 gets no pod: exceeded quota: none"


def test_a_key_rests_after_its_pass_whatever_wakes_it() -> None:
    async def passes() -> tuple[str, str]:
        wakeups: Wakeups[str] = Wakeups()
        for key in ("resting", "resting for a moment"):
            wakeups.wake(key)
            await wakeups.next()
        wakeups.wake("resting")  # during its pass
        wakeups.done("resting", rest=3600)
        wakeups.done("resting for a moment", rest=0.01)
        for key in ("resting", "resting for a moment"):
            wakeups.wake(key)
        first = await asyncio.wait_for(wakeups.next(), 30)
        wakeups.done(first, rest=3600)
        wakeups.forget("resting")
        wakeups.wake("resting")
        return first, await asyncio.wait_for(wakeups.next(), 30)

    assert asyncio.run(passes()) == ("resting for a moment", "resting")


def test_a_status_of_the_largest_race_fits_into_an_object() -> None:
    """etcd takes 1.5 MB, which spec and managed fields share."""
    names = [f"{number:04d}-" + "e" * 58 for number in range(1000)]
    found, omitted = [], []
    for objectives in (2, 16):
        written = status(largest(names), None, standings(names, objectives), "runner@sha256:0")
        found.append([entry["name"] for entry in written["entries"]])
        omitted.append(written.get("entriesOmitted", 0))
        assert len(json.dumps(written)) < 500_000
    assert (len(found[0]), omitted[0]) == (1000, 0)
    assert (len(found[1]), omitted[1]) == (125, 875)
    assert found[1] == names[-125:], "those with the best means, in the order of the spec"


def largest(names: list[str]) -> Observation:
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "largest"},
        "spec": {
            "dataset": {"name": "digits"},
            "entries": [{"name": name, "model": {"name": "velodrome/mlp"}} for name in names],
        },
    }
    return observation(plan=plan(BenchmarkJob.model_validate(document)))


def standings(names: list[str], objectives: int) -> list[ObjectiveStanding]:
    """Each later entry is better, and each number has all its digits."""
    ranked = tuple(
        RankedRow(1, 1, name, "id", "uid", "largest", Interval(n + 1 / 7, n + 1 / 3, n + 2 / 3, 5, 0.1), {}, NOW, ())
        for n, name in reversed(list(enumerate(names)))
    )
    ranking = ObjectiveRanking(MetricKey.of("accuracy"), 0.05, False, ranked, ())
    return [ObjectiveStanding(f"{number:02d}-" + "o" * 60, ranking, "a cohort") for number in range(objectives)]


def test_an_invalid_object_fails_at_once_with_every_problem() -> None:
    found = refused(1, "InvalidSpec", "spec.a: is wrong; spec.b: too", {}, NOW)
    assert true(found) == ["Failed", "Stalled"]
    assert found["conditions"][1]["reason"] == "InvalidSpec"


def test_a_transition_is_news_once() -> None:
    first = made()
    assert [(item.reason, item.warning) for item in news({}, first)] == [("Started", False)]
    assert news(first, made(finished={0: True}, status=first)) == []
    assert [(item.reason, item.warning) for item in news(first, made(FAILED, status=first))] == [
        ("TooManyFailedTrials", True)
    ]


def test_a_wake_up_during_a_pass_asks_for_one_more_and_only_one() -> None:
    async def passes() -> list[str]:
        wakeups: Wakeups[str] = Wakeups()
        wakeups.wake("a")
        wakeups.wake("a")
        found = [await wakeups.next()]
        wakeups.wake("a")
        wakeups.wake("a")
        assert len(wakeups) == 1
        wakeups.done("a")
        found.append(await wakeups.next())
        wakeups.done("a")
        assert len(wakeups) == 0
        return found

    assert asyncio.run(passes()) == ["a", "a"]


def test_what_is_urgent_overtakes_the_rest_and_nothing_else() -> None:
    async def passes() -> list[str]:
        wakeups: Wakeups[str] = Wakeups(lambda key: key.startswith("new"))
        for key in ("b", "a", "new 2", "c", "new 1"):
            wakeups.wake(key)
        return [await wakeups.next() for _ in range(5)]

    assert asyncio.run(passes()) == ["new 2", "new 1", "b", "a", "c"]


def test_the_earliest_of_two_delays_counts_and_an_event_needs_none() -> None:
    async def first() -> tuple[str, str]:
        wakeups: Wakeups[str] = Wakeups()
        wakeups.wake("late", 3600)
        wakeups.wake("late", 0.01)
        wakeups.wake("late", 3600)
        early = await asyncio.wait_for(wakeups.next(), 30)
        wakeups.done(early)
        wakeups.wake("now", 3600)
        wakeups.wake("now")
        return early, await asyncio.wait_for(wakeups.next(), 30)

    assert asyncio.run(first()) == ("late", "now")
