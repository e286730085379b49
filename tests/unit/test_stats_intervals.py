from __future__ import annotations

import math
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.weightstats import DescrStatsW

from velodrome.metrics.catalogue import CATALOGUE
from velodrome.stats import Interval, Sample, mean_interval, metric_interval, metric_mean

samples_of_numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6))


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(
    "samples", [[1.0, 2.0], [0.91, 0.93, 0.92, 0.95, 0.90], [3e9, 1e9, 2e9, -4e9], list(range(50))]
)
def test_interval_is_that_of_scipy_and_statsmodels(samples: list[float], confidence: float) -> None:
    interval = mean_interval(samples, confidence)

    by_scipy = scipy_stats.t.interval(
        confidence, len(samples) - 1, scipy_stats.tmean(samples), scipy_stats.sem(samples)
    )
    by_statsmodels = DescrStatsW(samples).tconfint_mean(alpha=1 - confidence)
    assert (interval.low, interval.high) == pytest.approx(by_scipy, rel=1e-12)
    assert (interval.low, interval.high) == pytest.approx(by_statsmodels, rel=1e-12)
    assert interval.mean == pytest.approx(scipy_stats.tmean(samples), rel=1e-15)
    assert interval.standard_deviation == pytest.approx(scipy_stats.tstd(samples), rel=1e-14)
    assert interval.n == len(samples)


def test_interval_known_by_hand() -> None:
    # Mean 2, standard deviation 1, standard error 1/√3; t with 2 degrees of freedom has the closed form
    # t = (2p - 1) · √(2 / (4p(1 - p))), here with p = 0.975.
    t = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.high == pytest.approx(2 + t / math.sqrt(3), rel=1e-13)


def test_one_sample_says_nothing_of_spread() -> None:
    assert mean_interval([0.7]) == Interval(mean=0.7, low=None, high=None, n=1, standard_deviation=None)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 11_173_962.0, -1e100, 0.0])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_equal_samples_have_no_width(value: float, n: int) -> None:
    assert mean_interval([value] * n) == Interval(value, value, value, n, 0.0)


@given(samples_of_numbers.filter(len), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_the_interval_holds_its_mean(samples: list[float], random: Random) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)
    interval = mean_interval(samples)
    assert mean_interval(shuffled) == interval
    if interval.low is not None and interval.high is not None:
        assert interval.low <= interval.mean <= interval.high


@given(samples_of_numbers.filter(lambda samples: len(samples) > 1))
def test_more_confidence_is_a_wider_interval(samples: list[float]) -> None:
    narrow, wide = mean_interval(samples, 0.9), mean_interval(samples, 0.99)
    assert narrow.low is not None
    assert wide.low is not None
    assert wide.low <= narrow.low


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_sample_that_is_not_finite_is_refused_by_its_place(bad: float) -> None:
    with pytest.raises(ValueError, match=r"samples\[1\]: .* is not finite"):
        mean_interval([1.0, bad])
    with pytest.raises(ValueError, match=r"entry 'resnet9', seed 4: .* is not finite"):
        Sample("resnet9", {3: 1.0, 4: bad})


@pytest.mark.parametrize("bad", [1e101, -1e-101])
def test_value_whose_square_is_lost_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="outside 1e-100 to 1e"):
        mean_interval([1.0, bad])


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="samples: there are none"):
        mean_interval([])
    with pytest.raises(ValueError, match="entry 'lstm' has no values"):
        Sample("lstm", {})


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, math.nan])
def test_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([1.0, 2.0], confidence)


def test_importing_stats_is_light() -> None:
    heavy = {"scipy.stats", "pandas", "torch", "redis"}
    code = "import sys, velodrome.stats; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "scipy.special" in loaded
    assert not heavy & set(loaded)


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0, 0.98], [0.001, 0.0, 0.0, 0.02]])
def test_an_interval_of_a_metric_has_no_impossible_values(values: list[float]) -> None:
    plain = mean_interval(values)
    assert plain.low is not None
    assert plain.high is not None
    assert plain.low < 0 or plain.high > 1, "a plain interval would reach too far"
    found = metric_interval(CATALOGUE["accuracy"], values)
    assert found.mean == plain.mean
    assert (found.low, found.high) == (max(plain.low, 0.0), min(plain.high, 1.0))


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=25), st.sampled_from(["latency_p50_seconds", "accuracy"]))
def test_the_mean_of_a_metric_is_that_of_its_interval(values: list[float], name: str) -> None:
    metric = CATALOGUE[name]
    assert metric_mean(metric, values) == pytest.approx(metric_interval(metric, values).mean, rel=1e-12)


def test_amounts_have_a_geometric_mean_and_zeros_have_none() -> None:
    seconds = CATALOGUE["latency_p50_seconds"]
    assert metric_mean(seconds, [1.0, 4.0]) == pytest.approx(2.0)
    assert metric_mean(seconds, [0.0, 4.0]) == metric_interval(seconds, [0.0, 4.0]).mean == 2.0
    many = [1.0] * 9 + [1024.0]
    assert metric_mean(seconds, many) == pytest.approx(2.0)
    assert mean_interval(many, logs=True).mean == pytest.approx(1.0), "a ranking leaves the largest of ten out"
    assert metric_mean(CATALOGUE["parameters"], [1.0, 4.0]) == 2.5, "a count that does not vary has nothing to compare"
