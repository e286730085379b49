"""Numbers for people: seconds as ms, bytes as MiB, ratios as %, with only significant digits. Pure.

All numbers of a column have the same scale and the same number of decimals, so that people can compare them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from statistics import median

from velodrome.stats import Interval

# By unit of the catalogue: symbol and size, the smallest first. A value gets the largest size that it reaches.
_SCALES: dict[str, tuple[tuple[str, float], ...]] = {
    "seconds": (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)),
    "bytes": (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30), ("TiB", 2.0**40)),
    "ratio": (("%", 0.01),),
    "nats": (("nats", 1.0),),
    "bits": (("bits", 1.0),),
    "choices": (("", 1.0),),
    "correlation": (("", 1.0),),
    "determination": (("", 1.0),),
    "target": (("", 1.0),),
    "samples_per_second": (("samples/s", 1.0),),
    "count": (("", 1.0), ("million", 1e6), ("billion", 1e9), ("trillion", 1e12)),
    "price": (("", 1.0),),
    "percent": (("%", 1.0),),  # of a declared metric; the catalogue has ratios
    "joules": (("J", 1.0), ("kJ", 1e3), ("MJ", 1e6)),
}
_MOST_DECIMALS = 6
_LONG = 1e15  # from here on, an exponent is easier to read than digits


def mean_of(values: Collection[float]) -> float:
    """The mean of any values that a store may hold. Their sum may be too large for a double."""
    return sum(value / len(values) for value in values)


@dataclass(frozen=True, slots=True)
class Scale:
    """How to write a column's values: divided by `size`, with `decimals` decimals, and with `symbol` in the heading."""

    symbol: str
    size: float
    decimals: int

    def number(self, value: float) -> str:
        """The value in this scale, without the symbol: `1,234.5`, or `1.2e+99` for a very large one."""
        scaled = value / self.size
        return f"{scaled:,.{self.decimals}f}" if abs(scaled) < _LONG else f"{scaled:.4g}"

    def text(self, value: float) -> str:
        """The value with its symbol: `12.3 ms`."""
        return f"{self.number(value)} {self.symbol}".rstrip()

    def margin(self, interval: Interval) -> str:
        """The interval around its mean: `± 0.31`, or `(0.2 to 3.1)` if one side is a tenth longer; empty without one.

        The longer side counts, so that the interval lies within what is written.
        """
        if interval.high is None or interval.low is None:
            return ""
        shorter, longer = sorted((interval.mean - interval.low, interval.high - interval.mean))
        if longer <= 1.1 * shorter or self.number(longer) == self.number(shorter):
            return f"± {self.number(longer)}"
        return f"({self.number(interval.low)} to {self.number(interval.high)})"

    def interval(self, interval: Interval) -> str:
        """The mean with its margin and symbol: `97.42 ± 0.31 %`; only the mean without an interval."""
        margin = self.margin(interval)
        parts = (self.number(interval.mean), margin, self.symbol)
        return " ".join(part for part in parts if part)


def column_scale(unit: str, intervals: Iterable[Interval]) -> Scale:
    """The scale for a column of means: fits the typical mean, and shows two significant digits of the smaller margins.

    A quarter of the margins may be too small for that. The typical margin gets three digits at most.
    """
    intervals = list(intervals)
    symbol, size = _fit(unit, [interval.mean for interval in intervals])
    margins = [(interval.high - interval.mean) / size for interval in intervals if interval.high is not None]
    spread = [margin for margin in margins if margin > 0]
    if spread:
        smaller = sorted(spread)[len(spread) // 4]
        return Scale(symbol, size, min(_decimals(smaller, 2), _decimals(median(spread), 3)))
    means = [abs(interval.mean) / size for interval in intervals if interval.mean]
    return Scale(symbol, size, 0 if all(map(_whole, means)) else _decimals(median(means), 4))


def sizes_of(unit: str) -> dict[str, float]:
    """The symbols that people may write behind an amount of this unit, and what each multiplies it by."""
    found = dict(_SCALES.get(unit, ()))
    return {**found, "us": found["µs"]} if "µs" in found else found


def value_scale(unit: str, value: float, digits: int = 4) -> Scale:
    """The scale for a single value, with so many significant digits. Whole numbers stay whole."""
    symbol, size = _fit(unit, [value])
    scaled = abs(value) / size
    return Scale(symbol, size, 0 if _whole(scaled) else _decimals(scaled, digits))


def quantity(unit: str, value: float, digits: int = 4) -> str:
    """A single value with its symbol: `1.234 ms`, `21,840`, `97.42 %`."""
    scale = value_scale(unit, value, digits)
    if not math.isfinite(value / scale.size):  # no measurement has this value, but a store may contain it
        return f"{value:.4g} {unit}"
    return scale.text(value)


def _fit(unit: str, values: list[float]) -> tuple[str, float]:
    scales = _SCALES.get(unit, ((unit.replace("_", " "), 1.0),))
    sizes = [abs(value) for value in values if value]
    typical = median(sizes) if sizes else scales[0][1] if unit == "bytes" else 1.0
    return next((scale for scale in reversed(scales) if typical >= scale[1]), scales[0])


def _whole(value: float) -> bool:
    return math.isfinite(value) and math.isclose(value, round(value), rel_tol=1e-12)


def _decimals(value: float, digits: int) -> int:
    """Decimals that show `digits` significant digits of the value."""
    if not value or not math.isfinite(value):
        return 0
    return min(_MOST_DECIMALS, max(0, digits - 1 - math.floor(math.log10(value))))


def duration(seconds: float) -> str:
    """A duration, as people write it: `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if not abs(seconds) < _LONG:
        return f"{seconds:.4g} s"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for symbol, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {symbol}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def clock_time(at: datetime, pattern: str = "%Y-%m-%d %H:%M:%S", zone: tzinfo | None = None) -> str:
    """A time in a time zone, by default this machine's. In UTC if the zone's clock does not reach that far.

    The zone follows as its distance from UTC, `UTC` or `UTC+05:30`, because names such as IST mean several zones.
    """
    try:
        local = at.astimezone(zone)
        return f"{local.strftime(pattern)} {_zone(local)}"
    except (OverflowError, ValueError, OSError):  # the years 1 and 9999 end earlier in other zones
        return f"{at:{pattern}} UTC"


def _zone(at: datetime) -> str:
    ahead = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    sign, minutes = "-" if ahead < 0 else "+", abs(ahead)
    return f"UTC{sign}{minutes // 60:02}:{minutes % 60:02}" if ahead else "UTC"


_CLOCKS_DIFFER = 300.0  # seconds: clocks that are kept by NTP differ by less


def from_the_future(at: datetime, now: datetime) -> str:
    """What stands behind a time that can't be yet, such as ` (in 40 days)`; nothing behind all others."""
    words = ago((now - at).total_seconds())
    return f" ({words})" if words.startswith("in ") else ""


def ago(seconds: float) -> str:
    """How long ago, roughly: `just now`, `5 min ago`, `3 days ago`; `in 40 days` where a clock was far ahead."""
    ahead = seconds < -_CLOCKS_DIFFER
    for size, one, many in ((86400, "day", "days"), (3600, "h", "h"), (60, "min", "min")):
        if abs(seconds) >= size and (ahead or seconds > 0):
            count = round(-seconds / size) if ahead else int(seconds // size)
            words = f"{count} {one if count == 1 else many}"
            return f"in {words}" if ahead else f"{words} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} s ago"
