from __future__ import annotations

import math

import pytest

from velodrome.metrics.catalogue import MetricKey
from velodrome.stats.amounts import difference_words


@pytest.mark.parametrize(
    ("key", "difference", "words"),
    [
        ("accuracy", 0.0123, "1.2 points"),
        ("accuracy", 0.01, "1 point"),
        ("accuracy", 0.00004, "0.004 points"),
        ("cpu_seconds", 1234.5, "1,234 seconds"),
        ("train_samples_per_second", 45.0, "45 samples/s"),
        ("parameters", 0.5, "0.5"),
        ("rmse", 1e20, "1e+20"),
    ],
)
def test_a_difference_has_its_unit(key: str, difference: float, words: str) -> None:
    assert difference_words(MetricKey.parse(key).metric, difference) == words


def test_a_difference_of_logarithms_is_a_share() -> None:
    assert difference_words(MetricKey.parse("cpu_seconds").metric, math.log(1.05), logs=True) == "5 %"
