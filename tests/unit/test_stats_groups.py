"""Whether the values of an entry lie in two groups."""

from __future__ import annotations

import numpy as np
import pytest

from velodrome.stats import Sample, rank
from velodrome.stats.groups import sides, split_by_chance, two_groups


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((), None),
        ((1.0, 1.1, 9.0, 9.1), None),  # fewer than five
        ((1.0, 1.1, 9.0, 9.1, 9.2), (2, 3)),
        ((9.2, 1.0, 9.1, 1.1, 9.0), (2, 3)),
        ((1.0, 9.0, 9.1, 9.2, 9.3), None),  # a single value is no group
        ((1.0, 1.0, 9.0, 9.0, 9.0), None),  # a metric of two values
        ((1.0, 2.0, 9.0, 9.5, 10.0), None),  # 7 times as wide: not enough with five values
        ((1.0, 1.5, 2.0, 6.0, 6.5, 7.0, 7.0), (3, 4)),  # 4 times as wide: enough with seven
        ((1.0, 1.5, 2.0, 5.9, 6.5, 7.0, 7.0), None),
    ],
)
def test_two_groups_are_far_apart_and_have_two_values_each(
    values: tuple[float, ...], found: tuple[int, int] | None
) -> None:
    assert two_groups(values) == found


@pytest.mark.parametrize("seeds", [5, 7, 10, 20])
def test_plain_noise_is_seldom_called_two_groups_and_diverging_trials_often(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    noise, races = rng.normal(size=(1000, seeds)), range(1000)
    diverging = noise - 20.0 * (rng.random(noise.shape) < 0.5)
    assert sum(two_groups(noise[race].tolist()) is not None for race in races) <= 15
    assert sum(two_groups(diverging[race].tolist()) is not None for race in races) >= 350


def row_sides(*rows: tuple[float, ...]) -> list[int]:
    values = np.full((len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        values[place, : len(row)] = row
    found: list[int] = sides(values, ~np.isnan(values)).tolist()
    return found


LOW, HIGH, MIXED = (10.0, 10.1, 9.9), (97.0, 97.1, 96.9), (97.2, 10.2, 96.8)


def test_a_side_is_known_where_some_entry_diverges() -> None:
    assert row_sides(LOW, HIGH, MIXED) == [-1, 1, 0]
    assert row_sides(LOW, HIGH, MIXED[:2]) == [-1, 1, 0]
    assert row_sides(LOW, HIGH, HIGH) == [0, 0, 0]  # no entry has values in both
    assert row_sides((1.0, 2.0, 3.0), (2.5, 3.5, 4.5), (1.5, 4.0, 3.0)) == [0, 0, 0]  # no gap
    assert row_sides((1.0,), (9.0,)) == [0, 0]
    assert sides(np.empty((0, 0)), np.empty((0, 0), dtype=np.bool_)).tolist() == []


def test_a_split_by_chance_is_as_likely_as_drawn_by_lot() -> None:
    rng = np.random.default_rng(7)
    for count in (2, 3):
        low = rng.random((200_000, 2, count)) < 0.5
        split = (low.all(axis=2).sum(axis=1) == 1) & ((~low).all(axis=2).sum(axis=1) == 1)
        assert split.mean() == pytest.approx(float(split_by_chance(np.array([count]))[0]), rel=0.05)


def entries(*rows: tuple[float, ...], first_seed: int = 0) -> list[Sample]:
    return [Sample(f"e{place}", dict(enumerate(row, place * first_seed))) for place, row in enumerate(rows)]


@pytest.mark.parametrize("first_seed", [0, 100], ids=["paired", "welch"])
def test_three_seeds_cannot_tell_a_clean_split_from_chance_where_entries_diverge(first_seed: int) -> None:
    apart = rank(entries(LOW, HIGH, HIGH, first_seed=first_seed), "higher").comparisons.between("e0", "e1")
    assert apart.p_value is not None
    assert apart.p_value < 1e-3
    diverging = rank(entries(LOW, HIGH, MIXED, first_seed=first_seed), "higher")
    pair = diverging.comparisons.between("e0", "e1")
    assert pair.p_value == pytest.approx(2 / 4**3)
    assert pair.low is not None
    assert pair.high is not None
    assert pair.low < pair.difference < pair.high < 0  # 1/32 is below 5 %, for this pair alone
    assert [(one.name, one.rank, one.worst_rank) for one in diverging.entries] == [
        ("e1", 1, 3),
        ("e2", 1, 3),
        ("e0", 1, 3),
    ]


def test_a_tie_for_a_clean_split_says_that_only_a_large_difference_would_have_been_seen() -> None:
    found = rank(entries(MIXED, HIGH, LOW), "higher")
    (last,) = [one for one in found.entries if one.name == "e0"]
    assert last.detectable is not None
    assert last.detectable > 30


def test_more_seeds_tell_a_clean_split_apart() -> None:
    found = rank(entries(LOW * 2, HIGH * 2, MIXED * 2), "higher")
    assert [(one.name, one.rank, one.worst_rank) for one in found.entries] == [("e1", 1, 2), ("e2", 1, 2), ("e0", 3, 3)]


def test_equal_entries_that_diverge_are_seldom_called_different() -> None:
    rng, false = np.random.default_rng(5), 0
    for _ in range(200):
        values = rng.normal(size=(10, 3)) - 50.0 * (rng.random((10, 3)) < 0.5)
        pairs = rank(entries(*map(tuple, values.tolist())), "higher").comparisons
        false += any(one.adjusted_p_value is not None and one.adjusted_p_value <= 0.05 for one in pairs)
    assert false <= 10  # half of the races, if clean splits counted
