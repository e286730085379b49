"""How a race ends, and what it still waits for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from velodrome.results.rounds import ending, is_undecided
from velodrome.text import counted
from velodrome_operator.observation import PodFacts
from velodrome_operator.pass_input import Observation

# The API server is asked about a Job that has had no pod for this long.
NO_POD_AFTER = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a race ended, or what holds it up: the status condition's type, reason and message."""

    type: str
    reason: str
    message: str


def ending_of(seen: Observation) -> Ending | None:
    """Complete, or failed for good. None while there is still something to wait for."""
    trials, spec = seen.total, seen.plan.job.spec
    failed = sum(1 for succeeded in seen.finished.values() if not succeeded)
    if failed > spec.trials.max_failed:
        return Ending(
            "Failed",
            "TooManyFailedTrials",
            f"{failed} of {counted(trials, 'trial')} failed; maxFailed is {spec.trials.max_failed}"
            + (f"; {seen.first_failure}" if seen.first_failure else ""),
        )
    if len(seen.finished) >= trials and not seen.until_decided:
        return Ending("Complete", "AllTrialsFinished", _counts(seen, failed))
    if len(seen.finished) >= trials and seen.rounds is not None and seen.rounds.finished:
        reason = "Undecided" if is_undecided(seen.rounds) else "Decided"
        return Ending("Complete", reason, f"{ending(seen.rounds, len(seen.finished))}; {_counts(seen, failed)}")
    return hindrance(seen)


def hindrance(seen: Observation) -> Ending | None:
    """The ending of a race whose pods can't do its work, whatever its results are. None while they can."""
    spec = seen.plan.job.spec
    if seen.poison is not None:
        return Ending("Failed", seen.poison.reason, seen.poison.message)
    if seen.lost > spec.execution.max_disruptions:
        return Ending(
            "Failed",
            "TooManyDisruptions",
            f"{counted(seen.lost, 'pod was', 'pods were')} evicted, preempted, deleted or lost with their node; "
            f"spec.execution.maxDisruptions is {spec.execution.max_disruptions}",
        )
    if seen.suspended:
        return None
    late = _never_started(seen)
    if late is not None:
        seconds = spec.execution.startup_deadline_seconds
        return Ending(
            "Failed",
            "StartupDeadlineExceeded",
            f"pod {late.name} did not start within {seconds} s: {late.trouble or 'no reason given'}",
        )
    return _never_made(seen)


def _counts(seen: Observation, failed: int) -> str:
    suffix = f", {failed} failed" if failed else ""
    return f"{seen.total - failed} of {counted(seen.total, 'trial')} succeeded{suffix}"


def _never_started(seen: Observation) -> PodFacts | None:
    """A pod that has waited to start for longer than the startup deadline. Time in Kueue's queue does not count."""
    deadline = timedelta(seconds=seen.plan.job.spec.execution.startup_deadline_seconds)
    waiting = [pod for pod in seen.pods if pod.phase == "Pending" and not pod.deleting]
    late = [pod for pod in waiting if seen.now - pod.created_at >= deadline]
    return min(late, key=lambda pod: pod.created_at, default=None)


def jobs_without_pods(seen: Observation) -> dict[str, datetime]:
    """Jobs that should run and have had no pod for a while, and since when. A quota, say, may refuse their pods."""
    return {name: since for name, since in podless(seen).items() if seen.now - since >= NO_POD_AFTER}


def podless(seen: Observation) -> dict[str, datetime]:
    """Jobs that should run and have no pod now, and since when. No event may ever come from such a Job."""
    if seen.suspended:
        return {}
    found = {}
    for name, job in seen.jobs.items():
        if job.suspended or job.finished or job.deleting or job.active > 0 or job.parallelism == 0:
            continue
        moments = [pod.finished_at or pod.created_at for pod in seen.pods if pod.job == name]
        found[name] = max([job.started_at or job.created_at, *moments])
    return found


def _never_made(seen: Observation) -> Ending | None:
    """The ending if the API server has refused a Job's pods for longer than the startup deadline."""
    seconds = seen.plan.job.spec.execution.startup_deadline_seconds
    for name, since in jobs_without_pods(seen).items():
        if name in seen.refused and seen.now - since >= timedelta(seconds=seconds):
            message = f"Job {name} got no pod within {seconds} s: {seen.refused[name]}"
            return Ending("Failed", "StartupDeadlineExceeded", message)
    return None


def startup_left(seen: Observation) -> timedelta | None:
    """How long pods that have not started may still take. None if there are no such pods."""
    deadline = timedelta(seconds=seen.plan.job.spec.execution.startup_deadline_seconds)
    waiting = [pod.created_at + deadline - seen.now for pod in seen.pods if pod.phase == "Pending" and not pod.deleting]
    return max(timedelta(0), min(waiting)) if waiting else None
