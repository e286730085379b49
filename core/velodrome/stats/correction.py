"""Corrects the p-values of all pairs of a race, so that at most a share α of families contains a false claim."""

from __future__ import annotations

from functools import cache
from math import comb

import numpy as np

from velodrome.stats.samples import Floats, Integers

# Families of up to this many entries are counted exactly. For larger families, groups that leave out more entries than
# _MOST_LEFT_OUT are treated alike: every count up to their largest one is taken as possible.
_EXACT = 100
_MOST_LEFT_OUT = 40


def shaffer(p_values: Floats, entries: int) -> Floats:
    """The adjusted p-values of all entries · (entries - 1) / 2 pairs, in the order given.

    Shaffer's static (S1) step-down procedure works like Holm's. But it multiplies a p-value by the number of equalities
    that can still hold together once the smaller ones are refuted. Equality is transitive: of three entries, all three
    pairs are equal, or one pair, or none. So after a first refutation only one equality can be left, where Holm counts
    two. The family-wise error rate is at most α, in the strong sense (whichever entries are equal), for any dependence
    between the tests. Equal p-values get equal adjusted ones, so the order of the pairs doesn't matter.

    Source: Shaffer (1986), "Modified sequentially rejective multiple test procedures", Journal of the American
    Statistical Association 81(395), procedure S1.
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.minimum(1.0, np.maximum.accumulate(p_values[order] * most_equalities(entries)))
    adjusted = np.empty_like(corrected)
    adjusted[order] = corrected
    return adjusted


def level_of_next(adjusted: Floats, entries: int, alpha: float) -> float:
    """The largest p-value that one more pair could have, besides those adjusted to at most `alpha`, to be among them.

    It is α divided by the number of equalities that can hold once the others are refuted. At that p-value the pair is
    refuted wherever it stands in the order of the p-values, and so are the others. `alpha` if all pairs are refuted.
    """
    left = most_equalities(entries)
    refuted = int((adjusted <= alpha).sum())
    return alpha / int(left[refuted]) if refuted < len(left) else alpha


def most_equalities(entries: int) -> Integers:
    """Element i: how many of all pairs can be equal together when i of them are known to be different.

    Exact up to 100 entries. For more entries, the first counts are exact and later ones may be too large, but never
    above Holm's count. That errs only on the safe side.
    """
    pairs = comb(entries, 2)
    possible = _possible_counts(entries)
    bits = np.frombuffer(possible.to_bytes(pairs // 8 + 1, "little"), dtype=np.uint8)
    counts = np.arange(pairs + 1)
    largest = np.maximum.accumulate(np.where(np.unpackbits(bits, bitorder="little")[: pairs + 1], counts, 0))
    return largest[:0:-1].astype(np.int64)


@cache
def _possible_counts(entries: int) -> int:
    """An integer. Its bit c is set if some partition of the entries into groups of equals has c equal pairs.

    A partition's largest group, of size g, has comb(g, 2) equal pairs. The other entries form a partition too.
    """
    if entries <= 1:
        return 1
    left_out = entries - 1
    bits = 0
    if entries > _EXACT:
        left_out = _MOST_LEFT_OUT
        bits = (1 << comb(entries - left_out - 1, 2) + comb(left_out + 1, 2) + 1) - 1
    for rest in range(left_out + 1):
        bits |= _possible_counts(rest) << comb(entries - rest, 2)
    return bits
