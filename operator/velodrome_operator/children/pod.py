"""The pod of a trial, as the template in its Job: the runner, the mounts, and where it may run. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from velodrome import keys
from velodrome.plan import write_spans
from velodrome.spec import BenchmarkJob
from velodrome.store.roles import AUTHORITY
from velodrome_operator.children.names import ChildSettings, Manifest, Names, TrialGroup, labels, report_key_name

_NOBODY = 65532  # any number except 0 works; distroless images call this one "nonroot"
_SPEC_FOLDER = "/etc/velodrome"
_DATA_FOLDER = "/data"
_SCRATCH_FOLDER = "/scratch"
_AUTHORITY_FOLDER = "/etc/velodrome-redis"
_REPORT_KEY_FILE = "/etc/velodrome-report/key"


def pod_template(
    job: BenchmarkJob, uid: str, names: Names, settings: ChildSettings, group: TrialGroup, taken_over: AbstractSet[int]
) -> Manifest:
    """The pod template of a group of trials. It has no rights, no service account, and a read-only file system."""
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
        "volumes": _volumes(job, names, settings),
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
    job: BenchmarkJob, uid: str, names: Names, settings: ChildSettings, group: TrialGroup, taken_over: AbstractSet[int]
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
    if settings.authority is not None:
        environment.append({"name": keys.ENV_REDIS_CA_FILE, "value": f"{_AUTHORITY_FOLDER}/{AUTHORITY}"})
    if settings.report_keys:
        environment.append({"name": keys.ENV_REPORT_KEY_FILE, "value": _REPORT_KEY_FILE})
    if taken_over:
        environment.append({"name": keys.ENV_TAKEN_OVER, "value": write_spans(taken_over)})
    if settings.pushgateway:
        environment.append({"name": keys.ENV_PUSHGATEWAY, "value": settings.pushgateway})
    if job.spec.runner.nodes > 1:
        environment += [
            {"name": keys.ENV_NODES, "value": str(job.spec.runner.nodes)},
            {"name": keys.ENV_HOSTS, "value": f"{names.job(group)}-{{index}}.{names.service}"},
        ]
    # A person's own image has an entry point of its own, which this command replaces.
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
        "volumeMounts": _mounts(job, settings, group),
    }


def _mounts(job: BenchmarkJob, settings: ChildSettings, group: TrialGroup) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "spec", "mountPath": _SPEC_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": _SCRATCH_FOLDER},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a folder of the pod, not of this machine
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - as above
    ]
    if settings.authority is not None:
        mounts.append({"name": "redis-ca", "mountPath": _AUTHORITY_FOLDER, "readOnly": True})
    if settings.report_keys:
        # Kubernetes sets this variable in each pod of an Indexed Job. The pod is shown this one file.
        own = report_key_name(group, "$(JOB_COMPLETION_INDEX)")
        mounts.append(
            {"name": keys.VOLUME_REPORT_KEYS, "mountPath": _REPORT_KEY_FILE, "subPathExpr": own, "readOnly": True}
        )
    source = job.spec.dataset.source
    if source is not None and source.persistent_volume_claim is not None:
        mounts.append({"name": "data", "mountPath": _DATA_FOLDER, "readOnly": True})
    elif source is not None:
        mounts.append({"name": "data", "mountPath": _DATA_FOLDER})
    return mounts


def _volumes(job: BenchmarkJob, names: Names, settings: ChildSettings) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "spec", "configMap": {"name": names.base}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if settings.authority is not None:
        # Only the certificates: the same Secret has the password, which entries' code must not find in a file. An
        # older operator's Secret may lack them.
        items = [{"key": AUTHORITY, "path": AUTHORITY}]
        volumes.append({"name": "redis-ca", "secret": {"secretName": names.base, "items": items, "optional": True}})
    if settings.report_keys:
        volumes.append({"name": keys.VOLUME_REPORT_KEYS, "secret": {"secretName": names.report_keys}})
    source = job.spec.dataset.source
    if source is not None and source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
        volumes.append({"name": "data", "persistentVolumeClaim": claim})
    elif source is not None:
        volumes.append({"name": "data", "emptyDir": {}})
    return volumes


def _affinity(job: BenchmarkJob) -> Manifest | None:
    """The job's affinity. With `isolation: Node` it also keeps all other trials of any race off the node."""
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
