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

from velodrome.stats.correction import most_equalities, shaffer


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
def test_order_of_the_pairs_does_not_matter(family: tuple[int, NDArray[np.float64]], random: Random) -> None:
    entries, p_values = family
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert (shaffer(p_values[order], entries) == shaffer(p_values, entries)[order]).all()


def test_worked_by_hand() -> None:
    # Four entries: the counts are 6, 3, 3, 3, 2, 1, and no adjusted p-value falls below an earlier one.
    p_values = np.array([0.02, 0.001, 0.3, 0.004, 0.3, 0.9])
    assert shaffer(p_values, 4) == pytest.approx([0.06, 0.006, 0.9, 0.012, 0.9, 0.9])
