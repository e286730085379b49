"""Overrides of an entry: the model of a part of Training, and how to apply one to the defaults. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, create_model
from pydantic_core import MISSING


def partial(model: type[BaseModel]) -> type[BaseModel]:
    """A model with the same fields, all of them optional and without defaults, down to the nested parts.

    A field that was not written is absent from dumps. A written field must be valid. Null counts as written.
    """
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        info = field.asdict()
        attributes = {key: value for key, value in info["attributes"].items() if not key.startswith("default")}
        annotation = _overridable(field.annotation)
        if info["metadata"]:
            annotation = Annotated[(annotation, *info["metadata"])]
        fields[name] = (annotation | MISSING, Field(default=MISSING, **attributes))
    base = next(ancestor for ancestor in model.__mro__[1:] if not getattr(ancestor, "model_fields", None))
    return create_model(f"{model.__name__}Override", __base__=base, __doc__=model.__doc__, **fields)


def _overridable(annotation: Any) -> Any:
    """The type with every model in it replaced by its override."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return partial(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(_overridable(option) for option in get_args(annotation))]  # noqa: UP007 - made at run time
    return annotation


def overlay(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `override`: mappings are merged field by field, everything else is replaced."""
    result = dict(base)
    for field, value in override.items():
        below = result.get(field)
        merge = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[field] = overlay(below, value) if merge and below is not None else value
    return result
