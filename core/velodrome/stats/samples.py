"""The values to compare: an entry's values by seed, and the table of several entries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from velodrome.metrics.catalogue import LARGEST, SMALLEST, Scale, measurable

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Values that differ by less than this share of their magnitude differ only by rounding.
ROUNDING = 8 * float(np.finfo(np.float64).eps)

# From this number of values on, a trimmed mean leaves out 15 % of them at each end, rounded down.
TRIMMED_FROM = 10


def trimmed(count: Integers) -> Integers:
    """How many of `count` values a trimmed mean leaves out at each end."""
    left_out: Integers = np.where(count >= TRIMMED_FROM, 3 * count // 20, 0)
    return left_out


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


@dataclass(frozen=True, slots=True)
class Moments:
    """Of each row: the mean, its squared standard error with the degrees of freedom, and the largest distance from the
    middle of the values that count. The error is NaN for a single value.
    """

    mean: Floats
    squared_error: Floats
    freedom: Floats
    spread: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Several samples as one array: a row for each entry, a column for each seed of any entry, NaN where missing.

    With `logs`, the values are natural logarithms, and means are trimmed. `mean`, `squared_error` (of the mean; 0
    without spread) and `freedom` are as in `Moments`. `rounding` is the largest difference that rounding alone can make
    in a row. `resolution` is the smallest step between two different values of the table. It is 0 if there are no
    different values, or if the metric is deterministic.
    """

    values: Floats
    present: NDArray[np.bool_]
    count: Integers
    mean: Floats
    squared_error: Floats
    freedom: Floats
    rounding: Floats
    resolution: float
    logs: bool


def takes_logs(samples: Sequence[Sample], scale: Scale, *, deterministic: bool = False) -> bool:
    """Whether samples of a metric on this scale are compared by their logarithms: a value of 0 has none."""
    return scale == "ratio" and not deterministic and all(min(one.values.values()) > 0 for one in samples)


def tabulate(samples: Sequence[Sample], *, deterministic: bool = False, logs: bool = False) -> Table:
    """The table of `samples`, rows in their order, columns in order of the seeds.

    `deterministic` comes from the catalogue: the metric's values follow from the model, whatever the seed. So even a
    single value has the error 0. `logs` needs values above 0.
    """
    seeds = sorted({seed for sample in samples for seed in sample.values})
    column = {seed: index for index, seed in enumerate(seeds)}
    values = np.full((len(samples), len(seeds)), np.nan)
    for row, sample in enumerate(samples):
        values[row, [column[seed] for seed in sample.values]] = list(sample.values.values())
    present = ~np.isnan(values)
    count = present.sum(axis=1)
    least = 0.0
    if logs:
        values, least = np.log(values), 1.0  # an error of rounding is a share of the value: absolute in its logarithm
    found = moments(values, present, count, trim=logs)
    rounding = ROUNDING * np.maximum(least, np.abs(values).max(axis=1, initial=0.0, where=present))
    constant = found.spread <= rounding
    squared_error = np.where(constant & (deterministic | (count > 1)), 0.0, found.squared_error)
    resolution = 0.0 if deterministic else _smallest_step(values[present], least, varies=not constant.all())
    return Table(values, present, count, found.mean, squared_error, found.freedom, rounding, resolution, logs)


def moments(values: Floats, present: NDArray[np.bool_], count: Integers, *, trim: bool = False) -> Moments:
    """The moments of each row, of the values that are present.

    With `trim`, the mean leaves out `trimmed(count)` values at each end, and its error is Yuen's, from the Winsorized
    values (those left out count as the next ones). Two values that are left out at each end, or a single one, cost one
    more degree of freedom than Yuen takes: with hers, too many equal models are called different
    (docs/decisions/0042-scales-ranges-and-fronts.md).

    Source: Yuen (1974), "The two-sample trimmed t for unequal population variances", Biometrika 61(1).
    """
    cut = trimmed(count) if trim else np.zeros_like(count)
    kept = count - 2 * cut
    if cut.any():
        place = np.arange(values.shape[1])
        ordered = np.sort(np.where(present, values, np.inf), axis=1)
        counts = (place >= cut[:, None]) & (place < (count - cut)[:, None])
        low = np.take_along_axis(ordered, cut[:, None], axis=1)
        high = np.take_along_axis(ordered, (count - cut - 1)[:, None], axis=1)
        total = ordered.sum(axis=1, where=counts)
        mean, middle = total / kept, (total + cut * (low + high)[:, 0]) / count
        values = np.clip(values, low, high)
    else:
        mean = middle = values.sum(axis=1, where=present) / count
    deviation = np.where(present, values - middle[:, None], 0.0)
    squares = np.einsum("ij,ij->i", deviation, deviation)
    several = kept > 1
    squared_error = np.divide(squares, kept * (kept - 1), out=np.full(len(values), np.nan), where=several)
    freedom = (kept - 1 - (cut + 1) // 2).astype(np.float64)
    return Moments(mean, squared_error, freedom, np.abs(deviation).max(axis=1, initial=0.0))


def require_measurable(value: float, where: str) -> None:
    """Refuses values without a mean: NaN, infinities, and magnitudes whose square overflows or vanishes.

    Raises:
        ValueError: the value is one of these; the message starts with `where`.
    """
    if not math.isfinite(value):
        raise ValueError(f"{where}: {value} is not finite: record the trial as failed instead")
    if not measurable(value):
        raise ValueError(f"{where}: {value} is outside {SMALLEST:g} to {LARGEST:g} in magnitude: use another unit")


def _smallest_step(values: Floats, least: float, *, varies: bool) -> float:
    """The smallest difference between neighbours, in order of size, that rounding can't explain.

    Rounding is a share of the magnitude, or of `least` where that is larger. Without such a difference: 0, or the
    largest difference that rounding can explain, if some row `varies` by several of them.
    """
    ordered = np.sort(values)
    steps = np.diff(ordered)
    magnitude = np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    real = steps[steps > ROUNDING * np.maximum(magnitude, least)]
    if len(real):
        return float(real.min())
    return float(steps.max()) if varies else 0.0
