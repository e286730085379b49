"""Lays out the values of an objective as arrays: a row for each entry, a column for each job. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING

import numpy as np

from velodrome.metrics.catalogue import LARGEST, SMALLEST, Metric
from velodrome.stats.job_tests import JobRows
from velodrome.stats.samples import ROUNDING, Floats, Integers
from velodrome.stats.spread import Bools
from velodrome.trends.history import BoardHistory, most_values
from velodrome.trends.scales import ChangeScale, scale_of

if TYPE_CHECKING:
    from velodrome.store import JobSamples

_COHORT, _VALUES, _EACH = attrgetter("cohort_id"), attrgetter("values"), methodcaller("values")


@dataclass(frozen=True, slots=True, eq=False)
class BoardLines:
    """What a history has of a metric: a row for each entry with values in its last job, and a column for each job.

    - `values` has a third axis, in the order of the seeds; NaN where there is none. `count` is how many there are.
    - `sets` and `cohorts` number the sets of seeds and the cohorts; -1 without values. `cohort_ids` has their ids.
    - `complete` says that all planned trials have a value, and ran the same code.
    - `names` is by what name the job has the entry.
    """

    entries: tuple[str, ...]
    values: Floats
    count: Integers
    sets: Integers
    cohorts: Integers
    cohort_ids: tuple[str, ...]
    complete: Bools
    names: Sequence[Sequence[str]]

    def only(self, rows: Integers) -> BoardLines:
        """These rows alone."""
        if len(rows) == len(self.entries):
            return self
        parts = (self.values[rows], self.count[rows], self.sets[rows], self.cohorts[rows])
        entries, names = (tuple(self.entries[row] for row in rows), [[of[row] for row in rows] for of in self.names])
        return BoardLines(entries, *parts, self.cohort_ids, self.complete[rows], names)


def measured(history: BoardHistory, metric_key: str) -> BoardLines:
    """What the history has of the metric, as its `points` say for each entry."""
    entries, size = history.jobs[-1].entries, len(history.jobs[-1].entries)
    shape = size, len(history.jobs)
    count = np.zeros(shape, dtype=np.int64)
    sets, cohorts, complete = np.full(shape, -1), np.full(shape, -1), np.zeros(shape, dtype=np.bool_)
    known: dict[str, int] = {}  # cohort ids
    groups: dict[tuple[int, ...], int] = {}  # seeds, in order
    every_row, parts, names = np.arange(size), [], [history.names(place, entries) for place in range(len(history.jobs))]
    for place, (job, samples, facts) in enumerate(zip(history.jobs, history.samples, history.facts, strict=True)):
        choices = list(map(samples.get, zip(names[place], repeat(metric_key))))
        rows = every_row if all(choices) else np.flatnonzero([bool(choice) for choice in choices])
        ones = _one_each([choice for choice in choices if choice])
        for seeds, at, found in _by_seeds(rows, ones):
            count[at, place], sets[at, place] = len(seeds), groups.setdefault(tuple(sorted(seeds)), len(groups))
            parts.append((at, place, found))
        ids = list(map(_COHORT, ones))
        numbers = {cohort_id: known.setdefault(cohort_id, len(known)) for cohort_id in dict.fromkeys(ids)}
        cohorts[rows, place] = (
            [numbers[cohort_id] for cohort_id in ids] if len(numbers) > 1 else [*numbers.values()] or -1
        )
        cohorts[count[:, place] == 0, place] = -1
        planned = job.repeats if job.rounds is None else np.array([job.planned(name) for name in names[place]])
        complete[:, place] = count[:, place] == planned
        if facts.mixed_code:
            complete[:, place] &= [name not in facts.mixed_code for name in names[place]]
    values = np.full((*shape, int(count.max(initial=0))), np.nan)
    for at, place, found in parts:
        values[at, place, : found.shape[1]] = found
    every = BoardLines(entries, values, count, sets, cohorts, tuple(known), complete, names)
    _leave_out(every, history, metric_key, groups)
    return every.only(np.flatnonzero(cohorts[:, -1] >= 0))


def _one_each(choices: Sequence[Sequence[JobSamples]]) -> Sequence[JobSamples]:
    """Of each choice the cohort with most values."""
    flat = list(chain.from_iterable(choices))
    return flat if len(flat) == len(choices) else [most_values(choice) for choice in choices]


def _by_seeds(rows: Integers, ones: Sequence[JobSamples]) -> Iterator[tuple[tuple[int, ...], Integers, Floats]]:
    """The values of one job in groups of the same seeds: the seeds, the rows, and the values in the order of seeds."""
    every = list(map(_VALUES, ones))
    distinct = dict.fromkeys(map(tuple, every))
    for seeds in distinct:
        orders = [order for order, own in enumerate(every) if tuple(own) == seeds] if len(distinct) > 1 else None
        at, some = (rows, every) if orders is None else (rows[orders], [every[one] for one in orders])
        flat = chain.from_iterable(map(_EACH, some))
        found = np.fromiter(flat, np.float64, count=len(seeds) * len(at)).reshape(len(at), len(seeds))
        yield seeds, at, found if sorted(seeds) == list(seeds) else found[:, np.argsort(seeds)]


def _leave_out(found: BoardLines, history: BoardHistory, metric_key: str, groups: dict[tuple[int, ...], int]) -> None:
    """Takes out the values that are too large or too small to have a mean, and what no longer has any."""
    sizes = np.abs(found.values)
    if np.count_nonzero((sizes >= SMALLEST) & (sizes <= LARGEST)) == found.count.sum():
        return
    fine = (sizes == 0) | ((sizes >= SMALLEST) & (sizes <= LARGEST))
    bad = (~fine & (np.arange(sizes.shape[2]) < found.count[:, :, None])).any(axis=2)
    for row, place in np.argwhere(bad).tolist():
        point = history.point(place, found.names[place][row], metric_key)
        kept = {} if point is None else dict(sorted(point.values.items()))
        found.values[row, place] = np.nan
        found.values[row, place, : len(kept)] = list(kept.values())
        found.count[row, place], found.complete[row, place] = len(kept), point is not None and point.complete
        found.sets[row, place] = groups.setdefault(tuple(kept), len(groups)) if kept else -1
        found.cohorts[row, place] = found.cohorts[row, place] if kept else -1


def rows_of(
    found: BoardLines, counted: Bools, accepted: Bools, pinned: Integers, metric: Metric
) -> tuple[JobRows, ChangeScale]:
    """The values of the jobs that are `counted`, as rows of a comparison, with the scale that they are on."""
    raw = np.where(counted[:, :, None], found.values, np.nan)[:, :, : int(found.count[counted].max())]
    rows, columns = counted.shape
    # A number for each set of seeds; one of its own for a job whose entries have different ones.
    high, low = (np.where(counted, found.sets, other) for other in (-1, np.iinfo(np.int64).max))
    first = low.min(axis=0)
    seeds = np.where((high.max(axis=0) == first), first, np.arange(columns) + found.sets.max() + 1)
    with np.errstate(invalid="ignore"):
        scale = scale_of(metric, positive=not (raw <= 0).any())
    values = scale.to(raw)
    count = (~np.isnan(values)).sum(axis=2)
    mean, own, paired = _moments(values, count, seeds)
    boards = np.zeros(rows, dtype=np.int64)
    settled = accepted & counted
    return JobRows(mean, own, paired, count, seeds, settled, pinned, boards, metric.deterministic), scale


def _mean(values: Floats, count: Integers) -> Floats:
    total = np.where(np.isnan(values), 0.0, values).sum(axis=2)
    found: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return found


def _mean_and_variance(values: Floats, count: Integers) -> tuple[Floats, Floats]:
    """The mean of each job's values, and the variance of that mean: 0 for a single value, NaN for none."""
    mean = _mean(values, count)
    away = np.where(np.isnan(values), 0.0, values - mean[:, :, None])
    squares = np.einsum("ijk,ijk->ij", away, away)
    variance = np.divide(squares, (count - 1) * count, out=np.zeros(count.shape), where=count > 1)
    variance[count == 0] = np.nan
    return mean, variance


def _moments(values: Floats, count: Integers, seeds: Integers) -> tuple[Floats, Floats, Floats]:
    """The mean of each job, and its variance by its own trials, and by pairs with the job before that has its seeds.

    Values without spread are a coincidence of a coarse metric: the smallest step between two values stands for it.
    """
    mean, own = _mean_and_variance(values, count)
    none, usable = (ROUNDING * np.abs(mean)) ** 2, count > 0
    places = np.where(usable, np.arange(count.shape[1]), -1)
    last = np.maximum.accumulate(places, axis=1)
    before = np.concatenate((np.full((len(places), 1), -1), last[:, :-1]), axis=1)
    same: Bools = usable & (before >= 0) & (seeds[np.maximum(before, 0)] == seeds) & (count > 1)
    earlier = np.take_along_axis(values, np.maximum(before, 0)[:, :, None], axis=1)
    differences = values - earlier
    pairs = (~np.isnan(differences)).sum(axis=2)
    paired = np.where(same & (pairs == count), _mean_and_variance(differences, pairs)[1] / 2, np.nan)
    few = np.flatnonzero(((own <= none) | (paired <= none)).any(axis=1))  # the steps take a sort, so only where needed
    floor = np.zeros((len(few), count.shape[1]))
    np.divide(_smallest_step(values[few])[:, None] ** 2, count[few].astype(float) ** 2, out=floor, where=usable[few])
    for each in (own, paired):
        each[few] = np.where(each[few] <= none[few], floor, each[few])
    return mean, own, paired


def _smallest_step(values: Floats) -> Floats:
    """For each row, the smallest difference between two values that is more than rounding; 0 without one."""
    ordered = np.sort(values.reshape(len(values), values.shape[1] * values.shape[2]), axis=1)  # NaN last
    steps = np.diff(ordered, axis=1)
    real = steps > ROUNDING * np.maximum(np.abs(ordered[:, 1:]), np.abs(ordered[:, :-1]))
    least = np.where(real, steps, np.inf).min(axis=1, initial=np.inf)
    return np.where(np.isfinite(least), least, 0.0)
