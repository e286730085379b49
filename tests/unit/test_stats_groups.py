"""Whether the values of an entry lie in two groups."""

from __future__ import annotations

import numpy as np
import pytest

from velodrome.stats.groups import two_groups


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
