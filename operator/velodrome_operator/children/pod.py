"""The pod of a trial, as the template in its Job: the runner, the mounts, and where it may run. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from velodrome import keys
from velodrome.plan import write_spans
from velodrome.spec import BenchmarkJob
from velodrome.spec.base import Strict
from velodrome.spec.pods import Runner
from velodrome.spec.volumes import AUTHORITY_FOLDER, DATA_FOLDER, REPORT_KEY_FILE, SCRATCH_FOLDER, SPEC_FOLDER, EnvVar
from velodrome.store.roles import AUTHORITY
from velodrome_operator.children.names import ChildSettings, Manifest, Names, TrialGroup, labels
from velodrome_operator.children.template import RESTRICTED_CONTAINER, merged
from velodrome_operator.children.volumes import mounts, volumes

_NOBODY = 65532  # any number except 0 works; distroless images call this one "nonroot"


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
        "volumes": volumes(job, names, settings),
        "nodeSelector": dict(runner.node_selector),
        "tolerations": list(runner.tolerations),
        "imagePullSecrets": [{"name": secret.name} for secret in runner.image_pull_secrets],
        "priorityClassName": runner.priority_class_name,
        "runtimeClassName": runner.runtime_class_name,
        "affinity": _affinity(job),
        "serviceAccountName": runner.service_account_name,
        "resourceClaims": [_plain(claim) for claim in runner.resource_claims or ()],
    }
    own = {**labels(job, uid), keys.LABEL_ROLE: keys.ROLE_RUNNER}
    metadata: Manifest = {"labels": {**(runner.labels or {}), **own}}
    if runner.annotations:
        metadata["annotations"] = dict(runner.annotations)
    written = {key: value for key, value in pod.items() if value not in (None, [], {})}
    return {"metadata": metadata, "spec": merged(written, runner.template)}


def _plain(part: Strict) -> Manifest:
    """A part of the spec as Kubernetes spells it. The model has the same field names."""
    made: Manifest = part.model_dump(mode="json", by_alias=True, exclude_none=True)
    return made


def _variable(item: EnvVar) -> Manifest:
    if item.value_from is None:
        return {"name": item.name, "value": item.value}
    return {"name": item.name, "valueFrom": _plain(item.value_from)}


def _resources(runner: Runner) -> Manifest:
    made: Manifest = dict(runner.resources.effective())
    if runner.claims:
        made["claims"] = [_plain(use) for use in runner.claims]
    return made


def _container(
    job: BenchmarkJob, uid: str, names: Names, settings: ChildSettings, group: TrialGroup, taken_over: AbstractSet[int]
) -> Manifest:
    runner = job.spec.runner
    environment: list[Manifest] = [_variable(item) for item in runner.env]
    environment += [
        {"name": keys.ENV_SPEC, "value": f"{SPEC_FOLDER}/job.json"},
        {"name": keys.ENV_JOB_UID, "value": keys.search_uid(uid) if group.lane else uid},
        {"name": keys.ENV_ENTRIES, "value": ",".join(map(str, group.entries))},
        {"name": keys.ENV_ATTEMPT, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": keys.ENV_DATA, "value": DATA_FOLDER},
        {"name": keys.ENV_SCRATCH, "value": SCRATCH_FOLDER},
        {"name": keys.ENV_DEADLINE, "value": str(settings.report_deadline_seconds)},
        {
            "name": keys.ENV_REDIS_URL,
            "valueFrom": {"secretKeyRef": {"name": names.base, "key": keys.ENV_REDIS_URL}},
        },
    ]
    if all(item.name != "HOME" for item in runner.env):
        environment.append({"name": "HOME", "value": SCRATCH_FOLDER})
    optional = {
        keys.ENV_REDIS_CA_FILE: f"{AUTHORITY_FOLDER}/{AUTHORITY}" if settings.authority is not None else "",
        keys.ENV_REPORT_KEY_FILE: REPORT_KEY_FILE if settings.report_keys else "",
        keys.ENV_REDIS_USERNAME: "",  # the URL names the race's user, and has its password
        keys.ENV_REDIS_PASSWORD_FILE: "",
        keys.ENV_REHEARSAL: "",  # a pod runs its trial
        keys.ENV_SEARCH: "1" if group.lane else "",
        keys.ENV_LANE: group.stretch,
        keys.ENV_ARTIFACTS: "",  # it is in the scratch folder, where the claim is mounted
        keys.ENV_TAKEN_OVER: write_spans(taken_over) if taken_over else "",
        keys.ENV_REPEATS: write_spans(group.repeats) if group.repeats is not None else "",
        keys.ENV_PUSHGATEWAY: settings.pushgateway or "",
        keys.ENV_NODES: str(runner.nodes) if runner.nodes > 1 else "",
        keys.ENV_HOSTS: f"{names.job(group)}-{{index}}.{names.service}" if runner.nodes > 1 else "",
    }
    # An empty value counts as none. It is written where a key of a ConfigMap or of a Secret would count instead.
    environment += [{"name": name, "value": value} for name, value in optional.items() if value or runner.env_from]
    # A person's own image has an entry point of its own, which this command replaces.
    own = {"command": ["velodrome-runner", "exec", "--", *group.command]} if group.command else {}
    return {
        "name": "runner",
        "image": group.image or settings.runner_image,
        **own,
        "imagePullPolicy": "IfNotPresent",
        "env": environment,
        **({"envFrom": [_plain(source) for source in runner.env_from]} if runner.env_from else {}),
        "resources": _resources(runner),
        "securityContext": dict(RESTRICTED_CONTAINER),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(job, uid, settings, group),
    }


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
