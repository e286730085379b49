"""JSON schemas for kubeconform, made from Kubernetes' own OpenAPI documents and from this project's CRD. Pure.

A schema made here also refuses a field that the kind doesn't have, as the API server does under strict validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PREFIX = "#/components/schemas/"
Schema = dict[str, Any]


def of_kinds(openapi: Mapping[str, Any]) -> dict[str, Schema]:
    """A schema for each kind of an API group's OpenAPI document, by kubeconform's name for it."""
    definitions = {name: _strict(schema) for name, schema in openapi["components"]["schemas"].items()}
    found = {}
    for name, schema in openapi["components"]["schemas"].items():
        for at in schema.get("x-kubernetes-group-version-kind", ()):
            whole = {"$ref": f"#/definitions/{name}", "definitions": definitions}
            found[file_name(at["group"], at["version"], at["kind"])] = whole
    return found


def of_crd(crd: Mapping[str, Any]) -> dict[str, Schema]:
    """A schema for each version of the CRD's kind."""
    spec = crd["spec"]
    made = {}
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
        schema["properties"] = {**properties, **schema.get("properties", {})}
        made[file_name(spec["group"], version["name"], spec["names"]["kind"])] = schema
    return made


def file_name(group: str, version: str, kind: str) -> str:
    """The file in which kubeconform finds the schema, with `LOCATION` as its --schema-location."""
    return f"{kind.lower()}_{group or version}_{version}.json"


LOCATION = "{{.ResourceKind}}_{{.Group}}_{{.ResourceAPIVersion}}.json"


def _strict(schema: Any) -> Any:
    """The schema with `additionalProperties: false` wherever fields are listed, and its references in one place."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: Schema = {key: _strict(value) for key, value in schema.items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace(_PREFIX, "#/definitions/")
    listed = isinstance(made.get("properties"), dict) and made.get("type", "object") == "object"
    if listed and "additionalProperties" not in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made
