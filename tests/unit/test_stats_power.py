"""What a race can see before it runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import nct, t

from velodrome.stats import Sample
from velodrome.stats.looks import Until, shares
from velodrome.stats.power import corrected, last_level, pair_spread, seeds_for, smallest_gap


@pytest.mark.parametrize("entries", [2, 5, 10])
@pytest.mark.parametrize("seeds", [4, 5, 20, 100])
def test_the_smallest_gap_is_found_in_four_of_five_races(seeds: int, entries: int) -> None:
    level = corrected(0.05, entries)
    gap, bound = smallest_gap(seeds, level), t.isf(level / 2, seeds - 1)
    assert nct.sf(bound, seeds - 1, gap * math.sqrt(seeds)) == pytest.approx(0.8, abs=0.02)


def test_every_pair_of_the_family_is_counted() -> None:
    assert [corrected(0.05, entries) for entries in (1, 2, 5)] == pytest.approx([0.05, 0.05, 0.005])
    until = Until(("accuracy",), 5, 20)
    assert last_level(until, 5) == pytest.approx(0.005 * shares(until)[-1])


def test_seeds_for_a_gap_are_the_fewest_that_see_it() -> None:
    for gap in (0.2, 0.5, 1.0, 3.0, 50.0):
        seeds = seeds_for(gap, 0.005)
        assert seeds is not None
        assert smallest_gap(seeds, 0.005) <= gap < smallest_gap(seeds - 1, 0.005)


def test_what_takes_too_many_seeds_or_is_no_gap() -> None:
    assert seeds_for(0.001, 0.05) is None
    assert smallest_gap(1, 0.05) == math.inf
    for gap in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="is not above 0"):
            seeds_for(gap, 0.05)


def test_the_spread_of_pairs_is_that_of_their_differences() -> None:
    rng = np.random.default_rng(0)
    values = 5 * rng.normal(size=7) + rng.normal(size=(4, 7)) + np.arange(4)[:, None]
    samples = [Sample(f"e{row}", dict(enumerate(own.tolist()))) for row, own in enumerate(values)]
    first, second = np.triu_indices(4, 1)
    expected = np.sqrt((values[first] - values[second]).var(axis=1, ddof=1).mean())
    assert pair_spread(samples) == pytest.approx(expected)
    assert pair_spread(samples[:2]) == pytest.approx((values[0] - values[1]).std(ddof=1))


def test_the_spread_needs_two_common_seeds() -> None:
    one = Sample("a", {0: 1.0, 1: 2.0, 2: 4.0})
    assert pair_spread([]) is None
    assert pair_spread([Sample("a", {0: 1.0})]) is None
    assert pair_spread([one, Sample("b", {2: 1.0, 3: 2.0})]) is None
    assert pair_spread([one]) == pytest.approx(math.sqrt(2 * 7 / 3))
    assert pair_spread([one, Sample("b", {0: 2.0, 1: 4.0})]) == pytest.approx(math.sqrt(0.5))
