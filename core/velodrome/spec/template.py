"""`runner.template`: the parts of a pod template that have no field of their own, and what can't be in it. Pure.

The names are those of Kubernetes' PodTemplateSpec. A field that is not in these models is refused: it has a field of
its own in `runner`, or Velodrome sets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from velodrome.spec.base import Strict
from velodrome.spec.types import JsonObject


class ContainerTemplate(Strict):
    """What the runner's container has in addition."""

    name: Literal["runner"] = Field(description="Always runner: a pod has no other container.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the kubelet pulls the image; IfNotPresent if absent."
    )
    working_dir: str | None = Field(default=None, max_length=1024, description="Folder in which the runner starts.")
    security_context: JsonObject | None = Field(
        default=None, description="Merged into that of the container, which stays within Pod Security restricted."
    )
    volume_mounts: tuple[JsonObject, ...] | None = Field(
        default=None, max_length=64, description="Mounts of volumes of this template or of runner.volumes."
    )
    volume_devices: tuple[JsonObject, ...] | None = Field(
        default=None, max_length=64, description="Block devices of claims of this template."
    )
    ports: tuple[JsonObject, ...] | None = Field(default=None, max_length=64, description="Ports, without hostPort.")
    lifecycle: JsonObject | None = Field(default=None, description="Hooks after the start and before the end.")
    startup_probe: JsonObject | None = Field(default=None, description="Kubernetes' startup probe.")
    liveness_probe: JsonObject | None = Field(default=None, description="Kubernetes' liveness probe.")
    readiness_probe: JsonObject | None = Field(default=None, description="Kubernetes' readiness probe.")


class PodSpecTemplate(Strict):
    """What the pod has in addition."""

    init_containers: tuple[JsonObject, ...] | None = Field(
        default=None, max_length=16, description="Init containers; an operator needs --allow-init-containers for them."
    )
    containers: tuple[ContainerTemplate, ...] | None = Field(
        default=None, max_length=1, description="The container called runner, and no other."
    )
    volumes: tuple[JsonObject, ...] | None = Field(
        default=None,
        max_length=64,
        description="Kubernetes volumes that runner.volumes has no source for, such as csi.",
    )
    security_context: JsonObject | None = Field(
        default=None, description="Merged into that of the pod, which stays within Pod Security restricted."
    )
    termination_grace_period_seconds: int | None = Field(
        default=None, ge=1, le=86_400, description="Seconds that a pod has to end; 30 if absent."
    )
    scheduler_name: str | None = Field(
        default=None, min_length=1, max_length=253, description="The scheduler; the cluster's own if absent."
    )
    scheduling_gates: tuple[JsonObject, ...] | None = Field(
        default=None, max_length=64, description="What must be removed from a pod before it is scheduled."
    )
    topology_spread_constraints: tuple[JsonObject, ...] | None = Field(
        default=None, max_length=64, description="How pods are spread over zones and nodes."
    )
    preemption_policy: Literal["Never", "PreemptLowerPriority"] | None = Field(
        default=None, description="Whether the pods may preempt others."
    )
    host_aliases: tuple[JsonObject, ...] | None = Field(
        default=None, max_length=64, description="Lines for /etc/hosts."
    )
    dns_policy: Literal["ClusterFirst", "Default", "None"] | None = Field(
        default=None, description="Where names are looked up; ClusterFirst if absent."
    )
    dns_config: JsonObject | None = Field(default=None, description="Name servers and search paths.")
    host_users: bool | None = Field(
        default=None, description="Whether the pod shares the node's user namespace; false separates them."
    )


class PodTemplate(Strict):
    """The rest of the pod template: it is merged into what Velodrome makes, and overrides nothing of it."""

    spec: PodSpecTemplate | None = Field(default=None, description="Merged into the spec of each pod.")


# Fields of a pod template that have a field of their own, and the ones that Velodrome sets.
_OF_POD: Final[Mapping[str, str]] = {
    "activeDeadlineSeconds": "spec.execution.trialDeadlineSeconds",
    "affinity": "spec.runner.affinity",
    "imagePullSecrets": "spec.runner.imagePullSecrets",
    "nodeSelector": "spec.runner.nodeSelector",
    "priorityClassName": "spec.runner.priorityClassName",
    "resourceClaims": "spec.runner.resourceClaims",
    "resources": "spec.runner.resources",
    "runtimeClassName": "spec.runner.runtimeClassName",
    "serviceAccountName": "spec.runner.serviceAccountName",
    "tolerations": "spec.runner.tolerations",
}
_OF_CONTAINER: Final[Mapping[str, str]] = {
    "args": "spec.entries[].command",
    "command": "spec.entries[].command",
    "env": "spec.runner.env",
    "envFrom": "spec.runner.envFrom",
    "image": "spec.runner.image",
    "resources": "spec.runner.resources",
}
_OWN: Final = (
    *("automountServiceAccountToken", "enableServiceLinks", "ephemeralContainers", "hostIPC", "hostNetwork"),
    *("hostPID", "hostname", "nodeName", "os", "overhead", "priority", "readinessGates", "restartPolicy"),
    *("restartPolicyRules", "serviceAccount", "setHostnameAsFQDN", "shareProcessNamespace", "stdin", "stdinOnce"),
    *("subdomain", "terminationMessagePath", "terminationMessagePolicy", "tty"),
)
_DEPTH_OF_CONTAINER: Final = 7


def refusal(location: tuple[str | int, ...]) -> tuple[str, str] | None:
    """Why a field can't be in `runner.template`, and what to do instead. None if it is no field of a pod template."""
    if location[:3] != ("spec", "runner", "template"):
        return None
    field = str(location[-1])
    if location[3:] == ("metadata",):
        return "metadata has fields of its own", "write spec.runner.labels and spec.runner.annotations"
    elsewhere = (_OF_CONTAINER if len(location) == _DEPTH_OF_CONTAINER else _OF_POD).get(field)
    if elsewhere is not None:
        return f"{field} has a field of its own", f"write {elsewhere}"
    return (f"{field} is set by Velodrome and can't be overridden", "leave it out") if field in _OWN else None
