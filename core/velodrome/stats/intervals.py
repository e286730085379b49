"""The mean of a few trials, and its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from velodrome.stats.samples import require_measurable


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval, in the unit of the samples.

    `low`, `high` and `standard_deviation` (n - 1 in the denominator) are None for a single sample, which has no spread.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    standard_deviation: float | None


def mean_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean: mean ± t(1 - (1 - confidence) / 2; n - 1) · s / √n.

    It contains the true mean with probability `confidence` for independent normal samples, and approximately for others
    as n grows. The order of the samples doesn't matter. Samples that are all equal give low = high = mean.

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
    margin = float(stdtrit(n - 1, (1 + confidence) / 2)) * deviation / math.sqrt(n)
    return Interval(mean, mean - margin, mean + margin, n, deviation)
