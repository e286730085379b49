"""Which fields of a BenchmarkJob can't change once it exists, in CEL. Pure.

A field that is written as null means the same as an absent field. The API server keeps the null of a `nullable` field.
For CEL's `has` that field is absent, but CEL's `==` distinguishes null from absent. So a part of the spec is compared
by its `value`, in which every absent field stands as null. Then a file that writes its nulls out is no change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

# What may change while a race runs. Everything else was measured, or will be.
MUTABLE = ("suspend", "ttlSecondsAfterFinished", "execution", "search")
_MUTABLE_EXECUTION = ("parallelism",)
# It may be raised alone: the trials that there are stay valid, and more are added.
_RAISED = "maxTrials"
_MESSAGE = "spec.{} can't change once the job exists: results depend on it. Apply a job of another name"
# In an override, null is a value: it turns off what the entry would inherit. An absent field inherits it.
_OVERRIDES = ("entries.training",)


def frozen(spec: Schema) -> list[Schema]:
    """The rules of `spec`, from its structural schema. Each field has a rule of its own, so the message names it."""
    fields = spec["properties"]
    execution, search = fields["execution"], fields["search"]
    parts = [
        *(("", name, spec) for name in fields if name not in MUTABLE),
        *(("execution.", name, execution) for name in execution["properties"] if name not in _MUTABLE_EXECUTION),
    ]
    return [*(_rule(prefix, name, within) for prefix, name, within in parts), *_of_search(search)]


def _of_search(search: Schema) -> Iterator[Schema]:
    """The rules of a search, which may be absent: it stays, its number of trials only grows, and the rest is frozen."""
    yield {
        "rule": "has(self.search) == has(oldSelf.search)",
        "message": _MESSAGE.format("search"),
    }
    both = "!has(self.search) || !has(oldSelf.search) || "
    yield {
        "rule": f"{both}self.search.{_RAISED} >= oldSelf.search.{_RAISED}",
        "message": f"spec.search.{_RAISED} can be raised, and not lowered: trials that ran stay part of the search",
    }
    yield {
        "rule": f"{both}self.search.algorithm != 'Grid' || self.search.{_RAISED} == oldSelf.search.{_RAISED}",
        "message": f"spec.search.{_RAISED} of a grid can't change: a grid ends. Apply a job of another name",
    }
    for name in search["properties"]:
        if name != _RAISED:
            found = _rule("search.", name, search)
            yield {**found, "rule": f"{both}{found['rule']}"}


def _rule(prefix: str, name: str, within: Schema) -> Schema:
    path = f"{prefix}{name}"
    now, before = (_of_field(f"{root}.{prefix}".rstrip("."), name, within, path) for root in ("self", "oldSelf"))
    exact = f"{now} == {before}"
    # To look inside takes far longer, and every write of the status asks.
    first = f"{_untouched(prefix, name, within)} || " if _has_absent(within["properties"][name]) else ""
    return {"rule": f"{first}{exact}", "message": _MESSAGE.format(path)}


def _untouched(prefix: str, name: str, within: Schema) -> str:
    """Whether a field is the same to the letter."""
    field = f"{prefix}{name}"
    same = f"self.{field} == oldSelf.{field}"
    if "default" in within["properties"][name] or name in within.get("required", ()):
        return same
    return f"(has(self.{field}) ? has(oldSelf.{field}) && {same} : !has(oldSelf.{field}))"


def _of_field(holder: str, name: str, within: Schema, path: str) -> str:
    """The value of a field, or null if it is absent."""
    schema = within["properties"][name]
    value = _value(f"{holder}.{name}", schema, path)
    if "default" in schema or name in within.get("required", ()):
        return f"dyn({value})"
    return f"(has({holder}.{name}) ? dyn({value}) : null)"


def _value(expression: str, schema: Schema, path: str) -> str:
    """The value of `expression`, in a form that `==` compares."""
    if path in _OVERRIDES or not _has_absent(schema):
        return expression
    if "items" in schema:
        item = f"x{path.count('.')}"
        return f"{expression}.map({item}, {_value(item, schema['items'], path)})"
    fields = [_of_field(expression, name, schema, f"{path}.{name}") for name in schema["properties"]]
    return f"[{', '.join(fields)}]"


def _has_absent(schema: Schema) -> bool:
    """Whether a value of this schema has typed fields that may be absent, at any depth."""
    if "items" in schema:
        return _has_absent(schema["items"])
    fields = schema.get("properties", {})
    needed = schema.get("required", ())
    return any(("default" not in field and name not in needed) or _has_absent(field) for name, field in fields.items())
