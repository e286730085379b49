"""Paths of a search's parameters into `training`, `preprocessing` and `model.args`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from velodrome.spec.conditions import Preprocessing
from velodrome.spec.training import Training
from velodrome.spec.wording import suggestion

ROOTS: Mapping[str, type[BaseModel]] = {"training": Training, "preprocessing": Preprocessing}
MODEL_ARGS_ROOT = "model.args."
# Parts of a job that a path may seem to mean, and that all entries share.
_SHARED = ("dataset", "budget", "evaluation", "trials", "execution", "runner", "objectives", "metrics", "search")


def is_path(name: str) -> bool:
    """Whether a parameter's name is a path into the job, and no free name for a program of one's own."""
    root = name.partition(".")[0]
    return root in ROOTS or root == "model" or (root in _SHARED and "." in name)


def wrong_path(name: str) -> tuple[str, str] | None:
    """What is wrong with a path, and what to write instead; None if it names a field that an entry may have."""
    root, *below = name.split(".")
    if root in _SHARED:
        return f"spec.{root} is shared by all entries", "write a path into training, preprocessing or model.args"
    if root == "model":
        right = name.startswith(MODEL_ARGS_ROOT) and all(below[1:])
        return None if right else ("only the arguments of a model can vary", "write model.args.NAME")
    return _walk(ROOTS[root], root, below)


def _walk(model: type[BaseModel] | None, here: str, below: list[str]) -> tuple[str, str] | None:
    many = False
    for part in below:
        if many:
            if not (part.isascii() and part.isdecimal()):
                return f"{here} is a list, and {part} is no position in it", f"write {here}.0 for its first item"
            here, many = f"{here}.{part}", False
            continue
        if model is None:
            return f"{here} has no fields", "leave the rest of the path out"
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in fields:
            return f"{here} has no field {part}", suggestion(part, fields)
        model, many = _inside(fields[part].annotation)
        here = f"{here}.{part}"
    if model is not None and not many:
        names = (field.alias or name for name, field in model.model_fields.items())
        return f"{here} has several fields", f"write one of {', '.join(f'{here}.{name}' for name in names)}"
    return None


def _inside(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model in a field's type, if it has one, and whether the field is a list of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    pairs = (_inside(inner) for inner in get_args(annotation))
    model, many = next((pair for pair in pairs if pair[0] is not None), (None, False))
    return model, many or (model is not None and get_origin(annotation) is tuple)


def placed(document: Any, path: list[str], value: Any) -> Any:
    """The document with the value at the path. Fields that are missing on the way are made.

    Raises:
        ValueError: the path leads to a place in a list that the list does not have.
    """
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(document, list | tuple):
        if int(step) >= len(document):
            raise ValueError(f"there is no item {step}: the list has {len(document)}")
        at = int(step)
        return [placed(item, rest, value) if place == at else item for place, item in enumerate(document)]
    if document is None and step.isdecimal():
        raise ValueError(f"there is no item {step}: the list is empty")
    fields = dict(document) if isinstance(document, Mapping) else {}
    return {**fields, step: placed(fields.get(step), rest, value)}


def removed(document: Any, path: list[str]) -> Any:
    """The document without what is at the path, if it has that."""
    step, rest = path[0], path[1:]
    if isinstance(document, list | tuple):
        kept = [removed(item, rest) if rest and str(at) == step else item for at, item in enumerate(document)]
        return kept if rest else [item for at, item in enumerate(kept) if str(at) != step]
    if not isinstance(document, Mapping) or step not in document:
        return document
    if rest:
        return {**document, step: removed(document[step], rest)}
    return {name: item for name, item in document.items() if name != step}
