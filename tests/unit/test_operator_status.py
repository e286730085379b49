"""The status of a race in each of its states, and the queue of passes that write it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from velodrome.plan import plan
from velodrome.spec import read_jobs
from velodrome_operator.decision import Observation, Verdict
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.status import invalid, news, status
from velodrome_operator.wakeups import Wakeups

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
(JOB,) = read_jobs(Path(__file__).parents[2] / "deploy/examples/digits.yaml")
COMPLETE = Verdict("Complete", "AllTrialsFinished", "25 of 25 trials succeeded")
FAILED = Verdict("Failed", "TooManyFailedTrials", "1 of 25 trials failed; maxFailed is 0")


def observation(**changes: Any) -> Observation:
    facts = JobFacts("digits-0", NOW, 1, suspended=False, parallelism=1, completed=frozenset(), failed=frozenset(),
                     finished=False, deleting=False)  # fmt: skip
    pods = (PodFacts("p", "u", "digits-0", 0, NOW, "Running"),)
    seen = Observation(plan(JOB), "uid", 3, suspended=False, jobs={"digits-0": facts}, pods=pods, finished={},
                       status={}, now=NOW)  # fmt: skip
    return replace(seen, **changes)


def made(verdict: Verdict | None = None, **changes: Any) -> dict[str, Any]:
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
def test_which_conditions_hold(verdict: Verdict | None, changes: dict[str, Any], conditions: list[str]) -> None:
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


def test_a_disruption_is_not_forgotten_with_its_pod() -> None:
    lost = PodFacts("p", "u", "digits-0", 0, NOW, "Failed", disrupted=True)
    first = made(pods=(lost,))
    assert first["trials"]["disrupted"] == 1
    assert made(pods=(), status=first)["trials"]["disrupted"] == 1


def test_an_invalid_object_fails_at_once_with_every_problem() -> None:
    found = invalid(1, "spec.a: is wrong; spec.b: too", {}, NOW)
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
