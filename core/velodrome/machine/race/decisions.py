"""What the executor decides. Pure: facts go in, decisions come out."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from velodrome import keys
from velodrome.kernel.limits import signal_name
from velodrome.machine.processes.starter import Exited
from velodrome.plan import Plan
from velodrome.store import Rejection, TrialSummary

# These signals mean that the process itself is at fault. With any other signal, something else ended the process.
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}


@dataclass(frozen=True, slots=True)
class ProcessFailure:
    """Why a trial that left no result is recorded as failed."""

    reason: str
    message: str


def is_interruption(exited: Exited) -> bool:
    """Whether something else ended the trial. That says nothing about the trial, so it has to run again."""
    return exited.code == keys.EXIT_INTERRUPTED or exited.signal == signal.SIGTERM


def can_go_on(exited: Exited, before: int, after: int) -> bool:
    """Whether a trial that was killed is run again, because it left a checkpoint further on than the one before it.

    So a trial that is killed for what it does (its memory, say) before it comes further ends as failed.
    """
    return exited.signal == signal.SIGKILL and after > before


def failure_of(exited: Exited) -> ProcessFailure:
    """What to record of a process that ended without a result."""
    if exited.signal is not None:
        name = signal_name(exited.signal)
        if exited.signal in _CRASHES:
            return ProcessFailure("RunnerCrashed", f"the trial's process crashed with {name}")
        hint = ": out of memory (the kernel's log says so), or kill -9" if exited.signal == signal.SIGKILL else ""
        return ProcessFailure("RunnerKilled", f"the trial's process was ended from outside by {name}{hint}")
    if exited.code in (keys.EXIT_OK, keys.EXIT_UNDELIVERED):
        return ProcessFailure(
            "MetricsUnavailable", f"the trial's process ended with code {exited.code} and left no result"
        )
    return ProcessFailure("RunnerCrashed", f"the trial's process ended with code {exited.code} and left no result")


def too_long(deadline_seconds: int) -> ProcessFailure:
    """What to record of a trial that was ended because it ran too long."""
    return ProcessFailure(
        "TrialDeadlineExceeded", f"the trial ran longer than execution.trialDeadlineSeconds ({deadline_seconds} s)"
    )


def refused(rejection: Rejection) -> ProcessFailure:
    """What to record of a trial whose result was rejected, for example for an accuracy above 1."""
    return ProcessFailure(rejection.reason, f"the result was rejected: {rejection.message}")


def to_run(asked: Iterable[int], standing: Mapping[int, TrialSummary], *, retry_failed: bool) -> list[int]:
    """The indices of the trials that have to run, of those that the race asks for. Finished trials don't run again."""
    return [index for index in asked if index not in standing or (retry_failed and standing[index].outcome == "Failed")]


def seconds_left(
    waiting: Iterable[str], running: Iterable[tuple[str, float]], seconds: Mapping[str, list[float]], parallel: int
) -> float | None:
    """How many more seconds the race will take; None until a trial has ended.

    `waiting` holds the entry of each trial that has not started. `running` holds the entry and the seconds so far of
    each running trial. `seconds` holds the times of each entry's finished trials. An entry without a finished trial is
    expected to take the mean of the others.
    """
    known = {entry: fmean(taken) for entry, taken in seconds.items() if taken}
    if not known:
        return None
    usual = fmean(known.values())
    ahead = sum(known.get(entry, usual) for entry in waiting)
    under_way = sum(max(0.0, known.get(entry, usual) - so_far) for entry, so_far in running)
    return (ahead + under_way) / parallel


def ignored_here(plan: Plan) -> list[str]:
    """The fields of the job that are set, but concern pods and so have no effect on one machine."""
    spec = plan.job.spec
    fields = []
    if "runner" in spec.model_fields_set:
        fields.append("spec.runner")
    fields += [f"spec.entries[{at}].image" for at, entry in enumerate(spec.entries) if entry.image is not None]
    fields += [
        f"spec.execution.{alias}"
        for name, alias in (
            ("parallelism", "parallelism"),
            ("isolation", "isolation"),
            ("startup_deadline_seconds", "startupDeadlineSeconds"),
            ("max_disruptions", "maxDisruptions"),
        )
        if name in spec.execution.model_fields_set
    ]
    fields += [
        f"spec.{alias}"
        for name, alias in (("suspend", "suspend"), ("ttl_seconds_after_finished", "ttlSecondsAfterFinished"))
        if name in spec.model_fields_set
    ]
    return fields
