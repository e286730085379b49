"""One pass's decisions, as tables: what is created, stopped, recorded and said in each state of a race."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.plan import plan
from velodrome.spec import read_jobs
from velodrome.store import Rejection
from velodrome_operator.children import ChildSettings, Names, children, groups
from velodrome_operator.decision import Decision, decide
from velodrome_operator.missing_results import RESULT_GRACE, MissingResult, ended_unseen, trials_ended, with_rejection
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.outcome import jobs_without_pods
from velodrome_operator.pass_input import Observation
from velodrome_operator.shapes import indexes
from velodrome_operator.turns import JobProgress, turns

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
UID = "3f1c2d54-0000-4000-8000-000000000001"
(JOB,) = read_jobs(Path(__file__).parents[2] / "deploy/examples/digits.yaml")
PLAN = plan(JOB)
NAME = Names.of(JOB, UID).job(groups(JOB)[0])
WANTED = children(JOB, PLAN, UID, "redis://user:secret@redis:6379/0", ChildSettings("runner@sha256:" + "0" * 64))
GROUPS = {NAME: groups(JOB)[0].trials(PLAN)}


def job_facts(**changes: Any) -> JobFacts:
    facts = JobFacts(NAME, NOW - timedelta(hours=1), 1, suspended=False, parallelism=1, completed=frozenset(),
                     failed=frozenset(), finished=False, deleting=False)  # fmt: skip
    return replace(facts, **changes)


def pod_facts(index: int, phase: str = "Running", **changes: Any) -> PodFacts:
    facts = PodFacts(f"pod-{index}", f"uid-{index}", NAME, index, NOW - timedelta(minutes=10), phase)
    return replace(facts, **changes)


def observation(**changes: Any) -> Observation:
    jobs = {NAME: job_facts()}
    seen = Observation(PLAN, UID, 1, suspended=False, jobs=jobs, pods=(), finished={}, status={}, now=NOW,
                       collected_at=NOW)  # fmt: skip
    return replace(seen, **changes)


def decided(**changes: Any) -> Decision:
    return decide(observation(**changes), WANTED, GROUPS)


def ended(kind: str, ago: timedelta = timedelta(0)) -> dict[str, Any]:
    since = (NOW - ago).isoformat()
    return {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": since}]}


def test_a_new_race_gets_all_its_children_in_order() -> None:
    assert [child["kind"] for child in decided(jobs={}).create] == ["ConfigMap", "Secret", "Job"]


def test_a_running_race_is_left_alone() -> None:
    assert decided() == Decision()


def test_a_finished_race_is_never_started_again() -> None:
    assert decided(jobs={}, status=ended("Complete")) == Decision()


def test_a_failed_race_stays_stopped_and_a_complete_one_keeps_its_pods() -> None:
    assert decided(status=ended("Failed")).stop == (NAME,)
    assert decided(status=ended("Complete")).stop == ()


def test_all_trials_finished_is_complete() -> None:
    verdict = decided(finished=dict.fromkeys(range(25), True)).ending
    assert verdict is not None
    assert (verdict.type, verdict.reason, verdict.message) == (
        "Complete", "AllTrialsFinished", "25 of 25 trials succeeded",
    )  # fmt: skip


def test_more_failures_than_the_race_bears_fail_it_and_stop_its_job() -> None:
    decision = decided(finished={0: False})
    assert decision.ending is not None
    assert decision.ending.reason == "TooManyFailedTrials"
    assert decision.stop == (NAME,)


def test_failures_that_the_race_bears_do_not() -> None:
    spec = JOB.spec.model_copy(update={"trials": JOB.spec.trials.model_copy(update={"max_failed": 1})})
    bearing = plan(JOB.model_copy(update={"spec": spec}))
    assert decided(plan=bearing, finished={0: False}).ending is None
    verdict = decided(plan=bearing, finished={0: False} | dict.fromkeys(range(1, 25), True)).ending
    assert verdict is not None
    assert verdict.message == "24 of 25 trials succeeded, 1 failed"


@pytest.mark.parametrize(("early", "late"), [(timedelta(seconds=899), timedelta(seconds=900))])
def test_a_pod_that_does_not_start_fails_the_race_in_the_clusters_words(early: timedelta, late: timedelta) -> None:
    trouble = "ErrImagePull: no such host"
    waiting = pod_facts(0, "Pending", trouble=trouble, created_at=NOW - early)
    assert decided(pods=(waiting,)).ending is None
    assert decided(pods=(waiting,)).again == timedelta(seconds=1)
    verdict = decided(pods=(replace(waiting, created_at=NOW - late),)).ending
    assert verdict is not None
    assert verdict.reason == "StartupDeadlineExceeded"
    assert trouble in verdict.message


def test_a_suspended_race_waits_without_a_deadline() -> None:
    late = pod_facts(0, "Pending", created_at=NOW - timedelta(days=1))
    decision = decided(suspended=True, pods=(late,))
    assert decision.ending is None
    assert decision.suspend == {NAME: True}


def test_resuming_clears_suspend_unless_kueue_owns_it() -> None:
    assert decided(jobs={NAME: job_facts(suspended=True)}).suspend == {NAME: False}
    assert decided(jobs={NAME: job_facts(suspended=True)}, kueue=True).suspend == {}


def test_a_pod_that_ended_without_a_result_is_waited_for_and_then_recorded() -> None:
    pod = pod_facts(3, "Failed", exit_code=137, reason="OOMKilled", finished_at=NOW - RESULT_GRACE / 2)
    jobs = {NAME: job_facts(failed=frozenset({3}))}
    waiting = decided(jobs=jobs, pods=(pod,))
    assert waiting.missing == ()
    assert waiting.again == RESULT_GRACE / 2
    (lost,) = decided(jobs=jobs, pods=(replace(pod, finished_at=NOW - RESULT_GRACE),)).missing
    assert (lost.index, lost.reason) == (3, "OutOfMemory")


@pytest.mark.parametrize("collected_at", [None, NOW - timedelta(hours=1)])
def test_a_result_that_may_wait_in_an_unread_inbox_is_not_missing(collected_at: datetime | None) -> None:
    ended = pod_facts(3, "Succeeded", exit_code=0, finished_at=NOW - timedelta(minutes=50))
    decision = decided(jobs={NAME: job_facts(completed=frozenset({3}))}, pods=(ended,), collected_at=collected_at)
    assert decision.missing == ()
    assert decision.ending is None
    assert decision.again == timedelta(seconds=1)


QUOTA = 'pods "x" is forbidden: exceeded quota: none'


def test_a_job_that_gets_no_pod_fails_the_race_in_the_api_servers_words() -> None:
    def found(ago: float, **changes: Any) -> Decision:
        jobs = {NAME: job_facts(active=0, created_at=NOW - timedelta(seconds=ago))}
        return decided(**{"jobs": jobs, "refused": {NAME: QUOTA}, **changes})

    assert found(899).ending is None
    assert found(899).again is not None
    assert found(0, refused={}).again is not None, "no event may come: the Job's controller pauses longer and longer"
    verdict = found(900).ending
    assert verdict is not None
    assert (verdict.type, verdict.reason) == ("Failed", "StartupDeadlineExceeded")
    assert QUOTA in verdict.message
    assert found(900, refused={}).ending is None, "nobody said no: the Job's controller may be away"
    assert found(900, suspended=True).ending is None
    lately = pod_facts(0, "Failed", finished_at=NOW - timedelta(seconds=60))
    assert found(900, pods=(lately,)).ending is None, "it has had a pod since"


@pytest.mark.parametrize(
    ("changes", "without"),
    [
        ({"active": 0}, True),
        ({"active": 1}, False),
        ({"active": 0, "suspended": True}, False),
        ({"active": 0, "finished": True}, False),
        ({"active": 0, "deleting": True}, False),
        ({"active": 0, "parallelism": 0}, False),
        ({"active": 0, "started_at": NOW - timedelta(seconds=1)}, False),
    ],
)
def test_which_jobs_are_without_a_pod(changes: dict[str, Any], *, without: bool) -> None:
    assert bool(jobs_without_pods(observation(jobs={NAME: job_facts(**changes)}))) is without


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (None, "MetricsUnavailable"),
        (pod_facts(3, "Succeeded", exit_code=0, finished_at=NOW - RESULT_GRACE), "MetricsUnavailable"),
        (pod_facts(3, "Failed", reason="DeadlineExceeded", finished_at=NOW - RESULT_GRACE), "TrialDeadlineExceeded"),
    ],
)
def test_why_there_is_no_result(pod: PodFacts | None, reason: str) -> None:
    (lost,) = decided(jobs={NAME: job_facts(completed=frozenset({3}))}, pods=(pod,) if pod else ()).missing
    assert lost.reason == reason


def test_a_trial_with_a_result_is_not_missing() -> None:
    assert decided(jobs={NAME: job_facts(completed=frozenset({3}))}, finished={3: True}).missing == ()


def test_changed_parallelism_is_passed_on() -> None:
    assert decided(jobs={NAME: job_facts(parallelism=4)}).parallelism == {NAME: 1}


def test_the_time_to_live_deletes_the_object_when_it_is_over() -> None:
    living = plan(JOB.model_copy(update={"spec": JOB.spec.model_copy(update={"ttl_seconds_after_finished": 60})}))
    assert decided(plan=living, status=ended("Complete", timedelta(seconds=59))).again == timedelta(seconds=1)
    assert decided(plan=living, status=ended("Complete", timedelta(seconds=60))).delete_parent
    assert not decided(status=ended("Complete", timedelta(days=9))).delete_parent


@pytest.mark.parametrize(("text", "expected"), [("", set()), ("0", {0}), ("0,3-5,9", {0, 3, 4, 5, 9})])
def test_completion_indexes_as_kubernetes_writes_them(text: str, expected: set[int]) -> None:
    assert indexes(text, 1_000) == expected


@st.composite
def standings(draw: st.DrawFn) -> list[JobProgress]:
    repeats = draw(st.integers(1, 5))
    found = []
    for entries in draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)):
        total = entries * repeats
        done = draw(st.integers(0, total))
        found.append(JobProgress(entries, done, total, draw(st.integers(0, min(2, total - done)))))
    return found


@given(standings(), st.integers(1, 12))
def test_turns_never_pass_the_races_parallelism_by_more_than_what_runs(
    found: list[JobProgress], parallelism: int
) -> None:
    granted = turns(found, parallelism)
    assert sum(granted) <= max(parallelism, sum(standing.active for standing in found))
    assert all(share >= min(standing.active, parallelism) for share, standing in zip(granted, found, strict=True))


@given(standings(), st.integers(1, 12))
def test_turns_leave_nobody_waiting_for_ever(found: list[JobProgress], parallelism: int) -> None:
    if any(standing.done < standing.total for standing in found) or any(standing.active for standing in found):
        assert sum(turns(found, parallelism)) > 0


def test_turns_go_round_by_round() -> None:
    assert turns([JobProgress(2, 2, 10), JobProgress(1, 0, 5)], 4) == [0, 1]
    assert turns([JobProgress(2, 2, 10), JobProgress(1, 1, 5)], 4) == [2, 1]
    assert turns([JobProgress(2, 2, 10, active=1), JobProgress(1, 0, 5)], 1) == [1, 0]


@pytest.mark.parametrize(
    ("completed", "failed", "lost"),
    [
        ((0, 1), (), [0]),  # both pods of trial 0 ended well, and no result came
        ((0,), (), []),  # the second still runs
        ((0,), (1,), [0]),  # the second failed for good: nobody trains on
        ((), (2,), [1]),
        ((0, 1, 2, 3), (), [0, 1]),
    ],
)
def test_a_trial_of_two_pods_has_ended_when_neither_can_go_on(
    completed: tuple[int, ...], failed: tuple[int, ...], lost: list[int]
) -> None:
    facts = job_facts(completed=frozenset(completed), failed=frozenset(failed))
    assert [index for index, _ in trials_ended(facts, [0, 0, 1, 1], 2)] == lost


@pytest.mark.parametrize(
    ("since", "read", "lost"),
    [
        (30, 0, []),  # its result may be on its way
        (70, 20, []),  # the inbox was not read to its end since
        (70, 0, [0]),
    ],
)
def test_an_end_that_nobody_saw_is_missed_a_minute_after_it_was_first_known(
    since: int, read: int, lost: list[int]
) -> None:
    jobs = {NAME: job_facts(completed=frozenset({0}))}
    known = {0: NOW - timedelta(seconds=since)}
    missing = decided(jobs=jobs, unseen_ends=known, collected_at=NOW - timedelta(seconds=read)).missing
    assert [one.index for one in missing] == lost


def test_which_ends_nobody_saw() -> None:
    jobs = {NAME: job_facts(completed=frozenset({0, 1, 2}), failed=frozenset({3}))}
    pods = (pod_facts(1, "Succeeded", finished_at=NOW), pod_facts(3, "Failed"))
    seen = observation(jobs=jobs, pods=pods, finished={2: True})
    assert ended_unseen(seen, GROUPS) == {0, 3}


def test_a_trial_whose_result_was_rejected_says_so_and_no_other_does() -> None:
    lost = MissingResult(3, None, "MetricsUnavailable", "the trial's pod is gone and reported nothing")
    newest = Rejection("2-0", "ImpossibleValue", "metrics.accuracy: 1.7 is not between 0 and 1", 3, "pod-uid")
    rejections = [Rejection("3-0", "InvalidReport", "junk"), newest, Rejection("1-0", "TooLarge", "", 3, "pod-uid")]
    reported = with_rejection(lost, rejections)
    assert (reported.index, reported.reason) == (3, "ImpossibleValue")
    assert reported.message == "the result was rejected: metrics.accuracy: 1.7 is not between 0 and 1"
    other = replace(lost, index=2)
    assert with_rejection(other, rejections) == other
    killed = replace(lost, reason="OutOfMemory")
    assert with_rejection(killed, rejections) == killed
