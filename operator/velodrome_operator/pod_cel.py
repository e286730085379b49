"""The rules of `velodrome.spec.pod_rules` that CEL can express, for the schema of `spec.runner`. Pure.

A template's fields are of any content, which CEL can't look into: the operator checks them when it reads the object.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from velodrome.spec.pod_rules import OWN_LABELS, OWN_PREFIXES, OWN_VARIABLES
from velodrome.spec.volumes import CLOSED_FOLDERS, KEPT_FOLDERS, OWN_VOLUMES, READ_ONLY_SOURCES, VOLUME_SOURCES

Schema = dict[str, Any]


def add_pod_rules(runner: Schema) -> None:
    """Adds the rules to the schema of `spec.runner`."""
    part = runner["properties"]
    environment = part["env"]["items"]
    environment["x-kubernetes-validations"] = [
        _rule(f"!(self.name in {_list(OWN_VARIABLES)})", "this variable is set by Velodrome and can't be overridden"),
        _rule("!has(self.valueFrom) || self.value == ''", "write value or valueFrom, not both"),
    ]
    environment["properties"]["valueFrom"]["x-kubernetes-validations"] = [
        _one_of("secretKeyRef", "configMapKeyRef", "fieldRef")
    ]
    part["envFrom"]["items"]["x-kubernetes-validations"] = [_one_of("configMapRef", "secretRef")]
    part["volumes"]["items"]["x-kubernetes-validations"] = _volume_rules()
    part["resourceClaims"]["items"]["x-kubernetes-validations"] = [
        _one_of("resourceClaimName", "resourceClaimTemplateName")
    ]
    own = " || ".join(f"k.startsWith('{prefix}')" for prefix in OWN_PREFIXES)
    for field in ("labels", "annotations"):
        part[field]["x-kubernetes-validations"] = [
            _rule(
                f"self.all(k, !({own} || k in {_list(OWN_LABELS)}))",
                f"{', '.join((*OWN_PREFIXES, *OWN_LABELS))} are set by Velodrome or by Kubernetes",
            )
        ]
    unique = [_unique(field) for field in ("env", "volumes", "resourceClaims")]
    known = "has(self.resourceClaims) && self.resourceClaims.exists(k, k.name == c.name)"
    used = _rule(
        f"!has(self.resources.claims) || self.resources.claims.all(c, {known})",
        "resources.claims names claims of runner.resourceClaims",
    )
    runner["x-kubernetes-validations"] = [*unique, used]


def _volume_rules() -> list[Schema]:
    closed = " || ".join(f"self.mountPath.startsWith('{folder}/')" for folder in CLOSED_FOLDERS)
    above = sorted({path for folder in (*KEPT_FOLDERS, *CLOSED_FOLDERS) for path in _with_parents(folder)})
    files = " || ".join(f"has(self.{source})" for source in READ_ONLY_SOURCES)
    return [
        _one_of(*VOLUME_SOURCES),
        _rule(
            f"!(self.name in {_list(OWN_VOLUMES)})", f"{', '.join(OWN_VOLUMES)} are the names of Velodrome's volumes"
        ),
        _rule(
            f"!(self.mountPath in {_list(above)} || {closed})",
            "the mount would hide what the runner needs: mount it elsewhere, such as at /models",
        ),
        _rule(
            f"!({files}) || !has(self.readOnly) || self.readOnly",
            "the files of a ConfigMap, a Secret and an image can't be written",
        ),
    ]


def _with_parents(folder: str) -> list[str]:
    steps = folder.split("/")[1:]
    return ["/" + "/".join(steps[: count + 1]) for count in range(len(steps))]


def _one_of(*fields: str) -> Schema:
    count = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return _rule(f"{count} == 1", f"write exactly one of {', '.join(fields)}")


def _unique(field: str) -> Schema:
    return _rule(
        f"!has(self.{field}) || self.{field}.all(a, self.{field}.exists_one(b, b.name == a.name))",
        f"names in {field} are unique",
    )


def _rule(rule: str, message: str) -> Schema:
    return {"rule": rule, "message": message}


def _list(names: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"
