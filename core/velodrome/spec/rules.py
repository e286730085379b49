"""Rules that span fields. Pure.

Each rule reads the raw document, as it came from YAML or JSON, and says what breaks it; it passes over parts that are
missing or of the wrong type, since the model reports those. So one reading of a file reports every problem at once,
and each rule has its twin as a CEL expression where the CRD can say it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from velodrome.metrics import CATALOGUE
from velodrome.spec.types import suggestion
from velodrome.vocabulary import (
    AUGMENTATION_ARGS,
    DATASETS,
    FEATURE_SELECTION_FIELDS,
    MODEL_ARGS,
    OPTIMIZER_FIELDS,
    SCHEDULE_FIELDS,
)

Location = tuple[str | int, ...]


class Broken(NamedTuple):
    """A rule that a document breaks: where, what is wrong, and what to write instead."""

    location: Location
    message: str
    hint: str = ""

    @property
    def path(self) -> str:
        """The location as a person writes it."""
        return dotted(self.location)


def dotted(location: Location) -> str:
    """`("spec", "entries", 1, "name")` as `spec.entries[1].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def broken_rules(document: Any) -> list[Broken]:
    """Every rule that the document breaks, in the order of the spec."""
    spec = _mapping(_mapping(document).get("spec"))
    return [broken for rule in _RULES for broken in rule(spec)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                yield index, item


def _unique_names(spec: Mapping[str, Any]) -> Iterator[Broken]:
    for field in ("objectives", "entries"):
        names = Counter(str(item["name"]) for _, item in _items(spec.get(field)) if "name" in item)
        seen: set[str] = set()
        for index, item in _items(spec.get(field)):
            name = str(item.get("name"))
            if names[name] > 1 and name in seen:
                yield Broken(
                    ("spec", field, index, "name"), f'"{name}" is taken by another of {field}', "names are unique"
                )
            seen.add(name)


def _objective_parameters(spec: Mapping[str, Any]) -> Iterator[Broken]:
    inference = _mapping(_mapping(spec.get("evaluation")).get("inference"))
    batch_sizes = inference.get("batchSizes", [1, 64])
    for index, objective in _items(spec.get("objectives")):
        metric = CATALOGUE.get(str(objective.get("metric")))
        if metric is None:
            continue
        here: Location = ("spec", "objectives", index)
        for field, parameter in (("batchSize", "batch_size"), ("average", "average"), ("label", "label")):
            if objective.get(field) is not None and parameter not in metric.parameters:
                takers = [name for name, known in CATALOGUE.items() if parameter in known.parameters]
                yield Broken((*here, field), f"{metric.name} takes no {field}", f"metrics that do: {', '.join(takers)}")
        if objective.get("average") is not None and objective.get("label") is not None:
            yield Broken((*here, "label"), "one class has no average", "write average or label, not both")
        size = objective.get("batchSize")
        if "batch_size" in metric.requires and size is None:
            yield Broken(
                here,
                f"{metric.name} needs a batchSize",
                f"one of evaluation.inference.batchSizes: {_join(batch_sizes)}",
            )
        if "batch_size" in metric.requires and isinstance(size, int) and size not in (batch_sizes or ()):
            yield Broken(
                (*here, "batchSize"),
                f"batch size {size} is not measured",
                f"add it to evaluation.inference.batchSizes, or use one of: {_join(batch_sizes)}",
            )
        if metric.name == "time_to_target_seconds" and not _mapping(spec.get("budget")).get("target"):
            yield Broken((*here, "metric"), "time_to_target_seconds needs a target", "set spec.budget.target")


def _join(values: Any) -> str:
    return ", ".join(str(value) for value in values) if isinstance(values, list | tuple) else str(values)


def _per_epoch_metrics(spec: Mapping[str, Any]) -> Iterator[Broken]:
    places: list[tuple[Location, Any]] = [
        (("spec", "budget", "target"), _mapping(spec.get("budget")).get("target")),
        (("spec", "training", "earlyStopping"), _mapping(spec.get("training")).get("earlyStopping")),
    ]
    for index, entry in _items(spec.get("entries")):
        override = _mapping(entry.get("training")).get("earlyStopping")
        places.append((("spec", "entries", index, "training", "earlyStopping"), override))
    for location, value in places:
        name = str(_mapping(value).get("metric", "validation_loss"))
        if name in CATALOGUE and not CATALOGUE[name].per_epoch:
            allowed = [metric.name for metric in CATALOGUE.values() if metric.per_epoch]
            yield Broken((*location, "metric"), f"{name} is not measured each epoch", f"one of: {', '.join(allowed)}")


def _quality_metrics(spec: Mapping[str, Any]) -> Iterator[Broken]:
    metrics = _mapping(spec.get("evaluation")).get("metrics")
    for index, name in enumerate(metrics if isinstance(metrics, list | tuple) else ()):
        if name in CATALOGUE and CATALOGUE[name].kind != "quality":
            allowed = [metric.name for metric in CATALOGUE.values() if metric.kind == "quality"]
            yield Broken(
                ("spec", "evaluation", "metrics", index),
                f"{name} is measured for every trial anyway",
                f"list quality metrics here: {', '.join(allowed)}",
            )


def _named_fields(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Fields that only some names use: an Adam has no momentum, a VarianceThreshold no k."""
    trainings: list[tuple[Location, Mapping[str, Any], Mapping[str, Any]]] = [
        (("spec", "training"), _mapping(spec.get("training")), {})
    ]
    for index, entry in _items(spec.get("entries")):
        override = _mapping(entry.get("training"))
        trainings.append((("spec", "entries", index, "training"), override, trainings[0][1]))
    for location, training, inherited in trainings:
        for field, table, default in (
            ("optimizer", OPTIMIZER_FIELDS, "SGD"),
            ("schedule", SCHEDULE_FIELDS, "Constant"),
        ):
            part = _mapping(training.get(field))
            name = part.get("name", _mapping(inherited.get(field)).get("name", default))
            yield from _foreign_fields((*location, field), part, str(name), table)
    preprocessing = _mapping(spec.get("preprocessing"))
    selection = _mapping(preprocessing.get("featureSelection"))
    here: Location = ("spec", "preprocessing", "featureSelection")
    yield from _foreign_fields(here, selection, str(selection.get("method")), FEATURE_SELECTION_FIELDS)
    for field, method in (("k", "SelectKBest"), ("percentile", "SelectPercentile")):
        if selection.get("method") == method and selection.get(field) is None:
            yield Broken(here, f"{method} needs {field}", f"write {field}: NUMBER")
    for index, augmentation in _items(preprocessing.get("augmentations")):
        args = _mapping(augmentation.get("args"))
        location = ("spec", "preprocessing", "augmentations", index, "args")
        yield from _foreign_fields(location, args, str(augmentation.get("name")), AUGMENTATION_ARGS)
        for field in ("scale", "ratio"):
            pair = args.get(field)
            if isinstance(pair, list | tuple) and len(pair) == 2 and not 0 < _number(pair[0]) <= _number(pair[1]):
                yield Broken((*location, field), "needs 0 < low <= high", "for example [0.02, 0.33]")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _foreign_fields(
    location: Location, part: Mapping[str, Any], name: str, table: Mapping[str, frozenset[str]]
) -> Iterator[Broken]:
    for field, value in part.items():
        users = sorted(user for user, fields in table.items() if field in fields)
        if value is not None and users and name in table and name not in users:
            yield Broken((*location, field), f"{name} has no {field}", f"{field} belongs to {', '.join(users)}")


def _entries(spec: Mapping[str, Any]) -> Iterator[Broken]:
    conditions = [field for field in spec if field not in ("entries", "training")]
    for index, entry in _items(spec.get("entries")):
        here: Location = ("spec", "entries", index)
        model, command = entry.get("model"), entry.get("command")
        if (model is None) == (command is None):
            yield Broken(here, "needs a model or a command, and not both", "write model: {name: …} or command: […]")
        if command is not None and entry.get("training"):
            yield Broken((*here, "training"), "has no effect on an own command", "pass settings in the command")
        for field in conditions:
            if field in entry:
                yield Broken((*here, field), f"{field} is a condition that all entries share", f"set spec.{field}")
        known = MODEL_ARGS.get(str(_mapping(model).get("name")))
        for argument in _mapping(_mapping(model).get("args")) if known is not None else ():
            if argument not in (known or ()):
                hint = suggestion(argument, known or ())
                if argument == "dropout":
                    hint = "set training.regularization.dropout"
                yield Broken((*here, "model", "args", argument), f"{_mapping(model)['name']} takes no {argument}", hint)


def _source(spec: Mapping[str, Any]) -> Iterator[Broken]:
    dataset = _mapping(spec.get("dataset"))
    source = _mapping(dataset.get("source"))
    name = dataset.get("name")
    here: Location = ("spec", "dataset", "source")
    if source.get("persistentVolumeClaim") is not None and source.get("path") is not None:
        yield Broken(here, "names two places", "write persistentVolumeClaim or path, not both")
    if name in DATASETS and name != "digits" and not source:
        yield Broken(
            ("spec", "dataset"), f"{name} needs a source", "for example source: {path: DIR} or source: {download: true}"
        )


_RULES = (
    _objective_parameters,
    _source,
    _named_fields,
    _per_epoch_metrics,
    _quality_metrics,
    _entries,
    _unique_names,
)
