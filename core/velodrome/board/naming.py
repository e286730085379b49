"""Tells jobs of the same name apart. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import tzinfo

from velodrome.results.records import JobInfo
from velodrome.units import clock_time


def told_apart(jobs: Iterable[JobInfo], zone: tzinfo | None = None) -> dict[str, str]:
    """By uid, what distinguishes a job from the others of its name: when it was registered; with its uid if that is
    the same too. Empty for a job whose name no other of these has.
    """
    every = list({job.uid: job for job in jobs}.values())
    when = {job.uid: clock_time(job.created_at, "%Y-%m-%d %H:%M", zone) for job in every}
    names = Counter(job.name for job in every)
    moments = Counter((job.name, when[job.uid]) for job in every)
    return {
        job.uid: ""
        if names[job.name] == 1
        else when[job.uid]
        if moments[job.name, when[job.uid]] == 1
        else f"{when[job.uid]}, {job.uid}"
        for job in every
    }
