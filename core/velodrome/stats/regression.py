"""Is this job's entry worse than its baseline? One comparison, which includes the noise between jobs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from velodrome.metrics.catalogue import Direction
from velodrome.stats.comparison import compare_rows
from velodrome.stats.samples import ROUNDING, Sample, relative_change, tabulate

Verdict = Literal["Regressed", "Improved", "Unchanged"]

# For the spread between jobs, the spread over seeds counts as evidence from this many jobs.
_PRIOR_JOBS = 4


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a mean: `relative` is (new - old) / |old|, and `low` and `high` bound it at the given level.

    On an interval scale, whose 0 has no meaning, it is relative to `span`, the length of the range.

    `p_value` is two-sided, for this comparison alone. `floor` says that the spread between unchanged jobs decided,
    instead of the spread over seeds. All but `relative` are None if a side has a single value. `relative` and its
    bounds are None if the old mean is 0 and there is no `span`. `difference` is new - old in the metric's unit, and
    each of `errors` a standard error of it with its degrees of freedom: the test whose answer is the most careful one
    counts.
    """

    mean: float
    baseline_mean: float
    relative: float | None
    low: float | None
    high: float | None
    p_value: float | None
    floor: bool
    difference: float = 0.0
    errors: tuple[tuple[float, float], ...] = ()
    span: float | None = None

    def bounded(self, confidence: float) -> Change:
        """The same change with its bounds at another level (0 < confidence < 1); without errors they stay unknown.

        They exclude 0 exactly where `p_value` is less than 1 - `confidence`.
        """
        if not self.errors:
            return self
        margin = max(
            float(stdtrit(freedom, (1 + confidence) / 2)) * error if error > 0 else 0.0
            for error, freedom in self.errors
        )
        low = relative_change(self.difference - margin, self.baseline_mean, self.span)
        return replace(self, low=low, high=relative_change(self.difference + margin, self.baseline_mean, self.span))


def change(
    new: Sample,
    old: Sample,
    unchanged: Sequence[float] = (),
    confidence: float = 0.99,
    *,
    deterministic: bool = False,
    span: float | None = None,
) -> Change:
    """The change from `old` to `new`, tested at their common seeds if possible, else by Welch's test.

    The trials of one job share a node, a temperature and a time, and the spread over seeds does not show those effects.
    `unchanged` are the means of earlier jobs of this entry between which nothing changed (A/A runs, the baseline
    included). Their variance s² has m - 1 degrees of freedom. The variance that the seeds alone predict, v, counts as 4
    more (an empirical Bayes estimate: Smyth 2004, "Linear models and empirical Bayes methods", section 4, with the
    prior's weight fixed). So the difference of two jobs has the variance 2 · (4 · v + (m - 1) · s²) / (4 + m - 1) and
    4 + m - 1 degrees of freedom. The larger of the two p-values and the wider of the two intervals count.
    `deterministic`: see `compare`. `span`: see `Change`.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence} is not between 0 and 1")
    table = tabulate([Sample("new", new.values), Sample("old", old.values)], deterministic=deterministic)
    test = compare_rows(table, np.array([0]), np.array([1]))
    mean, before = float(table.mean[0]), float(table.mean[1])
    # The means of all values, and the difference at common seeds: the two disagree if seeds are missing.
    difference, error, freedom = float(test.difference[0]), float(test.standard_error[0]), float(test.freedom[0])
    p_value = float(test.p_value[0])
    if math.isnan(p_value):
        return Change(mean, before, relative_change(difference, before, span), None, None, None, floor=False)
    errors = [(error, freedom)]
    floored = False
    if len(unchanged) >= 2:
        jobs = len(unchanged) - 1
        spread = float(np.var(unchanged, ddof=1))
        degrees = _PRIOR_JOBS + jobs
        floor = math.sqrt(2 * (_PRIOR_JOBS * error**2 / 2 + jobs * spread) / degrees)
        if floor > ROUNDING * abs(before):
            floor_p = float(2 * stdtr(degrees, -abs(difference) / floor))
            floored = floor_p > p_value
            p_value = max(p_value, floor_p)
            errors.append((floor, degrees))
    relative = relative_change(difference, before, span)
    found = Change(mean, before, relative, None, None, p_value, floored, difference, tuple(errors), span)
    return found.bounded(confidence)


def verdict(
    relative: float, adjusted_p_value: float, direction: Direction, alpha: float, min_relative_change: float
) -> Verdict:
    """The verdict: Regressed or Improved if the change is significant and large enough, else Unchanged."""
    if adjusted_p_value > alpha or abs(relative) < min_relative_change or relative == 0:
        return "Unchanged"
    return "Improved" if (relative > 0) == (direction == "higher") else "Regressed"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order. For any dependence, at most a share α of families contains a false claim.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2).
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = largest
    return adjusted
