"""Bounds of everything in a report: values that no measurement gives, and more items than a trial has. Pure.

The catalogue (`velodrome.metrics`) has the range and the keys of each metric. Everything else in a report is here.
These bounds are not checked when a stored record is read: it is shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import le, lt
from typing import Any

from velodrome.metrics.catalogue import CATALOGUE, LARGEST, LONGEST_SECONDS, MeasuredKeys, metric_of, without_rounding
from velodrome.plan import TrialConfig
from velodrome.results.records import DatasetFacts, Environment, EpochPoint, Progress, TrialResult
from velodrome.results.score_bounds import impossible_scores
from velodrome.vocabulary import CLASSES

# The most points of a result's curves: twice as many as Velodrome's runners send, whatever the number of epochs.
MOST_POINTS = 4100
MESSAGE_LIMIT = 16 * 1024  # characters of the message that says why a trial failed
TEXT_LIMIT = 1000  # characters of any other text
MOST_LIBRARIES = 200
MOST_CLASSES = 10_000
MOST_CONFUSED = 100  # classes of a confusion matrix: more make a report that is too large
MOST_SAMPLES = 10**12
_MOST_AXES = 16
_LARGEST_BUDGET = 100_000  # epochs; the spec allows no more
_LARGEST_NUMBER = 2.0**63  # of CPUs, bytes and the like
_FASTEST = CATALOGUE["train_samples_per_second"].range[1]
_QUOTED = 80  # characters of a key that a message quotes


def impossible_result(result: TrialResult, config: TrialConfig, *, kept: bool = False) -> str | None:
    """The first field of a result that no trial of this configuration can have, and why. None if all are possible.

    A result that a store `kept`, maybe since version 0.1.0, may exceed 1 by the rounding of float32, and its budget.
    """
    return next(_of_result(result, config, kept=kept), None)


def impossible_progress(progress: Progress, config: TrialConfig) -> str | None:
    """The first field of a progress report that no trial of this configuration can have, and why; or None."""
    return next(_of_progress(progress, config), None)


def impossible_metrics(metrics: Mapping[str, float], keys: MeasuredKeys) -> str | None:
    """The first metric that no trial can have, by its key or its value, and why; or None."""
    return next(_of_metrics(metrics, keys), None)


def impossible_curves(curves: Sequence[EpochPoint], config: TrialConfig) -> str | None:
    """The first field of the curves that no trial of this configuration can have, such as `curves.0.seconds`, and why;
    or None.
    """
    return next(_of_curves(curves, config.budget.max_epochs, keys_of(config)), None)


def impossible_dataset(facts: DatasetFacts) -> str | None:
    """The first field that no data set can have, and why; or None."""
    return next(_of_dataset(facts), None)


def impossible_classes(facts: DatasetFacts, config: TrialConfig) -> str | None:
    """Why a trial of this configuration can't have read such classes; None if it can."""
    return next(_of_classes(facts, config), None)


def keys_of(config: TrialConfig, facts: DatasetFacts | None = None) -> MeasuredKeys:
    """The metric keys that trials of this configuration can have. `facts` are the data that a result says it read."""
    dataset = config.dataset
    classes = MOST_CLASSES if dataset.format is not None else CLASSES.get(dataset.name, 0)
    found = classes if facts is None else min(classes, len(facts.classes))
    return _keys(found, config.evaluation.inference.batch_sizes, config.declared or ())


_keys = lru_cache(maxsize=64)(MeasuredKeys)  # all trials of a job have the same keys


def _of_result(result: TrialResult, config: TrialConfig, *, kept: bool) -> Iterator[str]:
    keys = keys_of(config, result.dataset)
    for field, found in (("metrics", result.metrics), ("unavailable", result.unavailable)):
        if len(found) > len(keys.ranges):
            yield f"{field}: {len(found)} keys, and a trial of this job has {len(keys.ranges)} at most"
    yield from _of_metrics(result.metrics, keys, kept=kept)
    for key, reported in result.unavailable.items():
        yield from _long(f"unavailable.{key[:_QUOTED]}", reported)
        yield from _long("unavailable", key)
    most = _LARGEST_BUDGET if kept else config.budget.max_epochs
    yield from _of_confusion(result)
    if result.scores is not None:
        if result.outcome == "Failed":
            yield "scores: a trial that failed has none"
        task = config.task_name
        yield from impossible_scores(result.scores, result.dataset, result.metrics, result.confusion, task)
    yield from _of_curves(result.curves, most, keys, kept=kept)
    yield from _of_epochs(result, most)
    yield from _of_checkpoints(result)
    for place, file in enumerate(result.artifacts or ()):
        if file.bytes is not None and file.bytes > _LARGEST_NUMBER:
            yield f"artifacts.{place}.bytes: {file.bytes} is not between 0 and {_LARGEST_NUMBER:g}"
    yield from _long("message", result.message, MESSAGE_LIMIT)
    yield from _long("reason", result.reason)
    if result.dataset is not None:
        yield from _of_dataset(result.dataset)
        yield from _of_classes(result.dataset, config)
    if result.environment is not None:
        yield from _of_environment(result.environment)


def _of_metrics(metrics: Mapping[str, float], keys: MeasuredKeys, *, kept: bool = False) -> Iterator[str]:
    for key, value in metrics.items():
        why = keys.impossible(key, without_rounding(key, value) if kept else value)
        if why is not None:
            yield f"metrics.{key}: {why}"


def _of_confusion(result: TrialResult) -> Iterator[str]:
    """The matrix has a row and a column for each class, and each test sample is in it once."""
    if result.confusion is None:
        return
    classes = len(result.dataset.classes) if result.dataset is not None else 0
    if not 1 <= len(result.confusion) <= MOST_CONFUSED:
        yield f"confusion: {len(result.confusion)} rows, and it has 1 to {MOST_CONFUSED}"
    elif {len(result.confusion), *map(len, result.confusion)} != {classes}:
        yield f"confusion: it needs a row and a column for each of {classes} classes"
    elif min(map(min, result.confusion)) < 0:
        yield "confusion: a number of samples is below 0"
    elif result.dataset is not None and sum(map(sum, result.confusion)) != result.dataset.test_samples:
        yield f"confusion: it holds {sum(map(sum, result.confusion))} samples, not {result.dataset.test_samples}"


def _of_epochs(result: TrialResult, most: int) -> Iterator[str]:
    if result.epochs is not None and not 0 <= result.epochs <= most:
        yield f"epochs: {result.epochs} is not between 0 and budget.maxEpochs, {most}"
    if result.best_epoch is not None and not 1 <= result.best_epoch <= most:
        yield f"best_epoch: {result.best_epoch} is not between 1 and budget.maxEpochs, {most}"


def _of_checkpoints(result: TrialResult) -> Iterator[str]:
    found = result.checkpoints
    if found is None:
        return
    numbers = [("saved", found.saved, _LARGEST_NUMBER), ("seconds", found.seconds, LONGEST_SECONDS)]
    for place, each in enumerate(found.resumed):
        numbers += [(f"resumed.{place}.{name}", getattr(each, name), _LARGEST_NUMBER) for name in _OF_RESUMPTION]
        numbers.append((f"resumed.{place}.lost_seconds", each.lost_seconds, LONGEST_SECONDS))
    for name, value, highest in numbers:
        if not value <= highest:
            yield f"checkpoints.{name}: {value!r} is not between 0 and {highest:g}"


_OF_RESUMPTION = ("step", "repeated_steps")


def _of_curves(curves: Sequence[EpochPoint], most: int, keys: MeasuredKeys, *, kept: bool = False) -> Iterator[str]:
    """Checks all points at once, because there are many, and searches for an impossible one only if a check fails."""
    if len(curves) > MOST_POINTS:
        yield f"curves: {len(curves)} points, and a result has {MOST_POINTS} at most"
    if curves and not _plausible(curves, most):
        yield from _of_points(curves, most)
    validations = [point.validation for point in curves]
    for name in dict.fromkeys(chain.from_iterable(validations)):
        values = [found[name] for found in validations if name in found]
        for value in (min(values), max(values)):
            why = impossible_validation(name, without_rounding(name, value) if kept else value, keys)
            if why is not None:
                place = next(place for place, found in enumerate(validations) if found.get(name) == value)
                yield f"curves.{place}.validation.{name[:_QUOTED]}: {why}"


def _plausible(curves: Sequence[EpochPoint], most: int) -> bool:
    """Whether every point is within bounds. Checking by column takes a third of the time of checking by point."""
    epochs, seconds = [point.epoch for point in curves], [point.seconds for point in curves]
    losses, rates = [point.train_loss for point in curves], [point.learning_rate for point in curves]
    speeds = [point.samples_per_second for point in curves]
    return (
        epochs[0] >= 1
        and epochs[-1] <= most
        and all(map(lt, epochs, epochs[1:]))
        and seconds[0] >= 0
        and seconds[-1] <= LONGEST_SECONDS
        and all(map(le, seconds, seconds[1:]))
        and min(losses) >= -LARGEST
        and max(losses) <= LARGEST
        and min(rates) >= 0
        and max(rates) <= LARGEST
        and min(speeds) >= 0
        and max(speeds) <= _FASTEST
    )


def _of_points(curves: Sequence[EpochPoint], most: int) -> Iterator[str]:
    """The fields that are out of bounds, point by point."""
    epoch, seconds = 0, 0.0
    for place, point in enumerate(curves):
        for field, least, highest in (
            ("epoch", epoch + 1, most),
            ("seconds", seconds, LONGEST_SECONDS),
            ("train_loss", -LARGEST, LARGEST),
            ("learning_rate", 0.0, LARGEST),
            ("samples_per_second", 0.0, _FASTEST),
        ):
            value = getattr(point, field)
            if not least <= value <= highest:
                yield f"curves.{place}.{field}: {value!r} is not between {least:g} and {highest:g}{_WHY.get(field, '')}"
        epoch, seconds = point.epoch, point.seconds


_WHY = {
    "epoch": ": epochs count upwards, to budget.maxEpochs at most",
    "seconds": ": training time never goes back",
}


def impossible_validation(name: str, value: float, keys: MeasuredKeys) -> str | None:
    """Why no epoch can have this value on the validation split, or None. Only metrics of quality are measured there."""
    metric = metric_of(name)
    if metric is not None and metric.kind != "quality":
        return "this is not measured on the validation split: only metrics of quality are"
    return keys.impossible(name, value)


def _of_progress(progress: Progress, config: TrialConfig) -> Iterator[str]:
    most = config.budget.max_epochs
    if not 0 <= progress.epoch <= most:
        yield f"epoch: {progress.epoch} is not between 0 and budget.maxEpochs, {most}"
    if not 0 <= progress.epochs <= _LARGEST_BUDGET:
        yield f"epochs: {progress.epochs} is not between 0 and {_LARGEST_BUDGET}"
    if progress.loss is not None and not abs(progress.loss) <= LARGEST:
        yield f"loss: {progress.loss!r} is larger than {LARGEST:g}"
    if progress.samples_per_second is not None and not 0 <= progress.samples_per_second <= _FASTEST:
        yield f"samples_per_second: {progress.samples_per_second!r} is not between 0 and {_FASTEST:g}"
    if progress.point is not None:
        for wrong in _of_curves((progress.point,), most, keys_of(config)):
            yield wrong.replace("curves.0", "point", 1)


def _of_dataset(facts: DatasetFacts) -> Iterator[str]:
    yield from _long("dataset.name", facts.name)
    yield from _long("dataset.reading", facts.reading)
    yield from _long("dataset.batching", facts.batching)
    for field, least in (("train_samples", 1), ("validation_samples", 0), ("test_samples", 1)):
        count = getattr(facts, field)
        if not least <= count <= MOST_SAMPLES:
            yield f"dataset.{field}: {count} is not between {least} and {MOST_SAMPLES}"
    if facts.fitted_samples is not None and not 1 <= facts.fitted_samples < facts.train_samples:
        yield f"dataset.fitted_samples: {facts.fitted_samples} is not between 1 and {facts.train_samples - 1}"
    if facts.shared_samples is not None and not 1 <= facts.shared_samples <= facts.test_samples:
        yield f"dataset.shared_samples: {facts.shared_samples} is not between 1 and {facts.test_samples}"
    if len(facts.shape) > _MOST_AXES:
        yield f"dataset.shape: {len(facts.shape)} axes, and a sample has {_MOST_AXES} at most"
    for length in facts.shape:
        if not 1 <= length <= MOST_SAMPLES:
            yield f"dataset.shape: {length} is not between 1 and {MOST_SAMPLES}"
    if len(facts.classes) > MOST_CLASSES:
        yield f"dataset.classes: {len(facts.classes)}, and {MOST_CLASSES} are the most"
    for name in facts.classes:
        yield from _long("dataset.classes", name)


def _of_classes(facts: DatasetFacts, config: TrialConfig) -> Iterator[str]:
    name = config.dataset.name
    if not facts.classes and CLASSES.get(name) and config.dataset.format is None:
        yield f"dataset.classes: none, and {name} has {CLASSES[name]}"


def _of_environment(environment: Environment) -> Iterator[str]:
    yield from _of_fields("environment", environment.__dict__)
    for part in ("hardware", "software", "resources"):
        yield from _of_fields(f"environment.{part}", getattr(environment, part).__dict__)
    software = environment.software
    yield from _of_libraries("environment.software.libraries", software.libraries)
    yield from _of_libraries("environment.software.model_libraries", software.model_libraries or {})


def _of_libraries(where: str, libraries: Mapping[str, str]) -> Iterator[str]:
    if len(libraries) > MOST_LIBRARIES:
        yield f"{where}: {len(libraries)}, and there are {MOST_LIBRARIES} at most"
    for name, version in libraries.items():
        yield from _long(where, name)
        yield from _long(f"{where}.{name[:_QUOTED]}", version)


def _of_fields(where: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """Checks the facts of a machine: numbers are counts, and texts are names."""
    for name, value in fields.items():
        if isinstance(value, str):
            if len(value) > TEXT_LIMIT:
                yield from _long(f"{where}.{name}", value)
        elif isinstance(value, int | float) and not 0 <= value <= _LARGEST_NUMBER:
            yield f"{where}.{name}: {value!r} is not between 0 and {_LARGEST_NUMBER:g}"


def _long(field: str, text: str | None, most: int = TEXT_LIMIT) -> Iterator[str]:
    if text is not None and len(text) > most:
        yield f"{field}: {len(text)} characters, and {most} are the most"
