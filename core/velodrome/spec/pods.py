"""Settings for the pods that trials run in. A run on one machine ignores them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from velodrome.spec.base import Strict
from velodrome.spec.types import VARIABLE, Image, JsonObject, Labels, Name, Quantities


class Resources(Strict):
    """Kubernetes resource requirements of a runner pod."""

    requests: Quantities = Field(default={}, description="Requested amounts by resource name.")
    limits: Quantities = Field(default={}, description="Limits by resource name.")


class LocalObjectReference(Strict):
    """A Secret of the same namespace, by name."""

    name: Name = Field(description="Name of the Secret.")


class EnvVar(Strict):
    """An environment variable of the runner."""

    name: str = Field(pattern=VARIABLE, max_length=256, description="Name of the variable.")
    value: str = Field(default="", max_length=32768, description="Its value.")


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
    nodes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Number of pods that train one model together, each on its share of every batch.",
    )


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
