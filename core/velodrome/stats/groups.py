"""Do the values of an entry lie in two groups? Some trainings diverge, and then few seeds mislead. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

_FEWEST = 5
# How many times as wide as either group the gap must be. Of 1,000 samples of normal, skewed or uniform noise, at most 8
# are called two groups.
_GAP, _GAP_OF_FEW, _FEW = 4.0, 8.0, 6


def two_groups(values: Collection[float]) -> tuple[int, int] | None:
    """How many values are in the lower and in the upper group; None if there are no two groups.

    There are two groups if each has two values or more, and the gap between them is 4 times as wide as the wider one
    (8 times with 5 or 6 values). Fewer than five values, and values of which only two are different, show no groups.
    """
    if len(values) < _FEWEST:
        return None
    ordered = np.sort(np.asarray(list(values), dtype=np.float64)) / 64  # gaps of the largest numbers stay finite
    lower = np.arange(2, len(ordered) - 1)
    gap = ordered[lower] - ordered[lower - 1]
    width = np.maximum(ordered[lower - 1] - ordered[0], ordered[-1] - ordered[lower])
    wanted = _GAP_OF_FEW if len(ordered) <= _FEW else _GAP
    found = lower[(width > 0) & (gap >= wanted * width)]
    return (int(found[0]), len(ordered) - int(found[0])) if len(found) else None
