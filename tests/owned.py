"""What makes an object a BenchmarkJob's, in objects that tests show to the operator: its namespace and its owner."""

from __future__ import annotations

from typing import Any

from velodrome import keys

CREATED = "2026-01-01T00:00:00Z"


def by_parent(uid: str, name: str = "race") -> list[dict[str, Any]]:
    """The ownerReferences of a child of that BenchmarkJob."""
    owner = {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "name": name, "uid": uid, "controller": True}
    return [owner]


def by_job(uid: str, name: str = "job") -> list[dict[str, Any]]:
    """The ownerReferences of a pod of that Job."""
    return [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}]


def owned_job(parent: str, name: str, namespace: str = "default", **fields: Any) -> dict[str, Any]:
    """A Job of the BenchmarkJob of that uid; its own uid is `job-` and its name."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"job-{name}",
        "creationTimestamp": CREATED,
        "labels": {keys.LABEL_JOB_UID: parent},
        "ownerReferences": by_parent(parent),
    }
    return {"metadata": metadata, "spec": {}, "status": {}, **fields}


def owned_pod(
    parent: str, job: str, index: int | str, uid: str, namespace: str = "default", **fields: Any
) -> dict[str, Any]:
    """A pod of the Job that `owned_job` makes of that name."""
    labels = {
        keys.LABEL_JOB_UID: parent,
        "batch.kubernetes.io/job-name": job,
        "batch.kubernetes.io/job-completion-index": str(index),
    }
    metadata = {
        "name": f"pod-{uid}",
        "namespace": namespace,
        "uid": uid,
        "creationTimestamp": CREATED,
        "labels": labels,
        "ownerReferences": by_job(f"job-{job}", job),
    }
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {}, **fields}
