"""Velodrome as it is installed in a cluster: its workloads, and how they were started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from velodrome.cli.cluster.kubectl import Kubectl

Raw = Mapping[str, Any]

_COMPONENT = "app.kubernetes.io/component"
_KINDS = {"operator": "deployment", "leaderboard": "deployment", "redis": "statefulset"}


@dataclass(frozen=True, slots=True)
class Installation:
    """The cluster, and the namespace in which Velodrome is installed."""

    kubectl: Kubectl
    namespace: str = "velodrome"

    def workload(self, component: str) -> dict[str, Any] | None:
        """The Deployment or StatefulSet of a component, whatever the release is called. None if there is none."""
        found = self.kubectl.items(_KINDS[component], "-n", self.namespace)
        return next((each for each in found if pod_labels(each).get(_COMPONENT) == component), None)

    def argument(self, option: str) -> str | None:
        """What an option of the operator was set to: empty if it takes no value, None if it is not there."""
        operator = self.workload("operator")
        for container in containers(operator or {}):
            for written in (*(container.get("command") or ()), *(container.get("args") or ())):
                name, _, value = str(written).partition("=")
                if name == option:
                    return self._resolved(value, container)
        return None

    def _resolved(self, value: str, container: Raw) -> str:
        """A value in which $(NAME) stands for a variable of the container."""
        for variable in container.get("env") or ():
            reference = f"$({variable.get('name')})"
            if reference in value:
                value = value.replace(reference, self._variable(variable))
        return value

    def _variable(self, variable: Raw) -> str:
        selector = (variable.get("valueFrom") or {}).get("configMapKeyRef")
        if selector is None:
            return str(variable.get("value") or "")
        found = self.kubectl.found("configmap", selector["name"], "-n", self.namespace) or {}
        return str((found.get("data") or {}).get(selector["key"], ""))


def pod_labels(workload: Raw) -> Mapping[str, str]:
    """The labels of a workload's pods."""
    return ((workload.get("spec") or {}).get("template") or {}).get("metadata", {}).get("labels") or {}


def containers(workload: Raw) -> Iterator[dict[str, Any]]:
    """The containers of a workload's pods."""
    yield from ((workload.get("spec") or {}).get("template") or {}).get("spec", {}).get("containers") or ()
