"""Do values lie in two groups? Some trainings diverge, and then few seeds mislead. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from velodrome.stats.samples import Floats, Integers

_FEWEST = 5
# How many times as wide as either group the gap must be. Of 1,000 samples of normal, skewed or uniform noise, at most 8
# are called two groups.
_GAP, _GAP_OF_FEW, _FEW = 4.0, 8.0, 6
_GAP_OF_ALL = 1.0  # of the values of all entries together, which are many
_SCALE = 64  # gaps of the largest numbers stay finite


def two_groups(values: Collection[float]) -> tuple[int, int] | None:
    """How many values are in the lower and in the upper group; None if there are no two groups.

    There are two groups if each has two values or more, and the gap between them is 4 times as wide as the wider one
    (8 times with 5 or 6 values). Fewer than five values, and values of which only two are different, show no groups.
    """
    if len(values) < _FEWEST:
        return None
    gap = _GAP_OF_FEW if len(values) <= _FEW else _GAP
    lower = _lower(np.sort(np.asarray(list(values), dtype=np.float64)), gap)
    return (lower, len(values) - lower) if lower else None


def sides(values: Floats, present: NDArray[np.bool_]) -> Integers:
    """For each row: -1 if all its values are in the lower group, 1 if all are in the upper one, 0 if some are in each.

    The groups are those of all values together (those `present`), with a gap at least as wide as the wider one. All are
    0 where there are no groups, or where no row has values in both: then the groups are what tells the entries apart,
    and no trial is known to have diverged.
    """
    ordered = np.sort(values[present])
    lower = _lower(ordered, _GAP_OF_ALL)
    found = np.zeros(len(values), dtype=np.int64)
    if not lower:
        return found
    high = present & (values >= ordered[lower])
    found[high.any(axis=1)] += 1
    found[(present & ~high).any(axis=1)] -= 1
    mixed: Integers = found if (found == 0).any() else np.zeros_like(found)
    return mixed


def split_by_chance(count: Integers) -> Floats:
    """The largest probability that equal entries with `count` values each lie wholly in different groups: 2 / 4^count.

    If a share q of the trials ends in the lower group, the probability is 2 q^n (1 - q)^n: largest at q = 1/2.
    """
    chance: Floats = 2 * 0.25 ** count.astype(np.float64)
    return chance


def _lower(ordered: Floats, wanted: float) -> int:
    """How many of the ordered values are in the lower group; 0 if no gap is `wanted` times as wide as both groups."""
    small, lower = ordered / _SCALE, np.arange(2, len(ordered) - 1)
    if not len(lower):
        return 0
    gap = small[lower] - small[lower - 1]
    width = np.maximum(small[lower - 1] - small[0], small[-1] - small[lower])
    found = lower[(width > 0) & (gap >= wanted * width)]
    return int(found[0]) if len(found) else 0
