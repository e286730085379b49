from __future__ import annotations

from collections.abc import Iterator
from math import comb
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from velodrome.stats.correction import most_equalities, most_equalities_with, shaffer


def partitions(entries: int) -> Iterator[list[int]]:
    """Every partition of the entries into groups, as the group of each entry."""

    def extend(groups: list[int]) -> Iterator[list[int]]:
        if len(groups) == entries:
            yield groups
            return
        for group in range(max(groups, default=-1) + 2):
            yield from extend([*groups, group])

    return extend([])


def equal_pairs(groups: list[int]) -> NDArray[np.bool_]:
    first, second = np.triu_indices(len(groups), 1)
    labels = np.array(groups)
    same: NDArray[np.bool_] = labels[first] == labels[second]
    return same


@pytest.mark.parametrize("entries", range(2, 9))
def test_most_equalities_by_listing_every_partition(entries: int) -> None:
    possible = {int(equal_pairs(groups).sum()) for groups in partitions(entries)}
    pairs = comb(entries, 2)
    expected = [max(count for count in possible if count <= pairs - refuted) for refuted in range(pairs)]
    assert most_equalities(entries).tolist() == expected


def test_most_equalities_of_few() -> None:
    assert most_equalities(0).tolist() == most_equalities(1).tolist() == []
    assert most_equalities(3).tolist() == [3, 1, 1]  # of three, two equal pairs make the third equal
    assert most_equalities(4).tolist() == [6, 3, 3, 3, 2, 1]  # Shaffer (1986)


@pytest.mark.parametrize("entries", [101, 140])
def test_many_entries_are_counted_exactly_or_safely(entries: int) -> None:
    possible = [1]  # bit c of element k: some partition of k entries has c equal pairs
    for size in range(1, entries + 1):
        bits = 0
        for group in range(1, size + 1):
            bits |= possible[size - group] << comb(group, 2)
        possible.append(bits)
    pairs = comb(entries, 2)
    counts = [count for count in range(pairs + 1) if possible[entries] >> count & 1]
    holm = np.arange(pairs, 0, -1)
    exact = np.array(counts)[np.searchsorted(counts, holm, side="right") - 1]

    counted = most_equalities(entries)

    assert (counted >= exact).all()
    assert (counted <= holm).all()
    assert (counted[: entries * 10] == exact[: entries * 10]).all()
    assert (counted < holm).any()


families = st.integers(2, 6).flatmap(
    lambda k: st.tuples(st.just(k), arrays(np.float64, comb(k, 2), elements=st.floats(0, 1, width=32)))
)


@settings(max_examples=25)  # multipletests collects garbage on every call, which takes longer than all else here
@given(families)
def test_between_bonferroni_and_holm(family: tuple[int, NDArray[np.float64]]) -> None:
    entries, p_values = family
    adjusted = shaffer(p_values, entries)
    holm = multipletests(p_values, method="holm")[1]
    assert (adjusted <= holm + 1e-12).all()
    assert (adjusted >= p_values).all()
    assert adjusted.min() == pytest.approx(min(1, p_values.min() * len(p_values)))


@given(families)
def test_never_refutes_what_the_closed_test_keeps(
    family: tuple[int, NDArray[np.float64]],
) -> None:
    """The closure over every partition of the entries, with Bonferroni's test of each, controls the family-wise error
    by the principle of Marcus, Peritz and Gabriel (1976); a procedure that refutes a subset of it does so too."""
    entries, p_values = family
    closed = p_values.copy()
    for groups in partitions(entries):
        equal = equal_pairs(groups)
        if equal.any():
            closed[equal] = np.maximum(closed[equal], min(1.0, p_values[equal].min() * equal.sum()))
    assert (shaffer(p_values, entries) >= closed - 1e-12).all()


@given(families, st.randoms(use_true_random=False))
def test_order_of_the_entries_does_not_matter(family: tuple[int, NDArray[np.float64]], random: Random) -> None:
    entries, p_values = family
    order = list(range(entries))
    random.shuffle(order)
    first, second = np.triu_indices(entries, 1)
    table = np.zeros((entries, entries))
    table[first, second] = table[second, first] = p_values
    corrected = np.zeros((entries, entries))
    corrected[first, second] = corrected[second, first] = shaffer(p_values, entries)
    shuffled = table[np.ix_(order, order)]
    assert (shaffer(shuffled[first, second], entries) == corrected[np.ix_(order, order)][first, second]).all()


@given(st.integers(2, 6), st.randoms(use_true_random=False))
def test_equalities_with_a_pair_are_never_more_than_the_bound(entries: int, random: Random) -> None:
    first, second = np.triu_indices(entries, 1)
    different = np.zeros((entries, entries), dtype=np.bool_)
    for a, b in zip(first, second, strict=True):
        different[a, b] = different[b, a] = random.random() < 0.4
    bounds = most_equalities_with(different)
    reached = np.zeros(len(first), dtype=np.int64)
    for groups in partitions(entries):
        equal = equal_pairs(groups)
        if not (equal & different[first, second]).any():
            reached[equal] = np.maximum(reached[equal], equal.sum())
    assert (reached <= bounds).all()


@pytest.mark.parametrize(
    ("entries", "expected"),
    [(5, [10, 6, 4, 4]), (7, [21, 15, 11, 11, 11, 11])],  # at last {0, 4} and {1, 2, 3} are 1 + 3 equalities, or 1 + 10
)
def test_one_leader_needs_less_and_less(entries: int, expected: list[int]) -> None:
    different = np.zeros((entries, entries), dtype=np.bool_)
    bounds = []
    for beaten in range(1, entries):
        bounds.append(int(most_equalities_with(different)[beaten - 1]))
        different[0, beaten] = different[beaten, 0] = True
    assert bounds == expected


def test_the_pairs_of_one_leader_worked_by_hand() -> None:
    p_values = np.array([0.001, 0.002, 0.01, 0.012, 1, 1, 1, 1, 1, 1])
    assert shaffer(p_values, 5)[:4] == pytest.approx([0.01, 0.012, 0.04, 0.048])


def test_worked_by_hand() -> None:
    # Four entries: the counts are 6, 3, 3, 3, 2, 1. When 0, 1 and 2 all differ, 3 can equal one of them: one equality
    # and no more, which the bound counts as two.
    p_values = np.array([0.02, 0.001, 0.3, 0.004, 0.3, 0.9])
    assert shaffer(p_values, 4) == pytest.approx([0.06, 0.006, 0.6, 0.012, 0.6, 0.9])
