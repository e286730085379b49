"""Pydantic's errors in this project's words: where, what is wrong, what was given and what is allowed. Pure."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from velodrome.spec.job import BenchmarkJob
from velodrome.spec.raw import Broken
from velodrome.spec.template import refusal
from velodrome.spec.types import PATTERNS
from velodrome.spec.wording import Location, close_match, meant_by, shown, suggestion

# By the type of pydantic's error. Braces are filled from its context and from the given value.
_MESSAGES = {
    "bool_type": "must be true or false, not {given}",
    "dict_type": "must be a mapping, not {given}",
    "extra_forbidden": "unknown field {name}",
    "finite_number": "must be a finite number, not {given}",
    "float_type": "must be a number, not {given}",
    "greater_than": "must be more than {gt}, not {given}",
    "greater_than_equal": "must be at least {ge}, not {given}",
    "int_from_float": "must be a whole number, not {given}",
    "int_type": "must be a whole number, not {given}",
    "less_than": "must be less than {lt}, not {given}",
    "less_than_equal": "must be at most {le}, not {given}",
    "literal_error": "{given} is not allowed here",
    "missing": "is missing",
    "model_type": "must be a mapping, not {given}",
    "refused": "{text}",
    "string_pattern_mismatch": "{given} has characters that are not allowed",
    "string_too_long": "must have at most {max_length} characters, not {given}",
    "string_too_short": "must have at least {min_length} characters, not {given}",
    "string_type": "must be text, not {given}",
    "too_long": "takes at most {max_length} of these, not {actual_length}",
    "too_short": "needs at least {min_length} of these, not {actual_length}",
    "tuple_type": "must be a list, not {given}",
}


# Length of the location of an entry's field: spec, entries, position, field.
_IN_ENTRY = 4
_NAME = 60  # characters of a name that a hint repeats


def explained(detail: ErrorDetails) -> Broken:
    """An error of the model, in the form of a broken rule."""
    location: Location = tuple(detail["loc"])
    if detail["type"] == "extra_forbidden" and location[:2] == ("spec", "entries") and len(location) == _IN_ENTRY:
        field = str(location[-1])
        if field in _fields(("spec",)):
            return Broken(location, f"{field} is a condition that all entries share", f"set spec.{field}")
    refused = refusal(location) if detail["type"] == "extra_forbidden" else None
    if refused is not None:
        return Broken(location, *refused)
    words = {name: f"{value:g}" if isinstance(value, float) else value for name, value in detail.get("ctx", {}).items()}
    words |= {"given": shown(detail["input"]), "name": shown(location[-1] if location else "")}
    template = _MESSAGES.get(detail["type"])
    message = template.format_map(words) if template else f"{detail['msg']}, not {words['given']}"
    return Broken(location, message, _hint(location, detail) or _description(location))


def _hint(location: Location, detail: ErrorDetails) -> str:
    """What to write instead, if the error itself shows it."""
    given, context = detail["input"], detail.get("ctx", {})
    if given is None and location[:2] == ("spec", "entries") and location[_IN_ENTRY - 1 : _IN_ENTRY] == ("training",):
        return "null turns off what an entry inherits, and this can't be off: leave it out to inherit it"
    match detail["type"]:
        case "refused":
            return str(context["hint"])
        case "extra_forbidden":
            return _elsewhere(location) or suggestion(str(location[-1]), _fields(location[:-1]))
        case "model_type" | "dict_type" if isinstance(given, str):
            return _as_mapping(location, given)
        case "literal_error":
            return suggestion(str(given), re.findall(r"'([^']*)'", str(context["expected"])))
        case "string_pattern_mismatch":
            return PATTERNS[context["pattern"]]
        case "float_type" | "int_type" if isinstance(given, str) and re.fullmatch(r"[-+.\deE]+", given):
            return f"numbers stand without quotes: {given}"
        case "string_type" if isinstance(given, bool):
            return "YAML reads yes, no, on, off, y and n as true or false: put quotes around the word"
        case "string_type" if isinstance(given, int | float):
            return f'text that looks like a number needs quotes: "{given}"'
    return ""


def _elsewhere(location: Location) -> str:
    """The right place of a field that was written too far out; one that is much deeper only if no name is close."""
    here, name = location[:-1], str(location[-1])
    name = meant_by(name) or name
    named = "" if name == location[-1] else f" as {name}"
    for field in _fields(here):
        if name in _fields((*here, field)):
            return f"it belongs in {field}{named}"
    if close_match(name, _fields(here)):
        return ""
    for field in _fields(here):
        for inner in _fields((*here, field)):
            if name in _fields((*here, field, inner)):
                return f"it belongs in {field}.{inner}{named}"
    return ""


def _as_mapping(location: Location, given: str) -> str:
    """The mapping that is meant by a bare name: `AdamW` for `{name: AdamW}`."""
    fields = _fields(location)
    if len(given) > _NAME or not re.fullmatch(r"[\w./:-]+", given):
        return ""
    if "model" in fields:
        short = re.split("[/:]", given)[-1]
        return f"write {{name: {short}, model: {{name: {given if short != given else '…'}}}}}"
    if "metric" in fields:
        return f"write {{name: {given}, metric: {given}}}"
    return f"write {{name: {given}}}" if "name" in fields else ""


def _fields(location: Location) -> list[str]:
    """The field names that the mapping at a location may have."""
    model = _model_at(location)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _description(location: Location) -> str:
    """The description of the field at a location, or of the list that contains the location."""
    while location and isinstance(location[-1], int):
        location = location[:-1]
    model = _model_at(location[:-1])
    fields = model.model_fields.values() if model and location else ()
    return next(((field.description or "").rstrip(".") for field in fields if location[-1] == field.alias), "")


def _model_at(location: Location) -> type[BaseModel] | None:
    annotation: Any = BenchmarkJob
    for part in location:
        if isinstance(part, str):
            model = _model_in(annotation)
            fields = model.model_fields.values() if model else ()
            annotation = next((field.annotation for field in fields if field.alias == part), None)
    return _model_in(annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model within a type, also inside unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)
