"""One pass over a BenchmarkJob: from what was observed to what shall be done. Pure: no API, no store, no clock.

Every pass looks at the whole state, whatever woke it, and says everything that is to be done; doing it twice, or being
killed anywhere in between, ends in the same state. Terminal is what the status says: once Complete or Failed is True
nothing is started again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from velodrome.plan import Plan
from velodrome.text import counted
from velodrome_operator import shapes
from velodrome_operator.children import Manifest
from velodrome_operator.missing import MissingResult, out_of_attempts, why
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.poison import Poison
from velodrome_operator.turns import Standing, turns

# How long a pod's end may be known before its result: reports travel by Redis, ends by the API server.
RESULT_GRACE = timedelta(seconds=60)
# A Job that has had no pod for this long is asked about; and how often, while it has none.
NO_POD_AFTER = timedelta(seconds=3)
_LOOK_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a pass decides by.

    `finished` holds the indexes of trials with an accepted result, by whether they succeeded; `status` is the object's
    present one; `first_failure` is what the failed trial of the lowest index said; `collected_at` is when the inbox was
    last found to hold no more, and `trouble` why it can't be read or results can't be accepted; `refused` says, by Job
    name, why the API server did not let it have a pod; `gone` are pods that are there no more, and `disrupted` counts
    the pods that were lost to a disruption; `poison` is why its inbox ends it. `unseen_ends` is, by trial, when it was
    first seen that its index had ended of which no pod is there.
    """

    plan: Plan
    uid: str
    generation: int
    suspended: bool
    jobs: Mapping[str, JobFacts]
    pods: Sequence[PodFacts]
    finished: Mapping[int, bool]
    status: Mapping[str, Any]
    now: datetime
    kueue: bool = False
    first_failure: str | None = None
    collected_at: datetime | None = None
    trouble: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    disrupted: int = 0
    poison: Poison | None = None
    gone: Sequence[PodFacts] = ()
    unseen_ends: Mapping[int, datetime] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """How many pods were lost to disruptions, with those that an operator before this one counted."""
        return max(self.disrupted, shapes.count(shapes.at(self.status, "trials", "disrupted")))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a race ended, or that it is held up: the condition's type, reason and message."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, in this order; `again` is when to look again at the latest, None if only an event matters."""

    create: tuple[Manifest, ...] = ()
    parallelism: Mapping[str, int] = field(default_factory=dict)
    suspend: Mapping[str, bool] = field(default_factory=dict)
    missing: tuple[MissingResult, ...] = ()
    verdict: Verdict | None = None
    stop: tuple[str, ...] = ()
    delete_parent: bool = False
    again: timedelta | None = None


def decide(seen: Observation, wanted: Sequence[Manifest], groups: Mapping[str, Sequence[int]]) -> Decision:
    """What a pass does.

    `wanted` are the manifests of all children; `groups` gives, by Job name, the trial index of each completion index.
    """
    end = _end(seen.status)
    if end is not None:
        return _after_the_end(seen, *end, groups)
    verdict = _verdict(seen)
    if verdict is not None:
        return Decision(verdict=verdict, stop=tuple(name for name, job in seen.jobs.items() if not job.finished))
    missing, later = _missing(seen, groups)
    out, soon = out_of_attempts(seen, groups)
    missing += tuple(item for item in out if item.index not in {known.index for known in missing})
    create = tuple(child for child in wanted if child["kind"] != "Job" or child["metadata"]["name"] not in seen.jobs)
    shares = _shares(seen, groups)
    waits = [later, soon, _startup_left(seen), _LOOK_AGAIN if podless(seen) else None]
    return Decision(
        create=create if any(child["kind"] == "Job" for child in create) else (),
        parallelism={name: share for name, share in shares.items() if seen.jobs[name].parallelism != share},
        suspend=_suspensions(seen),
        missing=missing,
        again=min((wait for wait in waits if wait is not None), default=None),
    )


def _end(status: Mapping[str, Any]) -> tuple[str, datetime] | None:
    """How and when the race ended, by its status."""
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], datetime.fromisoformat(condition["lastTransitionTime"])
    return None


def _after_the_end(seen: Observation, how: str, ended: datetime, groups: Mapping[str, Sequence[int]]) -> Decision:
    """A failed race's Jobs are stopped; a complete one's have nothing left to do, and keep their pods' logs.

    A pod that was lost after its report would be made again: its Job may make none any more, and what runs a minute
    after the end has nothing left to report.
    """
    running = [name for name, job in seen.jobs.items() if not job.finished and not job.deleting]
    stop = tuple(running) if how == "Failed" else ()
    going = [
        name
        for name in running
        if name not in stop
        and seen.jobs[name].parallelism != 0
        and len(seen.jobs[name].completed | seen.jobs[name].failed) < len(groups.get(name, ()))
    ]
    patience = ended + RESULT_GRACE - seen.now
    rest = {name: 0 for name in going if seen.jobs[name].active == 0 or patience <= timedelta(0)}
    waits = [patience] if len(rest) < len(going) else []
    ttl = seen.plan.job.spec.ttl_seconds_after_finished
    if ttl is not None:
        left = ended + timedelta(seconds=ttl) - seen.now
        if left <= timedelta(0):
            return Decision(parallelism=rest, stop=stop, delete_parent=True)
        waits.append(left)
    return Decision(parallelism=rest, stop=stop, again=min(waits, default=None))


def _verdict(seen: Observation) -> Verdict | None:
    """Complete, or failed for good; None while there is still something to wait for."""
    trials, spec = len(seen.plan), seen.plan.job.spec
    failed = sum(1 for succeeded in seen.finished.values() if not succeeded)
    if failed > spec.trials.max_failed:
        return Verdict(
            "Failed",
            "TooManyFailedTrials",
            f"{failed} of {counted(trials, 'trial')} failed; maxFailed is {spec.trials.max_failed}"
            + (f"; {seen.first_failure}" if seen.first_failure else ""),
        )
    if len(seen.finished) == trials:
        suffix = f", {failed} failed" if failed else ""
        words = f"{trials - failed} of {counted(trials, 'trial')} succeeded{suffix}"
        return Verdict("Complete", "AllTrialsFinished", words)
    if seen.poison is not None:
        return Verdict("Failed", seen.poison.reason, seen.poison.message)
    if seen.lost > spec.execution.max_disruptions:
        return Verdict(
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
        return Verdict(
            "Failed",
            "StartupDeadlineExceeded",
            f"pod {late.name} did not start within {seconds} s: {late.trouble or 'no reason given'}",
        )
    return _never_made(seen)


def _never_started(seen: Observation) -> PodFacts | None:
    """A pod that has waited to start for longer than the startup deadline; Kueue's queue is no part of that."""
    deadline = timedelta(seconds=seen.plan.job.spec.execution.startup_deadline_seconds)
    waiting = [pod for pod in seen.pods if pod.phase == "Pending" and not pod.deleting]
    late = [pod for pod in waiting if seen.now - pod.created_at >= deadline]
    return min(late, key=lambda pod: pod.created_at, default=None)


def podless(seen: Observation) -> dict[str, datetime]:
    """Jobs that should run and have had no pod for a while, by since when: their pods may be refused, as by a quota."""
    if seen.suspended:
        return {}
    found = {}
    for name, job in seen.jobs.items():
        if job.suspended or job.finished or job.deleting or job.active > 0 or job.parallelism == 0:
            continue
        moments = [pod.finished_at or pod.created_at for pod in seen.pods if pod.job == name]
        since = max([job.started_at or job.created_at, *moments])
        if seen.now - since >= NO_POD_AFTER:
            found[name] = since
    return found


def _never_made(seen: Observation) -> Verdict | None:
    """The verdict where the API server has refused a Job's pods for longer than the startup deadline."""
    seconds = seen.plan.job.spec.execution.startup_deadline_seconds
    for name, since in podless(seen).items():
        if name in seen.refused and seen.now - since >= timedelta(seconds=seconds):
            message = f"Job {name} got no pod within {seconds} s: {seen.refused[name]}"
            return Verdict("Failed", "StartupDeadlineExceeded", message)
    return None


def _startup_left(seen: Observation) -> timedelta | None:
    deadline = timedelta(seconds=seen.plan.job.spec.execution.startup_deadline_seconds)
    waiting = [pod.created_at + deadline - seen.now for pod in seen.pods if pod.phase == "Pending" and not pod.deleting]
    return max(timedelta(0), min(waiting)) if waiting else None


def _missing(
    seen: Observation, groups: Mapping[str, Sequence[int]]
) -> tuple[tuple[MissingResult, ...], timedelta | None]:
    """Trials whose index has ended in its Job and that have no result after the grace; and when to look again.

    A result may wait in an inbox that could not be read for long, so that has to have been read to its end since.
    """
    last = _newest(seen.pods)
    found: list[MissingResult] = []
    waits: list[timedelta] = []
    for name, job in seen.jobs.items():
        for index, completion in trials_ended(job, groups[name], seen.plan.job.spec.runner.nodes):
            if index in seen.finished:
                continue
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
    """Trials without a result whose index has ended, and of which no pod that ended is there to say when."""
    last = _newest(seen.pods)
    return frozenset(
        index
        for name, job in seen.jobs.items()
        for index, completion in trials_ended(job, groups.get(name, ()), seen.plan.job.spec.runner.nodes)
        if index not in seen.finished and getattr(last.get((name, completion)), "finished_at", None) is None
    )


def trials_ended(job: JobFacts, trials: Sequence[int], nodes: int) -> Iterator[tuple[int, int]]:
    """Trials that no pod works on any more, each with the completion index that tells how it ended.

    Of several pods that train together, one that failed ends the trial, and else the last to complete.
    """
    for first in range(0, len(trials), nodes):
        completions = range(first, first + nodes)
        failed = [completion for completion in completions if completion in job.failed]
        if failed:
            yield trials[first], failed[0]
        elif all(completion in job.completed for completion in completions):
            yield trials[first], first


def _suspensions(seen: Observation) -> dict[str, bool]:
    """Jobs whose suspend is to change; where Kueue queues them, suspend is Kueue's."""
    if seen.kueue:
        return {}
    return {
        name: seen.suspended for name, job in seen.jobs.items() if job.suspended != seen.suspended and not job.finished
    }


def _shares(seen: Observation, groups: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Each Job's parallelism now."""
    names = [name for name in groups if name in seen.jobs and not seen.jobs[name].finished]
    nodes = seen.plan.job.spec.runner.nodes
    if len(groups) == 1:
        parallelism = seen.plan.job.spec.execution.parallelism
        return {name: min(parallelism * nodes, len(groups[name])) for name in names}
    repeats = seen.plan.job.spec.trials.repeats
    standings = [
        Standing(
            entries=math.ceil(len(groups[name]) / nodes / repeats),  # fewer where trials were taken over
            done=sum(1 for _ in trials_ended(seen.jobs[name], groups[name], nodes)),
            total=len(groups[name]) // nodes,
            active=math.ceil(seen.jobs[name].active / nodes),
        )
        for name in names
    ]
    granted = turns(standings, seen.plan.job.spec.execution.parallelism)
    return {name: share * nodes for name, share in zip(names, granted, strict=True)}
