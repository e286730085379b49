"""Nulls in a document: which ones mean something, and the document without the others. Pure.

An API server treats a null field as absent wherever the field may be absent. Two kinds of null are values: those in
objects of the user's own (the arguments of a model), and those in an entry's overrides, where null turns off what the
entry would inherit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from velodrome.spec.job import BenchmarkJob
from velodrome.spec.training import TrainingOverride
from velodrome.spec.wording import Location


def without_nulls(document: Any) -> Any:
    """The document without null fields that may be absent. Everything else stays, and the model checks it."""
    return _without(document, BenchmarkJob)


def turned_off(job: BenchmarkJob) -> Iterator[Location]:
    """Locations where an entry's null turns off something that `spec.training` has.

    `kubectl apply` does not send such a null; `create`, `replace` and `apply --server-side` do.
    """
    defaults = job.spec.training.model_dump(mode="json", by_alias=True)
    for index, entry in enumerate(job.spec.entries):
        if entry.training is not None:
            override = entry.training.model_dump(mode="json", by_alias=True)
            for below in _off(override, defaults):
                yield ("spec", "entries", index, "training", *below)


def _off(override: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Location]:
    for name, value in override.items():
        default = defaults.get(name)
        if value is None and default is not None:
            yield (name,)
        elif isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from ((name, *below) for below in _off(value, default))


def _without(value: Any, model: type[BaseModel]) -> Any:
    if isinstance(value, list):
        return [_without(item, model) for item in value]
    if not isinstance(value, dict) or model is TrainingOverride:
        return value
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    kept: dict[str, Any] = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            kept[name] = item
        elif item is not None or field.is_required():
            below = _model_of(field.annotation)
            kept[name] = item if below is None else _without(item, below)
    return kept


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model within a field's type, also inside unions and lists. No type contains two models."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_of(inner))), None)
