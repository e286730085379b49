"""From pydantic's JSON schema to a structural schema, the subset of OpenAPI v3 that a CRD may use. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

# Keywords that both kinds of schema have, with the same meaning.
_KEPT = frozenset(
    {
        "type", "format", "pattern", "minimum", "maximum", "enum", "required", "description", "minLength", "maxLength",
        "minItems", "maxItems", "minProperties", "maxProperties",
    }
)  # fmt: skip


def structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """The schema without $ref, null types, unions and titles.

    A field that may be null becomes `nullable`. An integer or a string becomes `x-kubernetes-int-or-string`. An object
    of any content keeps its content. What a structural schema can't express is an error, and is never dropped.

    Raises:
        ValueError: the schema is a union that no structural schema can express.
    """
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return structural({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    if "anyOf" in schema:
        return _union(schema, definitions)
    result: Schema = {key: value for key, value in schema.items() if key in _KEPT}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if schema.get("default") is not None:
        result["default"] = _written(schema["default"])
    return result | _bounds(schema) | _inside(schema, definitions)


def _bounds(schema: Mapping[str, Any]) -> Schema:
    """Exclusive bounds, which OpenAPI marks by a flag beside the bound."""
    result: Schema = {}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in schema:
            result |= {bound: schema[exclusive], exclusive: True}
    return result


def _inside(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """The schema of what an object or a list may hold."""
    result: Schema = {}
    if "properties" in schema:
        result["properties"] = {name: structural(item, definitions) for name, item in schema["properties"].items()}
    if "prefixItems" in schema:
        result["items"] = structural(_alike(schema["prefixItems"]), definitions)
    elif "items" in schema:
        result["items"] = structural(schema["items"], definitions)
    extra = schema.get("additionalProperties")
    values = structural(extra, definitions) if isinstance(extra, Mapping) else {}
    if values:
        result["additionalProperties"] = values
    elif extra is True or isinstance(extra, Mapping):
        result["x-kubernetes-preserve-unknown-fields"] = True
    return result


def _union(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    options: Sequence[Mapping[str, Any]] = schema["anyOf"]
    real = [option for option in options if option.get("type") != "null"]
    around = {key: value for key, value in schema.items() if key != "anyOf"}
    if {option.get("type") for option in real} == {"integer", "string"}:
        described = {key: value for key, value in around.items() if key == "description"}
        return {"x-kubernetes-int-or-string": True, **described}
    if len(real) != 1:
        raise ValueError(f"a structural schema has no union: {options}")
    result = structural({**real[0], **around}, definitions)
    return {**_without_enum(result), "nullable": True} if len(real) < len(options) else result


def _without_enum(schema: Schema) -> Schema:
    """The same without `enum`, for a field that may be null: an API server takes no null there, even a listed one."""
    if "enum" not in schema:
        return schema
    words: list[str] = schema["enum"]
    rest = {key: value for key, value in schema.items() if key != "enum"}
    return rest | {"pattern": f"^({'|'.join(map(re.escape, words))})$", "maxLength": max(map(len, words))}


def _written(value: Any) -> Any:
    """A default without its nulls, since an API server treats null as absent."""
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items() if item is not None}
    return [_written(item) for item in value] if isinstance(value, list | tuple) else value


def _alike(items: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one schema that all items of a pair have."""
    if any(item != items[0] for item in items):
        raise ValueError(f"a structural schema has one schema for all items of a list, not {items}")
    return items[0]
