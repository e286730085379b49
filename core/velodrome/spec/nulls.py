"""Nulls that are written out: what they say, and what is left of a document without those that say nothing. Pure.

To an API server a field that is written as null is one that is not written, wherever it may be left out. Two kinds of
null are values: those in objects of the user's own (the arguments of a model), and those that an entry overrides. There
null turns off what the entry would inherit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from velodrome.spec.job import BenchmarkJob
from velodrome.spec.training import TrainingOverride
from velodrome.spec.wording import Location


def without_nulls(document: Any) -> Any:
    """The document without the fields that are null and may be left out; all else stays, for the model to judge."""
    return _without(document, BenchmarkJob)


def turned_off(job: BenchmarkJob) -> Iterator[Location]:
    """Where an entry's null turns something off that `spec.training` has.

    `kubectl apply` leaves such a null out of what it sends; `create`, `replace` and `apply --server-side` send it.
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
    """The model that a field's type holds, inside of unions and lists too; no type holds two."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_of(inner))), None)
