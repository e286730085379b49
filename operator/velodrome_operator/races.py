"""What the operator remembers of each BenchmarkJob between events. All of it can be had again from the API."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from velodrome.plan import Plan, plan
from velodrome.results import Observed
from velodrome.spec import Execution, validate
from velodrome.verdicts import AWAITING_CONFIRMATION
from velodrome_operator.children import Names, groups
from velodrome_operator.disruptions import disruptions
from velodrome_operator.observation import JobFacts, PodFacts, job_facts, moment, owner_uid, pod_facts, started_facts
from velodrome_operator.occupancy import Occupancy
from velodrome_operator.regressed import confirms

Raw = Mapping[str, Any]
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Race:
    """One BenchmarkJob as it was last seen, with its children. `gone` keeps pods that were deleted, for attribution.

    `collected_at` is when its inbox was last found to hold no more, `trouble` why it can't be collected now, and
    `instructed` what its runners can read of accepted trials: by index, whether they succeeded. `news` counts what was
    seen to change, `passed` is what it was when the last successful pass began, and `results` how many trials had one
    then. `plan` and `indexes` are at hand while somebody may need them soon; `laid_out` is whether there is a plan, so
    that its inbox is to be looked into, until the race has ended and was `cleared` up after. `state` is one of
    `telemetry.RACE_STATES`, `counts` how many trials it has, how many succeeded and how many failed, by its status;
    `reported_at` is when a runner last reported, and `troubled_at` since when there is trouble. `confirms` is the uid
    of the race that it was made to confirm, `awaiting` says that it waits for a race that confirms it, and
    `judged_marks` is how often people had marked its board's results when it was last judged. `occupancy` knows which
    pods of all races ran on one node at once.
    """

    uid: str
    namespace: str
    name: str
    text: bytes = b""
    version: int = 0
    generation: int = 1
    deleting: bool = False
    ended: bool = False
    created_at: datetime = NEVER
    board: str = ""
    state: str = "Running"
    counts: tuple[int, int, int] = (0, 0, 0)
    confirms: str | None = None
    awaiting: bool = False
    judged_marks: int = 0
    jobs: dict[str, JobFacts] = field(default_factory=dict)
    pods: dict[str, PodFacts] = field(default_factory=dict)
    gone: dict[str, PodFacts] = field(default_factory=dict)
    plan: Plan | None = None
    planned_generation: int | None = None
    collected_at: datetime | None = None
    trouble: str = ""
    troubled_at: datetime | None = None
    reported_at: datetime | None = None
    instructed: dict[int, bool] = field(default_factory=dict)
    indexes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    laid_out: bool = False
    news: int = 1
    passed: int = 0
    results: int = 0
    cleared: bool = False
    occupancy: Occupancy = field(default_factory=Occupancy)

    @classmethod
    def of(cls, raw: Raw) -> Race:
        """What a first sight of the object tells."""
        metadata = raw["metadata"]
        race = cls(str(metadata["uid"]), str(metadata["namespace"]), str(metadata["name"]))
        race.saw(raw)
        return race

    def saw(self, raw: Raw) -> None:
        """Keeps the object as it is now, without who wrote which field: that is not needed to write its status.

        It is kept as text, which takes a tenth of the memory, and what every pass asks beside it; `ended` is whether
        its status says that the race is over.
        """
        metadata = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
        self.text, self.version = to_json({**raw, "metadata": metadata}), version_of(raw)
        self.generation, self.deleting = int(metadata.get("generation", 1)), "deletionTimestamp" in metadata
        self.created_at = moment(metadata["creationTimestamp"])
        spec, status = raw["spec"], raw.get("status") or {}
        self.board = sys.intern(str(spec.get("board") or spec["dataset"]["name"].lower()))
        held = {condition["type"] for condition in status.get("conditions") or () if condition["status"] == "True"}
        end = next((kind for kind in ("Complete", "Failed") if kind in held), None)
        self.ended = end is not None
        self.state = end or ("Suspended" if spec.get("suspend") else "Running")
        self.confirms = confirms(metadata.get("annotations"))
        self.awaiting = any(
            condition["type"] == "Regressed" and condition["reason"] == AWAITING_CONFIRMATION
            for condition in status.get("conditions") or ()
        )
        trials = status.get("trials") or {}
        self.counts = trials.get("total", 0), trials.get("succeeded", 0), trials.get("failed", 0)

    @property
    def raw(self) -> dict[str, Any]:
        """The object, unfolded anew each time."""
        found: dict[str, Any] = from_json(self.text)
        return found

    @property
    def status(self) -> dict[str, Any]:
        """The object's status, empty at first; unfolded anew each time."""
        return self.raw.get("status") or {}

    def lay_out(self, planned: Plan, generation: int) -> None:
        """Keeps the plan of that generation and, by Job name, the trial index of each completion index."""
        self.plan, self.planned_generation, self.laid_out = planned, generation, True
        names = Names.of(planned.job, self.uid)
        self.indexes = {names.job(group): group.trials(planned) for group in groups(planned.job)}

    def planned(self) -> Plan:
        """The plan of the object as it is now, made anew where it is not at hand.

        Raises:
            SpecError: the object is no valid job.
        """
        if self.plan is None or self.planned_generation != self.generation:
            generation = self.generation
            document = {key: value for key, value in self.raw.items() if key != "status"}
            self.lay_out(plan(validate(document, source=self.name)), generation)
        assert self.plan is not None
        return self.plan

    def rest(self) -> None:
        """Forgets the plan, most of what a race takes, where none of its Jobs is to run and no pod was ever seen."""
        if self.jobs and all(job.suspended for job in self.jobs.values()) and not self.pods and not self.gone:
            self.plan, self.planned_generation, self.indexes = None, None, {}

    def let_go(self) -> None:
        """Forgets what only a race that goes on needs; a later pass finds it again."""
        self.plan, self.planned_generation, self.indexes, self.laid_out = None, None, {}, False
        self.instructed, self.gone = {}, {}

    def disrupted(self) -> int:
        """How many of its pods were lost to a disruption, as far as this operator can know."""
        return disruptions(self.pods.values(), self.gone.values())

    def saw_started(self, event: Raw) -> None:
        """Keeps a pod that no operator saw while it was there, if the Event is of one of its pods."""
        facts = started_facts(event, self.indexes)
        if facts is not None and facts.uid not in self.pods:
            self.gone.setdefault(facts.uid, facts)

    def observed(self, index: int, attempt: str) -> Observed | None:
        """What was seen of the pod whose uid is `attempt`; None where no such pod ran that trial."""
        pod = self.pods.get(attempt) or self.gone.get(attempt)
        if pod is not None and not self.indexes:
            self.planned()
        trials = self.indexes.get(pod.job, ()) if pod is not None else ()
        if pod is None or not 0 <= pod.index < len(trials) or trials[pod.index] != index:
            return None
        started = pod.started_at
        queued = (started - pod.created_at).total_seconds() if started else None
        run = (pod.finished_at - started).total_seconds() if started and pod.finished_at else None
        spec = (self.plan or self.planned()).job.spec
        concurrent = self.occupancy.concurrent(self.uid, pod, spec.runner.nodes)
        return Observed(
            executor="kubernetes",
            node=pod.node,
            pod=pod.name,
            image_id=pod.image_id,
            queued_seconds=queued,
            run_seconds=run,
            concurrent_trials=concurrent,
            shared=may_share(spec.execution) or (None if concurrent is None else concurrent > 1),
        )


def may_share(execution: Execution) -> bool:
    """Whether trials of a race may share a node with each other: then none of them counts as alone, whatever the luck
    of the scheduler was, so that they stay comparable.
    """
    return execution.isolation == "None" and execution.parallelism > 1


class Races:
    """All BenchmarkJobs by uid, kept up to date by events.

    `saw_*` return the uid of the race of which an event told something new, None where nothing is.
    """

    def __init__(self) -> None:
        self._races: dict[str, Race] = {}
        self._occupancy = Occupancy()
        self._orphans: dict[str, tuple[dict[str, JobFacts], dict[str, PodFacts]]] = {}

    def __iter__(self) -> Iterator[Race]:
        return iter(list(self._races.values()))

    def __len__(self) -> int:
        return len(self._races)

    def get(self, uid: str) -> Race | None:
        """The race of that uid, if its object is there."""
        return self._races.get(uid)

    def saw_parent(self, raw: dict[str, Any], *, gone: bool = False) -> str | None:
        """An event of a BenchmarkJob; an older version than the one that is known changes nothing."""
        uid = str(raw["metadata"]["uid"])
        if gone:
            self._races.pop(uid, None)
            return uid
        race = self._races.get(uid)
        if race is None:
            jobs, pods = self._orphans.pop(uid, ({}, {}))
            self._races[uid] = race = Race.of(raw)
            race.occupancy = self._occupancy
            race.jobs, race.pods = jobs, pods
        elif version_of(raw) > race.version:
            race.saw(raw)
            race.news += 1
        else:
            return None
        return uid

    def saw_job(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a Job."""
        uid = owner_uid(raw)
        if uid is None:
            return None
        jobs, facts = self._children(uid)[0], job_facts(raw)
        if gone:
            jobs.pop(facts.name, None)
        elif jobs.get(facts.name) == facts:
            return None
        else:
            jobs[facts.name] = facts
        return self._changed(uid)

    def made_job(self, raw: Raw) -> None:
        """A Job that was just created: a pass before its first event must not make it again. The event knows more."""
        uid, facts = owner_uid(raw), job_facts(raw)
        race = self._races.get(uid) if uid is not None else None
        if race is not None:
            race.jobs.setdefault(facts.name, facts)

    def saw_pod(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a pod."""
        uid = owner_uid(raw)
        if uid is None:
            return None
        pods, facts = self._children(uid)[1], pod_facts(raw)
        if (known := pods.get(facts.uid)) is not None and known.deleting:
            facts = replace(facts, released=known.released)
        if not gone and pods.get(facts.uid) == facts:
            return None
        race = self._races.get(uid)
        self._occupancy.saw(uid, facts, gone=gone)
        if not gone:
            pods[facts.uid] = facts
        else:
            pods.pop(facts.uid, None)
            if race is not None:
                race.gone[facts.uid] = facts
        return self._changed(uid)

    def children(self) -> tuple[frozenset[str], frozenset[str]]:
        """The names of all Jobs and the uids of all pods that are known."""
        races = self._races.values()
        return frozenset(n for race in races for n in race.jobs), frozenset(u for race in races for u in race.pods)

    def forget_absent(self, jobs: AbstractSet[str], pods: AbstractSet[str]) -> None:
        """Lets go of children (Job names, pod uids) that a full listing no longer had: their deletion went unseen."""
        for race in self._races.values():
            for name in race.jobs.keys() & jobs:
                del race.jobs[name]
                race.news += 1
            for uid in race.pods.keys() & pods:
                race.gone[uid] = race.pods.pop(uid)
                self._occupancy.left(race.gone[uid])
                race.news += 1
        self._orphans.clear()

    def _changed(self, uid: str) -> str:
        race = self._races.get(uid)
        if race is not None:
            race.news += 1
        return uid

    def _children(self, uid: str) -> tuple[dict[str, JobFacts], dict[str, PodFacts]]:
        race = self._races.get(uid)
        if race is not None:
            return race.jobs, race.pods
        return self._orphans.setdefault(uid, ({}, {}))


def version_of(raw: Raw) -> int:
    """The resource version, which from Kubernetes 1.35 on is specified to be a growing number."""
    text = str(raw["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdecimal() else 0
