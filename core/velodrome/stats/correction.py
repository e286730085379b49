"""Corrects the p-values of all pairs of a race, so that at most a share α of families contains a false claim."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray

from velodrome.stats.samples import Floats, Integers

# Families of up to this many entries are counted exactly. For larger families, groups that leave out more entries than
# _MOST_LEFT_OUT are treated alike: every count up to their largest one is taken as possible.
_EXACT = 100
_MOST_LEFT_OUT = 40


def shaffer(p_values: Floats, entries: int) -> Floats:
    """The adjusted p-values of all pairs of the entries, in the order of the pairs: (0, 1), (0, 2) … (1, 2) and so on.

    Shaffer's step-down procedure works like Holm's. But it multiplies a p-value by the number of equalities that can
    still hold together once the smaller ones are refuted. Equality is transitive: of three entries, all three pairs are
    equal, or one pair, or none. So after a first refutation only one equality can be left, where Holm counts two. Up to
    100 entries it also counts which pairs are refuted (her procedure S2, bounded by `most_equalities_with`): beside the
    last pair of an entry that is known to differ from all others but one, few equalities can hold. The family-wise
    error rate is at most α, in the strong sense (whichever entries are equal), for any dependence between the tests.
    Equal p-values get equal adjusted ones, so the order of the entries doesn't matter.

    Sources: Shaffer (1986), "Modified sequentially rejective multiple test procedures", Journal of the American
    Statistical Association 81(395), procedures S1 and S2; Goeman and Solari (2010), "The sequential rejection principle
    of familywise error control", Annals of Statistics 38(6).
    """
    order = np.argsort(p_values, kind="stable")
    ordered = p_values[order]
    factors = most_equalities(entries)
    if 2 < entries <= _EXACT:
        factors = np.minimum(factors, _factors_by_pair(order, ordered, entries))
    corrected = np.minimum(1.0, np.maximum.accumulate(ordered * factors))
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


def most_equalities_with(different: NDArray[np.bool_]) -> Integers:
    """For each pair, given as in `shaffer`: a bound of how many pairs can be equal together with this one.

    `different[i, j]` (symmetric) says that i and j are known to differ. The entries that equal both sides of a pair are
    among those that are known to differ from neither. With n entries, of which a differ from a side, the group of the
    pair has 2 to n - a entries, and the largest number of equalities comes with the smallest or the largest group.
    A pair whose own sides are known to differ has a number without a meaning.
    """
    first, second = np.triu_indices(len(different), 1)
    known = different.astype(np.int64)
    either = known.sum(axis=1)[:, None] + known.sum(axis=1) - known @ known.T
    found: Integers = _bounds(len(different))[np.minimum(either[first, second], max(0, len(different) - 2))]
    return found


def _bounds(entries: int) -> Integers:
    """Element a: how many pairs can be equal together with one whose sides are known to differ from `a` entries."""
    apart = np.arange(max(1, entries - 1))
    largest_group = (entries - apart) * (entries - apart - 1) // 2 + apart * (apart - 1) // 2
    return np.maximum(1 + comb(max(0, entries - 2), 2), largest_group)


def _factors_by_pair(order: Integers, ordered: Floats, entries: int) -> Integers:
    """For each p-value in ascending order: the bound of `most_equalities_with` when all smaller ones are refuted."""
    first, second = np.triu_indices(entries, 1)
    pairs = [(int(first[pair]), int(second[pair])) for pair in order]
    factors = np.full(len(pairs), comb(entries, 2), dtype=np.int64)
    bounds = _bounds(entries).tolist()
    apart = [0] * entries  # of each entry, a bit for each one that it differs from
    starts = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(pairs)]
    for start, end in pairwise(starts):
        equal = pairs[start:end]
        factors[start:end] = max(bounds[(apart[a] | apart[b]).bit_count()] for a, b in equal)
        if ordered[start] * factors[start] >= 1:
            break  # this one and all that follow are 1, whatever their factor
        for a, b in equal:
            apart[a] |= 1 << b
            apart[b] |= 1 << a
    return factors


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
