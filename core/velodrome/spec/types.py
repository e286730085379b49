"""The field types of a BenchmarkJob, and `partial`, which makes the model of an override. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, JsonValue, WithJsonSchema, create_model
from pydantic_core import MISSING, PydanticCustomError

from velodrome.metrics import CATALOGUE
from velodrome.vocabulary import MODEL_ARGS

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def close_match(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `given` was probably meant to be, letter case aside; None where nothing is close."""
    by_folded = {name.casefold(): name for name in allowed}
    found = difflib.get_close_matches(given.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """`did you mean "x"?` where one is close, else the whole list."""
    names = sorted(allowed)
    close = close_match(given, names)
    return f'did you mean "{close}"?' if close else "one of: " + ", ".join(names)


def _unknown(what: str, given: str, allowed: Iterable[str]) -> PydanticCustomError:
    return PydanticCustomError(
        "unknown_name",
        "there is no {what} called {given}",
        {"what": what, "given": repr(given), "hint": suggestion(given, allowed)},
    )


def _metric(name: str) -> str:
    if name not in CATALOGUE:
        raise _unknown("metric", name, CATALOGUE)
    return name


def _model(name: str) -> str:
    if name in MODEL_ARGS or re.fullmatch(r"torchvision/[a-z0-9_]+", name):
        return name
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name, re.ASCII):
        return name
    if "/" in name:
        raise _unknown("model", name, [*MODEL_ARGS, "torchvision/NAME"])
    raise PydanticCustomError(
        "unknown_name",
        "{given} is no model name",
        {"given": repr(name), "hint": "velodrome/NAME, torchvision/NAME or package.module:factory"},
    )


def _image(reference: str) -> str:
    if not re.fullmatch(r"[^\s@]+@sha256:[a-f0-9]{64}", reference):
        raise PydanticCustomError(
            "image_not_pinned",
            "{given} is not pinned by digest",
            {"given": repr(reference), "hint": "write NAME@sha256:… so that every trial runs the same image"},
        )
    return reference


Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=_DNS_LABEL)]
EntryName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$")]
MetricName = Annotated[str, AfterValidator(_metric), WithJsonSchema({"type": "string", "enum": list(CATALOGUE)})]
ModelName = Annotated[str, Field(max_length=253), AfterValidator(_model)]
Image = Annotated[
    str, AfterValidator(_image), WithJsonSchema({"type": "string", "pattern": r"^[^\s@]+@sha256:[a-f0-9]{64}$"})
]
JsonObject = dict[str, JsonValue]
Quantity = Annotated[int | str, Field(description="A Kubernetes quantity, such as 2, 500m or 4Gi.")]


def partial(model: type[BaseModel]) -> type[BaseModel]:
    """The same fields as `model`, none of them required and none of them filled in, down to the nested parts.

    A field that was not written is absent from dumps; one that was written must be valid.
    """
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        info = field.asdict()
        attributes = {key: value for key, value in info["attributes"].items() if not key.startswith("default")}
        annotation = (
            Annotated[(_overridable(field.annotation), *info["metadata"])]
            if info["metadata"]
            else _overridable(field.annotation)
        )
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
