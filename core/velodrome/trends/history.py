"""An entry's values of one metric, job after job. Regressions and change points are found in these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import measurable
from velodrome.results.objectives import board_objectives

if TYPE_CHECKING:
    from velodrome.metrics.catalogue import MetricKey
    from velodrome.results.marks import Acknowledgement, Baseline
    from velodrome.results.records import JobInfo
    from velodrome.store import EntryFacts, JobSamples, Reader

# The number of a board's newest jobs that give its objectives, its verdicts and their baselines, for every caller.
# Older changes don't count, because every new job would take the time to go through them.
JOBS_BACK = 60


@dataclass(frozen=True)
class Point:
    """A job's values of an entry's metric in one cohort: `values` by seed, where `planned` values were planned.

    `code` is the digest of the entry's own code, or None without own code. `mixed_code` says that its trials ran
    different code.
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

    @property
    def complete(self) -> bool:
        """Whether every planned trial has a value in this cohort, and all trials ran the same code."""
        return len(self.values) == self.planned and not self.mixed_code


@dataclass(frozen=True)
class BoardHistory:
    """The newest jobs of a board, oldest first, with their values and the identities of their entries.

    `baselines` and `accepted` are the marks on the board's results.
    """

    jobs: tuple[JobInfo, ...]
    samples: Sequence[Mapping[tuple[str, str], tuple[JobSamples, ...]]]
    facts: Sequence[EntryFacts]
    baselines: Sequence[Baseline] = ()
    accepted: Sequence[Acknowledgement] = ()
    _known: dict[tuple[str, str, str], Point | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ids(self) -> list[Mapping[str, str]]:
        """The identities of each job's entries."""
        return [facts.ids for facts in self.facts]

    @property
    def window(self) -> range:
        """The places of the jobs that count for the board."""
        return range(max(0, len(self.jobs) - JOBS_BACK), len(self.jobs))

    def points(self, entry: str, metric_key: str) -> tuple[Point, ...]:
        """The entry's values of the metric in all cohorts, oldest first.

        If a job has no entry of this name, its entry with the same identity counts: the same model and training with a
        different name. If a job's trials ran under different conditions, the cohort with most values counts.
        """
        found = (self.point(place, self.names(place, (entry,))[0], metric_key) for place in range(len(self.jobs)))
        return tuple(point for point in found if point is not None)

    def names(self, place: int, entries: tuple[str, ...]) -> tuple[str, ...]:
        """By what names the job at this place has these entries. An entry that it lacks keeps its name."""
        job, known = self.jobs[place], frozenset(self.jobs[place].entries)
        if job.entries == entries or known.issuperset(entries):
            return entries
        under: dict[str | None, str] = {None: ""}
        for name, identity in self.facts[place].ids.items():
            under.setdefault(identity, name)
        return tuple(entry if entry in known else under.get(self._identities.get(entry)) or entry for entry in entries)

    @cached_property
    def _identities(self) -> dict[str, str]:
        """The newest identity of each entry, by name."""
        return {name: identity for ids in self.ids for name, identity in ids.items()}

    def point(self, place: int, entry: str, metric_key: str) -> Point | None:
        """The values of the metric in the job at this place, for an entry of exactly this name. None without values.

        A value that is too large or too small to have a mean is left out.
        """
        where = self.jobs[place].uid, entry, metric_key
        if where not in self._known:
            self._known[where] = self._read(place, entry, metric_key)
        return self._known[where]

    def _read(self, place: int, entry: str, metric_key: str) -> Point | None:
        job, choice = self.jobs[place], self.samples[place].get((entry, metric_key))
        if not choice:
            return None
        most = most_values(choice)
        values = most.values
        if not all(map(measurable, values.values())):
            values = {seed: value for seed, value in values.items() if measurable(value)}
        if not values:
            return None
        code, mixed = self.facts[place].codes.get(entry), entry in self.facts[place].mixed_code
        planned = job.planned(entry)
        return Point(job.uid, job.name, job.created_at, entry, most.cohort_id, values, planned, code, mixed)

    def until(self, place: int, limit: int = JOBS_BACK) -> BoardHistory:
        """The history up to the job at this place: the job and up to `limit` jobs before it."""
        part = slice(max(0, place - limit), place + 1)
        return replace(self, jobs=self.jobs[part], samples=self.samples[part], facts=self.facts[part])


def most_values(choice: Sequence[JobSamples]) -> JobSamples:
    """Of an entry's values of one metric in one job, those of the cohort that has most of them."""
    return choice[0] if len(choice) == 1 else max(choice, key=lambda one: (len(one.values), one.cohort_id))


def read_history(
    reader: Reader, board: str, until: str | None = None, limit: int = JOBS_BACK, more: Iterable[MetricKey] = ()
) -> BoardHistory:
    """The job with the uid `until`, or else the board's newest, and up to `limit` jobs before it.

    It has the values of these jobs' objectives, and of the metrics in `more`. Raises as the store does.
    """
    jobs: list[JobInfo] = []
    for job in reader.each_job(board, limit + 1):
        if until is None or jobs or job.uid == until:
            jobs.append(job)
        if len(jobs) > limit:
            break
    wanted = {str(key) for key in (*(one.key for one in board_objectives(jobs)), *more)}
    jobs.reverse()
    uids = [job.uid for job in jobs]
    by_name: list[Mapping[tuple[str, str], tuple[JobSamples, ...]]] = []
    for samples in reader.samples(uids, wanted):
        grouped: dict[tuple[str, str], tuple[JobSamples, ...]] = {}
        for one in samples:
            where = one.entry, one.metric_key
            grouped[where] = (*grouped.get(where, ()), one)
        by_name.append(grouped)
    marks = reader.baselines(board), reader.acknowledgements(board)
    return BoardHistory(tuple(jobs), by_name, reader.entry_facts(uids), *marks)
