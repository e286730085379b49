from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from velodrome.stats import PairComparison, Sample, compare


def sample(name: str, *values: float, first_seed: int = 0) -> Sample:
    return Sample(name, dict(enumerate(values, first_seed)))


@pytest.mark.parametrize("n", [2, 3, 5, 20])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_same_seeds_are_paired_as_by_scipy(n: int, confidence: float) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(3, 2, n), rng.normal(4, 1, n)

    comparison = compare(sample("x", *x), sample("y", *y), confidence)

    expected = scipy_stats.ttest_rel(x, y)
    interval = expected.confidence_interval(confidence)
    assert comparison.method == "paired"
    assert comparison.n == n
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert comparison.adjusted_p_value == comparison.p_value
    assert comparison.difference == pytest.approx(x.mean() - y.mean(), rel=1e-12)
    assert (comparison.low, comparison.high) == pytest.approx((interval.low, interval.high), rel=1e-10)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 20), (5, 5)])
def test_other_seeds_are_compared_by_welch_as_by_scipy_and_statsmodels(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(sizes)
    x, y = rng.normal(3, 2, sizes[0]), rng.normal(4, 0.5, sizes[1])

    comparison = compare(sample("x", *x), sample("y", *y, first_seed=100))

    expected = scipy_stats.ttest_ind(x, y, equal_var=False)
    interval = CompareMeans(DescrStatsW(x), DescrStatsW(y)).tconfint_diff(usevar="unequal")
    assert comparison.method == "welch"
    assert comparison.n == min(sizes)
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert (comparison.low, comparison.high) == pytest.approx(interval, rel=1e-10)


def test_failed_seeds_leave_the_others_paired() -> None:
    x = Sample("x", {0: 1.0, 1: 2.0, 2: 4.0, 3: 7.0, 4: 100.0})
    y = Sample("y", {0: 1.5, 1: 2.2, 2: 4.9, 3: 7.1, 5: -100.0})
    expected = scipy_stats.ttest_rel([1.0, 2.0, 4.0, 7.0], [1.5, 2.2, 4.9, 7.1])
    comparison = compare(x, y)
    assert (comparison.method, comparison.n) == ("paired", 4)
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    assert comparison.difference == pytest.approx(-0.425)


@pytest.mark.parametrize(
    ("seeds_a", "seeds_b", "method"),
    [
        ({0, 1}, {0, 1}, "paired"),
        ({0, 1, 2}, {0, 1}, "paired"),
        ({0, 1, 2}, {1, 2, 3}, "paired"),  # 2 of 4 in common
        ({0, 1, 2}, {2, 3, 4}, "welch"),  # one in common
        ({0, 1, 2, 3}, {2, 3, 4, 5}, "welch"),  # 2 of 6 in common: two plans, not one with failures
        (set(range(20)), set(range(10)), "paired"),
        (set(range(20)), set(range(9)), "welch"),
    ],
)
def test_pairing_needs_half_of_the_seeds_in_common(seeds_a: set[int], seeds_b: set[int], method: str) -> None:
    rng = np.random.default_rng(0)
    a = Sample("a", {seed: rng.normal() for seed in seeds_a})
    b = Sample("b", {seed: rng.normal() for seed in seeds_b})
    assert compare(a, b).method == compare(b, a).method == method


@pytest.mark.parametrize("n", [2, 5])
def test_deterministic_metrics_that_differ_are_different(n: int) -> None:
    parameters = compare(sample("a", *[11_173_962] * n), sample("b", *[11_173_963] * n), deterministic=True)
    assert parameters == PairComparison("a", "b", -1.0, -1.0, -1.0, 0.0, 0.0, n, "paired")
    thirds = compare(sample("a", *[1 / 3] * n), sample("b", *[0.1] * n, first_seed=50), deterministic=True)
    assert (thirds.p_value, thirds.method) == (0.0, "welch")


def test_equal_values_are_not_different() -> None:
    same = compare(sample("a", 5, 5, 5), sample("b", 5, 5, 5))
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    varying = compare(sample("a", 1, 2, 3), sample("b", 1, 2, 3))
    assert (varying.difference, varying.p_value) == (0, 1)
    elsewhere = compare(sample("a", 5, 5, 5), sample("b", 5, 5, 5, first_seed=9))
    assert (elsewhere.p_value, elsewhere.method) == (1, "welch")
    assert compare(sample("a", 5, 5), sample("b", 5, 5), deterministic=True).p_value == 1


@pytest.mark.parametrize("first_seed", [0, 50])
def test_values_never_make_a_metric_deterministic(first_seed: int) -> None:
    # An accuracy that happens to be the same on each of n seeds has the least spread that its one known step allows.
    expected = {2: 0.2952, 3: 0.0955, 5: 0.0075}
    for n, p_value in expected.items():
        a, b = sample("a", *[35 / 355] * n), sample("b", *[36 / 355] * n, first_seed=first_seed)
        found = compare(a, b).p_value
        assert found is not None
        assert 0 < found < 1
        if first_seed == 0:
            assert found == pytest.approx(p_value, abs=1e-4)


def test_rounding_is_no_difference() -> None:
    assert 0.1 + 0.2 != 0.3
    assert compare(sample("a", 0.1 + 0.2, 0.1 + 0.2), sample("b", 0.3, 0.3)).p_value == 1
    # Each difference is 0.2 up to rounding: that the last digits vary must not make it certain.
    a, b = sample("a", 0.3, 0.4, 0.5), sample("b", 0.1, 0.2, 0.3)
    exact_a, exact_b = sample("a", 3, 4, 5), sample("b", 1, 2, 3)
    assert compare(a, b).p_value == pytest.approx(compare(exact_a, exact_b).p_value, rel=1e-6)


def test_equal_differences_of_varying_values_are_as_good_as_the_steps_of_the_metric() -> None:
    # Steps of 1, n = 3: the smallest spread above none has the variance 1/3, so t = difference / (1/3).
    expected = 2 * scipy_stats.t.sf(2 / (1 / 3), 2)
    comparison = compare(sample("a", 3, 4, 5), sample("b", 1, 2, 3))
    assert comparison.p_value == pytest.approx(expected, rel=1e-12)
    # One step more or less on one seed makes it a little more or less certain.
    more, less = (compare(sample("a", 3, 4, last), sample("b", 1, 2, 3)).p_value for last in (6, 4))
    assert more is not None
    assert less is not None
    assert more < expected < less


def test_constant_side_of_a_varying_metric_is_as_good_as_its_steps() -> None:
    comparison = compare(sample("a", 5, 5, 5), sample("b", 1, 2, 3, first_seed=50))
    expected = scipy_stats.ttest_ind_from_stats(5, math.sqrt(1 / 3), 3, 2, 1, 3, equal_var=False)
    assert comparison.method == "welch"
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=1e-12)


def test_one_value_can_not_be_told_apart() -> None:
    single = PairComparison("a", "b", -1.0, None, None, None, None, 1, "welch")
    assert compare(sample("a", 1), sample("b", 2)) == single
    assert compare(sample("a", 1), sample("b", 1.5, 2.5)).p_value is None
    assert compare(sample("a", 1.5, 2.5), sample("b", 1)).n == 1


values = st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=8)


@given(values, values, st.sampled_from([0, 2, 50]))
def test_swapping_sides_mirrors(x: list[int], y: list[int], shift: int) -> None:
    a, b = sample("a", *x), sample("b", *y, first_seed=shift)
    forth, back = compare(a, b), compare(b, a)
    assert back == forth.reversed()
    assert forth == back.reversed()


@given(
    values, values, st.sampled_from([0, 2, 50]), st.integers(-(2**20), 2**20), st.sampled_from([2.0**-9, 1.0, 2.0**30])
)
def test_moving_and_stretching_both_changes_nothing(
    x: list[int], y: list[int], seed: int, move: int, stretch: float
) -> None:
    # Integers and powers of two, so that the arithmetic of the samples is exact.
    before = compare(sample("a", *x), sample("b", *y, first_seed=seed))
    after = compare(
        sample("a", *[(v + move) * stretch for v in x]),
        sample("b", *[(v + move) * stretch for v in y], first_seed=seed),
    )
    assert after.difference == pytest.approx(before.difference * stretch, rel=1e-6, abs=1e-6 * stretch)
    if before.p_value is None:
        assert after.p_value is None
    else:
        assert after.p_value == pytest.approx(before.p_value, rel=1e-6, abs=1e-12)


@given(values, values, st.sampled_from([0, 1, 50]))
def test_p_value_and_interval_agree(x: list[int], y: list[int], shift: int) -> None:
    comparison = compare(sample("a", *x), sample("b", *y, first_seed=shift))
    if comparison.p_value is None or comparison.low is None or comparison.high is None:
        assert min(len(x), len(y)) == 1
        return
    assert 0 <= comparison.p_value <= 1
    if not math.isclose(comparison.p_value, 0.05, rel_tol=1e-6):
        assert (comparison.low <= 0 <= comparison.high) == (comparison.p_value > 0.05)


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="entry 'a' is compared with itself"):
        compare(sample("a", 1, 2), sample("a", 1, 2))
    with pytest.raises(ValueError, match="confidence"):
        compare(sample("a", 1, 2), sample("b", 1, 2), confidence=95)
