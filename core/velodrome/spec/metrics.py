"""Metrics that a job declares for its own programs: what they are called, and what their values mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from velodrome.metrics.catalogue import MetricKey
from velodrome.metrics.declared import LARGEST_LIMIT, LONGEST_NAME, LONGEST_UNIT, NAME, Declared
from velodrome.spec.base import Strict
from velodrome.spec.types import Finite

_Limit = Annotated[Finite, Field(ge=-LARGEST_LIMIT, le=LARGEST_LIMIT)]


class MetricRange(Strict):
    """The values that a metric can have; others are reported as impossible."""

    least: _Limit | None = Field(default=None, description="The least value; that of the unit, or 0, if absent.")
    most: _Limit | None = Field(default=None, description="The largest value; that of the unit, or none, if absent.")


class OwnMetric(Strict):
    """A metric of your own: programs report its values, and they rank like any other."""

    name: str = Field(
        min_length=1,
        max_length=LONGEST_NAME,
        pattern=NAME,
        description="Name by which programs report it, which is no metric of the catalogue.",
    )
    unit: str = Field(
        min_length=1,
        max_length=LONGEST_UNIT,
        pattern=NAME,
        description="A unit of the catalogue, such as ratio or seconds, or a word to show behind values: percent.",
    )
    direction: Literal["higher", "lower"] = Field(description="Which values are better.")
    scale: Literal["ratio", "interval"] = Field(
        default="ratio",
        description="ratio: 0 means none, and changes are relative to the value; interval: relative to the range.",
    )
    range: MetricRange | None = Field(default=None, description="Possible values; an interval scale needs both ends.")
    depends_on: Literal["quality", "speed", "model"] = Field(
        default="quality",
        description="What values depend on, as quality, speed, or the size of a model do; others are ranked apart.",
    )
    per_epoch: bool = Field(
        default=False,
        description="Whether programs report it each epoch on the validation split, as targets need it.",
    )
    description: str | None = Field(default=None, max_length=500, description="What it says, for people.")

    @property
    def key(self) -> MetricKey:
        """The key of its values, which has its whole definition."""
        return MetricKey.declared(Declared.of(self.model_dump(mode="json", by_alias=True)))
