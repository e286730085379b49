"""Trials that ended without a result, and why. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from velodrome_operator.disruptions import spent
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.pass_input import Observation

if TYPE_CHECKING:  # for types alone: a decision follows from these values, and nothing here talks to a store
    from velodrome.store import Rejection

# How long to wait for a result after a pod's end is known: reports go through Redis, ends through the API server.
RESULT_GRACE = timedelta(seconds=60)
# The inbox is read this long after a pod failed. The pod reported before it ended, or never; only clocks may differ.
_READ_GRACE = timedelta(seconds=10)
_UNAVAILABLE = "MetricsUnavailable"  # the reason of a missing result if nothing more is known


@dataclass(frozen=True, slots=True)
class MissingResult:
    """A trial whose pods have ended for good without a result. It is to be recorded as failed."""

    index: int
    pod: PodFacts | None
    reason: str
    message: str


def out_of_attempts(
    seen: Observation, groups: Mapping[str, Sequence[int]]
) -> tuple[tuple[MissingResult, ...], timedelta | None]:
    """Trials whose pods failed by themselves more often than allowed, and when to look again.

    Their reports were in the inbox before they ended. The result is recorded before Kubernetes makes the next pod. Then
    that pod finds that its trial has a result.
    """
    found: list[MissingResult] = []
    waits: list[timedelta] = []
    for (name, completion), final in spent(seen.pods, seen.gone, seen.plan.job.spec.runner.nodes).items():
        index = groups[name][completion] if completion in range(len(groups.get(name, ()))) else None
        if index is None or index in seen.finished:
            continue
        read = (final.finished_at or final.created_at) + _READ_GRACE
        if seen.now < read:
            waits.append(read - seen.now)
        elif seen.collected_at is None or seen.collected_at < read:
            waits.append(timedelta(seconds=1))
        else:
            found.append(MissingResult(index, final, *why(final, succeeded=False)))
    return tuple(found), min(waits, default=None)


def missing_results(
    seen: Observation, groups: Mapping[str, Sequence[int]]
) -> tuple[tuple[MissingResult, ...], timedelta | None]:
    """Trials whose index has ended in its Job and that have no result after the grace time, and when to look again.

    A result may wait in an inbox that could not be read for long. So the inbox must have been read to its end since.
    """
    last = _newest(seen.pods)
    found: list[MissingResult] = []
    waits: list[timedelta] = []
    for name, job in seen.jobs.items():
        for index, completion in trials_ended(job, groups[name], seen.plan.job.spec.runner.nodes, seen.finished):
            final = last.get((name, completion))
            ended = job.created_at if final is None else final.finished_at or job.created_at
            ended = max(ended, seen.unseen_ends.get(index, ended))
            left = ended + RESULT_GRACE - seen.now
            if left > timedelta(0):
                waits.append(left)
            elif seen.collected_at is None or seen.collected_at < ended + RESULT_GRACE:
                waits.append(timedelta(seconds=1))
            else:
                found.append(MissingResult(index, final, *why(final, succeeded=completion in job.completed)))
    return tuple(found), min(waits, default=None)


def _newest(pods: Sequence[PodFacts]) -> dict[tuple[str, int], PodFacts]:
    """The newest pod of each completion index, by Job name and index."""
    return {(pod.job, pod.index): pod for pod in sorted(pods, key=lambda pod: pod.created_at)}


def ended_unseen(seen: Observation, groups: Mapping[str, Sequence[int]]) -> frozenset[int]:
    """Trials without a result whose index has ended, if no ended pod remains that shows when."""
    last = _newest(seen.pods)
    return frozenset(
        index
        for name, job in seen.jobs.items()
        for index, completion in trials_ended(job, groups.get(name, ()), seen.plan.job.spec.runner.nodes, seen.finished)
        if getattr(last.get((name, completion)), "finished_at", None) is None
    )


def trials_ended(
    job: JobFacts, trials: Sequence[int], nodes: int, known: Container[int] = ()
) -> Iterator[tuple[int, int]]:
    """Trials on which no pod works any more, each with the completion index that shows how it ended. Those that are
    `known` are left out.

    If several pods train together, a failed pod ends the trial. Otherwise the trial ends when all have completed.
    """
    for first in range(0, len(trials), nodes):
        if trials[first] in known:
            continue
        completions = range(first, first + nodes)
        failed = [completion for completion in completions if completion in job.failed]
        if failed:
            yield trials[first], failed[0]
        elif all(completion in job.completed for completion in completions):
            yield trials[first], first


def why(pod: PodFacts | None, *, succeeded: bool) -> tuple[str, str]:
    """The reason and the message of a trial that ended without a result."""
    if pod is None:
        return _UNAVAILABLE, "the trial's pod is gone and reported nothing"
    if pod.reason == "OOMKilled":
        return "OutOfMemory", f"pod {pod.name} was killed for memory: raise spec.runner.resources.limits.memory"
    if pod.reason == "StartError":
        return "CommandNotFound", f"pod {pod.name}: {pod.detail}: the image needs Velodrome and the entry's command"
    if pod.reason == "DeadlineExceeded":
        return "TrialDeadlineExceeded", f"pod {pod.name} ran longer than spec.execution.trialDeadlineSeconds"
    how = "succeeded" if succeeded else f"ended with exit code {pod.exit_code}"
    return _UNAVAILABLE, f"pod {pod.name} {how} and reported nothing: look at its log"


def with_rejection(lost: MissingResult, rejections: Sequence[Rejection]) -> MissingResult:
    """Adds the real reason if the trial reported a result that was rejected. The newest rejection is first."""
    said = next((one for one in rejections if one.index == lost.index), None)
    if said is None or lost.reason != _UNAVAILABLE:
        return lost
    return replace(lost, reason=said.reason, message=f"the result was rejected: {said.message}")
