"""An entry's values of one metric, job after job: what regressions and change points are looked for in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from math import fsum
from typing import TYPE_CHECKING

from velodrome.metrics import measurable

if TYPE_CHECKING:
    from velodrome.results.marks import Acknowledgement, Baseline
    from velodrome.results.records import JobInfo
    from velodrome.store import EntryFacts, JobSamples, Reader

# How many of a board's newest jobs its objectives, its verdicts and the baselines of those come from, whoever asks.
# What changed longer ago is history, and a walk over it would cost every new job.
JOBS_BACK = 60


@dataclass(frozen=True)
class Point:
    """What one job measured of an entry's metric, in one cohort: `values` by seed, of `planned` ones.

    `code` is the digest of the entry's own code, None where it has none; `mixed_code` says that its trials
    ran different code.
    """

    job_uid: str
    job_name: str
    at: datetime
    entry: str
    cohort_id: str
    values: Mapping[int, float]
    planned: int
    code: str | None = None
    mixed_code: bool = False

    @cached_property
    def mean(self) -> float:
        return fsum(self.values.values()) / len(self.values)

    @property
    def complete(self) -> bool:
        """Whether every planned trial gave a value under these conditions, and all ran the same code."""
        return len(self.values) == self.planned and not self.mixed_code


@dataclass(frozen=True)
class BoardHistory:
    """The newest jobs of a board, oldest first, with their values and the identities of their entries.

    `baselines` and `accepted` are what people said of the board's results.
    """

    jobs: tuple[JobInfo, ...]
    samples: Sequence[Mapping[tuple[str, str], tuple[JobSamples, ...]]]
    facts: Sequence[EntryFacts]
    baselines: Sequence[Baseline] = ()
    accepted: Sequence[Acknowledgement] = ()

    @property
    def ids(self) -> list[Mapping[str, str]]:
        """The identities of each job's entries."""
        return [facts.ids for facts in self.facts]

    @property
    def window(self) -> range:
        """The places of the jobs that the board looks back at."""
        return range(max(0, len(self.jobs) - JOBS_BACK), len(self.jobs))

    def points(self, entry: str, metric_key: str) -> tuple[Point, ...]:
        """The entry's values of the metric, oldest first, in whichever cohorts.

        A job has the entry under its name; or, where it has none of that name, one that is the same by identity: the
        same model and training, called otherwise. A job whose trials saw different conditions gives those of most.
        """
        identity = next((ids[entry] for ids in reversed(self.ids) if entry in ids), None)
        found = []
        for place, (job, ids) in enumerate(zip(self.jobs, self.ids, strict=True)):
            name = entry
            if entry not in job.entries:
                name = next((other for other, known in ids.items() if known == identity), entry)
            found.append(self.point(place, name, metric_key))
        return tuple(point for point in found if point is not None)

    def point(self, place: int, entry: str, metric_key: str) -> Point | None:
        """What the job at that place has of the metric, under the entry's very name; None where it has nothing.

        A value that is too large or too small to have a mean is as good as none.
        """
        job, choice = self.jobs[place], self.samples[place].get((entry, metric_key))
        if not choice:
            return None
        most = max(choice, key=lambda one: (len(one.values), one.cohort_id))
        values = most.values
        if not all(map(measurable, values.values())):
            values = {seed: value for seed, value in values.items() if measurable(value)}
        if not values:
            return None
        code, mixed = self.facts[place].codes.get(entry), entry in self.facts[place].mixed_code
        return Point(job.uid, job.name, job.created_at, entry, most.cohort_id, values, job.repeats, code, mixed)

    def until(self, place: int, limit: int = JOBS_BACK) -> BoardHistory:
        """The history that ended with the job at that place: it and up to `limit` before it."""
        part = slice(max(0, place - limit), place + 1)
        return replace(self, jobs=self.jobs[part], samples=self.samples[part], facts=self.facts[part])


def read_history(reader: Reader, board: str, until: str | None = None, limit: int = JOBS_BACK) -> BoardHistory:
    """The board's newest jobs, the one of the uid `until` and up to `limit` before it. Raises as the store does."""
    jobs: list[JobInfo] = []
    for job in reader.each_job(board, limit + 1):
        if until is None or jobs or job.uid == until:
            jobs.append(job)
        if len(jobs) > limit:
            break
    jobs.reverse()
    uids = [job.uid for job in jobs]
    by_name: list[Mapping[tuple[str, str], tuple[JobSamples, ...]]] = []
    for samples in reader.samples(uids):
        grouped: dict[tuple[str, str], tuple[JobSamples, ...]] = {}
        for one in samples:
            where = one.entry, one.metric_key
            grouped[where] = (*grouped.get(where, ()), one)
        by_name.append(grouped)
    marks = reader.baselines(board), reader.acknowledgements(board)
    return BoardHistory(tuple(jobs), by_name, reader.entry_facts(uids), *marks)
