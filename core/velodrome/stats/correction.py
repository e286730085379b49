"""Corrects the p-values of all pairs of a race, so that at most a share α of families contains a false claim.

Equality is transitive: some entries of a race form groups of equals, and pairs of different groups differ. Whatever the
groups are, each entry that has an equal gets the same share of α, and divides it among its pairs within the group. So a
pair within a group of g entries, of a race in which s entries have an equal, is tested at α divided by s · (g - 1) / 2,
its *factor*. The sum over all pairs that are equal is α. Nobody knows the groups, so a pair is tested with the largest
factor that is possible beside the pairs that are already refuted. docs/decisions/0044-races-until-decided.md has the
proof and what it finds.

Sources: Shaffer (1986), "Modified sequentially rejective multiple test procedures", Journal of the American Statistical
Association 81(395), for equality as a limit to what can be false; Goeman and Solari (2010), "The sequential rejection
principle of familywise error control", Annals of Statistics 38(6), for the proof.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from velodrome.stats.samples import Floats, Integers

_MOST_STEPS = 512  # exact up to 32 entries


def adjusted(p_values: Floats, entries: int) -> Floats:
    """The adjusted p-values of all pairs of the entries, in the order of the pairs: (0, 1), (0, 2) … (1, 2) and so on.

    To call the pairs at or below α different is right for all of them in a share 1 - α of families: in the strong sense
    (whichever entries are equal), for any dependence between the tests. Pairs are refuted step by step, from the
    smallest p-value on. The first step is Bonferroni's. Equal p-values get equal adjusted ones, so the order of the
    entries doesn't matter.
    """
    order = np.argsort(p_values, kind="stable")
    ordered = p_values[order]
    corrected = np.minimum(1.0, np.maximum.accumulate(ordered * _stepwise(order, ordered, entries)))
    found = np.empty_like(corrected)
    found[order] = corrected
    return found


def factors_beside(different: NDArray[np.bool_]) -> Floats:
    """The factor of each pair, in the order of `adjusted`, once these pairs are known to differ.

    `different[i, j]` (symmetric) says that i and j are known to differ. The factor of such a pair has no meaning.
    """
    entries = len(different)
    first, second = np.triu_indices(entries, 1)
    known = different.astype(np.float64)
    apart = known.sum(axis=1)
    either = apart[first] + apart[second] - (known @ known.T)[first, second]
    closed = int((apart == entries - 1).sum())
    largest, possible = _most(entries, closed, int(apart.sum()) // 2)
    return _factor(np.minimum(entries - either, largest), possible)


def _most(entries: int, closed: int, refuted: int) -> tuple[int, int]:
    """The most entries that one group can have, and the most that can have an equal.

    `closed` entries are known to differ from all others. If some refuted pair is none of theirs, the others can't all
    be one group.
    """
    possible = entries - closed
    theirs = closed * (entries - 1) - closed * (closed - 1) // 2
    return possible - (refuted > theirs), possible


def _factor(group: Floats, possible: Floats | int) -> Floats:
    """The largest factor of a pair whose group has at most `group` entries, of the `possible` ones with an equal.

    A group that leaves out a single entry leaves it without an equal.
    """
    equal = np.where(possible - group == 1, group, possible)
    found: Floats = np.maximum(1.0, equal * (group - 1) / 2)
    return found


def _stepwise(order: Integers, ordered: Floats, entries: int) -> Floats:
    """For each p-value in ascending order: the pair's factor when the pairs of all earlier steps are refuted.

    A step is one p-value and those that equal it. Large families take larger steps, which errs on the safe side.
    """
    first, second = np.triu_indices(entries, 1)
    one, other = first[order], second[order]
    group, possible = np.full(len(one), float(entries)), np.full(len(one), float(entries))
    apart = np.zeros((entries, entries // 64 + 1), dtype=np.uint64)  # a bit for each entry that it differs from
    bit = np.uint64(1) << np.arange(entries, dtype=np.uint64) % np.uint64(64)
    count = np.zeros(entries, dtype=np.int64)
    for start, end in pairwise(_steps(ordered)):
        a, b = one[start:end], other[start:end]
        largest, now = _most(entries, int((count == entries - 1).sum()), start)
        possible[start:end] = now
        group[start:end] = most = min(entries - int(np.bitwise_count(apart[a] | apart[b]).sum(axis=1).min()), largest)
        if ordered[start] * most * (most - 1) >= 2:
            break  # this one and all that follow are 1, whatever their factor
        np.bitwise_or.at(apart, (a, b // 64), bit[b])
        np.bitwise_or.at(apart, (b, a // 64), bit[a])
        np.add.at(count, a, 1)
        np.add.at(count, b, 1)
    return _factor(group, possible)


def _steps(ordered: Floats) -> list[int]:
    """Where steps begin, and the number of p-values at last. Equal p-values are in one step."""
    pairs = len(ordered)
    ends = np.append(np.flatnonzero(np.diff(ordered)) + 1, pairs)
    wanted = np.arange(0, pairs, 1 + pairs // _MOST_STEPS)[1:]
    found: list[int] = np.unique(np.concatenate([[0], ends[np.searchsorted(ends, wanted)], [pairs]])).tolist()
    return found
