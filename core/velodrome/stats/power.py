"""What a race can see before it runs: the smallest gap that it finds, and how many seeds a gap needs. Pure.

Gaps are in standard deviations of the difference of two entries at the same seed. Where a seed moves all entries alike,
that is less than √2 standard deviations of a trial. Two entries of a race are told apart whichever the others are if
their own test holds at α / pairs (Bonferroni: no step of the correction is stricter). So what is said here is a lower
bound: where other entries are far away, a race sees more.
"""

from __future__ import annotations

import math
from math import comb

from velodrome.stats.detectable import POWER, detectable
from velodrome.stats.looks import Until, shares

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
