"""Correction of the p-values of all pairs of a race, so that the whole family holds a false claim at most at rate α."""

from __future__ import annotations

from functools import cache
from math import comb

import numpy as np

from velodrome.stats.samples import Floats, Integers

# Families up to this many entries are counted exactly; above, groups that leave out more entries than _MOST_LEFT_OUT
# are not told apart any more, and every count up to the largest that these could give is taken as possible.
_EXACT = 100
_MOST_LEFT_OUT = 40


def shaffer(p_values: Floats, entries: int) -> Floats:
    """The adjusted p-values of all entries · (entries - 1) / 2 pairs, in the order given.

    Shaffer's static (S1) step-down procedure: as Holm's, but a p-value is multiplied by the number of equalities that
    can still hold together once the smaller ones are refuted. Equality is transitive, so that of three entries either
    all three pairs are equal, one is, or none: after a first refutation only one can be left, where Holm counts two.
    The family-wise error rate is at most α, in the strong sense (whichever entries are equal) and whatever the
    dependence between the tests. Equal p-values get equal adjusted ones, so the order of the pairs doesn't matter.

    Source: Shaffer (1986), "Modified sequentially rejective multiple test procedures", Journal of the American
    Statistical Association 81(395), procedure S1.
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.minimum(1.0, np.maximum.accumulate(p_values[order] * most_equalities(entries)))
    adjusted = np.empty_like(corrected)
    adjusted[order] = corrected
    return adjusted


def most_equalities(entries: int) -> Integers:
    """Element i: how many of all pairs can be equal together when i of them are known to be different.

    Exact up to 100 entries. Above it is exact at first and then sometimes larger (never above Holm's count), which
    only errs on the safe side.
    """
    pairs = comb(entries, 2)
    possible = _possible_counts(entries)
    bits = np.frombuffer(possible.to_bytes(pairs // 8 + 1, "little"), dtype=np.uint8)
    counts = np.arange(pairs + 1)
    largest = np.maximum.accumulate(np.where(np.unpackbits(bits, bitorder="little")[: pairs + 1], counts, 0))
    return largest[:0:-1].astype(np.int64)


@cache
def _possible_counts(entries: int) -> int:
    """An integer whose bit c is set where some partition of the entries into groups of equals has c equal pairs.

    A partition's largest group of size g has comb(g, 2) of them, and the entries left out make up a partition too.
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
