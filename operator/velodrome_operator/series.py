"""Series, and how they become the metrics of the client library. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import Metric

from velodrome.monitoring.telemetry import Family
from velodrome_operator import texts


class Series(NamedTuple):
    """One series of a family, with the suffix of its name and its labels."""

    family: Family
    labels: Mapping[str, str]
    value: float
    suffix: str = ""


def metrics(families: Iterable[Family], rows: Iterable[Series]) -> Iterator[Metric]:
    """The families as the client library has them. Each has its series, in the order of their labels.

    A set of states is exposed as gauges, since a StateSet's label must have the family's name.
    """
    found: dict[Family, list[Series]] = {family: [] for family in families}
    for row in rows:
        found[row.family].append(row)
    for family, ours in found.items():
        metric = Metric(family.name, family.help, "gauge" if family.type == "stateset" else family.type)
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        seen = set()  # two series with the same labels would make Prometheus refuse all of them
        for row in ours:
            labels = {name: texts.label(value) for name, value in row.labels.items()}
            series = (row.suffix, *labels.values())
            if series not in seen:
                seen.add(series)
                metric.add_sample(family.name + (row.suffix or suffix), labels, row.value)
        yield metric
