"""What all children of a race share: their names, labels and owner, and the trials that each Job runs. Pure.

Every child's name contains a hash of what it was made from. To create it a second time is answered with 409 and
changes nothing. Every child is owned by its BenchmarkJob, so garbage collection removes it. No child has a finalizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from velodrome import keys
from velodrome.canonical import digest
from velodrome.plan import Plan, first_named
from velodrome.spec import BenchmarkJob
from velodrome_operator.lanes import stretch_name
from velodrome_operator.rounds import Round

Manifest = dict[str, Any]

KUEUE_PREFIX = "kueue.x-k8s.io/"


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """The operator's settings that the children need. `pushgateway` is its URL as pods reach it.

    `init_containers` is whether jobs may bring init containers.
    `authority` has the certificates, PEM, that Redis' certificate must come from. None if Redis is reached without TLS.
    `report_keys` says whether each trial gets a key that its reports must show.
    """

    runner_image: str | None = None
    report_deadline_seconds: int = 600
    pushgateway: str | None = None
    init_containers: bool = False
    authority: str | None = None
    report_keys: bool = True


@dataclass(frozen=True, slots=True)
class TrialGroup:
    """Trials that share a pod template: all repeats of the entries at these positions, or these `repeats` of them.

    Of a search, it is a stretch of a lane: its trials are those that the search suggests for these entries, at these
    `turns` of the lane. One Job runs a stretch. A lane has another one for each time that its search was raised.
    """

    number: int
    image: str | None
    command: tuple[str, ...] | None
    entries: tuple[int, ...]
    repeats: range | None = None
    turns: range | None = None

    @property
    def lane(self) -> str:
        """The name of the lane; empty if these are trials of the race itself."""
        return "" if self.turns is None else str(self.number)

    @property
    def stretch(self) -> str:
        """The name of the stretch, under which Redis has its turns; empty if these are trials of the race itself."""
        return "" if self.turns is None else stretch_name(self.lane, self.turns.start)

    def trials(self, plan: Plan, taken_over: AbstractSet[int] = frozenset()) -> tuple[int, ...]:
        """The trial index of each completion index, without the trials that were `taken_over`.

        Pods that train a trial together have consecutive indexes.
        """
        nodes = plan.job.spec.runner.nodes
        return tuple(index for index in plan.indexes(self.entries, taken_over, self.repeats) for _ in range(nodes))


def groups(job: BenchmarkJob, of: Round | None = None) -> tuple[TrialGroup, ...]:
    """The job's entries, grouped by the pod template that they need, in the order in which they first appear.

    A race until decided has a round. Then these are the groups that have trials in it.
    """
    found: dict[tuple[str | None, tuple[str, ...] | None], list[int]] = {}
    for position, entry in enumerate(job.spec.entries):
        found.setdefault((entry.image or job.spec.runner.image, entry.command), []).append(position)
    made = tuple(TrialGroup(number, *pod, tuple(entries)) for number, (pod, entries) in enumerate(found.items()))
    if of is None or job.spec.trials.until is None:
        return made
    inside = [(group, tuple(at for at in group.entries if at in set(of.entries))) for group in made]
    return tuple(replace(group, entries=entries, repeats=of.repeats) for group, entries in inside if entries)


def lanes(job: BenchmarkJob) -> tuple[TrialGroup, ...]:
    """The groups of a job's search trials: of the entries that have parameters. They have no turns yet."""
    search = job.spec.search
    if search is None:
        return ()
    tuned = {position for position, entry in enumerate(job.spec.entries) if search.of(entry.name)}
    found = (replace(one, entries=tuple(sorted(tuned & set(one.entries))), turns=range(0)) for one in groups(job))
    return tuple(one for one in found if one.entries)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a race's children. Make it once: every name contains a digest of the whole job.

    `base` is the name of the ConfigMap and of the Secret, and the start of all other names. It is a DNS label that
    leaves room for a pod's suffix. The Jobs of each `round` after the first, and their report keys, have its number.
    Those of a search have an s, and the turn at which their `stretch` begins, unless that is the first one. The Secret
    with a search's report keys also has how many there are in its name: nothing can be added to one that exists, and a
    search that is raised before its Job is there needs more of them.
    """

    base: str
    round: int = 1
    stretch: TrialGroup | None = None
    keyed: int = 0

    @classmethod
    def of(cls, job: BenchmarkJob, uid: str) -> Names:
        """The names for the race with that uid. How many trials its search may have is no part of them."""
        document = job_document(job)
        if document["spec"].get("search"):
            del document["spec"]["search"]["maxTrials"]
        return cls(f"{job.metadata.name[:40].rstrip('-')}-{digest([uid, document], 8)}")

    def of_round(self, number: int) -> Names:
        """The names of that round's children."""
        return replace(self, round=number)

    def of_stretch(self, stretch: TrialGroup, keyed: int = 0) -> Names:
        """The names of the children that run this stretch of a search, whose Secret has so many report keys."""
        return replace(self, stretch=stretch, keyed=keyed)

    def job(self, group: TrialGroup) -> str:
        """The name of a group's Job."""
        if group.turns is None:
            return f"{self.base}-{group.number}{self._of_round}"
        start = group.turns.start
        return f"{self._short}-{group.number}-s{start}" if start else f"{self.base}-{group.number}-s"

    def turn_of_job(self, lane: TrialGroup, name: str) -> int | None:
        """The turn at which the stretch of that lane begins whose Job has this name; None if it is not one of them."""
        if name == self.job(replace(lane, turns=range(0))):
            return 0
        number = name.removeprefix(f"{self._short}-{lane.number}-s")
        return int(number) if number != name and number.isascii() and number.isdecimal() else None

    @property
    def report_keys(self) -> str:
        """The name of the Secret with the report keys. The first stretches of all lanes share one."""
        if self.stretch is None or self.stretch.turns is None:
            return f"{self.base}-keys{self._of_round}"
        start = self.stretch.turns.start
        of = f"{self.stretch.number}-s{start}" if start else "s"
        return f"{self._short}-keys-{of}-{self.keyed}"

    @property
    def _of_round(self) -> str:
        return f"-r{self.round}" if self.round > 1 else ""

    @property
    def _short(self) -> str:
        """A shorter base, which leaves room for the number of a turn."""
        name, _, digested = self.base.rpartition("-")
        return f"{name[:32].rstrip('-')}-{digested}"

    @property
    def service(self) -> str:
        """A Service's name must begin with a letter. A BenchmarkJob's name may begin with a digit."""
        return f"v-{self.base}"


def report_key_name(group: TrialGroup, completion: int | str) -> str:
    """The key of the Secret that has the report key of this completion index."""
    return f"report-key-{group.number}-{completion}"


def is_kueue(job: BenchmarkJob) -> bool:
    """Whether Kueue queues the Jobs. Then Kueue alone sets their `suspend`."""
    return f"{KUEUE_PREFIX}queue-name" in job.metadata.labels


def labels(job: BenchmarkJob, uid: str) -> dict[str, str]:
    """The labels of every child. The label with the uid is the selector that finds the children."""
    return {
        "app.kubernetes.io/managed-by": "velodrome",
        keys.LABEL_JOB_UID: keys.object_uid(uid),
        keys.LABEL_JOB_NAME: job.metadata.name,
    }


def job_document(job: BenchmarkJob) -> dict[str, Any]:
    """The canonical BenchmarkJob: what the runner reads, without what may change during the race.

    Every child's name contains a digest of this document. A newer operator must find the children of an older one, so
    fields that are newer than version 0.1.0 and that no runner reads are left out, and metrics have their first names.
    """
    document: dict[str, Any] = first_named(job.model_dump(mode="json", by_alias=True, exclude_none=True))
    document["metadata"] = {"name": job.metadata.name, "namespace": job.namespace}
    for written, entry in zip(document["spec"]["entries"], job.spec.entries, strict=True):
        if entry.training is not None:  # a null in it turns off what the entry would inherit
            written["training"] = entry.training.model_dump(mode="json", by_alias=True)
    for field in ("suspend", "ttlSecondsAfterFinished"):
        document["spec"].pop(field, None)
    for field in ("parallelism", "maxDisruptions"):
        document["spec"]["execution"].pop(field, None)
    _leave_out_pods(document["spec"]["runner"])
    return document


# Fields of the runner's section that are newer than version 0.1.0. An older runner would refuse them.
_NEWER = (
    *("envFrom", "volumes", "labels", "annotations", "serviceAccountName", "resourceClaims", "shmSize", "scratchSize"),
    "template",
)


def _leave_out_pods(runner: dict[str, Any]) -> None:
    for field in _NEWER:
        runner.pop(field, None)
    runner["resources"].pop("claims", None)
    for variable in runner["env"]:
        variable.pop("valueFrom", None)


def metadata(job: BenchmarkJob, uid: str, name: str, extra: Mapping[str, str] | None = None) -> Manifest:
    """A child's metadata: its labels, the `extra` labels, and the BenchmarkJob that controls it."""
    owner = {
        "apiVersion": keys.API_VERSION,
        "kind": keys.KIND,
        "name": job.metadata.name,
        "uid": keys.object_uid(uid),
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": {**labels(job, uid), **(extra or {})},
        "ownerReferences": [owner],
    }
