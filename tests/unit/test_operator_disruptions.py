"""Whose fault a pod's end was, and what it costs its trial and its race."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.owned import by_job, owned_job
from tests.unit.test_operator_decision import GROUPS, NAME, NOW, decided, ended, job_facts
from tests.unit.test_operator_status import made
from velodrome_operator.disruptions import disruptions, is_disruption, retries, spent
from velodrome_operator.observation import PodFacts, pod_facts
from velodrome_operator.races import Races

AT = datetime(2026, 3, 1, 11, tzinfo=UTC)
CREATED = "2026-03-01T11:00:00Z"
TRACKED = ["batch.kubernetes.io/job-tracking"]


def pod(number: int = 0, phase: str = "Failed", index: int = 0, **changes: Any) -> PodFacts:
    """The pod of that number at an index: each was made a minute after the one before it."""
    made_at = AT + timedelta(minutes=number)
    facts = PodFacts(f"pod-{index}-{number}", f"uid-{index}-{number}", NAME, index, made_at, phase)
    return replace(facts, **changes)


def failed(number: int = 0, code: int = 1, **changes: Any) -> PodFacts:
    began, end = (AT + timedelta(minutes=number, seconds=seconds) for seconds in (1, 30))
    return pod(number, **{"exit_code": code, "reason": "Error", "started_at": began, "finished_at": end, **changes})


def deleted(number: int = 0, code: int = 143, after: float = 0, **changes: Any) -> PodFacts:
    """A pod that ended so many seconds after its deletion was asked for."""
    end = AT + timedelta(minutes=number, seconds=30)
    return failed(number, code, deleting=True, deleted_at=end - timedelta(seconds=after), **changes)


def killed_for_memory(number: int = 0, **changes: Any) -> PodFacts:
    return replace(failed(number, 137, **changes), reason="OOMKilled")


@pytest.mark.parametrize(
    ("facts", "disrupted"),
    [
        (deleted(), True),
        (deleted(code=137), True),
        (deleted(code=137, after=2), True),
        (deleted(code=143, after=-5), True),  # its node's clock is behind
        (failed(code=143, disrupted=True), True),
        (pod(reason="OutOfcpu"), True),
        (replace(failed(code=137), reason="ContainerStatusUnknown"), True),
        (pod(exit_code=None, deleting=True, deleted_at=AT), True),
        (failed(code=1), False),
        (failed(code=139), False),
        (failed(code=137), False),
        (killed_for_memory(), False),
        (replace(deleted(code=137), reason="OOMKilled"), False),
        (deleted(code=1), True),
        (deleted(code=70), False),
        (failed(code=1, started_at=None), True),  # a container runtime that was killed never ran it
        (failed(code=128, started_at=None, reason="StartError"), False),
        (deleted(code=78), False),
        (deleted(code=137, after=-100), False),  # somebody tidied up
        (deleted(code=139, after=-1), False),
        (deleted(code=143, after=-100), False),
        (deleted(released=True), False),
        (deleted(released=True, disrupted=True), True),
        (pod(phase="Running"), False),
        (pod(phase="Running", deleting=True, deleted_at=AT), False),
        (pod(phase="Succeeded", disrupted=True), False),
        (pod(phase="Succeeded", deleting=True, deleted_at=AT), False),
    ],
)
def test_which_end_is_a_disruption(facts: PodFacts, *, disrupted: bool) -> None:
    assert is_disruption(facts) is disrupted


@pytest.mark.parametrize(
    ("facts", "disrupted"),
    [
        (pod(phase="Running"), True),
        (pod(phase="Pending"), True),
        (pod(phase="Running", released=True), False),
        (pod(phase="Succeeded"), False),
        (failed(), False),
        (pod(phase="Unknown"), False),
    ],
)
def test_a_pod_that_is_gone_without_an_end_was_disrupted(facts: PodFacts, *, disrupted: bool) -> None:
    assert is_disruption(facts, gone=True) is disrupted


def test_disruptions_that_nobody_saw_are_counted_by_what_kubernetes_says() -> None:
    assert disruptions([pod(3, "Running", failures=3)], []) == 3
    assert disruptions([pod(3, "Running", failures=3), killed_for_memory(0)], []) == 2
    assert disruptions([pod(3, "Running", failures=3)], [deleted(2)]) == 3
    assert disruptions([deleted(3, failures=3)], []) == 4
    assert disruptions([pod(1, "Running", failures=1, index=1), pod(1, "Running", failures=1)], []) == 2


def test_the_attempts_of_a_trial_are_its_own_failures() -> None:
    own = [killed_for_memory(number) for number in range(3)]
    assert spent(own, [], 1) == {(NAME, 0): own[2]}
    assert spent(own[:2], [], 1) == {}
    assert spent([*own[:2], *(deleted(number) for number in range(2, 9))], [], 1) == {}
    assert spent(own[:1], own[1:], 1) == {(NAME, 0): own[2]}
    let_go = [deleted(number, released=True) for number in range(9)]
    assert spent(let_go, [], 1) == {}
    tidied = [deleted(number, 137, after=-100, released=True) for number in range(3)]
    assert spent([], tidied, 1) == {(NAME, 0): tidied[2]}


def test_a_pod_that_ends_because_another_was_lost_costs_nothing() -> None:
    lost = [deleted(number, index=0) for number in range(9)]
    followers = [failed(number, 76, index=1) for number in range(9)]
    assert spent([*lost, *followers], [], 2) == {}
    assert spent(followers, [], 2) == {(NAME, 0): followers[8]}
    assert spent(followers[: retries(2)], [], 2) == {}


@given(st.lists(st.sampled_from([deleted, killed_for_memory, failed]), max_size=12), st.integers(0, 12))
def test_each_end_either_costs_an_attempt_or_is_a_disruption(kinds: list[Any], away: int) -> None:
    ends = [kind(number, failures=number) for number, kind in enumerate(kinds)]
    gone, there = ends[:away], ends[away:]
    lost = disruptions(there, gone)
    assert lost == kinds.count(deleted)
    assert bool(spent(there, gone, 1)) == (len(ends) - lost > retries(1))


# What a race makes of it


def test_a_race_bears_the_disruptions_that_it_declares_and_names_the_number() -> None:
    assert decided(disrupted=10).ending is None
    verdict = decided(disrupted=11).ending
    assert verdict is not None
    assert (verdict.type, verdict.reason) == ("Failed", "TooManyDisruptions")
    assert verdict.message.startswith("11 pods were")
    assert "spec.execution.maxDisruptions is 10" in verdict.message


def test_a_race_with_all_its_results_is_complete_whatever_was_lost() -> None:
    verdict = decided(disrupted=99, finished=dict.fromkeys(range(25), True)).ending
    assert verdict is not None
    assert verdict.type == "Complete"


def test_disruptions_that_an_earlier_operator_counted_count() -> None:
    verdict = decided(status={"trials": {"disrupted": 11}}).ending
    assert verdict is not None
    assert verdict.reason == "TooManyDisruptions"


def test_the_status_counts_disruptions_while_the_race_goes_on() -> None:
    assert "2 of 10 disruptions" in made(disrupted=2)["message"]
    assert "disruptions" not in made(disrupted=0)["message"]


def test_a_trial_that_failed_too_often_by_itself_is_reported_before_its_next_pod() -> None:
    last = NOW - timedelta(seconds=11)
    own = [killed_for_memory(0), killed_for_memory(1), killed_for_memory(2, finished_at=last)]
    (missing,) = decided(pods=own).missing
    assert (missing.index, missing.reason, missing.pod) == (GROUPS[NAME][0], "OutOfMemory", own[2])
    assert decided(pods=own[:2]).missing == ()
    assert decided(pods=own[:2], gone=own[2:]).missing != ()
    assert decided(pods=own, finished={GROUPS[NAME][0]: False}).missing == ()


def test_a_report_that_may_be_in_the_inbox_is_waited_for() -> None:
    last = NOW - timedelta(seconds=4)
    own = [killed_for_memory(0), killed_for_memory(1), killed_for_memory(2, finished_at=last)]
    early = decided(pods=own)
    assert (early.missing, early.again) == ((), timedelta(seconds=6))
    unread = decided(pods=own, now=NOW + timedelta(seconds=60), collected_at=NOW)
    assert (unread.missing, unread.again) == ((), timedelta(seconds=1))


def test_a_complete_race_makes_no_pod_again_that_was_lost_after_its_report() -> None:
    assert decided(status=ended("Complete"), jobs={NAME: job_facts(active=0)}).parallelism == {NAME: 0}
    ending = decided(status=ended("Complete"), jobs={NAME: job_facts(active=1)})
    assert (ending.parallelism, ending.again) == ({}, timedelta(seconds=60))
    over = frozenset(range(25))
    assert decided(status=ended("Complete"), jobs={NAME: job_facts(active=0, completed=over)}).parallelism == {}
    late = ended("Complete", timedelta(seconds=60))
    assert decided(status=late, jobs={NAME: job_facts(active=1)}).parallelism == {NAME: 0}
    assert decided(status=ended("Complete"), jobs={NAME: job_facts(active=0, finished=True)}).parallelism == {}
    assert decided(status=ended("Complete"), jobs={NAME: job_facts(active=0, parallelism=0)}).parallelism == {}


# As the API serves it


def raw(phase: str = "Running", finalizers: list[str] | None = None, **metadata: Any) -> dict[str, Any]:
    labels = {
        "velodrome.dev/job-uid": "u",
        "batch.kubernetes.io/job-name": NAME,
        "batch.kubernetes.io/job-completion-index": "0",
    }
    about = {"name": "p", "uid": "p", "namespace": "n", "creationTimestamp": CREATED, "labels": labels}
    owned = {"ownerReferences": by_job(f"job-{NAME}", NAME), "finalizers": finalizers or []}
    return {"metadata": {**about, **owned, **metadata}, "spec": {"nodeName": "n"}, "status": {"phase": phase}}


def test_a_container_that_ran_from_1970_on_never_ran() -> None:
    ended = {"exitCode": 1, "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-03-01T11:01:00Z"}
    never = raw("Failed")
    never["status"]["containerStatuses"] = [{"state": {"terminated": ended}}]
    facts = pod_facts(never, NAME)
    assert (facts.started_at, facts.exit_code, is_disruption(facts)) == (None, 1, True)
    ended["startedAt"] = "2026-03-01T11:00:30Z"
    assert not is_disruption(pod_facts(never, NAME))


@pytest.mark.parametrize(
    ("scheduled", "seconds"),
    [
        ({"status": "True", "lastTransitionTime": "2026-03-01T11:00:10Z"}, 20.0),
        ({"status": "True", "lastTransitionTime": "2026-03-01T11:00:40Z"}, 0.0),  # clocks of two machines
        ({"status": "False", "lastTransitionTime": "2026-03-01T11:00:10Z"}, None),
        ({"status": "True", "lastTransitionTime": "soon"}, None),
    ],
)
def test_how_long_a_pod_with_a_node_took_to_start(scheduled: dict[str, Any], seconds: float | None) -> None:
    pod = raw("Running")
    pod["status"]["conditions"] = [{"type": "PodScheduled", **scheduled}]
    assert pod_facts(pod, NAME).pull_seconds is None, "it has not started"
    pod["status"]["containerStatuses"] = [{"state": {"running": {"startedAt": "2026-03-01T11:00:30Z"}}}]
    assert pod_facts(pod, NAME).pull_seconds == seconds


def test_when_deletion_was_asked_for() -> None:
    over: dict[str, Any] = {"deletionTimestamp": "2026-03-01T11:01:30Z", "deletionGracePeriodSeconds": 30}
    assert pod_facts(raw(**over), NAME).deleted_at == AT + timedelta(minutes=1)
    assert pod_facts(raw(deletionTimestamp="2026-03-01T11:01:30Z"), NAME).deleted_at == AT + timedelta(seconds=90)
    assert pod_facts(raw(), NAME).deleted_at is None


@pytest.mark.parametrize(
    ("annotations", "failures"),
    [
        ({"batch.kubernetes.io/job-index-failure-count": "3"}, 3),
        (
            {
                "batch.kubernetes.io/job-index-failure-count": "3",
                "batch.kubernetes.io/job-index-ignored-failure-count": "2",
            },
            5,
        ),
        ({"batch.kubernetes.io/job-index-failure-count": "many"}, 0),
        ({"batch.kubernetes.io/job-index-failure-count": "-1"}, 0),
        ({"batch.kubernetes.io/job-index-failure-count": "²"}, 0),
        ({"batch.kubernetes.io/job-index-failure-count": "9" * 5000}, 0),
        ({"batch.kubernetes.io/job-index-failure-count": 3}, 0),
        ({}, 0),
    ],
)
def test_what_kubernetes_counts_at_an_index(annotations: Any, failures: int) -> None:
    assert pod_facts(raw(annotations=annotations), NAME).failures == failures


def test_pods_that_a_suspended_job_let_go_of_are_no_disruptions() -> None:
    gone: dict[str, Any] = {"deletionTimestamp": "2026-03-01T11:01:30Z", "deletionGracePeriodSeconds": 30}
    races = Races()
    races.saw_parent(
        {
            "metadata": {"uid": "u", "namespace": "n", "name": "r", "creationTimestamp": CREATED},
            "spec": {"dataset": {"name": "Digits"}},
        }
    )
    race = races.get("u")
    assert race is not None
    races.saw_job(owned_job("u", NAME, "n"))
    races.saw_pod(raw(finalizers=TRACKED))
    races.saw_pod(raw("Failed", **gone))  # what was between was not reported
    races.saw_pod(raw("Failed", **gone), gone=True)
    assert race.workload.disrupted({NAME}) == 0
    races.saw_pod(raw(finalizers=TRACKED, uid="q"))
    races.saw_pod(raw(finalizers=TRACKED, uid="q", **gone))
    races.saw_pod(raw("Failed", uid="q", **gone))
    races.saw_pod(raw("Failed", uid="q", **gone), gone=True)
    assert race.workload.disrupted({NAME}) == 1
