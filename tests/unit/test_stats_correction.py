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

from velodrome.stats.correction import adjusted, factors_beside


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


def true_factors(groups: list[int]) -> NDArray[np.float64]:
    """The factor of each pair of equals in these groups, worked out group by group; infinite for other pairs."""
    sizes = {group: groups.count(group) for group in groups}
    with_an_equal = sum(size for size in sizes.values() if size > 1)
    first, _ = np.triu_indices(len(groups), 1)
    own = np.array([sizes[groups[row]] for row in first])
    return np.where(equal_pairs(groups), with_an_equal * (own - 1) / 2, np.inf)


families = st.integers(2, 6).flatmap(
    lambda k: st.tuples(st.just(k), arrays(np.float64, comb(k, 2), elements=st.floats(0, 1, width=32)))
)


@pytest.mark.parametrize("entries", range(2, 8))
def test_the_shares_of_equal_pairs_are_one_whichever_entries_are_equal(entries: int) -> None:
    for groups in partitions(entries):
        if len(set(groups)) < entries:
            assert (1 / true_factors(groups)).sum() == pytest.approx(1)


@given(st.integers(2, 6), st.randoms(use_true_random=False))
def test_no_groups_that_are_possible_have_a_larger_factor(entries: int, random: Random) -> None:
    first, second = np.triu_indices(entries, 1)
    different = np.zeros((entries, entries), dtype=np.bool_)
    for a, b in zip(first, second, strict=True):
        different[a, b] = different[b, a] = random.random() < 0.4
    bounds = factors_beside(different)
    for groups in partitions(entries):
        equal = equal_pairs(groups)
        if not (equal & different[first, second]).any():
            assert (true_factors(groups)[equal] <= bounds[equal]).all()


@given(families)
def test_never_refutes_what_the_closed_test_keeps(family: tuple[int, NDArray[np.float64]]) -> None:
    """The closure over every partition of the entries, with Bonferroni's weighted test of each, controls the
    family-wise error by the principle of Marcus, Peritz and Gabriel (1976); a procedure that refutes a subset of it
    does so too."""
    entries, p_values = family
    closed = p_values.copy()
    for groups in partitions(entries):
        equal = equal_pairs(groups)
        if equal.any():
            smallest = float((p_values[equal] * true_factors(groups)[equal]).min())
            closed[equal] = np.maximum(closed[equal], min(1.0, smallest))
    assert (adjusted(p_values, entries) >= closed - 1e-12).all()


@settings(max_examples=25)  # multipletests collects garbage on every call, which takes longer than all else here
@given(families)
def test_the_first_step_is_bonferronis(family: tuple[int, NDArray[np.float64]]) -> None:
    entries, p_values = family
    corrected = adjusted(p_values, entries)
    bonferroni = multipletests(p_values, method="bonferroni")[1]
    assert (corrected <= bonferroni + 1e-12).all()
    assert (corrected >= p_values).all()
    assert corrected.min() == pytest.approx(bonferroni.min())


@given(families, st.randoms(use_true_random=False))
def test_order_of_the_entries_does_not_matter(family: tuple[int, NDArray[np.float64]], random: Random) -> None:
    entries, p_values = family
    order = list(range(entries))
    random.shuffle(order)
    first, second = np.triu_indices(entries, 1)
    table = np.zeros((entries, entries))
    table[first, second] = table[second, first] = p_values
    corrected = np.zeros((entries, entries))
    corrected[first, second] = corrected[second, first] = adjusted(p_values, entries)
    shuffled = table[np.ix_(order, order)]
    assert (adjusted(shuffled[first, second], entries) == corrected[np.ix_(order, order)][first, second]).all()


@pytest.mark.parametrize(
    ("entries", "expected"), [(5, [10, 6, 5, 2.5]), (7, [21, 15, 14, 10.5, 7, 3.5]), (10, [45, 36, 35, 30, 25, 20])]
)
def test_one_leader_needs_less_and_less(entries: int, expected: list[float]) -> None:
    different = np.zeros((entries, entries), dtype=np.bool_)
    bounds = []
    for beaten in range(1, len(expected) + 1):
        bounds.append(float(factors_beside(different)[beaten - 1]))
        different[0, beaten] = different[beaten, 0] = True
    assert bounds == expected


def test_a_refuted_pair_breaks_the_group_of_all_for_other_pairs_too() -> None:
    different = np.zeros((4, 4), dtype=np.bool_)
    different[0, 1] = different[1, 0] = True
    assert factors_beside(different)[-1] == 3, "2 and 3 can be equal to one of 0 and 1, not to both"


def test_the_last_pairs_of_a_ladder_share_what_is_left() -> None:
    different = np.abs(np.subtract.outer(np.arange(6), np.arange(6))) > 1
    first, second = np.triu_indices(6, 1)
    assert factors_beside(different)[second == first + 1].tolist() == [3] * 5, "three of five neighbours can be equal"


def test_worked_by_hand() -> None:
    p_values = np.array([0.001, 0.002, 0.01, 0.012, 1, 1, 1, 1, 1, 1])
    assert adjusted(p_values, 5)[:4] == pytest.approx([0.01, 0.012, 0.05, 0.05])
    # Four entries: 0, 1 and 2 differ, so 3 can equal one of them. That is one equality, which the bound counts as two.
    p_values = np.array([0.02, 0.001, 0.3, 0.004, 0.3, 0.9])
    assert adjusted(p_values, 4) == pytest.approx([0.06, 0.006, 0.6, 0.012, 0.6, 0.9])


def test_families_without_pairs_and_with_equal_p_values() -> None:
    assert adjusted(np.array([]), 1).tolist() == adjusted(np.array([]), 0).tolist() == []
    assert adjusted(np.array([0.01, 0.01, 0.01]), 3) == pytest.approx([0.03] * 3)


@pytest.mark.parametrize("entries", [40, 150])
def test_large_families_take_larger_steps_on_the_safe_side(entries: int) -> None:
    pairs = comb(entries, 2)
    p_values = np.random.default_rng(entries).random(pairs) * 1e-4
    p_values[: entries - 1] *= 1e-6
    corrected = adjusted(p_values, entries)
    order = np.argsort(p_values)
    different = np.zeros((entries, entries), dtype=np.bool_)
    first, second = np.triu_indices(entries, 1)
    worst = 0.0
    for place, pair in enumerate(order[: 3 * entries]):
        if place % 7 == 0:  # a few steps are enough
            exact = max(worst, p_values[pair] * float(factors_beside(different)[pair]))
            assert corrected[pair] >= exact - 1e-15
            worst = exact
        different[first[pair], second[pair]] = different[second[pair], first[pair]] = True
    assert (corrected <= p_values * pairs + 1e-12).all()
    assert (corrected < p_values * (pairs - 1)).any()
