"""What the executor decides, as tables of cases."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome import keys
from velodrome.machine.processes.starter import Exited, Gone, Ready, Started, StartRefused, parse_event
from velodrome.machine.race.decisions import failure_of, ignored_here, is_interruption, seconds_left, to_run, too_long
from velodrome.machine.race.ledger import Ledger
from velodrome.plan import Plan, plan
from velodrome.results.records import Outcome
from velodrome.spec import validate
from velodrome.store import TrialSummary


def job(repeats: int = 3, max_failed: int = 1, **spec: Any) -> Plan:
    model = {"name": "velodrome/mlp"}
    return plan(
        validate(
            {
                "apiVersion": "velodrome.dev/v1alpha1",
                "kind": "BenchmarkJob",
                "metadata": {"name": "tiny"},
                "spec": {
                    "dataset": {"name": "digits"},
                    "entries": [{"name": "a", "model": model}, {"name": "b", "model": model}],
                    "trials": {"repeats": repeats, "maxFailed": max_failed},
                    **spec,
                },
            }
        )
    )


def summary(index: int, outcome: Outcome = "Succeeded") -> TrialSummary:
    return TrialSummary(index, "ab"[index % 2], index // 2, outcome, None, 1.0, 0)


@pytest.mark.parametrize(
    ("exited", "reason", "says"),
    [
        (Exited("x", signal=signal.SIGKILL), "RunnerKilled", "SIGKILL: out of memory"),
        (Exited("x", signal=signal.SIGHUP), "RunnerKilled", "SIGHUP"),
        (Exited("x", signal=signal.SIGSEGV), "RunnerCrashed", "SIGSEGV"),
        (Exited("x", signal=signal.SIGABRT), "RunnerCrashed", "SIGABRT"),
        (Exited("x", signal=250), "RunnerKilled", "signal 250"),
        (Exited("x", code=keys.EXIT_OK), "MetricsUnavailable", "code 0"),
        (Exited("x", code=keys.EXIT_UNDELIVERED), "MetricsUnavailable", "code 75"),
        (Exited("x", code=keys.EXIT_FAILED), "RunnerCrashed", f"code {keys.EXIT_FAILED}"),
        (Exited("x", code=keys.EXIT_CONFIGURATION), "RunnerCrashed", "code 78"),
        (Exited("x", code=143), "RunnerCrashed", "code 143"),
    ],
)
def test_a_process_without_a_result_failed_for_a_reason(exited: Exited, reason: str, says: str) -> None:
    failure = failure_of(exited)
    assert failure.reason == reason
    assert says in failure.message


@pytest.mark.parametrize(
    ("exited", "so"),
    [
        (Exited("x", code=143), "yes"),
        (Exited("x", signal=signal.SIGTERM), "yes"),
        (Exited("x", signal=signal.SIGKILL), "no"),
        (Exited("x", code=1), "no"),
    ],
)
def test_only_a_signal_to_end_is_an_interruption(exited: Exited, so: str) -> None:
    assert is_interruption(exited) is (so == "yes")


def test_a_trial_that_takes_too_long_names_the_field_that_says_so() -> None:
    assert too_long(60).reason == "TrialDeadlineExceeded"
    assert "execution.trialDeadlineSeconds (60 s)" in too_long(60).message


def test_what_is_finished_is_not_run_again_and_failures_only_where_asked() -> None:
    standing = {0: summary(0), 3: summary(3, "Failed")}
    assert to_run(range(6), standing, retry_failed=False) == [1, 2, 4, 5]
    assert to_run(range(6), standing, retry_failed=True) == [1, 2, 3, 4, 5]


def test_the_time_left_goes_by_what_each_entry_has_taken() -> None:
    seconds = {"a": [10.0, 20.0], "b": [100.0]}
    assert seconds_left(["a", "b"], [("a", 5.0)], seconds, 1) == 15 + 100 + 10
    assert seconds_left(["a", "b"], [("a", 5.0)], seconds, 5) == 25
    assert (
        seconds_left(["c"], [], seconds, 1) == (15 + 100) / 2
    )  # an entry that has finished none: the mean of the others
    assert seconds_left([], [("a", 99.0)], seconds, 1) == 0  # late already
    assert seconds_left(["a"], [], {}, 1) is None


def test_fields_that_speak_of_pods_are_named_where_they_are_set() -> None:
    assert ignored_here(job()) == []
    digest = "example.org/ours@sha256:" + "0" * 64
    fields = ignored_here(
        job(
            entries=[{"name": "a", "model": {"name": "velodrome/mlp"}, "image": digest}],
            runner={"image": digest},
            execution={"parallelism": 2, "isolation": "None", "startupDeadlineSeconds": 9, "trialDeadlineSeconds": 9},
            suspend=True,
            ttlSecondsAfterFinished=5,
        )
    )
    assert fields == [
        "spec.runner",
        "spec.entries[0].image",
        "spec.execution.parallelism",
        "spec.execution.isolation",
        "spec.execution.startupDeadlineSeconds",
        "spec.suspend",
        "spec.ttlSecondsAfterFinished",
    ]


# Where a race stands


def test_trials_are_taken_in_order_and_put_back_at_their_place() -> None:
    standing = Ledger(job(), retry_failed=False)
    standing.update({})
    assert [standing.take(), standing.take()] == [0, 1]
    standing.put_back(0)
    assert standing.pending == [0, 2, 3, 4, 5]
    assert (standing.withdrawals(0), standing.withdrawals(1)) == (1, 0)


def test_what_runs_is_not_pending_and_what_the_store_lost_is_again() -> None:
    standing = Ledger(job(), retry_failed=False)
    standing.update({})
    for _ in range(3):
        standing.take()
    standing.finish(0, "Succeeded")
    standing.update({}, running={2})
    assert standing.pending == [0, 1, 3, 4, 5]
    assert standing.outcomes == {}


def test_a_failure_to_be_tried_again_counts_once_it_has_failed_again() -> None:
    standing = Ledger(job(max_failed=0), retry_failed=True)
    standing.update({0: summary(0, "Failed"), 1: summary(1)})
    assert standing.pending == [0, 2, 3, 4, 5]
    assert not standing.failed_too_often()
    standing.take()
    standing.finish(0, "Failed")
    assert standing.failed_too_often()
    standing.update({0: summary(0, "Failed"), 1: summary(1)})
    assert standing.pending == [2, 3, 4, 5]


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_job_bears_as_many_failures_as_it_says(failures: int) -> None:
    standing = Ledger(job(max_failed=1), retry_failed=False)
    standing.update({index: summary(index, "Failed") for index in range(failures)})
    assert standing.failed_too_often() is (failures == 2)
    assert standing.failed() == failures


# What the starter says


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"event": "ready"}', Ready()),
        (b'{"event": "started", "id": "a", "pid": 7}', Started("a", 7)),
        (b'{"event": "exited", "id": "a", "code": 0}', Exited("a", code=0)),
        (b'{"event": "exited", "id": "a", "signal": 9}', Exited("a", signal=9)),
        (b'{"event": "refused", "id": "a", "message": "no"}', StartRefused("a", "no")),
        (b'{"event": "gone"}', None),
        (b'{"event": "started", "id": "a"}', None),
        (b'["event"]', None),
        (b"a library that prints\n", None),
        (b"\xff\xfe", None),
    ],
)
def test_lines_of_the_starter(line: bytes, event: Ready | Started | Exited | StartRefused | Gone | None) -> None:
    assert parse_event(line) == event


@given(st.binary())
def test_no_line_breaks_the_reader(line: bytes) -> None:
    parse_event(line)
