"""Differences of two values, as people read them. Pure."""

from __future__ import annotations

import math

from velodrome.metrics.catalogue import Metric

_UNITS = {"samples_per_second": "samples/s", "percent": "points", "nats": "nats", "bits": "bits"}
_PLAIN = frozenset({"count", "correlation", "determination", "target", "price", "choices"})


def difference_words(metric: Metric, difference: float, *, logs: bool = False) -> str:
    """`1.2 points` of a ratio (percentage points), else with its unit; `3 %` of a difference of logarithms (`logs`)."""
    if logs:
        return f"{_digits(100 * math.expm1(difference))} %"
    if metric.unit == "ratio":
        points = _digits(100 * difference)
        return f"{points} point{'' if points == '1' else 's'}"
    unit = "" if metric.unit in _PLAIN else _UNITS.get(metric.unit, metric.unit)
    return f"{_digits(difference)} {unit}".rstrip()


def _digits(value: float) -> str:
    """Two significant digits, and whole numbers in full."""
    return f"{value:,.0f}" if 100 <= abs(value) < 1e15 else f"{value:.2g}"
