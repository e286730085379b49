"""One job against its baseline: the test, the floor that only other jobs show, and what a change is called."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind, ttest_rel
from statsmodels.stats.multitest import multipletests

from velodrome.stats import Sample
from velodrome.stats.regression import Change, change, holm, verdict

VALUES = st.lists(st.floats(50, 150), min_size=3, max_size=10)


def of(
    new: list[float],
    old: list[float],
    *,
    unchanged: tuple[float, ...] = (),
    apart: int = 0,
    deterministic: bool = False,
) -> Change:
    """The change between these values; their seeds are `apart`."""
    seeds = {seed + apart: value for seed, value in enumerate(new)}
    return change(Sample("a", seeds), Sample("b", dict(enumerate(old))), unchanged, deterministic=deterministic)


def rows(seed: int, *levels: float, size: int = 5) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [(level + rng.normal(size=size)).tolist() for level in levels]


def test_the_same_seeds_are_paired_and_others_are_not() -> None:
    new, old = rows(1, 103, 100)
    assert of(new, old).p_value == pytest.approx(ttest_rel(new, old).pvalue)
    assert of(new, old, apart=100).p_value == pytest.approx(ttest_ind(new, old, equal_var=False).pvalue)
    interval = ttest_rel(new, old).confidence_interval(0.99)
    mean = np.mean(old)
    assert (of(new, old).low, of(new, old).high) == pytest.approx((interval.low / mean, interval.high / mean))


def test_one_value_on_a_side_can_not_be_tested() -> None:
    found = of([1.0], [2.0, 3.0])
    assert found.p_value is None
    assert found.low is None


def test_a_baseline_of_0_has_no_relative_change() -> None:
    found = of([1.0, 2.0, 3.0], [-1.0, 0.0, 1.0])
    assert found.relative is None
    assert found.p_value is not None


def test_jobs_that_differ_more_than_their_seeds_decide() -> None:
    """The variance of a difference: 2 (4 v + (m - 1) s²) / (4 + m - 1), with Student's t of 4 + m - 1 degrees."""
    new, old = rows(2, 103, 100)
    jobs = (100.0, 104.0, 97.0, 102.0)
    found = of(new, old, unchanged=jobs)
    differences = np.subtract(new, old)
    seeds = differences.var(ddof=1) / 5 / 2
    error = np.sqrt(2 * (4 * seeds + 3 * np.var(jobs, ddof=1)) / 7)
    ratio = differences.mean() / error
    rng = np.random.default_rng(0)
    simulated = np.mean(np.abs(rng.standard_t(7, size=400_000)) > abs(ratio))
    assert found.floor
    assert found.p_value == pytest.approx(simulated, abs=0.004)
    assert found.p_value is not None
    assert found.p_value > (of(new, old).p_value or 1)


def test_jobs_that_never_differ_leave_the_answer_to_the_seeds() -> None:
    new, old = rows(3, 103, 100)
    wide = [value * 10 for value in new], [value * 10 for value in old]
    assert of(*wide, unchanged=(1000.0, 1000.0)).low is not None
    constant = of([5.0] * 3, [4.0] * 3, unchanged=(4.0, 4.0, 4.0), deterministic=True)
    assert constant.p_value == 0
    assert not constant.floor


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES, st.floats(1e-6, 1e6), st.lists(st.floats(50, 150), max_size=5))
def test_the_unit_does_not_matter(new: list[float], old: list[float], scale: float, jobs: list[float]) -> None:
    plain = of(new, old, unchanged=tuple(jobs))
    scaled = of([scale * v for v in new], [scale * v for v in old], unchanged=tuple(scale * job for job in jobs))
    assert scaled.relative == pytest.approx(plain.relative, rel=1e-6, abs=1e-9)
    assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-5, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0.001, 0.4), st.floats(0, 0.5))
def test_the_direction_turns_the_verdict_around(relative: float, p_value: float, alpha: float, least: float) -> None:
    other = {"Regressed": "Improved", "Improved": "Regressed", "Unchanged": "Unchanged"}
    higher = verdict(relative, p_value, "higher", alpha, least)
    assert verdict(relative, p_value, "lower", alpha, least) == other[higher]
    assert verdict(-relative, p_value, "higher", alpha, least) == other[higher]


@pytest.mark.parametrize(
    ("relative", "p_value", "called"),
    [(-0.02, 0.01, "Regressed"), (-0.0199, 0.0, "Unchanged"), (-0.5, 0.0101, "Unchanged"), (0.03, 0.0, "Improved")],
)
def test_a_change_counts_if_it_is_significant_and_matters(relative: float, p_value: float, called: str) -> None:
    assert verdict(relative, p_value, "higher", 0.01, 0.02) == called


@given(st.lists(st.floats(0, 1), max_size=30))
def test_the_correction_is_holms(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == pytest.approx(expected)


def test_jobs_that_drift_by_themselves_seldom_look_like_a_regression() -> None:
    """Seeds agree within 0.2 %, jobs within 2 %; of ten earlier jobs the floor is known."""
    rng = np.random.default_rng(77)
    called = {True: 0, False: 0}
    for _ in range(400):
        levels = 100 + 2 * rng.normal(size=11)
        trials = levels[:, None] + 0.2 * rng.normal(size=(11, 5))
        means = tuple(trials[:10].mean(axis=1).tolist())
        for known in (True, False):
            found = of(trials[10].tolist(), trials[9].tolist(), unchanged=means if known else ())
            called[known] += verdict(found.relative or 0, found.p_value or 0, "higher", 0.01, 0.02) == "Regressed"
    assert called[True] <= 8  # of 400, at a level of 1 % for both directions together
    assert called[False] > 50


@pytest.mark.parametrize("unchanged", [(), (1.0, 1.02, 0.99, 1.01)])
def test_bounds_exclude_zero_exactly_where_the_p_value_is_below_the_level(unchanged: tuple[float, ...]) -> None:
    new = Sample("new", dict(enumerate((1.06, 1.20, 1.11, 1.19, 1.09))))
    old = Sample("old", dict(enumerate((1.0, 1.02, 0.98, 1.01, 0.99))))
    found = change(new, old, unchanged)
    assert found.p_value is not None
    for share, excludes in ((0.9, True), (1.1, False)):
        bounded = found.bounded(1 - found.p_value / share)
        assert bounded.low is not None
        assert bounded.high is not None
        assert (bounded.low > 0 or bounded.high < 0) == excludes
        assert bounded.p_value == found.p_value
