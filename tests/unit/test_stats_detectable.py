"""The smallest difference that a test finds, held against scipy's noncentral t and against simulated races."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from velodrome.stats.detectable import detectable


@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize(
    ("freedom", "alpha", "within"),
    [(2, 0.05, 0.03), (2, 0.005, 0.03), (4, 0.05, 0.01), (4, 0.005, 0.01), (9, 0.0001, 0.01), (19, 0.005, 0.003)],
)
def test_a_difference_of_that_size_is_found_as_often_as_wanted(
    freedom: int, alpha: float, within: float, power: float
) -> None:
    critical = scipy_stats.t.isf(alpha / 2, freedom)
    size = float(detectable(1.0, freedom, alpha, power))
    exact = _exact(critical, freedom, power)
    assert size == pytest.approx(exact, rel=within)
    assert float(detectable(3.0, freedom, alpha, power)) == pytest.approx(3 * size)


def _exact(critical: float, freedom: int, power: float) -> float:
    """The noncentrality at which scipy's noncentral t exceeds the critical value with this probability."""
    return float(
        optimize.brentq(lambda nc: scipy_stats.nct.sf(critical, freedom, nc) - power, 1e-3, 10 * critical, xtol=1e-6)
    )


def test_simulated_races_find_it_in_four_of_five() -> None:
    rng = np.random.default_rng(0)
    freedom, alpha = 9, 0.005
    size = float(detectable(1 / math.sqrt(10), freedom, alpha))  # of 10 differences with standard deviation 1
    differences = size + rng.normal(size=(20_000, 10))
    found = np.asarray(scipy_stats.ttest_1samp(differences, 0.0, axis=1).pvalue) <= alpha
    assert np.mean(found) == pytest.approx(0.8, abs=0.015)


def test_arrays_broadcast_and_no_noise_hides_nothing() -> None:
    sizes = detectable(np.array([0.0, 1.0, np.nan]), np.array([4.0, 4.0, np.nan]), 0.05)
    assert sizes[0] == 0
    assert sizes[1] == detectable(1.0, 4, 0.05)
    assert np.isnan(sizes[2])


@pytest.mark.parametrize(("alpha", "power"), [(0.0, 0.8), (1.0, 0.8), (0.05, 1.0), (math.nan, 0.8)])
def test_probabilities_are_between_0_and_1(alpha: float, power: float) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        detectable(1.0, 4, alpha, power)
