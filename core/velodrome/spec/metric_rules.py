"""Rules of the metrics that a job declares, and of all places that name one. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from velodrome.metrics.catalogue import (
    CATALOGUE,
    OFFLINE,
    SERVING,
    Metric,
    MetricKey,
    may_be_declared,
    present_name,
    unit_range,
)
from velodrome.metrics.declared import LONGEST_NAME, Declared
from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, numbered, taken_names, trainings
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.tasks import metric_named


def metric_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Every declaration that means nothing, and every name of a metric that is declared nowhere."""
    yield from taken_names(("spec", "metrics"), spec.get("metrics"))
    for index, item in numbered(spec.get("metrics")):
        yield from _declaration(("spec", "metrics", index), item)
    own = declared_names(spec)
    programs = all(entry.get("command") is not None for _, entry in numbered(spec.get("entries")))
    for location, name in named_metrics(spec):
        if not isinstance(name, str) or present_name(name) in CATALOGUE:
            continue
        if name not in own:
            message = f"{shown(name)} is no metric that Velodrome knows"
            hint = suggestion(name, [*CATALOGUE, *own])
            yield Broken(location, message, hint if hint.endswith("?") else f"{hint}; or declare it in spec.metrics")
        elif not programs:
            message = f"no model of Velodrome reports {name}"
            yield Broken(location, message, "give every entry a command that reports it, or name another metric")


_EXAMPLES = {
    "budget.target": "{metric: accuracy, value: 0.9}",
    "evaluation.pricePerHour": "2.5",
    SERVING: "{arrivalRate: 100}",
    OFFLINE: "{maxBatchSize: 256}",
}


def lacking(spec: Mapping[str, Any], metric: Metric) -> tuple[str, str] | None:
    """What a metric needs that the spec does not have, and how to mend it; None if it has it."""
    part, _, field = metric.needs.partition(".")
    if not field or as_mapping(spec.get(part)).get(field) is not None:
        return None
    return f"{metric.name} needs spec.{metric.needs}", f"such as {field}: {_EXAMPLES[metric.needs]}"


def _declaration(here: Location, item: Mapping[str, Any]) -> Iterator[Broken]:
    name, unit = as_text(item.get("name")), as_text(item.get("unit"))
    if present_name(name) in CATALOGUE:
        message = f"{shown(name)} is a metric of the catalogue"
        yield Broken((*here, "name"), message, "report it without declaring it, or choose another name")
    if item.get("perEpoch") is True and item.get("dependsOn", "quality") not in ("quality", None):
        yield Broken((*here, "perEpoch"), "only a metric of quality is reported each epoch", "write dependsOn: quality")
    limits = as_mapping(item.get("range"))
    ends: dict[str, int | float] = {end: limits[end] for end in ("least", "most") if _is_number(limits.get(end))}
    least, most = ends.get("least"), ends.get("most")
    interval = item.get("scale") == "interval"
    if least is not None and most is not None and least >= most:
        yield Broken((*here, "range"), f"no value lies between {shown(least)} and {shown(most)}", "write least: LESS")
        return
    if interval and len(ends) < 2:
        hint = "write range: {least: NUMBER, most: NUMBER}; changes are relative to it"
        yield Broken((*here, "range"), "an interval scale needs a range with both ends", hint)
    lowest, highest = unit_range(unit) or (None, None)
    for end, value in ends.items():
        place = (*here, "range", end)
        if not interval and value < 0:
            yield Broken(place, "a ratio scale has no negative values", "write scale: interval, or least: 0")
        elif not interval and lowest is not None and highest is not None and not lowest <= value <= highest:
            message = f"{shown(value)} is no value of unit {unit}"
            yield Broken(place, message, f"{max(lowest, 0):g} to {highest:g}, or another unit")


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def named_metrics(spec: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
    """Every place that names a metric, with what it names."""
    for index, objective in numbered(spec.get("objectives")):
        yield ("spec", "objectives", index, "metric"), objective.get("metric")
    for index, name in enumerate(as_list(as_mapping(spec.get("evaluation")).get("metrics"))):
        yield ("spec", "evaluation", "metrics", index), name
    yield ("spec", "budget", "target", "metric"), as_mapping(as_mapping(spec.get("budget")).get("target")).get("metric")
    for here, training in trainings(spec):
        yield (*here, "earlyStopping", "metric"), as_mapping(training.get("earlyStopping")).get("metric")


def declared_names(spec: Mapping[str, Any]) -> list[str]:
    """The names of the declared metrics, whatever else is wrong with their declarations."""
    names = [as_text(item.get("name")) for _, item in numbered(spec.get("metrics"))]
    return [name for name in names if len(name) <= LONGEST_NAME and may_be_declared(name)]


def known_metric(spec: Mapping[str, Any], name: Any) -> Metric | None:
    """The metric of the catalogue, or the declared one, of that name; None if it is neither, or declared wrongly."""
    if (known := metric_named(name)) is not None or not isinstance(name, str) or name not in declared_names(spec):
        return known
    item = next(item for _, item in numbered(spec.get("metrics")) if item.get("name") == name)
    try:
        metric = MetricKey.declared(Declared.of(item)).metric
    except ValueError:
        return None
    return replace(metric, name=name, per_epoch=item.get("perEpoch") is True)
