"""The noise floor: estimates from A/A comparisons beside known spreads, and power beside other libraries' formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from velodrome.stats import Sample, compare
from velodrome.stats.noise import (
    Scale,
    Twins,
    between_jobs,
    differences,
    least_change,
    median,
    over_seeds,
    share,
    shown,
    smallest_change,
)


def sample(values: object, first_seed: int = 0) -> Sample:
    return Sample("one", dict(enumerate(np.asarray(values, dtype=float).tolist(), start=first_seed)))


def twins(first: object, second: object, thing: str = "cnn", occasion: str = "1") -> Twins:
    return Twins(sample(first), sample(second), thing, occasion)


def board(seed: int, *, jobs: int, entries: int, between: float, together: bool = False) -> list[Twins]:
    """Each job of an entry with the next one; with `together` a job moves all entries alike."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=jobs)
    found = []
    for entry in range(entries):
        moved = between * (common if together else rng.normal(size=jobs))
        values = 100.0 + moved[:, None] + rng.normal(size=(jobs, 5))
        found += [twins(values[job], values[job + 1], str(entry), str(job)) for job in range(jobs - 1)]
    return found


# Shares and medians


@pytest.mark.parametrize(("hits", "of"), [(0, 12), (3, 40), (12, 12), (1, 1)])
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(hits: int, of: int) -> None:
    found = share([place < hits for place in range(of)])
    assert (found.hits, found.of) == (hits, of)
    assert (found.low, found.high) == pytest.approx(proportion_confint(hits, of, method="beta"))


def test_comparisons_of_one_occasion_that_agree_count_as_one() -> None:
    """Ten jobs, in two of which all five entries were called different: that is two of ten, and not ten of fifty."""
    hits = [job < 2 for job in range(10) for _ in range(5)]
    jobs = [str(job) for job in range(10) for _ in range(5)]
    found = share(hits, jobs)
    assert (found.hits, found.of) == (10, 50)
    assert (found.low, found.high) == pytest.approx(proportion_confint(2, 10, method="beta"))
    alone = share(hits)
    assert found.low < alone.low < alone.high < found.high


def test_comparisons_of_one_occasion_that_do_not_agree_count_nearly_as_many() -> None:
    rng = np.random.default_rng(1)
    hits = (rng.random(400) < 0.3).tolist()
    found, alone = share(hits, [str(place // 5) for place in range(400)]), share(hits)
    assert 1 <= (found.high - found.low) / (alone.high - alone.low) < 1.15


@pytest.mark.parametrize(("count", "low", "high"), [(6, 0, 5), (20, 5, 14), (50, 17, 32)])
def test_the_interval_of_a_median_is_that_of_the_sign_test(count: int, low: int, high: int) -> None:
    """The order statistics between which the median lies in at least 95 % of cases, whatever the values are."""
    assert stats.binom.cdf(high, count, 0.5) - stats.binom.cdf(low, count, 0.5) >= 0.95
    found = median([float(value) ** 3 for value in range(count)])
    assert found.value == np.median(np.arange(count, dtype=float) ** 3)
    assert (found.low, found.high) == (float(low) ** 3, float(high) ** 3)


def test_five_values_are_too_few_for_an_interval() -> None:
    assert median([1.0, 2.0, 3.0, 4.0, 9.0]).low is None
    assert median([1.0] * 30, ["the same job"] * 30).low is None


# A/A comparisons


def test_each_comparison_is_tested_as_ranks_are_and_its_size_is_on_the_scale() -> None:
    pair = twins([0.010, 0.011, 0.012], [0.0113, 0.0118, 0.0136])
    found = differences([pair], "relative", 0.05)
    (one,) = found.each
    ratio = np.exp(np.mean(np.log([0.0113, 0.0118, 0.0136])) - np.mean(np.log([0.010, 0.011, 0.012])))
    assert shown(one.value, "relative") == pytest.approx(ratio - 1)
    first, second = np.log([0.010, 0.011, 0.012]), np.log([0.0113, 0.0118, 0.0136])
    assert one.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    plain = differences([pair], "points", 0.05).each[0]
    assert plain.p_value == compare(Sample("a", pair.first.values), Sample("b", pair.second.values)).p_value
    assert differences([pair], "points", 0.05).each[0].value == pytest.approx(0.0012333333333)


def test_repetitions_that_give_the_same_values_are_counted_and_not_called_different() -> None:
    found = differences(
        [twins([0.9, 0.91, 0.92], [0.9, 0.91, 0.92]), twins([0.9, 0.91, 0.92], [0.9, 0.91, 0.95])], "points", 0.05
    )
    assert found.same == 1
    assert found.called is not None
    assert found.called.hits == 0
    assert differences([], "points", 0.05).called is None


def test_a_value_of_0_has_no_relative_change() -> None:
    with pytest.raises(ValueError, match="not positive"):
        differences([twins([0.0, 1.0], [1.0, 1.0])], "relative", 0.05)


# Spreads


def test_the_spread_over_seeds_is_found_whatever_the_levels_are_and_a_wild_trial_moves_it_little() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(rng.uniform(0.5, 0.9, 60)[:, None], 0.01, (60, 5))
    found = over_seeds([sample(row) for row in values], "points")
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.01 < found.high
    assert found.value == pytest.approx(0.01, rel=0.15)
    values[::10, 2] = 5.0
    wild = over_seeds([sample(row) for row in values], "points")
    assert wild is not None
    assert wild.value == pytest.approx(0.01, rel=0.35)
    assert float(np.sqrt(values.var(axis=1, ddof=1).mean())) > 0.4  # what a mean of variances would say


def test_the_spread_of_one_job_is_the_median_of_its_variances_over_that_of_chi_square() -> None:
    rows = [[1.0, 2.0, 3.0, 4.0, 6.0], [1.0, 1.1, 1.2, 1.3, 1.4], [5.0, 7.0, 5.5, 6.0, 9.0]]
    variances = [float(np.var(row, ddof=1)) for row in rows]
    expected = np.sqrt(np.median(variances) / (stats.chi2.median(4) / 4))
    found = over_seeds([sample(row) for row in rows], "points")
    assert found is not None
    assert found.value == pytest.approx(expected)
    assert found.low is None  # three variances are too few for an interval


def test_values_that_a_job_repeats_are_no_evidence_of_their_own() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 6.0]
    assert over_seeds([sample(values) for _ in range(3)], "points") is None
    assert over_seeds([Sample(name, sample(values).values) for name in "abc"], "points") is not None
    assert over_seeds([], "points") is None
    assert over_seeds([sample([1.0])] * 20, "points") is None


def test_constant_values_of_a_coarse_metric_have_the_spread_that_its_steps_allow() -> None:
    found = over_seeds(
        [sample([0.97, 0.97, 0.97]), *(sample([0.97, 0.96, 0.97], seed) for seed in range(0, 30, 3))], "points"
    )
    assert found is not None
    assert found.value > 0
    constant = over_seeds([sample([value] * 3) for value in (0.95, 0.96, 0.97, 0.98)], "points")
    assert constant is not None
    assert constant.value == pytest.approx(np.sqrt(0.01**2 / 3 / (stats.chi2.median(2) / 2)))


@pytest.mark.parametrize("between", [0.5, 1.0, 3.0])
def test_what_jobs_add_is_found(between: float) -> None:
    found = between_jobs(board(3, jobs=60, entries=5, between=between), "points")
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < between < found.high
    assert found.value == pytest.approx(between, rel=0.25)


def test_jobs_that_add_nothing_are_said_to_add_little_or_nothing() -> None:
    values = [between_jobs(board(seed, jobs=20, entries=5, between=0.0), "points") for seed in range(20)]
    known = [found for found in values if found is not None]
    assert np.mean([found.value for found in known]) < 0.25
    assert np.mean([found.low == 0 for found in known]) > 0.9


def test_the_interval_holds_where_a_job_moves_all_entries_alike() -> None:
    held = []
    for seed in range(60):
        found = between_jobs(board(seed, jobs=16, entries=5, between=1.0, together=True), "points")
        assert found is not None
        held.append(found.low is not None and found.high is not None and found.low <= 1.0 <= found.high)
    assert np.mean(held) > 0.85  # 94 % in 300 such boards


def test_one_real_change_among_the_jobs_moves_the_estimate_little() -> None:
    pairs = board(4, jobs=21, entries=3, between=1.0)
    moved = [
        Twins(pair.first, sample(np.array(list(pair.second.values.values())) + 50.0), pair.thing, pair.occasion)
        if pair.occasion == "9"
        else pair
        for pair in pairs
    ]
    before, after = between_jobs(pairs, "points"), between_jobs(moved, "points")
    assert before is not None
    assert after is not None
    assert after.value == pytest.approx(before.value, rel=0.25)


def test_few_jobs_tell_no_spread_between_jobs() -> None:
    assert between_jobs([], "points") is None
    assert between_jobs(board(5, jobs=3, entries=5, between=1.0, together=True), "points") is None
    assert between_jobs(board(5, jobs=6, entries=1, between=1.0), "points") is None
    assert between_jobs(board(5, jobs=7, entries=1, between=1.0), "points") is not None


def test_a_board_that_repeats_exactly_has_no_spread_between_jobs() -> None:
    pairs = [twins([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], occasion=str(job)) for job in range(8)]
    found = between_jobs(pairs, "points")
    assert found is not None
    assert (found.value, found.low, found.high) == (0, 0, 0)


# What can be seen


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_smallest_change_is_that_of_another_librarys_power(n: int, alpha: float) -> None:
    found = smallest_change(n, 0.3, 0.0, alpha)
    assert found is not None
    effect = found / (np.sqrt(2) * 0.3)
    assert TTestPower().power(effect, n, alpha) == pytest.approx(0.8, abs=1e-5)
    both = smallest_change(n, 0.3, 0.1, alpha)
    assert both == pytest.approx(effect * np.sqrt(n) * np.sqrt(2 * (0.1**2 + 0.3**2 / n)))


def test_that_change_is_found_in_80_of_100_comparisons() -> None:
    rng = np.random.default_rng(6)
    change = smallest_change(5, 1.0, 0.0, 0.05)
    assert change is not None
    first, second = rng.normal(size=(2, 4000, 5))
    found = stats.ttest_rel(first + change, second, axis=1).pvalue <= 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.02)


def test_seeds_help_against_their_own_part_alone() -> None:
    assert smallest_change(1, 1.0, 1.0, 0.05) is None
    many = smallest_change(10_000, 1.0, 2.0, 0.01)
    assert many == pytest.approx(least_change(2.0, 0.01), rel=0.01)
    assert least_change(2.0, 0.01) == pytest.approx((stats.norm.ppf(0.995) + stats.norm.ppf(0.8)) * np.sqrt(2) * 2)


@pytest.mark.parametrize(("scale", "expected"), [("relative", 0.1), ("points", np.log(1.1))])
def test_a_difference_is_shown_on_its_scale(scale: Scale, expected: float) -> None:
    assert shown(float(np.log(1.1)), scale) == pytest.approx(expected)
