"""What a race can see before it runs: the smallest gap that it finds, and how many seeds a gap needs. Pure.

Gaps are in standard deviations of the difference of two entries at the same seed. Where a seed moves all entries alike,
that is less than √2 standard deviations of a trial. Two entries of a race are told apart whichever the others are if
their own test holds at α / pairs (Bonferroni: no step of the correction is stricter). So what is said here is a lower
bound: where other entries are far away, a race sees more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import comb

import numpy as np

from velodrome.stats.detectable import POWER, detectable
from velodrome.stats.looks import Until, shares
from velodrome.stats.samples import Sample

_MOST_SEEDS = 10_000


def corrected(alpha: float, entries: int) -> float:
    """The level at which a pair is told apart whichever the other entries of the race are."""
    return alpha / max(1, comb(entries, 2))


def last_level(until: Until, entries: int) -> float:
    """The same level at the last look of a race until decided, which has the most seeds."""
    return corrected(until.alpha * shares(until)[-1], entries)


def smallest_gap(seeds: int, alpha: float, power: float = POWER) -> float:
    """The smallest gap that a paired t test finds at `alpha` with probability `power`; infinite with one seed."""
    return math.inf if seeds < 2 else float(detectable(1 / math.sqrt(seeds), seeds - 1, alpha, power))


def seeds_for(gap: float, alpha: float, power: float = POWER) -> int | None:
    """The fewest seeds with which the smallest gap is at most `gap`; None if 10,000 are too few.

    Raises:
        ValueError: the gap is not above 0.
    """
    if not gap > 0:
        raise ValueError(f"gap: {gap} is not above 0")
    if smallest_gap(_MOST_SEEDS, alpha, power) > gap:
        return None
    low, high = 1, _MOST_SEEDS  # the gap shrinks as seeds are added
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if smallest_gap(middle, alpha, power) > gap else (low, middle)
    return high


def pair_spread(samples: Sequence[Sample]) -> float | None:
    """The standard deviation of the difference of two entries at the same seed, over all pairs of one job.

    It is the root of the mean variance of the pairs' differences at the seeds that all entries have: √2 times the
    residual standard deviation beside entries and seeds (two-way analysis of variance). Of one entry alone, the spread
    over its seeds counts as if they were independent. None with less than two common seeds.
    """
    seeds = set.intersection(*(set(one.values) for one in samples)) if samples else set()
    if len(seeds) < 2:
        return None
    values = np.array([[one.values[seed] for seed in sorted(seeds)] for one in samples])
    residual = values - values.mean(axis=1, keepdims=True)
    if len(samples) > 1:
        residual = residual - residual.mean(axis=0)
    freedom = max(1, len(samples) - 1) * (len(seeds) - 1)
    return math.sqrt(2 * float((residual**2).sum()) / freedom)
