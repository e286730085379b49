"""What a ranking promises, seen in many simulated races with fixed random numbers.

A rate of false claims is held against 5 % with the error of the simulation: the count must not exceed what a true rate
of exactly 5 % stays below in 999 of 1,000 simulations. A rate of finds must itself be 80 % or more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from velodrome.stats import Ranking, Sample, rank

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int], Floats]

RACES = 1000
MOST_FALSE = int(binom.ppf(0.999, RACES, 0.05))  # 73 of 1,000


def independent(rng: np.random.Generator, entries: int, seeds: int) -> Floats:
    return rng.normal(size=(entries, seeds))


def correlated(rng: np.random.Generator, entries: int, seeds: int) -> Floats:
    """Nine tenths of the variance come from the seed and are shared by all entries."""
    noise: Floats = np.sqrt(0.9) * rng.normal(size=seeds) + np.sqrt(0.1) * rng.normal(size=(entries, seeds))
    return noise


def heavy_tailed(rng: np.random.Generator, entries: int, seeds: int) -> Floats:
    return rng.standard_t(3, size=(entries, seeds))


def skewed(rng: np.random.Generator, entries: int, seeds: int) -> Floats:
    return rng.lognormal(sigma=1.0, size=(entries, seeds))


def coarse(rng: np.random.Generator, entries: int, seeds: int) -> Floats:
    """Accuracies on 360 images: models of one true accuracy, steps of 1/360."""
    return rng.binomial(360, 0.97, size=(entries, seeds)) / 360


def very_coarse(rng: np.random.Generator, entries: int, seeds: int) -> Floats:
    """Two or three different values in all: equal differences and constant entries by coincidence."""
    return np.round(0.5 * rng.normal(size=(entries, seeds)) + rng.random())


def unstable(rng: np.random.Generator, entries: int, seeds: int) -> Floats:
    """Equal means, unequal spreads: two entries vary five times as much as the others."""
    return rng.normal(size=(entries, seeds)) * np.where(np.arange(entries) < 2, 5.0, 1.0)[:, None]


NOISES: list[Noise] = [independent, correlated, heavy_tailed, skewed, coarse, very_coarse, unstable]


def race(values: Floats, *, own_seeds: bool = False) -> Ranking:
    shift = values.shape[1] if own_seeds else 0
    return rank(
        [Sample(f"e{row}", dict(enumerate(values[row].tolist(), row * shift))) for row in range(len(values))], "higher"
    )


def found(ranking: Ranking, better: str, worse: str) -> bool:
    pair = ranking.comparisons.between(better, worse)
    return pair.difference > 0 and pair.adjusted_p_value is not None and pair.adjusted_p_value <= 0.05


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("entries", "seeds"), [(2, 3), (2, 20), (3, 5), (10, 3), (10, 20)])
def test_equal_models_are_rarely_called_different(noise: Noise, entries: int, seeds: int) -> None:
    rng = np.random.default_rng([entries, seeds])
    false = sum(race(noise(rng, entries, seeds)).entries[-1].rank > 1 for _ in range(RACES))
    assert false <= MOST_FALSE


@pytest.mark.parametrize("noise", [independent, skewed, unstable])
@pytest.mark.parametrize(("entries", "seeds"), [(2, 3), (10, 5)])
def test_equal_models_with_seeds_of_their_own_are_rarely_called_different(
    noise: Noise, entries: int, seeds: int
) -> None:
    rng = np.random.default_rng([entries, seeds])
    false = sum(race(noise(rng, entries, seeds), own_seeds=True).entries[-1].rank > 1 for _ in range(RACES))
    assert false <= MOST_FALSE


@pytest.mark.parametrize("seeds", [5, 20])
def test_equal_models_beside_different_ones_are_rarely_called_different(seeds: int) -> None:
    """Four equal entries, two and two more, far apart: what is refuted must not loosen the correction too much."""
    rng = np.random.default_rng(seeds)
    groups = [("e0", "e1", "e2", "e3"), ("e4", "e5"), ("e6", "e7")]
    means = np.repeat([0.0, 100.0, 200.0], [4, 2, 2])[:, None]
    false = 0
    for _ in range(RACES):
        ranking = race(means + independent(rng, 8, seeds))
        assert found(ranking, "e4", "e0")
        false += any(found(ranking, a, b) for group in groups for a in group for b in group if a != b)
    assert false <= MOST_FALSE


@pytest.mark.parametrize(
    ("entries", "shared"),
    [
        pytest.param(2, 0.0, id="two entries, independent noise"),
        pytest.param(2, 0.5, id="two entries, half of the variance from the seed"),
        pytest.param(5, 0.5, id="five entries, half of the variance from the seed"),
    ],
)
def test_leader_by_one_standard_deviation_is_found_at_20_seeds(entries: int, shared: float) -> None:
    """The leader against the second of otherwise equal entries; the standard deviation is that between trials."""
    rng = np.random.default_rng(20)
    lead = (np.arange(entries) == 0)[:, None]
    finds = 0
    for _ in range(RACES):
        noise = np.sqrt(shared) * rng.normal(size=20) + np.sqrt(1 - shared) * rng.normal(size=(entries, 20))
        finds += found(race(lead + noise), "e0", "e1")
    assert finds >= 0.8 * RACES


def test_leader_of_ten_is_found_when_half_of_the_variance_comes_from_the_seed() -> None:
    """One standard deviation above nine equal entries, at 20 seeds: it is shown to be better than one at least."""
    rng = np.random.default_rng(20)
    lead = (np.arange(10) == 0)[:, None]
    finds = 0
    for _ in range(RACES):
        ranking = race(lead + np.sqrt(0.5) * (rng.normal(size=20) + rng.normal(size=(10, 20))))
        finds += any(found(ranking, "e0", f"e{row}") for row in range(1, 10))
    assert finds >= 0.8 * RACES


def test_close_pair_in_a_spread_field_of_ten_is_found_at_20_seeds() -> None:
    """One standard deviation of independent noise between two of ten entries, the others far away from both."""
    rng = np.random.default_rng(20)
    means = np.array([1.0, *range(0, 90, 10)])[:, None]
    finds = sum(found(race(means + independent(rng, 10, 20)), "e0", "e1") for _ in range(RACES))
    assert finds >= 0.8 * RACES
