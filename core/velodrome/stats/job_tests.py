"""What a comparison of a job with its level is made of, what it says, and what it could have seen. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from velodrome.stats.samples import ROUNDING, Floats, Integers
from velodrome.stats.spread import Bools

Fields = Sequence[NDArray[Any]]  # of a `Side`, in their order

_POWER = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class JobRows:
    """What is followed: a row for each entry, a column for each job, oldest first. NaN where a job does not count.

    - `means` are on the scale of the comparison.
    - `own`, `paired` and `seeds`: see `TrialNoise`. `count` is the number of trials.
    - `accepted` says that a person accepted the job's level. `pinned` is the column of the job to compare with, or -1.
    - `boards` has the same number for rows that may lend each other their spread.
    - `deterministic` says that values do not vary, so that any difference is one.
    """

    means: Floats
    own: Floats
    paired: Floats
    count: Integers
    seeds: Integers
    accepted: Bools
    pinned: Integers
    boards: Integers
    deterministic: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """When a change counts: at level `alpha`, if `size(difference, centre)` is at least 1.

    `least(centre)` is the smallest difference upwards that counts. `better` is 1 if larger values are better, else -1.
    """

    alpha: float
    size: Callable[[Floats, Floats], Floats]
    least: Callable[[Floats], Floats]
    better: int


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One comparison of a job, an element for each row: the mean of `jobs` jobs minus `centre`, that of `level_jobs`.

    `own` is the difference of this job alone. `error` is the standard error of `difference`, with `freedom` degrees of
    freedom of Student's t. `p_value` is two-sided and corrected for the comparisons of the job, of which this one may
    use `share` of the error rate; it is infinite where this comparison does not count. `samples` is the number of
    trials in the level, and `first` and `last` are the columns of its oldest and its newest job.
    """

    compared: Bools
    difference: Floats
    centre: Floats
    own: Floats
    jobs: Integers
    level_jobs: Integers
    samples: Integers
    error: Floats
    freedom: Floats
    share: Floats
    p_value: Floats
    first: Integers
    last: Integers
    drift: Bools

    def only(self, row: int) -> Side:
        """The comparison of one row alone."""
        return Side(*(getattr(self, name)[row : row + 1] for name in Side.__dataclass_fields__))


@dataclass(frozen=True, slots=True, eq=False)
class JobTests:
    """The comparisons of one job with its level.

    `said` is the one that says most: of this job alone, of it and those just before it, or (`drift`) of the newest jobs
    with the oldest of the level. Where none is significant, it is `alone`. `spread` is the standard deviation between
    jobs beyond what trials show. `pending` says that the job before already looked worse than the same level.
    """

    said: Side
    alone: Side
    spread: Floats
    pending: Bools

    @property
    def p_value(self) -> Floats:
        """Two-sided, corrected for the comparisons of the job. 1 where there is nothing to compare with."""
        return np.minimum(self.said.p_value, 1.0)


def critical(side: Side, alpha: Floats | float) -> Floats:
    """The smallest difference with a p-value of at most `alpha`."""
    found: Floats = np.where(side.error > 0, stdtrit(side.freedom, 1 - alpha * side.share / 2) * side.error, 0.0)
    return found


def visible(alone: Side, alpha: float, rule: Rule) -> Floats:
    """The smallest difference that a job alone would have shown with a probability of 80 %.

    Its estimate, which is normal around the truth, must pass the test at `alpha`, and be large enough to count.
    """
    found: Floats = np.maximum(critical(alone, alpha), rule.least(alone.centre)) + ndtri(_POWER) * alone.error
    return found


def two_sided(difference: Floats, centre: Floats, error: Floats, freedom: Floats) -> Floats:
    """P(|T| >= |difference| / error). If the error is 0: whether there is any difference beyond rounding."""
    ratio = np.divide(np.abs(difference), error, out=np.zeros_like(error), where=error > 0)
    exact = np.where(np.abs(difference) > ROUNDING * np.maximum(np.abs(centre), np.abs(difference)), 0.0, 1.0)
    found: Floats = np.where(error > 0, 2 * stdtr(freedom, -ratio), exact)
    return found


def of_most(parts: Fields, alpha: float) -> Side:
    """For each row the comparison with the smallest p-value; the first where none is significant. Parts are fields."""
    p_values = parts[list(Side.__dataclass_fields__).index("p_value")]
    best, rows = p_values.argmin(axis=0), np.arange(p_values.shape[1])
    best = np.where(p_values[best, rows] <= alpha, best, 0)
    return Side(*(part[best, rows] for part in parts))
