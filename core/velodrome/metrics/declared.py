"""Metrics that a team declares in `spec.metrics`. Pure.

The key of such a metric describes itself: its parameters hold everything that reading a value needs, so that no reader
looks anything up, and values of another definition are another series (docs/decisions/0040-own-metrics.md):

    own_word_error_rate{better=lower,high=100,kind=quality,low=0,unit=percent}
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

# The beginning of each key of a declared metric. No metric of the catalogue begins with it.
PREFIX = "own_"
NAME = r"^[a-z][a-z0-9_]*$"
LONGEST_NAME, LONGEST_UNIT = 63, 31
LARGEST_LIMIT = 1e18  # Helm writes larger numbers with an exponent, which some readers of YAML take for text

Better = Literal["higher", "lower"]
DependsOn = Literal["quality", "speed", "model"]


@dataclass(frozen=True, slots=True)
class Declared:
    """The definition of a metric, without what no value depends on.

    `low` and `high` are the declared range, both included. `interval` says that differences have a meaning and the
    value 0 has none: such a metric has both ends of a range.
    """

    name: str
    unit: str
    better: Better
    kind: DependsOn = "quality"
    low: float | None = None
    high: float | None = None
    interval: bool = False

    def __post_init__(self) -> None:
        """Refuses what is no definition, so that every key has one spelling.

        Raises:
            ValueError: a field has an impossible value.
        """
        for text, longest in ((self.name, LONGEST_NAME), (self.unit, LONGEST_UNIT)):
            if len(text) > longest or not re.fullmatch(NAME, text):
                raise ValueError(f"{text[:80]!r} is no name of a metric or of a unit")
        if self.better not in get_args(Better) or self.kind not in get_args(DependsOn):
            raise ValueError(f"{self.name} has no direction, or depends on nothing known")
        for limit in (self.low, self.high):
            if limit is not None and not abs(limit) <= LARGEST_LIMIT:
                raise ValueError(f"{limit} is no end of the range of {self.name}")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"the range of {self.name} is empty")
        if self.interval and (self.low is None or self.high is None):
            raise ValueError(f"{self.name} has an interval scale without a range")
        if not self.interval and min(self.low or 0.0, self.high or 0.0) < 0:
            raise ValueError(f"{self.name} has a ratio scale with negative values")

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Declared:
        """The definition that an item of `spec.metrics` has, with the names of YAML. A null counts as absent.

        Raises:
            ValueError: the item is no definition.
        """
        limits = fields.get("range") or {}
        try:
            low, high = (None if (end := limits.get(name)) is None else float(end) for name in ("least", "most"))
            return cls(
                str(fields["name"]),
                str(fields["unit"]),
                fields["direction"],
                fields.get("dependsOn") or "quality",
                low,
                high,
                fields.get("scale") == "interval",
            )
        except (AttributeError, KeyError, OverflowError, TypeError) as error:
            raise ValueError(f"an item of spec.metrics is incomplete: {error}") from error

    @classmethod
    def read(cls, name: str, parameters: Mapping[str, str]) -> Declared:
        """The definition that a key with these parameters has, whose name is `name` behind the prefix.

        Raises:
            ValueError: no definition has such a key.
        """
        try:
            low, high = (float(parameters[end]) if end in parameters else None for end in ("low", "high"))
            found = cls(
                name,
                parameters["unit"],
                parameters["better"],  # type: ignore[arg-type]  # checked by the class
                parameters["kind"],  # type: ignore[arg-type]
                low,
                high,
                interval=parameters.get("scale") == "interval",
            )
        except KeyError as error:
            raise ValueError(f"{PREFIX}{name} needs {error}") from error
        if dict(found.parameters) != dict(parameters):
            raise ValueError(f"{PREFIX}{name} is not written as its definition is")
        return found

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """The parameters of the metric's key, sorted. The usual scale and a missing end of the range are left out."""
        given = {
            "better": self.better,
            "high": None if self.high is None else _written(self.high),
            "kind": self.kind,
            "low": None if self.low is None else _written(self.low),
            "scale": "interval" if self.interval else None,
            "unit": self.unit,
        }
        return tuple((name, value) for name, value in given.items() if value is not None)


def _written(value: float) -> str:
    """The only spelling of a number in a key: digits, a point, a minus and an `e`."""
    if math.isfinite(value) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value).replace("e+", "e")
