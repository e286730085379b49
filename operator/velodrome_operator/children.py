"""From a BenchmarkJob to the objects that run it. Pure: no API call, no clock, no randomness.

Every child's name ends in a hash of what made it, so creating it a second time is answered 409 and changes nothing.
Every child is owned by its BenchmarkJob, so garbage collection removes it; no finalizer is set anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from velodrome import keys
from velodrome.canonical import canonical, digest
from velodrome.plan import Plan, write_spans
from velodrome.spec import BenchmarkJob
from velodrome_operator.disruptions import retries

Manifest = dict[str, Any]

_NOBODY = 65532  # any number but 0 does; distroless images call this one "nonroot"
_KUEUE_PREFIX = "kueue.x-k8s.io/"
_SPEC_FOLDER = "/etc/velodrome"
_DATA_FOLDER = "/data"
_SCRATCH_FOLDER = "/scratch"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with that ends up in the children; `pushgateway` is its URL as pods reach it."""

    runner_image: str | None = None
    report_deadline_seconds: int = 600
    pushgateway: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that share a pod template: those of the entries at these positions, all repeats."""

    number: int
    image: str | None
    command: tuple[str, ...] | None
    entries: tuple[int, ...]

    def trials(self, plan: Plan, taken_over: AbstractSet[int] = frozenset()) -> tuple[int, ...]:
        """Trial index by completion index, without those `taken_over`; pods that train a trial together have indexes in
        a row.
        """
        nodes = plan.job.spec.runner.nodes
        return tuple(index for index in plan.indexes(self.entries, taken_over) for _ in range(nodes))


def groups(job: BenchmarkJob) -> tuple[Group, ...]:
    """The job's entries by the pod template that they need, in the order in which they first appear."""
    found: dict[tuple[str | None, tuple[str, ...] | None], list[int]] = {}
    for position, entry in enumerate(job.spec.entries):
        found.setdefault((entry.image or job.spec.runner.image, entry.command), []).append(position)
    return tuple(Group(number, *pod, tuple(entries)) for number, (pod, entries) in enumerate(found.items()))


@dataclass(frozen=True, slots=True)
class Names:
    """What a race's children are called. Made once: in every name is a digest of the whole job.

    `base` is the name of its ConfigMap and of its Secret, and what the others begin with: a DNS label that leaves room
    for a pod's suffix.
    """

    base: str

    @classmethod
    def of(cls, job: BenchmarkJob, uid: str) -> Names:
        """The names for that BenchmarkJob, whose uid it is."""
        return cls(f"{job.metadata.name[:40].rstrip('-')}-{digest([uid, _document(job)], 8)}")

    def job(self, group: Group) -> str:
        """Name of a group's Job."""
        return f"{self.base}-{group.number}"

    @property
    def service(self) -> str:
        """A Service's name begins with a letter, which a BenchmarkJob's need not."""
        return f"v-{self.base}"


def is_kueue(job: BenchmarkJob) -> bool:
    """Whether Kueue queues the Jobs: then their suspend is Kueue's."""
    return f"{_KUEUE_PREFIX}queue-name" in job.metadata.labels


def labels(job: BenchmarkJob, uid: str) -> dict[str, str]:
    """Labels of every child; the uid is the selector that finds them."""
    return {
        "app.kubernetes.io/managed-by": "velodrome",
        keys.LABEL_JOB_UID: uid,
        keys.LABEL_JOB_NAME: job.metadata.name,
    }


def children(
    job: BenchmarkJob,
    plan: Plan,
    uid: str,
    redis_url: str,
    settings: Settings,
    taken_over: AbstractSet[int] = frozenset(),
) -> tuple[Manifest, ...]:
    """Everything that a race needs, in the order in which to create it; nothing for trials that were `taken_over`."""
    names = Names.of(job, uid)
    made: list[Manifest] = [_config_map(job, uid, names), _secret(job, uid, names, redis_url)]
    if job.spec.runner.nodes > 1:
        made.append(_service(job, uid, names))
    left = [(group, trials) for group in groups(job) if (trials := group.trials(plan, taken_over))]
    for number, (group, trials) in enumerate(left):
        parallelism = min(job.spec.execution.parallelism * job.spec.runner.nodes, len(trials)) if number == 0 else 0
        made.append(_job(job, uid, names, settings, group, len(trials), parallelism, taken_over))
    return tuple(made)


def _document(job: BenchmarkJob) -> dict[str, Any]:
    """The canonical BenchmarkJob: what the runner reads, and nothing that may change during the race.

    Every child's name has a digest of it: what came to be after version 0.1.0 and no runner asks for stays out, so that
    a newer operator finds the children of an older one.
    """
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    document["metadata"] = {"name": job.metadata.name, "namespace": job.namespace}
    for field in ("suspend", "ttlSecondsAfterFinished"):
        document["spec"].pop(field, None)
    for field in ("parallelism", "maxDisruptions"):
        document["spec"]["execution"].pop(field, None)
    return document


def _metadata(job: BenchmarkJob, uid: str, name: str, extra: Mapping[str, str] | None = None) -> Manifest:
    owner = {
        "apiVersion": keys.API_VERSION,
        "kind": keys.KIND,
        "name": job.metadata.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": {**labels(job, uid), **(extra or {})},
        "ownerReferences": [owner],
    }


def _config_map(job: BenchmarkJob, uid: str, names: Names) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(job, uid, names.base),
        "immutable": True,
        "data": {"job.json": canonical(_document(job))},
    }


def _secret(job: BenchmarkJob, uid: str, names: Names, redis_url: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(job, uid, names.base),
        "type": "Opaque",
        "stringData": {keys.ENV_REDIS_URL: redis_url},
    }


def _service(job: BenchmarkJob, uid: str, names: Names) -> Manifest:
    """Gives the pods of trials that train together their names, before they are ready: so they find each other."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(job, uid, names.service),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {keys.LABEL_JOB_UID: uid, keys.LABEL_ROLE: keys.ROLE_RUNNER},
        },
    }


def _job(
    job: BenchmarkJob,
    uid: str,
    names: Names,
    settings: Settings,
    group: Group,
    completions: int,
    parallelism: int,
    taken_over: AbstractSet[int],
) -> Manifest:
    kueue = {key: value for key, value in job.metadata.labels.items() if key.startswith(_KUEUE_PREFIX)}
    nodes = job.spec.runner.nodes
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(job, uid, names.job(group), kueue),
        "spec": {
            "completionMode": "Indexed",
            "completions": completions,
            "parallelism": parallelism,
            "suspend": job.spec.suspend or is_kueue(job),
            # Kubernetes counts a pod that somebody deleted as failed; `disruptions` decides what costs an attempt.
            "backoffLimitPerIndex": retries(nodes) + job.spec.execution.max_disruptions,
            "maxFailedIndexes": completions,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _FAILURE_RULES},
            "template": _template(job, uid, names, settings, group, taken_over),
        },
    }


# What Kubernetes knows as a disruption costs nothing; a trial that reported its own failure would fail again.
_FAILURE_RULES: Sequence[Manifest] = (
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {
        "action": "FailIndex",
        "onExitCodes": {
            "containerName": "runner",
            "operator": "In",
            "values": [keys.EXIT_FAILED, keys.EXIT_CONFIGURATION],
        },
    },
)


def _template(
    job: BenchmarkJob, uid: str, names: Names, settings: Settings, group: Group, taken_over: AbstractSet[int]
) -> Manifest:
    runner = job.spec.runner
    pod: Manifest = {
        "restartPolicy": "Never",
        "subdomain": names.service if runner.nodes > 1 else None,
        "activeDeadlineSeconds": job.spec.execution.trial_deadline_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "fsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, uid, names, settings, group, taken_over)],
        "volumes": _volumes(job, names),
        "nodeSelector": dict(runner.node_selector),
        "tolerations": list(runner.tolerations),
        "imagePullSecrets": [{"name": secret.name} for secret in runner.image_pull_secrets],
        "priorityClassName": runner.priority_class_name,
        "runtimeClassName": runner.runtime_class_name,
        "affinity": _affinity(job),
    }
    return {
        "metadata": {"labels": {**labels(job, uid), keys.LABEL_ROLE: keys.ROLE_RUNNER}},
        "spec": {key: value for key, value in pod.items() if value not in (None, [], {})},
    }


def _container(
    job: BenchmarkJob, uid: str, names: Names, settings: Settings, group: Group, taken_over: AbstractSet[int]
) -> Manifest:
    resources = job.spec.runner.resources.model_dump(mode="json", by_alias=True)
    environment: list[Manifest] = [{"name": item.name, "value": item.value} for item in job.spec.runner.env]
    environment += [
        {"name": keys.ENV_SPEC, "value": f"{_SPEC_FOLDER}/job.json"},
        {"name": keys.ENV_JOB_UID, "value": uid},
        {"name": keys.ENV_ENTRIES, "value": ",".join(map(str, group.entries))},
        {"name": keys.ENV_ATTEMPT, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": keys.ENV_DATA, "value": _DATA_FOLDER},
        {"name": keys.ENV_SCRATCH, "value": _SCRATCH_FOLDER},
        {"name": keys.ENV_DEADLINE, "value": str(settings.report_deadline_seconds)},
        {
            "name": keys.ENV_REDIS_URL,
            "valueFrom": {"secretKeyRef": {"name": names.base, "key": keys.ENV_REDIS_URL}},
        },
        {"name": "HOME", "value": _SCRATCH_FOLDER},
    ]
    if taken_over:
        environment.append({"name": keys.ENV_TAKEN_OVER, "value": write_spans(taken_over)})
    if settings.pushgateway:
        environment.append({"name": keys.ENV_PUSHGATEWAY, "value": settings.pushgateway})
    if job.spec.runner.nodes > 1:
        environment += [
            {"name": keys.ENV_NODES, "value": str(job.spec.runner.nodes)},
            {"name": keys.ENV_HOSTS, "value": f"{names.job(group)}-{{index}}.{names.service}"},
        ]
    # An image of one's own has its own entry point, which is passed by.
    own = {"command": ["velodrome-runner", "exec", "--", *group.command]} if group.command else {}
    return {
        "name": "runner",
        "image": group.image or settings.runner_image,
        **own,
        "imagePullPolicy": "IfNotPresent",
        "env": environment,
        "resources": {key: value for key, value in resources.items() if value},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(job),
    }


def _mounts(job: BenchmarkJob) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "spec", "mountPath": _SPEC_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": _SCRATCH_FOLDER},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own, not this machine's
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - as above
    ]
    source = job.spec.dataset.source
    if source is not None and source.persistent_volume_claim is not None:
        mounts.append({"name": "data", "mountPath": _DATA_FOLDER, "readOnly": True})
    elif source is not None:
        mounts.append({"name": "data", "mountPath": _DATA_FOLDER})
    return mounts


def _volumes(job: BenchmarkJob, names: Names) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "spec", "configMap": {"name": names.base}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    source = job.spec.dataset.source
    if source is not None and source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
        volumes.append({"name": "data", "persistentVolumeClaim": claim})
    elif source is not None:
        volumes.append({"name": "data", "emptyDir": {}})
    return volumes


def _affinity(job: BenchmarkJob) -> Manifest | None:
    """The job's affinity, and with `isolation: Node` that no other trial of any race is on the node."""
    affinity: Manifest = dict(job.spec.runner.affinity or {})
    if job.spec.execution.isolation == "Node":
        apart = {
            "labelSelector": {"matchLabels": {keys.LABEL_ROLE: keys.ROLE_RUNNER}},
            "namespaceSelector": {},
            "topologyKey": "kubernetes.io/hostname",
        }
        own: Manifest = dict(affinity.get("podAntiAffinity") or {})
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        affinity["podAntiAffinity"] = {**own, required: [*(own.get(required) or ()), apart]}
    return affinity or None
