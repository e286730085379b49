"""The scale on which a metric's changes are measured, and what its thresholds mean there. Pure.

- `log`: amounts that are never 0 or negative, such as seconds and bytes. Changes multiply, and means are geometric.
- `share`: shares of a whole, such as accuracy. A change is relative to the smaller of the share and what is missing to
  the whole. So from 99 to 98 % correct the errors double: 100 %.
- `plain`: all others. A change is relative to the old value, or to the length of the range of an interval scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from velodrome.metrics.catalogue import Metric
from velodrome.stats.samples import Floats

Kind = Literal["log", "share", "plain"]
Of = Literal["value", "errors", "range"]
_WHOLES = {"ratio": 1.0, "percent": 100.0}


@dataclass(frozen=True, slots=True)
class ChangeScale:
    """A scale with its `whole`: the largest share, or the length of an interval scale's range; None without one."""

    kind: Kind
    whole: float | None = None

    def to(self, values: Floats) -> Floats:
        """Values in the metric's unit, on this scale."""
        return np.log(values) if self.kind == "log" else values

    def back(self, value: float) -> float:
        """A mean on this scale, in the metric's unit."""
        return float(np.exp(value)) if self.kind == "log" else value

    def of(self, centre: float) -> Of:
        """What a change from `centre` is relative to."""
        if self.kind == "plain" and self.whole is not None:
            return "range"
        return "errors" if self.kind == "share" and self.whole is not None and 2 * centre > self.whole else "value"

    def unit(self, centre: Floats) -> Floats:
        """The length on this scale that a change from `centre` is relative to; 1 on a scale of logarithms."""
        if self.kind == "log":
            return np.ones(np.shape(centre))
        if self.kind == "share":
            return np.maximum(np.minimum(centre, (self.whole or 1.0) - centre), 0.0)
        return np.abs(centre) if self.whole is None else np.full(np.shape(centre), self.whole)

    def relative(self, difference: Floats, centre: Floats) -> Floats:
        """The relative change; infinite where it is relative to nothing, such as errors that were 0."""
        if self.kind == "log":
            return np.expm1(difference)
        unit = self.unit(centre)
        endless = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
        return np.divide(difference, unit, out=endless, where=unit > 0)

    def least(self, centre: Floats, relative: float, absolute: float | None) -> Floats:
        """The smallest difference upwards that counts: by the absolute threshold if there is one."""
        if absolute is None:
            return np.log1p(relative) * self.unit(centre) if self.kind == "log" else relative * self.unit(centre)
        if self.kind == "log":
            return np.log1p(absolute / np.exp(centre))
        return np.full(np.shape(centre), absolute)

    def size(self, difference: Floats, centre: Floats, relative: float, absolute: float | None) -> Floats:
        """The difference in units of the smallest change that counts."""
        least = relative if absolute is None else absolute
        if absolute is None:
            found = np.abs(self.relative(difference, centre))
        elif self.kind == "log":
            found = np.exp(centre) * np.abs(np.expm1(difference))
        else:
            found = np.abs(difference)
        # Rounding must not decide about a change that is just large enough.
        endless = np.where(found > 0, np.inf, 0.0)
        return found / least * (1 + 1e-12) if least > 0 else endless


def scale_of(metric: Metric, *, positive: bool) -> ChangeScale:
    """The scale of a metric, as `Metric.scale` says it. `positive` says that all values to compare are above 0."""
    if metric.span is not None:
        return ChangeScale("plain", metric.span)
    if metric.scale == "ratio":
        return ChangeScale("log" if positive else "plain")
    return ChangeScale("share", _WHOLES[metric.unit]) if metric.unit in _WHOLES else ChangeScale("plain")
