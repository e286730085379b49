"""Rules of what goes with a task and with a kind of data. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.metrics.catalogue import CATALOGUE
from velodrome.spec.metric_rules import named_metrics
from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, numbered, trainings
from velodrome.spec.wording import Location, close_match, suggestion
from velodrome.tasks import DEFAULT, TASKS, TaskRow, inferred, kind_of, metric_named, model_kinds, task_of
from velodrome.vocabulary import MODEL_ARGS, PREPROCESSING_KINDS, DataKind

_NOUNS: Mapping[DataKind, str] = {
    "images": "images",
    "sequences": "sequences",
    "table": "a table",
    "text": "a running text",
    "documents": "documents",
    "scenes": "images with boxes",
    "masks": "images with masks",
}
# What an API server writes where a job has no objectives and no metrics: the model puts the task's own there.
_OBJECTIVES = [{"name": TASKS[DEFAULT].objective, "metric": TASKS[DEFAULT].objective}]


def task_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Every part of the spec that does not go with its task or its data."""
    dataset, written = as_mapping(spec.get("dataset")), as_text(spec.get("task"))
    name, data_format = as_text(dataset.get("name")), as_text(dataset.get("format")) or None
    if written and written not in TASKS:
        return  # the model reports it
    row, kind, only = (
        TASKS[task_of(written, name, data_format)],
        kind_of(name, data_format),
        inferred(name, data_format),
    )
    what = data_format or name
    if kind is not None and kind not in row.kinds:
        takers = " or ".join(_NOUNS[each] for each in row.kinds)
        yield Broken(("spec", "task"), f"{row.name} is of {takers}, and {what} is {_NOUNS[kind]}", _instead(only, kind))
    elif only is not None and only != row.name:
        yield Broken(
            ("spec", "task"), f"{what} is for {only}, not for {row.name}", f"write task: {only}, or leave it out"
        )
    yield from _metrics(spec, row)
    yield from _scores(spec, row)
    yield from _kept(spec, row)
    yield from _smoothed(spec, row)
    if kind is not None:
        yield from _models(spec, kind, what)
        yield from _preprocessing(spec, kind, what)


def _instead(only: str | None, kind: DataKind) -> str:
    fitting = [only] if only else [name for name, row in TASKS.items() if kind in row.kinds]
    return f"write task: {' or '.join(fitting)}"


def _metrics(spec: Mapping[str, Any], row: TaskRow) -> Iterator[Broken]:
    for location, name in _named(spec):
        metric = metric_named(name)
        if metric is None or row.measures(metric):
            continue
        per_epoch = location[-2] in ("target", "earlyStopping")
        fitting = [each for each in row.quality if CATALOGUE[each].per_epoch or not per_epoch]
        near = close_match(as_text(name), fitting)
        others = f"did you mean {near}?" if near else f"one of: {', '.join(fitting)}"
        hint = f"{others}; or write task: {metric.tasks[0]}"
        yield Broken(location, f"{name} is no metric of {row.name}", hint)


def _named(spec: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
    """Every place that names a metric, with what it names; without the defaults of another task."""
    objectives = as_list(spec.get("objectives"))
    given = [{key: value for key, value in as_mapping(each).items() if value is not None} for each in objectives]
    metrics = as_list(as_mapping(spec.get("evaluation")).get("metrics"))
    defaults = {"objectives": given == _OBJECTIVES, "evaluation": metrics == list(TASKS[DEFAULT].metrics)}
    return (named for named in named_metrics(spec) if not defaults.get(str(named[0][1])))


def _scores(spec: Mapping[str, Any], row: TaskRow) -> Iterator[Broken]:
    score = as_mapping(as_mapping(spec.get("preprocessing")).get("featureSelection")).get("score")
    known = {name for each in TASKS.values() for name in each.scores}
    if score in known and row.scores and score not in row.scores:
        here: Location = ("spec", "preprocessing", "featureSelection", "score")
        yield Broken(here, f"{score} is no score of {row.name}", f"one of: {', '.join(row.scores)}")


def _kept(spec: Mapping[str, Any], row: TaskRow) -> Iterator[Broken]:
    kept = as_mapping(spec.get("evaluation")).get("keepSamples")
    if kept in {name for each in TASKS.values() for name in each.keeps} and kept not in row.keeps:
        here: Location = ("spec", "evaluation", "keepSamples")
        yield Broken(here, f"a trial of {row.name} can't keep {kept}", f"one of: {', '.join(row.keeps)}")


def _smoothed(spec: Mapping[str, Any], row: TaskRow) -> Iterator[Broken]:
    for place, training in () if row.smooths else trainings(spec):
        if as_mapping(training.get("regularization")).get("labelSmoothing"):
            takers = ", ".join(name for name, each in TASKS.items() if each.smooths)
            here: Location = (*place, "regularization", "labelSmoothing")
            yield Broken(here, f"labelSmoothing is for {takers}, and not for {row.name}", "leave it out")


def _models(spec: Mapping[str, Any], kind: DataKind, what: str) -> Iterator[Broken]:
    for index, entry in numbered(spec.get("entries")):
        name = as_text(as_mapping(entry.get("model")).get("name"))
        takes = model_kinds(name)
        if takes is None or kind in takes:
            continue
        here: Location = ("spec", "entries", index, "model", "name")
        message = f"{name} takes {' or '.join(_NOUNS[each] for each in takes)}, and {what} is {_NOUNS[kind]}"
        yield Broken(here, message, f"{suggestion(name, _fitting(kind))}; or package.module:factory")


def _fitting(kind: DataKind) -> list[str]:
    return [model for model in MODEL_ARGS if kind in (model_kinds(model) or (kind,))]


def _preprocessing(spec: Mapping[str, Any], kind: DataKind, what: str) -> Iterator[Broken]:
    for field, value in as_mapping(spec.get("preprocessing")).items():
        users = PREPROCESSING_KINDS.get(field)
        if value and users is not None and kind not in users:
            takers = " and ".join(_NOUNS[each] for each in sorted(users))
            message = f"{field} is for {takers}, and {what} is {_NOUNS[kind]}"
            yield Broken(("spec", "preprocessing", field), message, "leave it out")
