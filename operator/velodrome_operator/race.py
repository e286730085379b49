"""One BenchmarkJob as the operator remembers it between events. All of it can be had again from the API."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from velodrome.plan import Plan, plan
from velodrome.results.records import Observed
from velodrome.spec import Execution, validate
from velodrome.trends.verdicts import AWAITING_CONFIRMATION
from velodrome_operator import shapes, takeover
from velodrome_operator.children import Names, groups
from velodrome_operator.disruptions import disruptions
from velodrome_operator.observation import (
    JobFacts,
    OddObject,
    PodFacts,
    namespace_of,
    started_facts,
    uid_of,
    version_of,
)
from velodrome_operator.occupancy import Occupancy
from velodrome_operator.poison import Poison
from velodrome_operator.regressed import confirms

Raw = Mapping[str, Any]
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
# Of Jobs whose names can't be checked yet so many are kept; the next sweep shows the others again.
_MOST_UNPLANNED = 1_000


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
    `judged_marks` is how often people had marked its board's results when it was last judged. `names` are those of its
    Jobs, None until there was a plan, and `owned` the names of the Jobs that were seen to be its own, by uid.
    `poison` is why its inbox ends it, and `occupancy` knows which pods of all races ran on one node at once.
    `unseen_ends` is, by trial, when it was first seen that its index had ended of which no pod is there.
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
    poison: Poison | None = None
    names: frozenset[str] | None = None
    owned: dict[str, str] = field(default_factory=dict)
    occupancy: Occupancy = field(default_factory=Occupancy)
    unseen_ends: dict[int, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: Raw) -> Race:
        """What a first sight of the object tells.

        Raises:
            OddObject: it is no object that a race can be of.
        """
        namespace, name = namespace_of(raw), shapes.text(shapes.at(raw, "metadata", "name"))
        if not namespace or not name:
            raise OddObject("a BenchmarkJob has no name or no namespace")
        race = cls(uid_of(raw), namespace, name)
        race.saw(raw)
        return race

    def saw(self, raw: Raw) -> None:
        """Keeps the object as it is now, without who wrote which field: that is not needed to write its status.

        It is kept as text, which takes a tenth of the memory, and what every pass asks beside it; `ended` is whether
        its status says that the race is over.
        """
        metadata = {key: one for key, one in shapes.mapping(raw.get("metadata")).items() if key != "managedFields"}
        created_at = shapes.moment(metadata.get("creationTimestamp"))
        if created_at is None:
            raise OddObject(f"BenchmarkJob {self.name}: metadata.creationTimestamp is no time")
        self.text, self.version = to_json({**raw, "metadata": metadata}), version_of(raw)
        self.generation = shapes.count(metadata.get("generation"), 1, most=2**63)
        self.deleting, self.created_at = "deletionTimestamp" in metadata, created_at
        spec, status = shapes.mapping(raw.get("spec")), shapes.status(raw.get("status"))
        board = shapes.text(spec.get("board")) or shapes.text(shapes.at(spec, "dataset", "name")).lower()
        self.board = sys.intern(board)
        conditions = shapes.by_type(status.get("conditions"))
        held = shapes.held(conditions)
        end = next((kind for kind in ("Complete", "Failed") if kind in held), None)
        self.ended = end is not None
        self.state = end or ("Suspended" if shapes.flag(spec.get("suspend")) else "Running")
        self.confirms = confirms(shapes.mapping(metadata.get("annotations")))
        self.awaiting = conditions.get("Regressed", {}).get("reason") == AWAITING_CONFIRMATION
        total, succeeded, failed = (
            shapes.count(shapes.at(status, "trials", name)) for name in ("total", "succeeded", "failed")
        )
        self.counts = total, succeeded, failed

    @property
    def raw(self) -> dict[str, Any]:
        """The object, unfolded anew each time."""
        found: dict[str, Any] = from_json(self.text)
        return found

    @property
    def status(self) -> dict[str, Any]:
        """What can be read of the object's status, empty at first; unfolded anew each time."""
        return shapes.status(self.raw.get("status"))

    def lay_out(self, planned: Plan, generation: int) -> None:
        """Keeps the plan of that generation and, by Job name, the trial index of each completion index.

        From now on it is known which Jobs are its own: those of other names are let go, and what belongs to them.
        """
        self.plan, self.planned_generation, self.laid_out = planned, generation, True
        names = Names.of(planned.job, self.uid)
        taken_over = self.taken_over(planned)
        by_job = {names.job(group): group.trials(planned, taken_over) for group in groups(planned.job)}
        self.indexes = {name: trials for name, trials in by_job.items() if trials}
        self.names = frozenset(self.indexes)
        self.jobs = {name: job for name, job in self.jobs.items() if name in self.names}
        self.owned = {uid: name for uid, name in self.owned.items() if name in self.names}
        self.pods = {uid: pod for uid, pod in self.pods.items() if pod.job in self.names}
        self.gone = {uid: pod for uid, pod in self.gone.items() if pod.job in self.names}

    def taken_over(self, planned: Plan) -> frozenset[int]:
        """The trials of the plan that another job measured, by the status."""
        return takeover.indexes(self.status, len(planned)) if planned.job.spec.trials.taken_from else frozenset()

    def may_own(self, name: str) -> bool:
        """Whether a Job of that name, whose owner it is said to be, can be its own.

        Without a plan the names are not known yet; then any may be, until there is one.
        """
        if self.names is not None:
            return name in self.names
        return name in self.jobs or len(self.jobs) < _MOST_UNPLANNED

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
        self.instructed, self.gone, self.unseen_ends = {}, {}, {}

    def disrupted(self) -> int:
        """How many of its pods were lost to a disruption, as far as this operator can know."""
        return disruptions(self.pods.values(), self.gone.values())

    def saw_started(self, event: Raw) -> None:
        """Keeps a pod that no operator saw while it was there, if the Event is of one of its pods."""
        if shapes.at(event, "involvedObject", "namespace") not in (None, self.namespace):
            return
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
        queued = max(0.0, (started - pod.created_at).total_seconds()) if started else None
        run = max(0.0, (pod.finished_at - started).total_seconds()) if started and pod.finished_at else None
        spec = (self.plan or self.planned()).job.spec
        concurrent = self.occupancy.concurrent(self.uid, pod, spec.runner.nodes)
        return Observed(
            executor="kubernetes",
            node=pod.node,
            pod=pod.name,
            image_id=pod.image_id,
            queued_seconds=queued,
            run_seconds=run,
            started_at=started,
            finished_at=pod.finished_at,
            concurrent_trials=concurrent,
            shared=may_share(spec.execution) or (None if concurrent is None else concurrent > 1),
        )


def may_share(execution: Execution) -> bool:
    """Whether trials of a race may share a node with each other.

    Then none of them counts as alone, whatever the luck of the scheduler was, so that they stay comparable.
    """
    return execution.isolation == "None" and execution.parallelism > 1
