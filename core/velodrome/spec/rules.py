"""Rules that span fields. Pure.

Each rule reads the raw document, as it came from YAML or JSON, and reports what breaks the rule. It skips parts that
are missing or have the wrong type, because the model reports those. So one reading of a file reports every problem at
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from velodrome.metrics.catalogue import ALIASES, CATALOGUE, Metric
from velodrome.spec.artifact_rules import artifact_rules
from velodrome.spec.augmentation_rules import augmentation_rules
from velodrome.spec.dataset_rules import dataset_rules
from velodrome.spec.metric_rules import known_metric, lacking, metric_rules
from velodrome.spec.optimize_rules import optimize_rules
from velodrome.spec.override import overlay
from velodrome.spec.pod_rules import pod_rules
from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, foreign_fields, numbered, repeated, taken_names
from velodrome.spec.search_rules import search_rules
from velodrome.spec.serving_rules import serving_rules
from velodrome.spec.sound_rules import sound_rules
from velodrome.spec.task_rules import task_rules
from velodrome.spec.threshold_rules import threshold_rules
from velodrome.spec.until_rules import until_rules
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.vocabulary import (
    CLASSES,
    FEATURE_SELECTION_FIELDS,
    MODEL_ARGS,
    OPTIMIZER_FIELDS,
    SCHEDULE_FIELDS,
)

# The largest number of completions of a Kubernetes Indexed Job with a backoff limit for each index.
MOST_TRIALS = 100_000

# Fields of Kubernetes' object metadata that Velodrome does not read.
_METADATA = (
    *("name", "namespace", "labels", "annotations", "uid", "creationTimestamp", "deletionGracePeriodSeconds"),
    *("deletionTimestamp", "finalizers", "generateName", "generation", "managedFields", "ownerReferences"),
    *("resourceVersion", "selfLink"),
)


def broken_rules(document: Any) -> list[Broken]:
    """Every rule that the document breaks; never raises, whatever the document is made of."""
    document = as_mapping(document)
    spec = as_mapping(document.get("spec"))
    return [*_metadata(as_mapping(document.get("metadata"))), *(broken for rule in _RULES for broken in rule(spec))]


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _metadata(metadata: Mapping[str, Any]) -> Iterator[Broken]:
    for field in metadata:
        if field not in _METADATA:
            yield Broken(("metadata", field), f'unknown field "{field}"', suggestion(field, _METADATA))


def _objectives(spec: Mapping[str, Any]) -> Iterator[Broken]:
    sizes = as_list(as_mapping(as_mapping(spec.get("evaluation")).get("inference")).get("batchSizes", [1, 64]))
    for index, objective in numbered(spec.get("objectives")):
        metric = known_metric(spec, objective.get("metric"))
        if metric is None:
            continue
        here: Location = ("spec", "objectives", index)
        yield from _parameters(here, objective, metric)
        size = objective.get("batchSize")
        measured = f"one of evaluation.inference.batchSizes: {', '.join(dict.fromkeys(map(shown, sizes)))}"
        if "batch_size" in metric.requires and size is None:
            yield Broken(here, f"{metric.name} needs a batchSize", measured)
        elif "batch_size" in metric.requires and size not in sizes:
            yield Broken((*here, "batchSize"), f"batch size {shown(size)} is not measured", measured)
        if lacks := lacking(spec, metric):
            yield Broken((*here, "metric"), *lacks)
        dataset = as_mapping(spec.get("dataset"))
        classes = CLASSES.get(as_text(dataset.get("name"))) if dataset.get("format") is None else None
        label = objective.get("label")
        if classes is not None and _is_number(label) and label >= classes:
            yield Broken((*here, "label"), f"there is no class {label}", f"classes are 0 to {classes - 1}")


def _parameters(here: Location, objective: Mapping[str, Any], metric: Metric) -> Iterator[Broken]:
    """Parameters that the metric does not take."""
    for field, parameter in (("batchSize", "batch_size"), ("average", "average"), ("label", "label")):
        if objective.get(field) is not None and parameter not in metric.parameters:
            takers = [name for name, known in CATALOGUE.items() if parameter in known.parameters]
            yield Broken((*here, field), f"{metric.name} takes no {field}", f"metrics that do: {', '.join(takers)}")
    if objective.get("average") is not None and objective.get("label") is not None:
        yield Broken((*here, "label"), "one class has no average", "write average or label, not both")


def _preprocessing(spec: Mapping[str, Any]) -> Iterator[Broken]:
    preprocessing = as_mapping(spec.get("preprocessing"))
    here: Location = ("spec", "preprocessing")
    selection = as_mapping(preprocessing.get("featureSelection"))
    method = as_text(selection.get("method"))
    yield from foreign_fields((*here, "featureSelection"), selection, method, FEATURE_SELECTION_FIELDS)
    for field, user in (("k", "SelectKBest"), ("k", "RFE"), ("percentile", "SelectPercentile")):
        if method == user and selection.get(field) is None:
            yield Broken((*here, "featureSelection"), f"{method} needs {field}", f"write {field}: NUMBER")
    yield from augmentation_rules(spec)


def _target(spec: Mapping[str, Any]) -> Iterator[Broken]:
    target = as_mapping(as_mapping(spec.get("budget")).get("target"))
    here: Location = ("spec", "budget", "target")
    yield from _not_each_epoch((*here, "metric"), spec, target.get("metric"))
    metric, value = known_metric(spec, target.get("metric")), target.get("value")
    if metric is None or not _is_number(value):
        return
    least, most = metric.range
    if metric.unit == "ratio" and value > 1:
        yield Broken(
            (*here, "value"), f"{metric.name} never passes 1, so it can't reach {shown(value)}", "0.94 is 94 %"
        )
    elif not least <= value <= most:
        yield Broken((*here, "value"), f"{metric.name} is never {shown(value)}", f"{least:g} to {most:g}")


def _not_each_epoch(location: Location, spec: Mapping[str, Any], name: Any) -> Iterator[Broken]:
    metric = known_metric(spec, name)
    if metric is not None and not metric.per_epoch and metric.limits is not None:
        yield Broken(
            location, f"{name} is not reported each epoch", f"write perEpoch: true beside {name} in spec.metrics"
        )
    elif metric is not None and not metric.per_epoch:
        allowed = ", ".join(metric.name for metric in CATALOGUE.values() if metric.per_epoch)
        yield Broken(location, f"{name} is not measured each epoch", f"one of: {allowed}")


def _trainings(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """The default training, and the resolved training of each entry."""
    defaults = as_mapping(spec.get("training"))
    yield from _training(("spec", "training"), spec, defaults, {})
    for index, entry in numbered(spec.get("entries")):
        here: Location = ("spec", "entries", index, "training")
        override = as_mapping(entry.get("training"))
        yield from _training(here, spec, override, defaults)
        optimizer, inherited = as_mapping(override.get("optimizer")), as_mapping(defaults.get("optimizer"))
        other = optimizer.get("name", inherited.get("name", "SGD")) != inherited.get("name", "SGD")
        if other and "learningRate" not in optimizer:
            message = f"another optimizer than the default {shown(inherited.get('name', 'SGD'))} needs its own rate"
            yield Broken((*here, "optimizer"), message, "write learningRate: NUMBER beside its name")


def _training(
    here: Location, spec: Mapping[str, Any], training: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[Broken]:
    """The problems of `training` on top of `defaults`. Problems of inherited values are reported at the defaults."""
    resolved = overlay(defaults, training)
    for field, table, default in (
        ("optimizer", OPTIMIZER_FIELDS, "SGD"),
        ("schedule", SCHEDULE_FIELDS, "Constant"),
    ):
        name = as_text(as_mapping(resolved.get(field)).get("name", default))
        yield from foreign_fields((*here, field), as_mapping(training.get(field)), name, table)
    optimizer = as_mapping(resolved.get("optimizer"))
    written = as_mapping(training.get("optimizer"))
    if optimizer.get("nesterov") is True and not optimizer.get("momentum") and {"nesterov", "momentum"} & set(written):
        yield Broken((*here, "optimizer"), "nesterov needs momentum", "for example momentum: 0.9")
    yield from _not_each_epoch(
        (*here, "earlyStopping", "metric"), spec, as_mapping(training.get("earlyStopping")).get("metric")
    )


def _quality_metrics(spec: Mapping[str, Any]) -> Iterator[Broken]:
    for index, name in enumerate(as_list(as_mapping(spec.get("evaluation")).get("metrics"))):
        metric = known_metric(spec, name)
        if metric is not None and metric.kind != "quality":
            allowed = ", ".join(metric.name for metric in CATALOGUE.values() if metric.kind == "quality")
            here: Location = ("spec", "evaluation", "metrics", index)
            yield Broken(here, f"{name} is measured for every trial anyway", f"list quality metrics here: {allowed}")


def _entries(spec: Mapping[str, Any]) -> Iterator[Broken]:
    for index, entry in numbered(spec.get("entries")):
        here: Location = ("spec", "entries", index)
        variant = entry.get("variantOf") is not None
        if not variant and (entry.get("model") is None) == (entry.get("command") is None):
            yield Broken(here, "needs a model or a command, and not both", "write model: {name: …} or command: […]")
        if entry.get("command") is not None and entry.get("training"):
            yield Broken((*here, "training"), "has no effect on an own command", "pass settings in the command")
        model = as_mapping(entry.get("model"))
        yield from _model_arguments((*here, "model", "args"), as_text(model.get("name")), as_mapping(model.get("args")))


def _model_arguments(here: Location, model: str, arguments: Mapping[str, Any]) -> Iterator[Broken]:
    known = MODEL_ARGS.get(model)
    for argument in arguments if known is not None else ():
        if argument == "dropout":
            yield Broken((*here, argument), f"{model} takes no dropout", "set training.regularization.dropout")
        elif argument not in (known or ()):
            yield Broken((*here, argument), f"{model} takes no {argument}", suggestion(argument, known or ()))


def _repetitions(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Names and values that occur twice where each must be unique."""
    evaluation, runner = as_mapping(spec.get("evaluation")), as_mapping(spec.get("runner"))
    named: tuple[tuple[Location, Any], ...] = (
        (("spec", "objectives"), spec.get("objectives")),
        (("spec", "entries"), spec.get("entries")),
        (("spec", "runner", "env"), runner.get("env")),
        (("spec", "runner", "volumes"), runner.get("volumes")),
        (("spec", "runner", "resourceClaims"), runner.get("resourceClaims")),
    )
    for here, items in named:
        yield from taken_names(here, items)
    plain: tuple[tuple[Location, Any], ...] = (
        (("spec", "evaluation", "metrics"), evaluation.get("metrics")),
        (("spec", "evaluation", "inference", "batchSizes"), as_mapping(evaluation.get("inference")).get("batchSizes")),
    )
    for here, items in plain:
        for index, value in repeated(
            [(index, ALIASES.get(str(item), item)) for index, item in enumerate(as_list(items))]
        ):
            yield Broken((*here, index), f"{shown(value)} is in the list twice", "leave one out")


def _size(spec: Mapping[str, Any]) -> Iterator[Broken]:
    trials, entries = as_mapping(spec.get("trials")), len(as_list(spec.get("entries")))
    most = as_mapping(trials.get("until")).get("maxRepeats")
    where: Location = ("spec", "trials", "repeats") if most is None else ("spec", "trials", "until", "maxRepeats")
    repeats = trials.get("repeats", 5) if most is None else most
    if _is_number(repeats) and repeats * entries > MOST_TRIALS:
        message = f"{shown(repeats)} repeats of {entries} entries are more than {MOST_TRIALS:,} trials"
        yield Broken(where, message, "split the job")


def _steps(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """A limit of steps holds for every entry, and nobody counts those of a program of one's own."""
    if as_mapping(spec.get("budget")).get("maxSteps") is None:
        return
    for _, entry in numbered(spec.get("entries")):
        if entry.get("command") is not None:
            message = f"entry {shown(entry.get('name'))} brings its own program, whose steps are not counted"
            yield Broken(("spec", "budget", "maxSteps"), message, "write maxEpochs or maxSeconds")
            return


_RULES = (
    _objectives,
    threshold_rules,
    dataset_rules,
    metric_rules,
    task_rules,
    _preprocessing,
    sound_rules,
    _target,
    _trainings,
    _quality_metrics,
    _entries,
    optimize_rules,
    _repetitions,
    _size,
    _steps,
    serving_rules,
    until_rules,
    search_rules,
    pod_rules,
    artifact_rules,
)
