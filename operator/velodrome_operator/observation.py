"""What the operator sees of a job's children, reduced to what it decides by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from velodrome import keys

Raw = Mapping[str, Any]

_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
_JOB_LABEL = "batch.kubernetes.io/job-name"
_TRACKED = "batch.kubernetes.io/job-tracking"
_FAILURE_COUNTS = ("batch.kubernetes.io/job-index-failure-count", "batch.kubernetes.io/job-index-ignored-failure-count")
_DIGITS = 10


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A batch/v1 Job. `completed` and `failed` hold completion indexes; `message` is its controller's complaint.

    `started_at` is when it was last told to run: a suspended Job has none.
    """

    name: str
    created_at: datetime
    active: int
    suspended: bool
    parallelism: int
    completed: frozenset[int]
    failed: frozenset[int]
    finished: bool
    deleting: bool
    message: str = ""
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A runner pod. `trouble` is why it has not started, in the words of the scheduler or the kubelet.

    `deleted_at` is when its deletion was asked for. `released` says that its Job's controller had let go of it when it
    was first seen to be deleted, as it does before it deletes pods itself, for a suspended Job: that is no loss.
    `failures` is how many pods Kubernetes counts as failed at this index before it, disruptions included.
    """

    name: str
    uid: str
    job: str
    index: int
    created_at: datetime
    phase: str
    node: str | None = None
    image_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    detail: str | None = None
    disrupted: bool = False
    deleting: bool = False
    trouble: str = ""
    deleted_at: datetime | None = None
    released: bool = False
    failures: int = 0

    @property
    def ended(self) -> bool:
        """Whether its container runs no more."""
        return self.phase in ("Succeeded", "Failed")


def job_facts(raw: Raw) -> JobFacts:
    """The facts of a Job as the API serves it."""
    metadata, spec, status = raw["metadata"], raw["spec"], raw.get("status", {})
    conditions = {
        condition["type"]: condition for condition in status.get("conditions") or () if condition["status"] == "True"
    }
    troubled = conditions.get("Failed") or conditions.get("FailureTarget")
    return JobFacts(
        name=metadata["name"],
        created_at=moment(metadata["creationTimestamp"]),
        active=status.get("active", 0),
        suspended=spec.get("suspend", False),
        parallelism=spec.get("parallelism", 1),
        completed=indexes(status.get("completedIndexes", "")),
        failed=indexes(status.get("failedIndexes", "")),
        finished="Complete" in conditions or "Failed" in conditions,
        deleting="deletionTimestamp" in metadata,
        message=troubled.get("message", "") if troubled else "",
        started_at=_moment_or_none(status.get("startTime")),
    )


def pod_facts(raw: Raw) -> PodFacts:
    """The facts of a runner pod as the API serves it."""
    metadata, status = raw["metadata"], raw.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    container: Raw = next(iter(status.get("containerStatuses") or ()), {})
    state = container.get("state", {})
    ended = state.get("terminated", {})
    running = state.get("running", {})
    return PodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        job=metadata["labels"].get(_JOB_LABEL, ""),
        index=int(metadata["labels"].get(_INDEX_LABEL, metadata.get("annotations", {}).get(_INDEX_LABEL, -1))),
        created_at=moment(metadata["creationTimestamp"]),
        phase=status.get("phase", "Pending"),
        node=raw["spec"].get("nodeName"),
        image_id=container.get("imageID") or None,
        started_at=_moment_or_none(running.get("startedAt") or ended.get("startedAt")),
        finished_at=_moment_or_none(ended.get("finishedAt")),
        exit_code=ended.get("exitCode"),
        reason=ended.get("reason") or status.get("reason"),
        detail=ended.get("message") or status.get("message"),
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        deleting="deletionTimestamp" in metadata,
        trouble=_trouble(status, conditions, state),
        deleted_at=_deleted_at(metadata),
        released="deletionTimestamp" in metadata and _TRACKED not in (metadata.get("finalizers") or ()),
        failures=sum(_count((metadata.get("annotations") or {}).get(name)) for name in _FAILURE_COUNTS),
    )


def _deleted_at(metadata: Raw) -> datetime | None:
    """When deletion was asked for: Kubernetes writes when the grace is over."""
    over = _moment_or_none(metadata.get("deletionTimestamp"))
    return over - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0) if over else None


def _count(text: object) -> int:
    """A count in an annotation; 0 for what is none."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < _DIGITS else 0


def started_facts(event: Raw, jobs: Iterable[str]) -> PodFacts | None:
    """A pod that is gone, as far as the Event tells by which a kubelet said that it started; None for others' pods.

    `jobs` are the names of the Jobs whose pods are wanted. A Job's pods are called after it and their completion index.
    """
    name = str(event["involvedObject"]["name"])
    for job in jobs:
        index = name.removeprefix(f"{job}-").partition("-")[0]
        if name.startswith(f"{job}-") and index.isdecimal():
            at = moment(event.get("firstTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])
            node, uid = (event.get("source") or {}).get("host"), str(event["involvedObject"]["uid"])
            return PodFacts(name, uid, job, int(index), created_at=at, phase="Unknown", node=node, started_at=at)
    return None


def _trouble(status: Raw, conditions: Mapping[str, Raw], state: Raw) -> str:
    """The cluster's own words for why a pod has not started; empty where nothing is wrong, or it has."""
    if status.get("phase", "Pending") != "Pending":
        return ""
    waiting = state.get("waiting", {})
    if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        return ": ".join(filter(None, (waiting["reason"], waiting.get("message"))))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return ": ".join(filter(None, (scheduled.get("reason"), scheduled.get("message"))))
    return ""


def indexes(text: str) -> frozenset[int]:
    """Completion indexes as Kubernetes writes them: `0,3-5` is {0, 3, 4, 5}."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def moment(text: str) -> datetime:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text)


def _moment_or_none(text: str | None) -> datetime | None:
    return moment(text) if text else None


def owner_uid(raw: Raw) -> str | None:
    """The uid of the BenchmarkJob that a child belongs to; None for objects of others."""
    uid = raw["metadata"].get("labels", {}).get(keys.LABEL_JOB_UID)
    return str(uid) if uid else None
