"""Settings for the pods that trials run in. A run on one machine ignores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from velodrome.spec.base import Strict
from velodrome.spec.template import PodTemplate
from velodrome.spec.types import Annotations, Image, JsonObject, Labels, Name, ObjectName, Quantities, Quantity
from velodrome.spec.volumes import SCRATCH_FOLDER, SHARED_MEMORY_FOLDER, TEMPORARY_FOLDER, EnvFrom, EnvVar, Volume

# What a pod gets where the job says nothing about it. Nothing here limits CPUs: that would change what is measured.
DEFAULT_REQUESTS: Final[Mapping[str, str]] = {"cpu": "100m", "memory": "512Mi"}
DEFAULT_LIMITS: Final[Mapping[str, str]] = {"memory": "16Gi"}
DEFAULT_SHM_SIZE: Final = "2Gi"
DEFAULT_SCRATCH_SIZE: Final = "20Gi"

_SCRATCHES = f"{SCRATCH_FOLDER}, {TEMPORARY_FOLDER} and downloads"
_AT_LEAST = " and ".join(f"{amount} of {name}" for name, amount in DEFAULT_REQUESTS.items())
_AT_MOST = " and ".join(f"{amount} of {name}" for name, amount in DEFAULT_LIMITS.items())


class ClaimUse(Strict):
    """A resource claim that the runner's container uses."""

    name: Name = Field(description="Name of an item of runner.resourceClaims.")
    request: Name | None = Field(default=None, description="Name of a request in the claim; all of them if absent.")


class Resources(Strict):
    """Kubernetes resource requirements of a runner pod."""

    requests: Quantities = Field(
        default={}, description=f"Requested amounts by resource name; {_AT_LEAST} where neither names these."
    )
    limits: Quantities = Field(default={}, description=f"Limits by resource name; {_AT_MOST} where neither names it.")
    claims: tuple[ClaimUse, ...] | None = Field(
        default=None, max_length=32, description="Claims of runner.resourceClaims to use; all of them if absent."
    )

    def effective(self) -> dict[str, dict[str, int | str]]:
        """The requests and limits that a pod gets: the job's own, with a default for what it does not name at all."""
        named = self.requests.keys() | self.limits.keys()
        found: dict[str, dict[str, int | str]] = {
            kind: {**{name: amount for name, amount in defaults.items() if name not in named}, **own}
            for kind, defaults, own in (
                ("requests", DEFAULT_REQUESTS, self.requests),
                ("limits", DEFAULT_LIMITS, self.limits),
            )
        }
        return {kind: amounts for kind, amounts in found.items() if amounts}


class LocalObjectReference(Strict):
    """A Secret of the same namespace, by name."""

    name: ObjectName = Field(description="Name of the Secret.")


class PodClaim(Strict):
    """A claim of Dynamic Resource Allocation: exactly one of a ResourceClaim and a template for one."""

    name: Name = Field(description="Name of the claim within the pod.")
    resource_claim_name: ObjectName | None = Field(
        default=None, description="A ResourceClaim in the job's namespace, which all pods share."
    )
    resource_claim_template_name: ObjectName | None = Field(
        default=None, description="A ResourceClaimTemplate in the job's namespace; each pod gets a claim of its own."
    )


class Runner(Strict):
    """The pods that trials run in, the same for every entry; ignored on one machine."""

    image: Image | None = Field(
        default=None, description="Image, pinned by digest; the operator's runner image if absent."
    )
    resources: Resources = Field(default=Resources(), description="Resource requests and limits of each pod.")
    node_selector: Labels = Field(default={}, description="Labels that a node must have.")
    tolerations: tuple[JsonObject, ...] = Field(default=(), max_length=64, description="Kubernetes tolerations.")
    affinity: JsonObject | None = Field(default=None, description="Kubernetes affinity.")
    priority_class_name: str | None = Field(default=None, max_length=253, description="Kubernetes priority class.")
    runtime_class_name: str | None = Field(default=None, max_length=253, description="Kubernetes runtime class.")
    image_pull_secrets: tuple[LocalObjectReference, ...] = Field(
        default=(), max_length=16, description="Secrets for pulling images."
    )
    env: tuple[EnvVar, ...] = Field(
        default=(), max_length=256, description="Environment variables, the same for every entry."
    )
    env_from: tuple[EnvFrom, ...] | None = Field(
        default=None, max_length=32, description="ConfigMaps and Secrets whose keys become environment variables."
    )
    volumes: tuple[Volume, ...] | None = Field(
        default=None, max_length=32, description="Volumes of each pod, mounted read-only unless they say otherwise."
    )
    labels: Labels | None = Field(default=None, description="Labels of each pod, besides Velodrome's own.")
    annotations: Annotations | None = Field(default=None, description="Annotations of each pod.")
    service_account_name: ObjectName | None = Field(
        default=None, description="Service account of each pod; no pod gets its token."
    )
    resource_claims: tuple[PodClaim, ...] | None = Field(
        default=None, max_length=32, description="Claims of Dynamic Resource Allocation, such as for a part of a GPU."
    )
    shm_size: Quantity | None = Field(
        default=None,
        description=f"Size of {SHARED_MEMORY_FOLDER}, which counts as memory; {DEFAULT_SHM_SIZE} if absent.",
    )
    scratch_size: Quantity | None = Field(
        default=None,
        description=f"Size of each of {_SCRATCHES}; {DEFAULT_SCRATCH_SIZE} if absent.",
    )
    nodes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Number of pods that train one model together, each on its share of every batch.",
    )
    template: PodTemplate | None = Field(
        default=None, description="The rest of the pod template; what Velodrome sets can't be overridden."
    )

    @property
    def claims(self) -> tuple[ClaimUse, ...]:
        """The claims that the container uses: those that the resources name, else all that the pod has."""
        if self.resources.claims is not None:
            return self.resources.claims
        return tuple(ClaimUse(name=claim.name) for claim in self.resource_claims or ())


class Execution(Strict):
    """How trials are distributed over time and nodes."""

    parallelism: int = Field(default=1, ge=1, le=10_000, description="Number of trials that run at once.")
    isolation: Literal["Node", "None"] = Field(
        default="Node", description="Node: at most one trial runs on a node at once."
    )
    startup_deadline_seconds: int = Field(
        default=900, ge=1, le=604_800, description="Seconds until a pod must have started; a later one fails."
    )
    trial_deadline_seconds: int = Field(
        default=7200, ge=1, le=2_592_000, description="Largest duration of a trial, in seconds; a longer trial fails."
    )
    max_disruptions: int = Field(
        default=10,
        ge=0,
        le=100_000,
        description="Pods of the job that may be evicted, preempted, deleted or lost with their node; more fail it.",
    )
