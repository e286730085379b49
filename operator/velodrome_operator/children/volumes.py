"""The volumes of a trial's pod, and where they are mounted. Pure."""

from __future__ import annotations

from velodrome import keys
from velodrome.spec import BenchmarkJob
from velodrome.spec.pods import DEFAULT_SCRATCH_SIZE, DEFAULT_SHM_SIZE
from velodrome.spec.volumes import (
    ARTIFACTS_FOLDER,
    AUTHORITY_FOLDER,
    DATA_FOLDER,
    REPORT_KEY_FILE,
    SCRATCH_FOLDER,
    SHARED_MEMORY_FOLDER,
    SPEC_FOLDER,
    TEMPORARY_FOLDER,
    Volume,
)
from velodrome.store.roles import AUTHORITY
from velodrome_operator.children.names import ChildSettings, Manifest, Names, TrialGroup, report_key_name


def mounts(job: BenchmarkJob, uid: str, settings: ChildSettings, group: TrialGroup) -> list[Manifest]:
    """The mounts of the runner's container: Velodrome's own, then the job's."""
    made: list[Manifest] = [
        {"name": "spec", "mountPath": SPEC_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_FOLDER},
        {"name": "tmp", "mountPath": TEMPORARY_FOLDER},
        {"name": "shm", "mountPath": SHARED_MEMORY_FOLDER},
    ]
    if settings.authority is not None:
        made.append({"name": "redis-ca", "mountPath": AUTHORITY_FOLDER, "readOnly": True})
    if settings.report_keys:
        # Kubernetes sets this variable in each pod of an Indexed Job. The pod is shown this one file.
        own = report_key_name(group, "$(JOB_COMPLETION_INDEX)")
        made.append(
            {"name": keys.VOLUME_REPORT_KEYS, "mountPath": REPORT_KEY_FILE, "subPathExpr": own, "readOnly": True}
        )
    if _artifacts_claim(job):
        # The pod is shown the folder of its own race alone. Kubernetes lets no path leave the volume.
        own = f"velodrome/{uid}"
        made.append({"name": keys.VOLUME_ARTIFACTS, "mountPath": ARTIFACTS_FOLDER, "subPath": own})
    source = job.spec.dataset.source
    if source is not None and source.persistent_volume_claim is not None:
        made.append({"name": "data", "mountPath": DATA_FOLDER, "readOnly": True})
    elif source is not None:
        made.append({"name": "data", "mountPath": DATA_FOLDER})
    return [*made, *(_mount(volume) for volume in job.spec.runner.volumes or ())]


def volumes(job: BenchmarkJob, names: Names, settings: ChildSettings) -> list[Manifest]:
    """The volumes of the pod: Velodrome's own, then the job's."""
    runner = job.spec.runner
    scratch = {"sizeLimit": _default(runner.scratch_size, DEFAULT_SCRATCH_SIZE)}
    memory = {"medium": "Memory", "sizeLimit": _default(runner.shm_size, DEFAULT_SHM_SIZE)}
    made: list[Manifest] = [
        {"name": "spec", "configMap": {"name": names.base}},
        {"name": "scratch", "emptyDir": scratch},
        {"name": "tmp", "emptyDir": scratch},
        {"name": "shm", "emptyDir": memory},
    ]
    if settings.authority is not None:
        # Only the certificates: the same Secret has the password, which entries' code must not find in a file. An
        # older operator's Secret may lack them.
        items = [{"key": AUTHORITY, "path": AUTHORITY}]
        made.append({"name": "redis-ca", "secret": {"secretName": names.base, "items": items, "optional": True}})
    if settings.report_keys:
        made.append({"name": keys.VOLUME_REPORT_KEYS, "secret": {"secretName": names.report_keys}})
    if name := _artifacts_claim(job):
        made.append({"name": keys.VOLUME_ARTIFACTS, "persistentVolumeClaim": {"claimName": name}})
    source = job.spec.dataset.source
    if source is not None and source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
        made.append({"name": "data", "persistentVolumeClaim": claim})
    elif source is not None:
        made.append({"name": "data", "emptyDir": scratch})
    return [*made, *(_volume(volume, scratch, memory) for volume in runner.volumes or ())]


def _artifacts_claim(job: BenchmarkJob) -> str | None:
    return None if job.spec.artifacts is None else job.spec.artifacts.claim_name


def _default(size: int | str | None, default: str) -> int | str:
    return default if size is None else size


def _read_only(volume: Volume) -> bool:
    return volume.empty_dir is None if volume.read_only is None else volume.read_only


def _mount(volume: Volume) -> Manifest:
    mount: Manifest = {"name": volume.name, "mountPath": volume.mount_path}
    if _read_only(volume):
        mount["readOnly"] = True
    if volume.sub_path is not None:
        mount["subPath"] = volume.sub_path
    return mount


def _volume(volume: Volume, scratch: Manifest, memory: Manifest) -> Manifest:
    """The source as Kubernetes spells it; the model has the same field names."""
    made: Manifest = volume.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        include={"name", "persistent_volume_claim", "config_map", "secret", "empty_dir", "image"},
    )
    if volume.empty_dir is not None:
        usual = memory if volume.empty_dir.medium else scratch
        made["emptyDir"] = usual | ({"sizeLimit": volume.empty_dir.size_limit} if volume.empty_dir.size_limit else {})
    elif volume.persistent_volume_claim is not None and _read_only(volume):
        made["persistentVolumeClaim"]["readOnly"] = True
    elif volume.image is not None:
        made["image"]["pullPolicy"] = "IfNotPresent"
    return made
