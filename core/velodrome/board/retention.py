"""Finds the jobs of a board that its retention deletes. `overdue` decides, and is pure; `overdue_of` reads what it
needs.

These jobs stay, however old they are:

- the newest job;
- jobs that are pinned as a baseline, or that a job which stays names as its baseline;
- for each entry of the board, the newest job that has it, and the newest job with values of it;
- jobs whose races still run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader

_JOBS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Retention:
    """What a board keeps: at most `jobs` of its newest jobs, and no job older than `age`. None means no limit.

    A job that is past either limit is deleted.
    """

    jobs: int | None = None
    age: timedelta | None = None

    def past(self, place: int, created_at: datetime, now: datetime) -> bool:
        """Whether the job at this place is past a limit. The newest job has the place 0."""
        too_many = self.jobs is not None and place >= self.jobs
        return too_many or (self.age is not None and now - created_at > self.age)


def overdue(jobs: Sequence[JobInfo], rules: Retention, stays: Collection[str], now: datetime) -> list[JobInfo]:
    """The jobs to delete, oldest first. `jobs` are all jobs of a board, newest first. `stays` has uids to keep."""
    kept = {job.uid for place, job in enumerate(jobs) if place == 0 or not rules.past(place, job.created_at, now)}
    kept.update(stays)
    while more := _named(jobs, kept) - kept:
        kept |= more
    return [job for job in reversed(jobs) if job.uid not in kept]


def _named(jobs: Sequence[JobInfo], kept: Collection[str]) -> set[str]:
    """The baselines that the `kept` jobs name, by uid or as the newest older job of a name."""
    found = set()
    for place, job in enumerate(jobs):
        rules = job.document.get("spec", {}).get("regression") or {}
        name = rules.get("baseline") if job.uid in kept else None
        if name is not None:
            older = (other.uid for other in jobs[place + 1 :] if name in (other.uid, other.name))
            found.update([next(older, job.uid)])
    return found


def overdue_of(store: Reader, board: str, rules: Retention, going: Iterable[str], now: datetime) -> list[JobInfo]:
    """The jobs of a board to delete, oldest first. `going` has the uids of jobs whose races still run.

    Raises:
        As the store does.
    """
    jobs = list(store.each_job(board, _JOBS_AT_ONCE))
    if not any(rules.past(place, job.created_at, now) for place, job in enumerate(jobs)):
        return []
    pinned = {mark.job_uid for mark in store.baselines(board)}
    return overdue(jobs, rules, {*pinned, *going, *_holders(store, board, jobs)}, now)


def _holders(store: Reader, board: str, jobs: Sequence[JobInfo]) -> set[str]:
    """For each entry of the board, the newest job that has it, and the newest job with values of it."""
    newest = {state.entry: job.uid for job, state in store.board_entries(board)}
    valued: dict[str, str] = {}
    for start in range(0, len(jobs), _JOBS_AT_ONCE):
        if newest.keys() <= valued.keys():
            break
        uids = [job.uid for job in jobs[start : start + _JOBS_AT_ONCE]]
        for uid, samples in zip(uids, store.samples(uids), strict=True):
            for one in samples:
                valued.setdefault(one.entry, uid)
    return {*newest.values(), *(uid for entry, uid in valued.items() if entry in newest)}
