"""Lays out the values of an objective as arrays: a row for each entry, a column for each job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from velodrome.metrics.catalogue import Metric
from velodrome.stats.levels import JobRows
from velodrome.stats.samples import ROUNDING, Floats, Integers
from velodrome.stats.spread import Bools
from velodrome.trends.history import Point
from velodrome.trends.scales import ChangeScale, scale_of


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry's values that count: `points` by column. `accepted` are columns whose level a person accepted."""

    points: dict[int, Point]
    accepted: frozenset[int]
    pinned: int


def rows_of(lines: Sequence[EntryLine], columns: int, metric: Metric) -> tuple[JobRows, ChangeScale]:
    """The lines as rows of a comparison, with the scale that they are on."""
    most = max(len(point.values) for line in lines for point in line.points.values())
    raw = np.full((len(lines), columns, most), np.nan)
    sets: dict[int, tuple[int, ...]] = {}
    mixed: set[int] = set()
    for row, line in enumerate(lines):
        for column, point in line.points.items():
            ordered = tuple(point.values) if _sorted(point) else tuple(sorted(point.values))
            raw[row, column, : len(ordered)] = [point.values[seed] for seed in ordered]
            if sets.setdefault(column, ordered) != ordered:
                mixed.add(column)
    numbers: dict[tuple[int, ...], int] = {}
    seeds = np.arange(columns) + len(lines) * columns
    for column, found in sets.items():
        if column not in mixed:
            seeds[column] = numbers.setdefault(found, len(numbers))
    with np.errstate(invalid="ignore"):
        scale = scale_of(metric, positive=not (raw <= 0).any())
    values = scale.to(raw)
    count = (~np.isnan(values)).sum(axis=2)
    own, paired = _noise(values, count, seeds)
    accepted = np.zeros((len(lines), columns), dtype=np.bool_)
    for row, line in enumerate(lines):
        accepted[row, list(line.accepted)] = True
    pinned = np.array([line.pinned for line in lines])
    boards = np.zeros(len(lines), dtype=np.int64)
    rows = JobRows(_mean(values, count), own, paired, count, seeds, accepted, pinned, boards, metric.deterministic)
    return rows, scale


def _sorted(point: Point) -> bool:
    seeds = list(point.values)
    return all(a < b for a, b in pairwise(seeds))


def _mean(values: Floats, count: Integers) -> Floats:
    total = np.where(np.isnan(values), 0.0, values).sum(axis=2)
    found: Floats = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return found


def _variance(values: Floats, count: Integers) -> Floats:
    """The variance of the mean of each job's values; 0 for a single one, NaN for none."""
    away = np.where(np.isnan(values), 0.0, values - _mean(values, count)[:, :, None])
    squares = np.einsum("ijk,ijk->ij", away, away)
    found = np.divide(squares, (count - 1) * count, out=np.zeros(count.shape), where=count > 1)
    return np.where(count > 0, found, np.nan)


def _noise(values: Floats, count: Integers, seeds: Integers) -> tuple[Floats, Floats]:
    """The variance of each mean by its own trials, and by pairs with the job before that has the same seeds.

    Values without spread are a coincidence of a coarse metric: the smallest step between two values stands for it.
    """
    step = _smallest_step(values)[:, None]
    floor = np.divide(step**2, count.astype(np.float64) ** 2, out=np.zeros(count.shape), where=count > 0)
    own = _variance(values, count)
    usable = count > 0
    places = np.where(usable, np.arange(count.shape[1]), -1)
    last = np.maximum.accumulate(places, axis=1)
    before = np.concatenate((np.full((len(places), 1), -1), last[:, :-1]), axis=1)
    same: Bools = usable & (before >= 0) & (seeds[np.maximum(before, 0)] == seeds) & (count > 1)
    earlier = np.take_along_axis(values, np.maximum(before, 0)[:, :, None], axis=1)
    differences = values - earlier
    pairs = (~np.isnan(differences)).sum(axis=2)
    paired = np.where(same & (pairs == count), _variance(differences, pairs) / 2, np.nan)
    return np.where(own <= (ROUNDING * np.abs(_mean(values, count))) ** 2, floor, own), np.where(
        paired <= (ROUNDING * np.abs(_mean(values, count))) ** 2, floor, paired
    )


def _smallest_step(values: Floats) -> Floats:
    """For each row, the smallest difference between two values that is more than rounding; 0 without one."""
    ordered = np.sort(values.reshape(len(values), -1), axis=1)  # NaN last
    steps = np.diff(ordered, axis=1)
    real = steps > ROUNDING * np.maximum(np.abs(ordered[:, 1:]), np.abs(ordered[:, :-1]))
    least = np.where(real, steps, np.inf).min(axis=1, initial=np.inf)
    return np.where(np.isfinite(least), least, 0.0)
