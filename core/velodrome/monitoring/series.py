"""Series, and how they become the metrics of the client library, which the caller brings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

from velodrome.monitoring.telemetry import Family
from velodrome.text import line

_LABEL_MOST = 512


def label(text: str) -> str:
    """The value of a metric's label."""
    return line(text, _LABEL_MOST)


class Series(NamedTuple):
    """One series of a family, with the suffix of its name and its labels."""

    family: Family
    labels: Mapping[str, str]
    value: float
    suffix: str = ""


class Sampled(Protocol):
    """What a metric of the client library can."""

    def add_sample(self, name: str, labels: dict[str, str], value: float) -> None:
        """Adds a series."""
        ...


Made = TypeVar("Made", bound=Sampled)


def metrics(
    make: Callable[[str, str, str], Made], families: Iterable[Family], rows: Iterable[Series]
) -> Iterator[Made]:
    """The families as the client library has them, whose `Metric` is given as `make`. Each has its series, in the
    order of their labels.

    A set of states is exposed as gauges, since a StateSet's label must have the family's name.
    """
    found: dict[Family, list[Series]] = {family: [] for family in families}
    for row in rows:
        found[row.family].append(row)
    for family, ours in found.items():
        metric = make(family.name, family.help, "gauge" if family.type == "stateset" else family.type)
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        seen = set()  # two series with the same labels would make Prometheus refuse all of them
        for row in ours:
            labels = {name: label(value) for name, value in row.labels.items()}
            series = (row.suffix, *labels.values())
            if series not in seen:
                seen.add(series)
                metric.add_sample(family.name + (row.suffix or suffix), labels, row.value)
        yield metric
