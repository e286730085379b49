"""Which nodes may run a pod, and why the others may not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from velodrome.cli.cluster.preflight.quantities import amounts, shown
from velodrome.spec.pods import Runner

Raw = Mapping[str, Any]

_BARRING = ("NoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def fitting(nodes: Sequence[Raw], runner: Runner, requests: Mapping[str, Decimal]) -> tuple[list[str], Counter[str]]:
    """The names of the nodes that may run a pod, and how many others have which first reason not to."""
    fit: list[str] = []
    why: Counter[str] = Counter()
    for node in nodes:
        reason = _reason(node, runner, requests)
        if reason is None:
            fit.append(str(node["metadata"]["name"]))
        else:
            why[reason] += 1
    return fit, why


def _reason(node: Raw, runner: Runner, requests: Mapping[str, Decimal]) -> str | None:
    labels = node["metadata"].get("labels") or {}
    for key, value in runner.node_selector.items():
        if labels.get(key) != value:
            return f"without the label {key}={value} (spec.runner.nodeSelector)"
    affinity = ((runner.affinity or {}).get("nodeAffinity") or {}) if isinstance(runner.affinity, Mapping) else {}
    required = affinity.get(_REQUIRED) if isinstance(affinity, Mapping) else None
    if isinstance(required, Mapping) and not _selected(required, node):
        return "outside of spec.runner.affinity"
    for taint in node.get("spec", {}).get("taints") or ():
        if taint.get("effect") in _BARRING and not any(_tolerates(each, taint) for each in runner.tolerations):
            value = f"={taint['value']}" if taint.get("value") else ""
            return f"with the taint {taint.get('key')}{value}:{taint['effect']} (spec.runner.tolerations)"
    conditions = {each.get("type"): each.get("status") for each in node.get("status", {}).get("conditions") or ()}
    if conditions.get("Ready", "True") != "True":
        return "not ready"
    offered = amounts(node.get("status", {}).get("allocatable"))
    for name, amount in requests.items():
        if offered.get(name, Decimal(0)) < amount:
            most = shown(offered.get(name, Decimal(0)), name)
            return f"with less than {shown(amount, name)} of {name} (it has {most})"
    return None


def _tolerates(toleration: Any, taint: Raw) -> bool:
    if not isinstance(toleration, Mapping) or toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")


def _selected(selector: Raw, node: Raw) -> bool:
    """Whether a node matches one of the terms of a node selector."""
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    terms = [term for term in selector.get("nodeSelectorTerms") or () if isinstance(term, Mapping)]
    return any(
        all(_matches(each, labels) for each in term.get("matchExpressions") or ())
        and all(_matches(each, fields) for each in term.get("matchFields") or ())
        for term in terms
    )


def _matches(expression: Any, labels: Mapping[str, str]) -> bool:
    if not isinstance(expression, Mapping):
        return False
    key, values = expression.get("key"), [str(value) for value in expression.get("values") or ()]
    found = labels.get(str(key))
    match expression.get("operator"):
        case "In":
            return found in values
        case "NotIn":
            return found not in values
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case "Gt" | "Lt" as operator if found is not None and found.lstrip("-").isdigit() and values:
            return int(found) > int(values[0]) if operator == "Gt" else int(found) < int(values[0])
    return False
