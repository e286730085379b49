"""Finds where a history changed its level, in noise that is skewed, has two modes, or is autocorrelated. Pure.

One test, applied by bisection (Vostrikova 1981) as E-divisive does it (Matteson and James 2014): is there a step
somewhere in this stretch? Values become normal scores of their ranks (van der Waerden 1952). So nothing depends on the
shape of the noise, and a single outlier has little weight. The model of the scores is an autoregression of order one
around a level that steps once. For each place of the step, its size is estimated by generalised least squares (Prais
and Winsten 1954) and divided by its standard error. The largest of these ratios is the evidence. The correlation is
that of the residuals of the likeliest step, corrected for its bias (Kendall 1954; about -(2 + 4ρ)/n with two means).

The ratio is compared with a bound that was calibrated by simulation. The bound depends on the number of independent
values in the stretch, n (1 - ρ) / (1 + ρ): docs/decisions/0012-regressions-and-change-points.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from velodrome.stats.samples import ROUNDING, Floats, Integers, relative_change

# The bound is base + slope / sqrt(independent values). Of 500 stretches of 120 unchanged values, one passes it.
_BASE, _SLOPE = 3.8, 6.0
# `Watch` tests again at each new value, for a step that is a few values old. It also requires evidence of its own.
# This bound is for values with a correlation of `_WATCH_MEMORY` or more; for a smaller correlation it is lower.
_WATCH_BASE, _WATCH_SLOPE = 3.6, 4.0
_WATCH_LEAST, _WATCH_MEMORY = 2.4, 0.3
# The bound for the logarithm of the evidence, calibrated by simulation. It covers two kinds of step, with weights: a
# step by this many normal scores, and a step to values almost all of which are among this share of the best, or worst,
# so far.
_EVIDENCE = 8.75
_WEIGHTS = (0.85, 0.15)
_SHIFT, _MOST_SCORE = 2.0, 2.5  # the largest evidence of one value, however extreme it is
_SHARE, _ODD = 0.15, 0.02
UNSEEN = 5  # the newest values are not compared with the next one, because they may belong to the new level
_SHORTEST = 12  # with fewer values, nothing is searched
_SIDE = 4  # independent values on each side of a step
_WATCH_SIDE = 3
_WATCH_FROM = 30
_LONGEST_WATCHED = 500  # values of the present level that a watch remembers
_MOST_CORRELATION = 0.9
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The level changed between values `index` - 1 and `index`, from `before` to `after` (means up to the next change).

    `strength` is the size of the step in standard errors; `bound` is the limit that it passed. `span`: see `Change`.
    """

    index: int
    before: float
    after: float
    strength: float
    bound: float
    span: float | None = None

    @property
    def relative(self) -> float | None:
        """(after - before) / |before|, or / `span`; None if before is 0 and there is no span."""
        return relative_change(self.after - self.before, self.before, self.span)


def change_points(
    values: Sequence[float], min_relative_change: float = 0.0, span: float | None = None
) -> tuple[ChangePoint, ...]:
    """The steps in one history, oldest first, without steps whose relative size is below the given limit.

    Raises:
        ValueError: a value is not finite.
    """
    return change_points_of([values], min_relative_change, span)[0]


def change_points_of(
    histories: Sequence[Sequence[float]], min_relative_change: float = 0.0, span: float | None = None
) -> list[tuple[ChangePoint, ...]]:
    """`change_points` of many histories, in their order. Many histories of the same length cost little more than one.

    Raises:
        ValueError: a value is not finite.
    """
    arrays = [np.asarray(history, dtype=np.float64) for history in histories]
    for place, array in enumerate(arrays):
        if not np.isfinite(array).all():
            raise ValueError(f"histories[{place}]: holds a value that is not finite")
    found: list[dict[int, tuple[float, float]]] = [{} for _ in arrays]
    stretches = [(row, 0, len(array)) for row, array in enumerate(arrays)]
    while stretches:
        by_length: dict[int, list[tuple[int, int, int]]] = {}
        for stretch in stretches:
            by_length.setdefault(stretch[2] - stretch[1], []).append(stretch)
        stretches = []
        for length, group in by_length.items():
            if length < _SHORTEST:
                continue
            rows = np.stack([arrays[row][start:end] for row, start, end in group])
            test = _steps(rows, _SIDE, _BASE, _SLOPE)
            for place in np.flatnonzero(test.strength > test.bound).tolist():
                row, start, end = group[place]
                cut = start + int(test.index[place])
                found[row][cut] = float(test.strength[place]), float(test.bound[place])
                stretches += [(row, start, cut), (row, cut, end)]
    return [_described(array, cuts, min_relative_change, span) for array, cuts in zip(arrays, found, strict=True)]


def _described(
    array: Floats, cuts: dict[int, tuple[float, float]], least: float, span: float | None
) -> tuple[ChangePoint, ...]:
    """The steps with the levels on both sides. A step that is too small is dropped, and its neighbours' levels grow."""
    kept = sorted(cuts)
    while kept:
        edges = [0, *kept, len(array)]
        means = [float(array[start:end].mean()) for start, end in pairwise(edges)]
        points = [ChangePoint(cut, means[place], means[place + 1], *cuts[cut], span) for place, cut in enumerate(kept)]
        small = [point for point in points if point.relative is not None and abs(point.relative) < least]
        if not small:
            return tuple(points)
        kept.remove(min(small, key=lambda point: abs(point.relative or 0)).index)
    return ()


class Watch:
    """Looks at a history value by value. Remembers the values of the present level, 500 at most.

    `append` reports a change as soon as the newest values show one, and starts again from there. Two tests must agree:

    - the evidence of Shiryaev (1963) and Roberts (1966): the likelihood ratio of a step at each value so far, summed. A
      value is represented by its rank among the values before it. The ratio is a mixture of two kinds of step, up and
      down, so that steps in skewed noise are found as soon as in normal noise. Its rate of errors does not depend on
      the shape of the noise.
    - the test of `change_points`, with a bound of its own, because the evidence mistakes autocorrelation for steps.

    A watch is faster than `change_points`, and wrong more often. Pages show the past by `change_points`.
    """

    def __init__(self, values: Sequence[float] = ()) -> None:
        self._values: list[float] = []
        self._start = 0
        self._evidence = _NO_EVIDENCE
        for value in values:
            self.append(value)

    @property
    def evidence(self) -> Floats:
        """Logarithm of the evidence of each kind of step, in the order of `log_ratios`; -inf where there is none."""
        return self._evidence

    def append(self, value: float) -> ChangePoint | None:
        """The change that this value shows, or None. Its index counts from the first value of all.

        Takes time in proportion to the values remembered, and more of it while there is evidence.

        Raises:
            ValueError: the value is not finite; it was not added.
        """
        if not np.isfinite(value):
            raise ValueError(f"{value} is not finite")
        self._take(float(value))
        if len(self._values) > _LONGEST_WATCHED:
            self._values.pop(0)
            self._start += 1
        if len(self._values) < _WATCH_FROM or np.logaddexp.reduce(self._evidence) <= _EVIDENCE:
            return None
        array = np.asarray(self._values)
        test = _steps(array[None, :], _WATCH_SIDE, _WATCH_BASE, _WATCH_SLOPE)
        remembering = min(1.0, float(test.correlation[0]) / _WATCH_MEMORY)
        bound = _WATCH_LEAST + remembering * (float(test.bound[0]) - _WATCH_LEAST)
        if not test.strength[0] > bound:
            return None
        cut = int(test.index[0])
        before, after = float(array[:cut].mean()), float(array[cut:].mean())
        found = ChangePoint(self._start + cut, before, after, float(test.strength[0]), bound)
        kept = self._values[cut:]
        self._values, self._start, self._evidence = [], self._start + cut, _NO_EVIDENCE
        for each in kept:
            self._take(each)
        return found

    def _take(self, value: float) -> None:
        """Adds a value to the remembered ones, and its part to the evidence."""
        if self._values:
            known = np.asarray(self._values[: max(1, len(self._values) - UNSEEN)])
            tied = np.abs(known - value) <= ROUNDING * np.maximum(np.abs(known), abs(value))
            below = np.count_nonzero((known < value) & ~tied) + np.count_nonzero(tied) / 2
            gain = log_ratios(float((below + 0.5) / (len(known) + 1)))
            self._evidence = np.logaddexp(self._evidence + gain, LOG_WEIGHTS + gain)
        self._values.append(value)


# In the order of `log_ratios`.
LOG_WEIGHTS: Floats = np.log(np.array([*_WEIGHTS, *_WEIGHTS]) / 2)
_NO_EVIDENCE: Floats = np.full(len(LOG_WEIGHTS), -np.inf)


def log_ratios(rank: float) -> Floats:
    """Logarithm of the likelihood ratio of each kind of step, up and then down, for a value's rank from 0 to 1."""
    score = float(np.clip(ndtri(rank), -_MOST_SCORE, _MOST_SCORE))
    gains = []
    for sign, best in ((1, rank > 1 - _SHARE), (-1, rank < _SHARE)):
        gains.append(sign * _SHIFT * score - _SHIFT**2 / 2)
        gains.append(np.log((1 - _ODD) / _SHARE if best else _ODD / (1 - _SHARE)))
    return np.array(gains)


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """For each row: the likeliest place of a step, its strength (0 if no place is allowed), and its bound.

    `correlation` is that of neighbours beside the step.
    """

    index: Integers
    strength: Floats
    bound: Floats
    correlation: Floats


def _steps(values: Floats, side: int, base: float, slope: float) -> _Steps:
    """The likeliest step of each row. Rows of a single value have none."""
    count = values.shape[1]
    scores = normal_scores(values)
    places = np.arange(1, count)
    allowed = (places >= side) & (count - places >= side)
    # The likeliest place for independent values gives a first estimate of the noise; a second search uses its
    # correlation.
    sums = np.cumsum(scores, axis=1)[:, :-1]
    index = 1 + np.where(allowed, sums**2 * (count / (places * (count - places))), -1.0).argmax(axis=1)
    strength, correlation = np.zeros(len(values)), np.zeros(len(values))
    for _ in range(_ROUNDS):
        correlation = correlation_beside(scores, index)
        memory = (1 + correlation) / (1 - correlation)
        shortest = np.minimum(side * memory, count / 3)[:, None]
        ratio = np.where((places >= shortest) & (count - places >= shortest), step_ratios(scores, correlation), 0.0)
        index, strength = 1 + ratio.argmax(axis=1), ratio.max(axis=1)
    independent = count * (1 - correlation) / (1 + correlation)
    return _Steps(index, strength, base + slope / np.sqrt(independent), correlation)


def normal_scores(values: Floats) -> Floats:
    """Normal quantiles of the ranks of each row, with mean 0. Tied values share one quantile.

    Values that differ only by rounding are tied.
    """
    count = values.shape[1]
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    tolerance = ROUNDING * np.maximum(np.abs(ordered[:, 1:]), np.abs(ordered[:, :-1]))
    new = np.ones(values.shape, dtype=np.bool_)
    new[:, 1:] = np.diff(ordered, axis=1) > tolerance
    # The first and the last place of each group of ties, for each value of the group.
    place = np.arange(count)
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.concatenate([new[:, 1:], np.ones((len(values), 1), dtype=np.bool_)], axis=1)
    last = np.minimum.accumulate(np.where(ends, place, count)[:, ::-1], axis=1)[:, ::-1]
    scores = np.empty_like(values)
    np.put_along_axis(scores, order, ndtri(((first + last) / 2 + 0.5) / count), axis=1)
    centred: Floats = scores - scores.mean(axis=1, keepdims=True)
    return centred


def correlation_beside(scores: Floats, index: Integers) -> Floats:
    """Correlation of neighbours around the two levels of each row, corrected for its bias, and at least 0."""
    count = scores.shape[1]
    before: NDArray[np.bool_] = np.arange(count) < index[:, None]
    levels = np.where(
        before,
        ((scores * before).sum(axis=1) / index)[:, None],
        ((scores * ~before).sum(axis=1) / (count - index))[:, None],
    )
    rest = scores - levels
    squares = np.einsum("ij,ij->i", rest, rest)
    products = np.einsum("ij,ij->i", rest[:, 1:], rest[:, :-1])
    known = squares > ROUNDING * count
    raw = np.divide(products, squares, out=np.zeros(len(scores)), where=known)
    return np.where(known, np.clip((raw * count + 2) / (count - 6), 0.0, _MOST_CORRELATION), 0.0)


def step_ratios(scores: Floats, correlation: Floats) -> Floats:
    """|step| / its standard error, for a step before each place from 1 on, by generalised least squares.

    Each value minus ρ times the previous value, divided by √(1 - ρ²), is independent of the others. The same operation
    turns a step at k into `jump` at k and `plain` after it, and a constant into 1 at first and `plain` after it.
    """
    count = scores.shape[1]
    scale = np.sqrt(1 - correlation**2)[:, None]
    plain, jump = (1 - correlation[:, None]) / scale, 1 / scale
    fresh = np.concatenate([scores[:, :1], (scores[:, 1:] - correlation[:, None] * scores[:, :-1]) / scale], axis=1)
    tail = np.cumsum(fresh[:, ::-1], axis=1)[:, ::-1]
    left = np.arange(count - 2, -1, -1)  # values after the place of the step
    after = np.concatenate([tail[:, 2:], np.zeros((len(scores), 1))], axis=1)
    step, constant = jump * fresh[:, 1:] + plain * after, fresh[:, :1] + plain * tail[:, 1:2]
    constants = 1 + plain**2 * (count - 1)
    both = jump * plain + plain**2 * left
    steps = jump**2 + plain**2 * left - both**2 / constants
    explained = (step - both * constant / constants) ** 2 / np.maximum(steps, ROUNDING)
    total = np.einsum("ij,ij->i", fresh, fresh)[:, None] - constant**2 / constants
    # If a step explains everything, a millionth of the whole replaces the residuals.
    rest = np.maximum(total - explained, 1e-6 * np.maximum(total, ROUNDING))
    ratios: Floats = np.sqrt((count - 3) * explained / rest)
    return ratios
