"""The mean of a few trials, and its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from velodrome.metrics.catalogue import LARGEST, Metric
from velodrome.stats.samples import moments, require_measurable


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval, in the unit of the samples.

    `low`, `high` and `standard_deviation` (of the samples; n - 1 in the denominator) are None for a single sample,
    which has no spread.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    standard_deviation: float | None


def mean_interval(
    samples: Sequence[float],
    confidence: float = 0.95,
    *,
    logs: bool = False,
    trim: bool = True,
    limits: tuple[float, float] = (-LARGEST, LARGEST),
) -> Interval:
    """Student's t interval of the mean: mean ± t(1 - (1 - confidence) / 2; n - 1) · s / √n, as far as `limits` allow.

    It contains the true mean with probability `confidence` for independent normal samples, and approximately for others
    as n grows. `limits` are the least and the most that a sample can be: the true mean lies between them, so cutting
    the interval off there never loses it. The order of the samples doesn't matter. Samples that are all equal give low
    = high = mean.

    With `logs`, all of this holds for the logarithms of the samples, which are above 0: the mean is geometric, from 10
    samples on trimmed (`velodrome.stats.samples.moments`) unless `trim` is false, and the interval is that of the tests
    of one entry.

    Source: Student (1908), "The probable error of a mean", Biometrika 6(1); also the NIST/SEMATECH e-Handbook of
    Statistical Methods, section 1.3.5.2.

    Raises:
        ValueError: there is no sample, one is not finite or outside 1e±100, or `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence} is not between 0 and 1")
    n = len(samples)
    if n == 0:
        raise ValueError("samples: there are none, so there is no mean")
    for index, sample in enumerate(samples):
        require_measurable(sample, f"samples[{index}]")
    if min(samples) == max(samples):
        mean = float(samples[0])
        return Interval(mean, None, None, 1, None) if n == 1 else Interval(mean, mean, mean, n, 0.0)
    mean = math.fsum(samples) / n
    deviation = math.sqrt(math.fsum((sample - mean) ** 2 for sample in samples) / (n - 1))
    if logs:
        low, mean, high = _of_logs(samples, confidence, trim=trim)
    else:
        margin = float(stdtrit(n - 1, (1 + confidence) / 2)) * deviation / math.sqrt(n)
        low, high = mean - margin, mean + margin
    least, most = limits
    return Interval(mean, min(max(low, least), mean), max(min(high, most), mean), n, deviation)


def metric_interval(metric: Metric, samples: Sequence[float]) -> Interval:
    """The mean of one job's values of a metric as verdicts take it, with its 95 % interval.

    The metric's scale decides: amounts such as seconds have a geometric mean, and no interval reaches beyond what a
    value can be. Raises as `mean_interval` does.
    """
    return mean_interval(samples, logs=_by_factors(metric, samples), trim=False, limits=metric.range)


def metric_mean(metric: Metric, samples: Sequence[float]) -> float:
    """The mean of `metric_interval` alone, but for rounding: many means take little time. Needs measurable samples."""
    if not _by_factors(metric, samples):
        return math.fsum(samples) / len(samples)
    return math.exp(math.fsum(map(math.log, samples)) / len(samples))


def _by_factors(metric: Metric, samples: Sequence[float]) -> bool:
    return metric.scale == "ratio" and not metric.deterministic and min(samples, default=0.0) > 0


def _of_logs(samples: Sequence[float], confidence: float, *, trim: bool) -> tuple[float, float, float]:
    """The geometric mean between the ends of its interval, which are 1e±100 at most."""
    values = np.log(np.sort(np.array(samples, dtype=np.float64)))[None, :]
    found = moments(values, np.ones(values.shape, dtype=np.bool_), np.array([len(samples)]), trim=trim)
    margin = float(stdtrit(found.freedom[0], (1 + confidence) / 2) * np.sqrt(found.squared_error[0]))
    centre, most = float(found.mean[0]), math.log(LARGEST)
    low, high = max(centre - margin, -most), min(centre + margin, most)
    return math.exp(low), math.exp(centre), math.exp(high)
