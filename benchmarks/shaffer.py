"""Shaffer's procedure S1, the peer of `velodrome.stats.correction`: Holm's, with the counts that equality allows.

Source: Shaffer (1986), "Modified sequentially rejective multiple test procedures", Journal of the American Statistical
Association 81(395).
"""

from __future__ import annotations

from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def shaffer(p_values: Floats, entries: int) -> Floats:
    """The adjusted p-values of all pairs of the entries, for each row."""
    order = np.argsort(p_values, axis=1)
    stepped = np.take_along_axis(p_values, order, axis=1) * _most_equalities(entries)
    found = np.empty_like(stepped)
    np.put_along_axis(found, order, np.minimum(1.0, np.maximum.accumulate(stepped, axis=1)), axis=1)
    return found


@cache
def _most_equalities(entries: int) -> NDArray[np.int64]:
    """Element i: how many of all pairs can be equal together when i of them are known to be different."""
    pairs, possible = comb(entries, 2), _possible_counts(entries)
    return np.array([max(c for c in range(pairs - i + 1) if possible >> c & 1) for i in range(pairs)])


@cache
def _possible_counts(entries: int) -> int:
    """An integer. Its bit c is set if some partition of the entries into groups of equals has c equal pairs."""
    if entries <= 1:
        return 1
    bits = 0
    for rest in range(entries):
        bits |= _possible_counts(rest) << comb(entries - rest, 2)
    return bits
