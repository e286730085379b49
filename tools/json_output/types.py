"""How documents are declared: a field has a type in words and a sentence. Types become JSON schemas."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

# The types of single values, and their JSON schemas.
PLAIN: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "count": {"type": "integer"},
    "flag": {"type": "boolean"},
    "time": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$"},
    "object": {"type": "object"},
    "any": {},
}

Fields = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Shape:
    """One form of a command's output: `options` lead to it, `lines` says that each line is such a document."""

    fields: Fields
    options: str = ""
    lines: bool = False


@dataclass(frozen=True)
class Output:
    """All that a command writes: one shape, or one of several. `note` is said below the table."""

    shapes: tuple[Shape, ...]
    note: str = field(default="")


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema of a type: a plain one, `list of T`, `T by name`, `T or null`, or a declared object."""
    if kind.endswith(" or null"):
        return {"anyOf": [schema_of(kind.removesuffix(" or null")), {"type": "null"}]}
    if kind.endswith(" by name"):
        return {"type": "object", "additionalProperties": schema_of(kind.removesuffix(" by name"))}
    if kind.startswith("list of "):
        return {"type": "array", "items": schema_of(kind.removeprefix("list of "))}
    if kind in PLAIN:
        return PLAIN[kind]
    assert re.fullmatch(r"[A-Z]\w+", kind), kind
    return {"$ref": f"#/$defs/{kind}"}


def object_schema(fields: Fields, *, versioned: bool = False) -> dict[str, Any]:
    """The JSON schema of an object that has all of these fields, and no other one. `name?` may be left out."""
    properties: dict[str, Any] = {"schema": {"const": 1}} if versioned else {}
    properties |= {
        name.rstrip("?"): {**schema_of(kind), "description": words} for name, (kind, words) in fields.items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if f"{name}?" not in fields],
        "additionalProperties": False,
    }
