"""Looks at a history value by value, and says as soon as it can that the level changed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from velodrome.stats.changepoints import ChangePoint
from velodrome.stats.samples import ROUNDING, Floats
from velodrome.stats.steps import likeliest_steps, normal_scores

# `Watch` tests again at each new value, for a step that is a few values old. It also requires evidence of its own.
# This bound is for values with a correlation of `_MEMORY` or more; for a smaller correlation it is lower.
_BASE, _SLOPE = 3.6, 4.0
_LEAST, _MEMORY = 2.4, 0.3
# The bound for the logarithm of the evidence, calibrated by simulation. It covers two kinds of step, with weights: a
# step by this many normal scores, and a step to values almost all of which are among this share of the best, or worst,
# so far.
_EVIDENCE = 8.75
_WEIGHTS = (0.85, 0.15)
_SHIFT, _MOST_SCORE = 2.0, 2.5  # the largest evidence of one value, however extreme it is
_SHARE, _ODD = 0.15, 0.02
UNSEEN = 5  # the newest values are not compared with the next one, because they may belong to the new level
_SIDE = 3  # independent values on each side of a step
_FROM = 30
_LONGEST = 500  # values of the present level that a watch remembers


class Watch:
    """Looks at a history value by value. Remembers the values of the present level, 500 at most.

    `append` reports a change as soon as the newest values show one, and starts again from there. Two tests must agree:

    - the evidence of Shiryaev (1963) and Roberts (1966): the likelihood ratio of a step at each value so far, summed. A
      value is represented by its rank among the values before it. The ratio is a mixture of two kinds of step, up and
      down, so that steps in skewed noise are found as soon as in normal noise. Its rate of errors does not depend on
      the shape of the noise.
    - the test for one step that `change_points` has, with a bound of its own, because the evidence mistakes
      autocorrelation for steps.

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
        if len(self._values) > _LONGEST:
            self._values.pop(0)
            self._start += 1
        if len(self._values) < _FROM or np.logaddexp.reduce(self._evidence) <= _EVIDENCE:
            return None
        array = np.asarray(self._values)
        test = likeliest_steps(normal_scores(array[None, :]), _SIDE)
        remembering = min(1.0, float(test.correlation[0]) / _MEMORY)
        most = _BASE + _SLOPE / float(np.sqrt(test.independent[0]))
        bound = _LEAST + remembering * (most - _LEAST)
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


LOG_WEIGHTS = np.log(np.array([*_WEIGHTS, *_WEIGHTS]) / 2)
_NO_EVIDENCE: Floats = np.full(len(LOG_WEIGHTS), -np.inf)


def log_ratios(rank: float) -> Floats:
    """Logarithm of the likelihood ratio of each kind of step, up and then down, for a value's rank from 0 to 1."""
    score = float(np.clip(ndtri(rank), -_MOST_SCORE, _MOST_SCORE))
    gains = []
    for sign, best in ((1, rank > 1 - _SHARE), (-1, rank < _SHARE)):
        gains.append(sign * _SHIFT * score - _SHIFT**2 / 2)
        gains.append(np.log((1 - _ODD) / _SHARE if best else _ODD / (1 - _SHARE)))
    return np.array(gains)
