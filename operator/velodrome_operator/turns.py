"""How the Jobs of one race share `execution.parallelism` if entries need pod templates of their own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far one Job is: `entries` of its trials, at least 1, make a round. `done` of `total` ended; `active` run."""

    entries: int
    done: int
    total: int
    active: int = 0


def turns(jobs: Sequence[JobProgress], parallelism: int) -> list[int]:
    """The `parallelism` that each Job gets now. The sum is at most the race's.

    The Jobs with the fewest complete rounds come first. None of them gets more than is left of its round, so that the
    repeats of all entries alternate. What runs keeps its place: a lower `parallelism` of a Job would end its pods.
    """
    granted = [min(job.active, parallelism) for job in jobs]
    free = parallelism - sum(granted)
    behind = sorted(
        (index for index, job in enumerate(jobs) if job.done < job.total),
        key=lambda index: (_round(jobs[index]), index),
    )
    for index in behind:
        job = jobs[index]
        if free <= 0 or (behind and _round(job) > _round(jobs[behind[0]])):
            break
        left = job.entries - job.done % job.entries - granted[index]
        more = max(0, min(free, left, job.total - job.done - granted[index]))
        granted[index] += more
        free -= more
    return granted


def _round(job: JobProgress) -> int:
    return job.done // job.entries
