"""What a race can see: the smallest difference that it finds, and how many seeds a difference needs. Pure.

Differences are in standard deviations of the difference of two entries at the same seed. With a correction for the
family, two entries of a race are told apart whichever the others are if their own test holds at the level
α / pairs (Bonferroni; Shaffer's procedure is never stricter). So the power that is said here is a lower bound.
"""

from __future__ import annotations

import math
from functools import lru_cache
from math import comb

import numpy as np
from scipy.special import gammaincinv, ndtr, stdtrit

from velodrome.stats.samples import Floats

# The share of races in which a difference that "can be seen" is found.
POWER = 0.8
_MOST_SEEDS = 100_000
_STEPS = 50
_QUANTILES = (np.arange(2000) + 0.5) / 2000


def power_of(effect: float, seeds: int, alpha: float) -> float:
    """How often Student's paired t test finds a difference of `effect` standard deviations with so many seeds.

    It is the tail of the noncentral t distribution, for normal differences, two-sided at the level `alpha`: the normal
    probability given the sample's standard deviation, averaged over the quantiles of that (chi) distribution. Exact to
    about 1e-5. With one seed: 0.

    Source: Johnson, Kotz and Balakrishnan (1995), "Continuous univariate distributions", volume 2, chapter 31.
    """
    if seeds < 2:
        return 0.0
    shift = abs(effect) * math.sqrt(seeds)
    bound = float(stdtrit(seeds - 1, 1 - alpha / 2)) * _spreads(seeds)
    return float(np.mean(ndtr(shift - bound) + ndtr(-shift - bound)))


@lru_cache(maxsize=256)
def _spreads(seeds: int) -> Floats:
    """The standard deviation of `seeds` standard normal values, at evenly spaced quantiles."""
    spreads: Floats = np.sqrt(2 * gammaincinv((seeds - 1) / 2, _QUANTILES) / (seeds - 1))
    return spreads


def detectable(seeds: int, alpha: float, power: float = POWER) -> float:
    """The smallest difference, in its standard deviations, found with probability `power`; infinite for 1 seed."""
    if seeds < 2:
        return math.inf
    low, high = 0.0, 1.0
    while power_of(high, seeds, alpha) < power:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if power_of(middle, seeds, alpha) < power else (low, middle)
    return high


def seeds_for(effect: float, alpha: float, power: float = POWER) -> int | None:
    """The fewest seeds that find a difference of `effect` standard deviations; None if it takes more than 100,000."""
    if power_of(effect, _MOST_SEEDS, alpha) < power:
        return None
    low, high = 1, _MOST_SEEDS  # the power grows with the seeds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power_of(effect, middle, alpha) < power else (low, middle)
    return high


def corrected(alpha: float, entries: int) -> float:
    """The level at which one pair of a race of so many entries is certain to be called different."""
    return alpha / max(1, comb(entries, 2))
