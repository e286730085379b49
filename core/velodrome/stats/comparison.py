"""Is one entry different from another? The test of a pair, and the same test for all pairs of a race at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from velodrome.metrics.catalogue import Scale
from velodrome.stats.groups import sides, split_by_chance
from velodrome.stats.samples import Floats, Integers, Sample, Table, moments, tabulate, takes_logs, trimmed

Method = Literal["paired", "welch"]

# Elements of a temporary array: enough to amortise a numpy call, few enough to stay in the cache.
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Entry `a` against entry `b`: the difference of their means (a minus b, in the metric's unit) and its evidence.

    With `logs`, for a ratio scale, the difference and its bounds are natural logarithms of the ratio a / b.

    `low` and `high` bound the difference at the confidence that was asked for, for this pair alone. `p_value` is
    two-sided and for this pair alone. `adjusted_p_value` is corrected for the whole family of pairs: below α, the two
    are different, and at most a share α of families contains any false claim of this kind. All four are None if a side
    has a single value: such a pair can't be distinguished.

    `n` counts the common seeds if the method is paired, else the values of the shorter side.
    """

    a: str
    b: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    adjusted_p_value: float | None
    n: int
    method: Method
    logs: bool = False

    def reversed(self) -> PairComparison:
        """The same evidence, as `b` against `a`."""
        low, high = (None, None) if self.low is None or self.high is None else (-self.high, -self.low)
        return replace(self, a=self.b, b=self.a, difference=-self.difference, low=low, high=high)


@dataclass(frozen=True, slots=True, eq=False)
class PairTests:
    """The tests of many pairs, one element of each array for each pair.

    `difference` and its `standard_error` are in the metric's unit, or with `logs` natural logarithms of a ratio.
    `freedom` is the degrees of freedom of Student's t.
    `standard_error`, `freedom` and `p_value` (two-sided, of the pair alone) are NaN if a side has a single value.
    """

    difference: Floats
    standard_error: Floats
    freedom: Floats
    p_value: Floats
    n: Integers
    paired: NDArray[np.bool_]
    logs: bool

    def comparison(self, pair: int, names: tuple[str, str], adjusted: float, confidence: float) -> PairComparison:
        """The pair as a record, with the corrected p-value `adjusted` (NaN if there is none)."""
        difference = float(self.difference[pair])
        n = int(self.n[pair])
        method: Method = "paired" if self.paired[pair] else "welch"
        p_value = float(self.p_value[pair])
        if np.isnan(p_value):
            return PairComparison(*names, difference, None, None, None, None, n, method, self.logs)
        error = float(self.standard_error[pair])
        margin = float(stdtrit(self.freedom[pair], (1 + confidence) / 2)) * error if error else 0.0
        return PairComparison(
            *names, difference, difference - margin, difference + margin, p_value, adjusted, n, method, self.logs
        )


def compare(
    a: Sample, b: Sample, confidence: float = 0.95, *, deterministic: bool = False, scale: Scale = "interval"
) -> PairComparison:
    """Test whether `a` and `b` have the same mean, as a family of this one pair: so both p-values are the same.

    - **paired**: Student's t test of the differences at the common seeds, if these are at least two and at least half
      of the seeds of either side: that is the same plan, apart from failures. A seed of only one side has no difference
      within a seed, and is left out.
    - **welch**: Welch's t test of all values, otherwise.

    On a ratio `scale`, the values are their logarithms, and from 10 values on the means are trimmed: Yuen's tests, see
    `velodrome.stats.samples.moments`. A value of 0 has no logarithm, so then all values are compared as they are.

    The tests have no answer for samples without spread. The catalogue says whether a metric is `deterministic`; the
    values never decide that. If it is, different values are different (p = 0) and equal values are not (p = 1). For any
    other metric, differences without spread are a coincidence of a coarse metric: an accuracy on 100 images moves in
    steps of 0.01. Then the smallest spread that the steps allow is used, s² = step² / n, also for a constant side of a
    Welch test. Equal values are not different (p = 1).

    Sources: Student (1908), "The probable error of a mean", Biometrika 6(1); Welch (1947), "The generalization of
    'Student's' problem when several different population variances are involved", Biometrika 34(1-2).

    Raises:
        ValueError: the names are the same, or `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence} is not between 0 and 1")
    if a.name == b.name:
        raise ValueError(f"entry {a.name!r} is compared with itself: give two samples with different names")
    logs = takes_logs([a, b], scale, deterministic=deterministic)
    tests = compare_rows(tabulate([a, b], deterministic=deterministic, logs=logs), np.array([0]), np.array([1]))
    return tests.comparison(0, (a.name, b.name), float(tests.p_value[0]), confidence)


def compare_rows(table: Table, first: Integers, second: Integers) -> PairTests:
    """The test of each pair of rows (`first[k]`, `second[k]`) of the table."""
    common = table.present.astype(np.float64) @ table.present.T.astype(np.float64)
    shared = common[first, second].astype(np.int64)
    either = table.count[first] + table.count[second] - shared
    paired = (shared >= 2) & (2 * shared >= either)

    tests = _welch(table, first, second)
    chosen = np.flatnonzero(paired)
    size = max(1, _CHUNK // max(1, table.values.shape[1]))
    for start in range(0, len(chosen), size):
        chunk = chosen[start : start + size]
        tests.difference[chunk], tests.standard_error[chunk], tests.freedom[chunk] = _paired(
            table, first[chunk], second[chunk]
        )
    tests.n[chosen] = shared[chosen]
    tests.paired[chosen] = True
    _widen(tests, table, first, second)

    rounding = np.maximum(table.rounding[first], table.rounding[second])
    tests.p_value[:] = _two_sided(tests.difference, tests.standard_error, tests.freedom, rounding)
    return tests


def _paired(table: Table, first: Integers, second: Integers) -> tuple[Floats, Floats, Floats]:
    """Mean, standard error and degrees of freedom of the differences at the common seeds of both rows."""
    differences = table.values[first] - table.values[second]
    present = table.present[first] & table.present[second]
    count = present.sum(axis=1)
    found = moments(differences, present, count, trim=table.logs)
    rounding = np.maximum(table.rounding[first], table.rounding[second])
    squared_error = np.where(found.spread <= rounding, _least_error(table, count), found.squared_error)
    return found.mean, np.sqrt(squared_error), found.freedom


def _widen(tests: PairTests, table: Table, first: Integers, second: Integers) -> None:
    """Where trials diverge, raises the error of pairs that lie wholly in different groups to what their split allows.

    Equal entries that diverge split so by chance. A t test can't see that, because neither side varies. So the error
    is at least the one with which the p-value is the split's probability.
    """
    side = sides(table.values, table.present)
    apart = np.flatnonzero(side[first] * side[second] < 0)
    ratio = -stdtrit(tests.freedom[apart], split_by_chance(tests.n[apart]) / 2)
    tests.standard_error[apart] = np.maximum(tests.standard_error[apart], np.abs(tests.difference[apart]) / ratio)


def _least_error(table: Table, count: Integers) -> Floats:
    """The squared standard error of a mean whose values vary as little as the steps of the metric allow."""
    kept = count - 2 * trimmed(count) if table.logs else count
    error: Floats = table.resolution**2 / (count * kept)
    return error


def _welch(table: Table, first: Integers, second: Integers) -> PairTests:
    """Difference, standard error and Welch's degrees of freedom for every pair; no p-value yet.

    The degrees of freedom come from each side's share of the squared error, which neither overflows nor vanishes.
    """
    own = np.where(table.squared_error == 0, _least_error(table, table.count), table.squared_error)
    squared_error = own[first] + own[second]
    varies = squared_error > 0
    parts = np.zeros(len(first))
    for side in (first, second):
        share = np.divide(own[side], squared_error, out=np.zeros(len(first)), where=varies)
        parts += np.divide(share**2, table.freedom[side], out=np.zeros(len(first)), where=share > 0)
    # Without any error, every number of degrees of freedom gives the same answer.
    freedom = np.where(np.isnan(squared_error), np.nan, np.maximum(table.freedom[first] + table.freedom[second], 1.0))
    np.divide(1.0, parts, out=freedom, where=varies)
    return PairTests(
        difference=table.mean[first] - table.mean[second],
        standard_error=np.sqrt(squared_error),
        freedom=freedom,
        p_value=np.full(len(first), np.nan),
        n=np.minimum(table.count[first], table.count[second]),
        paired=np.zeros(len(first), dtype=np.bool_),
        logs=table.logs,
    )


def _two_sided(difference: Floats, standard_error: Floats, freedom: Floats, rounding: Floats) -> Floats:
    """P(|T| >= |difference| / standard error). If the error is 0: whether there is any difference."""
    exact = np.where(np.abs(difference) > rounding, 0.0, 1.0)
    ratio = np.divide(np.abs(difference), standard_error, out=np.zeros_like(difference), where=standard_error > 0)
    p_value: Floats = np.where(standard_error == 0, exact, 2 * stdtr(freedom, -ratio))
    p_value[np.isnan(standard_error)] = np.nan
    return p_value
