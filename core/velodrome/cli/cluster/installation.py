"""Velodrome as it is installed in a cluster: its workloads, and how they were started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from velodrome.cli.cluster.kubectl import Kubectl
from velodrome.keys import ENV_REDIS_URL
from velodrome.store.roles import SECRET_NAME

Raw = Mapping[str, Any]

_COMPONENT = "app.kubernetes.io/component"
KINDS = {"operator": "deployment", "leaderboard": "deployment", "redis": "statefulset"}


@dataclass(frozen=True, slots=True)
class Installation:
    """The cluster, and the namespace in which Velodrome is installed."""

    kubectl: Kubectl
    namespace: str = "velodrome"

    def workload(self, component: str) -> dict[str, Any] | None:
        """The Deployment or StatefulSet of a component, whatever the release is called. None if there is none."""
        found = self.kubectl.items(KINDS[component], "-n", self.namespace)
        return next((each for each in found if pod_labels(each).get(_COMPONENT) == component), None)

    @property
    def redis_url(self) -> str:
        """The address of Redis, as the operator has it. Empty if it does not stand in its pod."""
        variable = variables(self.workload("operator") or {}).get(ENV_REDIS_URL) or {}
        return str(variable.get("value") or "")

    @property
    def redis_host(self) -> str:
        """The host of that address."""
        return self.redis_url.rpartition("://")[2].rpartition("@")[2].partition("/")[0].partition(":")[0]

    @property
    def redis_name(self) -> str:
        """The name that Redis' StatefulSet, its Service and the Secret with its users have in common."""
        found = self.workload("redis")
        return SECRET_NAME if found is None else str(found["metadata"]["name"])

    def services(self) -> set[str]:
        """The names of the Services in the namespace."""
        return {str(each["metadata"]["name"]) for each in self.kubectl.items("service", "-n", self.namespace)}

    def arguments(self, option: str) -> list[str]:
        """The values of an option of the operator, in order: empty texts if it takes no value."""
        found = []
        for container in containers(self.workload("operator") or {}):
            for written in (*(container.get("command") or ()), *(container.get("args") or ())):
                name, _, value = str(written).partition("=")
                if name == option:
                    found.append(self._resolved(value, container))
        return found

    def argument(self, option: str) -> str | None:
        """The last value of an option of the operator. None if it is not there."""
        return next(reversed(self.arguments(option)), None)

    @property
    def account(self) -> str:
        """The operator's service account, as the API server calls it."""
        pod = _pod(self.workload("operator") or {})
        return f"system:serviceaccount:{self.namespace}:{pod.get('serviceAccountName') or 'velodrome-operator'}"

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
    return _template(workload).get("metadata", {}).get("labels") or {}


def containers(workload: Raw) -> list[dict[str, Any]]:
    """The containers of a workload's pods."""
    return list(_pod(workload).get("containers") or ())


def volumes_of(workload: Raw) -> list[dict[str, Any]]:
    """The volumes of a workload's pods."""
    return list(_pod(workload).get("volumes") or ())


def variables(workload: Raw) -> dict[str, dict[str, Any]]:
    """The environment variables of a workload's containers, by name."""
    return {str(each["name"]): each for container in containers(workload) for each in container.get("env") or ()}


def _template(workload: Raw) -> Raw:
    return (workload.get("spec") or {}).get("template") or {}


def _pod(workload: Raw) -> Raw:
    return _template(workload).get("spec") or {}
