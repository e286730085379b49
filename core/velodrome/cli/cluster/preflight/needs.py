"""What the pods of a BenchmarkJob need of a cluster, read off the job. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from velodrome.cli.cluster.preflight.quantities import amounts, largest
from velodrome.plan import Plan
from velodrome.spec import BenchmarkJob
from velodrome.spec.volumes import KeySelector, Volume

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True, slots=True)
class NamedObject:
    """A ConfigMap or a Secret that pods read, the keys that it must have, and the first field that names it."""

    kind: Literal["configmap", "secret"]
    name: str
    field: str
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClaimedVolume:
    """A PersistentVolumeClaim, and whether pods write to it."""

    name: str
    field: str
    written: bool


@dataclass(frozen=True, slots=True)
class PodNeeds:
    """What pods need. `requests` and `limits` are of one pod; `pods` of them run at once, `per_trial` for one trial."""

    requests: dict[str, Decimal]
    limits: dict[str, Decimal]
    pods: int
    per_trial: int
    jobs: int
    alone: bool
    objects: tuple[NamedObject, ...] = field(default=())
    claims: tuple[ClaimedVolume, ...] = field(default=())
    images: tuple[tuple[str, str], ...] = field(default=())

    @property
    def devices(self) -> dict[str, Decimal]:
        """The extended resources of a pod, such as nvidia.com/gpu."""
        return {name: amount for name, amount in self.requests.items() if "/" in name and amount}


def needs_of(plan: Plan) -> PodNeeds:
    """What the pods of a planned job need."""
    job = plan.job
    runner, execution = job.spec.runner, job.spec.execution
    sets = [runner.resources.effective(), *(_mapping(container.get("resources")) for container in init_containers(job))]
    limits = largest(amounts(each.get("limits")) for each in sets)
    requests = largest(amounts({**(each.get("limits") or {}), **(each.get("requests") or {})}) for each in sets)
    return PodNeeds(
        requests=requests,
        limits=limits,
        pods=min(execution.parallelism, len(plan)) * runner.nodes,
        per_trial=runner.nodes,
        jobs=len({(entry.image or runner.image, entry.command) for entry in job.spec.entries}),
        alone=execution.isolation == "Node",
        objects=tuple(_merged(_objects(job))),
        claims=tuple(_claims(job)),
        images=tuple(_images(job)),
    )


def init_containers(job: BenchmarkJob) -> list[dict[str, Any]]:
    """The init containers of the job's template."""
    template = job.spec.runner.template
    return list(template.spec.init_containers or ()) if template is not None and template.spec is not None else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(job: BenchmarkJob) -> Iterator[NamedObject]:
    """The ConfigMaps and Secrets without which no pod starts."""
    runner = job.spec.runner
    for index, variable in enumerate(runner.env):
        source, here = variable.value_from, f"spec.runner.env[{index}]"
        if source is not None and source.secret_key_ref is not None:
            yield from _of_key("secret", source.secret_key_ref, here)
        if source is not None and source.config_map_key_ref is not None:
            yield from _of_key("configmap", source.config_map_key_ref, here)
    for index, each in enumerate(runner.env_from or ()):
        if each.secret_ref is not None and not each.secret_ref.optional:
            yield NamedObject("secret", each.secret_ref.name, f"spec.runner.envFrom[{index}]")
        if each.config_map_ref is not None and not each.config_map_ref.optional:
            yield NamedObject("configmap", each.config_map_ref.name, f"spec.runner.envFrom[{index}]")
    for index, volume in enumerate(runner.volumes or ()):
        yield from _of_volume(volume, f"spec.runner.volumes[{index}]")
    for index, secret in enumerate(runner.image_pull_secrets):
        yield NamedObject("secret", secret.name, f"spec.runner.imagePullSecrets[{index}]")


def _of_key(kind: Literal["configmap", "secret"], selector: KeySelector, here: str) -> Iterator[NamedObject]:
    if not selector.optional:
        yield NamedObject(kind, selector.name, here, frozenset({selector.key}))


def _of_volume(volume: Volume, here: str) -> Iterator[NamedObject]:
    if volume.config_map is not None and not volume.config_map.optional:
        wanted = frozenset(item.key for item in volume.config_map.items or ())
        yield NamedObject("configmap", volume.config_map.name, here, wanted)
    if volume.secret is not None and not volume.secret.optional:
        wanted = frozenset(item.key for item in volume.secret.items or ())
        yield NamedObject("secret", volume.secret.secret_name, here, wanted)


def _merged(found: Iterator[NamedObject]) -> list[NamedObject]:
    """Each object once, with all keys that are read."""
    known: dict[tuple[str, str], NamedObject] = {}
    for each in found:
        before = known.get((each.kind, each.name))
        keys = each.keys | (before.keys if before else frozenset())
        known[each.kind, each.name] = NamedObject(each.kind, each.name, before.field if before else each.field, keys)
    return list(known.values())


def _claims(job: BenchmarkJob) -> Iterator[ClaimedVolume]:
    source = job.spec.dataset.source
    if source is not None and source.persistent_volume_claim is not None:
        field_name = "spec.dataset.source.persistentVolumeClaim"
        yield ClaimedVolume(source.persistent_volume_claim.claim_name, field_name, written=False)
    artifacts = job.spec.artifacts
    if artifacts is not None and artifacts.claim_name is not None:
        yield ClaimedVolume(artifacts.claim_name, "spec.artifacts.claimName", written=True)
    for index, volume in enumerate(job.spec.runner.volumes or ()):
        if volume.persistent_volume_claim is not None:
            name = volume.persistent_volume_claim.claim_name
            yield ClaimedVolume(name, f"spec.runner.volumes[{index}]", written=volume.read_only is False)


def _images(job: BenchmarkJob) -> Iterator[tuple[str, str]]:
    """Each image that pods pull, with the field that names it. The operator's own runner image is not among them."""
    runner = job.spec.runner
    places = [("spec.runner.image", runner.image)]
    places += [(f"spec.entries[{index}].image", entry.image) for index, entry in enumerate(job.spec.entries)]
    for index, volume in enumerate(runner.volumes or ()):
        if volume.image is not None:
            places.append((f"spec.runner.volumes[{index}].image", volume.image.reference))
    for index, container in enumerate(init_containers(job)):
        places.append((f"spec.runner.template.spec.initContainers[{index}].image", str(container.get("image"))))
    seen: set[str] = set()
    for field_name, image in places:
        if image is not None and image not in seen:
            seen.add(image)
            yield field_name, image
