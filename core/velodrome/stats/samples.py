"""The values to compare: an entry's values by seed, and the table of several entries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from velodrome.metrics.catalogue import LARGEST, SMALLEST, measurable

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Values that differ by less than this share of their magnitude differ only by rounding.
ROUNDING = 8 * float(np.finfo(np.float64).eps)


def relative_change(difference: float, before: float, span: float | None = None) -> float | None:
    """The difference as a share of |before|, or of `span`, the length of the range of an interval scale.

    None if both are missing: `before` is 0, and there is no span.
    """
    whole = span or abs(before)
    return difference / whole if whole else None


@dataclass(frozen=True, slots=True)
class Sample:
    """One entry's values of one metric, by the seed of their trials.

    Raises:
        ValueError: there is no value, or one is not finite, or is too large or small to be squared (outside 1e±100).
    """

    name: str
    values: Mapping[int, float]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"entry {self.name!r} has no values: list it as incomplete instead of ranking it")
        for seed, value in self.values.items():
            require_measurable(value, f"entry {self.name!r}, seed {seed}")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Several samples as one array: a row for each entry, a column for each seed of any entry, NaN where missing.

    `mean`, `variance` (n - 1 in the denominator; NaN if n is 1) and `count` have one element for each row.
    `rounding` is the largest difference that rounding alone can make in a row. `resolution` is the smallest step
    between two different values of the table. It is 0 if there are no different values, or if the metric is
    deterministic.
    """

    values: Floats
    present: NDArray[np.bool_]
    count: Integers
    mean: Floats
    variance: Floats
    rounding: Floats
    resolution: float


def tabulate(samples: Sequence[Sample], *, deterministic: bool = False) -> Table:
    """The table of `samples`, rows in their order, columns in order of the seeds.

    `deterministic` comes from the catalogue: the metric's values follow from the model, whatever the seed.
    """
    seeds = sorted({seed for sample in samples for seed in sample.values})
    column = {seed: index for index, seed in enumerate(seeds)}
    values = np.full((len(samples), len(seeds)), np.nan)
    for row, sample in enumerate(samples):
        values[row, [column[seed] for seed in sample.values]] = list(sample.values.values())
    present = ~np.isnan(values)
    count = present.sum(axis=1)
    mean, variance, spread = moments(values, present, count)
    rounding = ROUNDING * np.abs(values).max(axis=1, initial=0.0, where=present)
    constant = spread <= rounding
    variance = np.where(constant & (count > 1), 0.0, variance)
    resolution = 0.0 if deterministic else _smallest_step(values[present], varies=not constant.all())
    return Table(values, present, count, mean, variance, rounding, resolution)


def moments(values: Floats, present: NDArray[np.bool_], count: Integers) -> tuple[Floats, Floats, Floats]:
    """For each row: its mean, its variance (NaN if `count` is 1), and the largest distance from its mean."""
    mean = values.sum(axis=1, where=present) / count
    deviation = np.where(present, values - mean[:, None], 0.0)
    squares = np.einsum("ij,ij->i", deviation, deviation)
    variance = np.divide(squares, count - 1, out=np.full(len(values), np.nan), where=count > 1)
    return mean, variance, np.abs(deviation).max(axis=1, initial=0.0)


def require_measurable(value: float, where: str) -> None:
    """Refuses values without a mean: NaN, infinities, and magnitudes whose square overflows or vanishes.

    Raises:
        ValueError: the value is one of these; the message starts with `where`.
    """
    if not math.isfinite(value):
        raise ValueError(f"{where}: {value} is not finite: record the trial as failed instead")
    if not measurable(value):
        raise ValueError(f"{where}: {value} is outside {SMALLEST:g} to {LARGEST:g} in magnitude: use another unit")


def _smallest_step(values: Floats, *, varies: bool) -> float:
    """The smallest difference between neighbours, in order of size, that rounding can't explain.

    Without such a difference: 0, or the largest difference that rounding can explain, if some row `varies` by several
    of them.
    """
    ordered = np.sort(values)
    steps = np.diff(ordered)
    real = steps[steps > ROUNDING * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))]
    if len(real):
        return float(real.min())
    return float(steps.max()) if varies else 0.0
