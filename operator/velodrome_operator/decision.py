"""One pass over a BenchmarkJob: from what was observed to what is to be done. Pure: no API, no store, no clock.

Every pass looks at the whole state, no matter what woke it, and lists everything that is to be done. To do it twice, or
to be killed in between, ends in the same state. The status says when a race is over: once Complete or Failed is True,
nothing is started again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from velodrome_operator.children import Manifest
from velodrome_operator.missing_results import (
    RESULT_GRACE,
    MissingResult,
    missing_results,
    out_of_attempts,
    trials_ended,
)
from velodrome_operator.outcome import Ending, ending_of, podless, startup_left
from velodrome_operator.pass_input import Observation
from velodrome_operator.turns import JobProgress, turns

# How often to ask about a Job that has no pod.
LOOK_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, in this order. `again` is the longest wait for a next pass, None if only events matter."""

    create: tuple[Manifest, ...] = ()
    parallelism: Mapping[str, int] = field(default_factory=dict)
    suspend: Mapping[str, bool] = field(default_factory=dict)
    missing: tuple[MissingResult, ...] = ()
    ending: Ending | None = None
    stop: tuple[str, ...] = ()
    delete_parent: bool = False
    again: timedelta | None = None


def decide(seen: Observation, wanted: Sequence[Manifest], groups: Mapping[str, Sequence[int]]) -> Decision:
    """Decides what a pass does.

    `wanted` are the manifests of all children. `groups` has, by Job name, the trial index of each completion index.
    """
    end = _end(seen.status)
    if end is not None:
        return _after_the_end(seen, *end, groups)
    ending = ending_of(seen)
    if ending is not None:
        return Decision(ending=ending, stop=tuple(name for name, job in seen.jobs.items() if not job.finished))
    missing, later = missing_results(seen, groups)
    out, soon = out_of_attempts(seen, groups)
    missing += tuple(item for item in out if item.index not in {known.index for known in missing})
    create = tuple(child for child in wanted if child["kind"] != "Job" or child["metadata"]["name"] not in seen.jobs)
    if _last_round_ends(seen, groups):
        create = ()
    shares = _shares(seen, groups)
    waits = [later, soon, startup_left(seen), LOOK_AGAIN if podless(seen) else None]
    return Decision(
        create=create if any(child["kind"] == "Job" for child in create) else (),
        parallelism={name: share for name, share in shares.items() if seen.jobs[name].parallelism != share},
        suspend=suspensions(seen),
        missing=missing,
        again=min((wait for wait in waits if wait is not None), default=None),
    )


def _end(status: Mapping[str, Any]) -> tuple[str, datetime] | None:
    """How and when the race ended, by its status. None if it has not ended."""
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return condition["type"], datetime.fromisoformat(condition["lastTransitionTime"])
    return None


def _after_the_end(seen: Observation, how: str, ended: datetime, groups: Mapping[str, Sequence[int]]) -> Decision:
    """Stops a failed race's Jobs. A complete race's Jobs have nothing left to do, and keep their pods' logs.

    A Job would replace a pod that was lost after its report. So a Job may make no pods any more, and what still runs a
    minute after the end has nothing left to report.
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


def suspensions(seen: Observation) -> dict[str, bool]:
    """The Jobs whose `suspend` is to change. If Kueue queues the Jobs, Kueue alone sets it."""
    if seen.kueue:
        return {}
    return {
        name: seen.suspended for name, job in seen.jobs.items() if job.suspended != seen.suspended and not job.finished
    }


def _shares(seen: Observation, groups: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The parallelism that each Job gets now."""
    shares: dict[str, int] = {}
    for names in _rounds(seen, groups):
        going = [name for name in names if name in seen.jobs and not seen.jobs[name].finished]
        if not _is_over(seen, names, groups):
            shares |= _of_round(seen, names, going, groups)
        elif names != _rounds(seen, groups)[-1]:
            # Such a Job would make a pod for one that was lost after its report, and that pod would have nothing to do.
            shares |= dict.fromkeys((name for name in going if name not in _running(seen)), 0)
    return shares


def _rounds(seen: Observation, groups: Mapping[str, Sequence[int]]) -> list[list[str]]:
    """The names of the Jobs of each round, in the order of the rounds."""
    found: dict[int, list[str]] = {}
    for name in groups:
        found.setdefault(seen.job_rounds.get(name, 1), []).append(name)
    return [found[number] for number in sorted(found)]


def _is_over(seen: Observation, names: Sequence[str], groups: Mapping[str, Sequence[int]]) -> bool:
    """Whether all trials of these Jobs have a result."""
    return all(index in seen.finished for name in names for index in groups[name])


def _running(seen: Observation) -> set[str]:
    """The Jobs of which a pod runs that nobody deletes."""
    return {pod.job for pod in seen.pods if pod.phase == "Running" and not pod.deleting}


def _last_round_ends(seen: Observation, groups: Mapping[str, Sequence[int]]) -> bool:
    """Whether pods of an earlier round still end. Trials of the next round would share their node with them."""
    *before, _ = _rounds(seen, groups) or [[]]
    return not _running(seen).isdisjoint(name for names in before for name in names)


def _of_round(
    seen: Observation, names: Sequence[str], going: Sequence[str], groups: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """The parallelism that each Job of a round gets, if it has not finished."""
    nodes = seen.plan.job.spec.runner.nodes
    if len(names) == 1:
        parallelism = seen.plan.job.spec.execution.parallelism
        return {name: min(parallelism * nodes, len(groups[name])) for name in going}
    entries = len(seen.plan.configs)
    progress = [
        JobProgress(
            # fewer if trials were taken over
            entries=math.ceil(len(groups[name]) / nodes / len({index // entries for index in groups[name]})),
            done=sum(1 for _ in trials_ended(seen.jobs[name], groups[name], nodes)),
            total=len(groups[name]) // nodes,
            active=math.ceil(seen.jobs[name].active / nodes),
        )
        for name in going
    ]
    granted = turns(progress, seen.plan.job.spec.execution.parallelism)
    return {name: share * nodes for name, share in zip(going, granted, strict=True)}
