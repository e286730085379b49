"""What the operator sees of a job's children, reduced to what its decisions need. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from velodrome import keys
from velodrome.errors import ActionNeeded
from velodrome_operator import shapes

Raw = Mapping[str, Any]

_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
_TRACKED = "batch.kubernetes.io/job-tracking"
_FAILURE_COUNTS = ("batch.kubernetes.io/job-index-failure-count", "batch.kubernetes.io/job-index-ignored-failure-count")
# Ten times as many trials as a job may have. A stranger's Job may claim any number, and each index takes memory.
MOST_COMPLETIONS = 1_000_000
_A_DAY = timedelta(days=1)


class OddObject(ActionNeeded):
    """The API server shows an object that is not as it should be. It is ignored."""

    reason = "OddObject"


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A Kubernetes Job. `completed` and `failed` hold completion indexes; `message` is its controller's complaint.

    `started_at` is when the Job was last started. A suspended Job has none. `keyed` says that its pods have report
    keys, so that their reports must show them.
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
    uid: str = ""
    keyed: bool = False
    completions: int = 0


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A runner pod. `trouble` is why it has not started, in the words of the scheduler or the kubelet.

    `deleted_at` is when its deletion was requested. `released` says that the Job's controller had released the pod when
    its deletion was first seen. The controller does this before it deletes the pods of a suspended Job, which is no
    loss. `failures` is how many failed pods Kubernetes counts before it at this index, with disruptions. `pull_seconds`
    is the time from its place on a node to the start of its container.
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
    pull_seconds: float | None = None

    @property
    def ended(self) -> bool:
        """Whether its container no longer runs."""
        return self.phase in ("Succeeded", "Failed")


def job_facts(raw: Raw) -> JobFacts:
    """The facts of a Job as the API server shows it.

    Raises:
        OddObject: it has no name, or does not say when it was made.
    """
    metadata, spec, status = (shapes.mapping(raw.get(part)) for part in ("metadata", "spec", "status"))
    conditions = shapes.by_type(status.get("conditions"))
    held = shapes.held(conditions)
    troubled = next((conditions[kind] for kind in ("Failed", "FailureTarget") if kind in held), {})
    trials = shapes.count(spec.get("completions"), MOST_COMPLETIONS, most=MOST_COMPLETIONS)
    return JobFacts(
        name=_name(metadata, "Job"),
        created_at=_created_at(metadata, "Job"),
        active=shapes.count(status.get("active")),
        suspended=shapes.flag(spec.get("suspend")),
        parallelism=shapes.count(spec.get("parallelism"), 1),
        completed=shapes.indexes(status.get("completedIndexes"), trials),
        failed=shapes.indexes(status.get("failedIndexes"), trials),
        finished="Complete" in held or "Failed" in held,
        deleting="deletionTimestamp" in metadata,
        message=shapes.text(troubled.get("message")),
        started_at=shapes.moment(status.get("startTime")),
        uid=shapes.text(metadata.get("uid")),
        completions=trials,
        keyed=any(
            shapes.at(volume, "name") == keys.VOLUME_REPORT_KEYS
            for volume in shapes.items(shapes.at(spec, "template", "spec", "volumes"))
        ),
    )


def pod_facts(raw: Raw, job: str) -> PodFacts:
    """The facts of a pod of that Job as the API server shows it.

    Raises:
        OddObject: it has no name, uid or completion index, or does not say when it was made.
    """
    metadata, status = shapes.mapping(raw.get("metadata")), shapes.mapping(raw.get("status"))
    conditions = shapes.by_type(status.get("conditions"))
    container = next(iter(shapes.items(status.get("containerStatuses"))), None)
    ended, running = shapes.at(container, "state", "terminated"), shapes.at(container, "state", "running")
    index = shapes.decimal(
        shapes.at(metadata, "labels", _INDEX_LABEL) or shapes.at(metadata, "annotations", _INDEX_LABEL),
        MOST_COMPLETIONS,
    )
    if index is None:
        raise OddObject(f"pod {shapes.text(metadata.get('name'))[:253]!r}: {_INDEX_LABEL} is no completion index")
    exit_code, created = shapes.at(ended, "exitCode"), _created_at(metadata, "pod")
    started = shapes.moment(shapes.at(running, "startedAt")) or shapes.moment(shapes.at(ended, "startedAt"))
    # A runtime that was killed before it started a container reports 1970 as the container's start.
    started = started if started is not None and started > created - _A_DAY else None
    return PodFacts(
        name=_name(metadata, "pod"),
        uid=uid_of(raw),
        job=job,
        index=index,
        created_at=created,
        phase=shapes.text(status.get("phase"), "Pending"),
        node=shapes.text_or_none(shapes.at(raw, "spec", "nodeName")),
        image_id=shapes.text_or_none(shapes.at(container, "imageID")),
        started_at=started,
        finished_at=shapes.moment(shapes.at(ended, "finishedAt")),
        exit_code=shapes.count(exit_code) if shapes.count(exit_code, -1) >= 0 else None,
        reason=shapes.text_or_none(shapes.at(ended, "reason")) or shapes.text_or_none(status.get("reason")),
        detail=shapes.text_or_none(shapes.at(ended, "message")) or shapes.text_or_none(status.get("message")),
        disrupted="DisruptionTarget" in shapes.held(conditions),
        deleting="deletionTimestamp" in metadata,
        trouble=_trouble(status, conditions, shapes.at(container, "state")),
        deleted_at=_deleted_at(metadata),
        released="deletionTimestamp" in metadata and _TRACKED not in shapes.items(metadata.get("finalizers")),
        failures=sum(_failures(shapes.at(metadata, "annotations", name)) for name in _FAILURE_COUNTS),
        pull_seconds=_pull_seconds(conditions.get("PodScheduled", {}), started),
    )


def _pull_seconds(scheduled: Raw, started: datetime | None) -> float | None:
    """How long a pod that has a node took to start: its image was pulled then."""
    placed = shapes.moment(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None
    return None if placed is None or started is None else max(0.0, (started - placed).total_seconds())


def _deleted_at(metadata: Raw) -> datetime | None:
    """When deletion was requested: Kubernetes writes when the grace period ends."""
    over, grace = shapes.moment(metadata.get("deletionTimestamp")), metadata.get("deletionGracePeriodSeconds")
    try:
        return over and over - timedelta(seconds=shapes.count(grace))
    except OverflowError:
        return over


def _failures(text: object) -> int:
    """A count in an annotation, or 0 if there is none."""
    return shapes.decimal(text, MOST_COMPLETIONS) or 0


def started_facts(event: Raw, jobs: Iterable[str]) -> PodFacts | None:
    """A pod that is gone, as far as the kubelet's Event about its start shows it. None for the pods of others.

    `jobs` are the names of the wanted pods' Jobs. The name of a Job's pod begins with the Job's name and the pod's
    completion index.
    """
    name, uid = (shapes.text(shapes.at(event, "involvedObject", part)) for part in ("name", "uid"))
    times = (event.get("firstTimestamp"), event.get("eventTime"), shapes.at(event, "metadata", "creationTimestamp"))
    at = next(filter(None, map(shapes.moment, times)), None)
    for job in jobs:
        index = shapes.decimal(name.removeprefix(f"{job}-").partition("-")[0], MOST_COMPLETIONS)
        if name.startswith(f"{job}-") and index is not None and uid and at is not None:
            node = shapes.text_or_none(shapes.at(event, "source", "host"))
            return PodFacts(name, uid, job, index, created_at=at, phase="Unknown", node=node, started_at=at)
    return None


def _trouble(status: Raw, conditions: Mapping[str, Raw], state: object) -> str:
    """The cluster's own words for why a pod has not started. Empty if nothing is wrong or the pod has started."""
    if shapes.text(status.get("phase"), "Pending") != "Pending":
        return ""
    waiting, scheduled = shapes.at(state, "waiting"), conditions.get("PodScheduled", {})
    if shapes.text(shapes.at(waiting, "reason")) not in ("", "ContainerCreating", "PodInitializing"):
        return _words(waiting)
    return _words(scheduled) if scheduled.get("status") == "False" else ""


def _words(state: object) -> str:
    return ": ".join(filter(None, (shapes.text(shapes.at(state, part)) for part in ("reason", "message"))))


def _name(metadata: Raw, kind: str) -> str:
    name = shapes.text(metadata.get("name"))
    if not name:
        raise OddObject(f"a {kind} has no name")
    return name


def _created_at(metadata: Raw, kind: str) -> datetime:
    at = shapes.moment(metadata.get("creationTimestamp"))
    if at is None:
        raise OddObject(f"{kind} {_name(metadata, kind)}: metadata.creationTimestamp is no time")
    return at


def uid_of(raw: Raw) -> str:
    """The uid of an object.

    Raises:
        OddObject: it has none.
    """
    uid = shapes.text(shapes.at(raw, "metadata", "uid"))
    if not uid:
        raise OddObject("an object has no uid")
    return uid


def namespace_of(raw: Raw) -> str:
    """The namespace of an object."""
    return shapes.text(shapes.at(raw, "metadata", "namespace"))


def version_of(raw: Raw) -> int:
    """The resource version, or 0 if there is none. From Kubernetes 1.35 on it is specified to be a growing number."""
    return shapes.decimal(shapes.at(raw, "metadata", "resourceVersion"), 2**64) or 0
