"""One BenchmarkJob as the operator remembers it between events. All of it can be read again from the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from velodrome.keys import run_uid, search_uid
from velodrome.plan import Plan, plan
from velodrome.results.records import Observed, Rounds
from velodrome.results.searches import Searched
from velodrome.search.trials import confirming, search_plan
from velodrome.spec import Execution, validate
from velodrome_operator import shapes, takeover
from velodrome_operator.children import Names, TrialGroup, groups, lanes
from velodrome_operator.lanes import SearchLook
from velodrome_operator.observation import OddObject, namespace_of, uid_of
from velodrome_operator.occupancy import Occupancy
from velodrome_operator.races.logbook import Logbook
from velodrome_operator.races.parent import ParentObject
from velodrome_operator.races.workload import Workload, starts_in
from velodrome_operator.rounds import Round, rounds_of
from velodrome_operator.search_status import run_in

Raw = Mapping[str, Any]


@dataclass(slots=True)
class Race:
    """One BenchmarkJob: its object (`parent`), its Jobs and pods (`workload`), notes (`logbook`), and its plan.

    `plan` and `indexes` are kept in memory while something may need them soon. `indexes` is, by Job name, the trial
    index of each completion index. `laid_out` is true from the first plan until the race is cleaned up, and while it is
    true the inbox is read. `occupancy` knows which pods of all races ran on one node at the same time.

    `base` is the plan of the object as it is written. If it has a search, `plan` is first that of its search trials.
    Once the winners are known (`searched`), it is that of the trials that confirm them. `lanes` has the stretches of
    the search's lanes by the name of their Job, and `search` says how far it was when it was last looked at.

    `run` is the number of its run: a search that got more trials after it had ended is carried on in a further one.

    `rounds` are those that the status has, and `job_rounds` has the number of each Job's round, by Job name. `looked`
    is what the results of a race until decided asked for when they were last looked at.
    """

    uid: str
    namespace: str
    name: str
    parent: ParentObject
    occupancy: Occupancy = field(default_factory=Occupancy)
    workload: Workload = field(default_factory=Workload)
    logbook: Logbook = field(default_factory=Logbook)
    plan: Plan | None = None
    base: Plan | None = None
    searched: Searched | None = None
    search: SearchLook = field(default_factory=SearchLook)
    lanes: dict[str, TrialGroup] = field(default_factory=dict)
    run: int = 1
    planned_generation: int | None = None
    indexes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    laid_out: bool = False
    rounds: tuple[Round, ...] = ()
    job_rounds: dict[str, int] = field(default_factory=dict)
    looked: Rounds | None = None

    @classmethod
    def of(cls, raw: Raw) -> Race:
        """Makes a race from the first sight of its object.

        Raises:
            OddObject: no race can be made from the object.
        """
        namespace, name = namespace_of(raw), shapes.text(shapes.at(raw, "metadata", "name"))
        if not namespace or not name:
            raise OddObject("a BenchmarkJob has no name or no namespace")
        return cls(uid_of(raw), namespace, name, ParentObject.read(raw))

    @property
    def log_fields(self) -> dict[str, str]:
        """The fields that every line of the log about the race has."""
        return {"namespace": self.namespace, "benchmarkjob": self.name, "uid": self.uid}

    @property
    def searching(self) -> bool:
        """Whether the race still looks for the best setting of its entries, as far as is known."""
        return self.base is not None and self.base.job.spec.search is not None and self.searched is None

    @property
    def results_uid(self) -> str:
        """The uid under which the results of its present run are kept."""
        return run_uid(self.uid, self.run)

    @property
    def trials_uid(self) -> str:
        """The uid under which the trials are kept that run now."""
        return search_uid(self.results_uid) if self.searching else self.results_uid

    def begin(self, run: int) -> None:
        """Begins a further run, or begins the present one again."""
        self.run, self.searched, self.search = run, None, SearchLook()
        self.planned_generation = None
        self.logbook.begin_again()

    def lay_out(self, planned: Plan, generation: int) -> None:
        """Keeps the plan of that generation. From now on it is known which Jobs belong to the race."""
        self.base, self.planned_generation, self.laid_out = planned, generation, True
        self.run = max(self.run, run_in(self.parent.status))
        self.lay_out_again()

    def lay_out_again(self) -> None:
        """Finds the race's Jobs and their trials anew: its status has another round, or its search found something."""
        base = self.base
        assert base is not None
        self.plan = search_plan(base, {}) if self.searching else base
        if self.searched is not None and base.job.spec.search is not None:
            self.plan = confirming(base, self.searched)
        self.rounds = rounds_of(self.parent.status, base)
        names, taken_over = Names.of(base.job, self.results_uid), self.taken_over(base)
        self.lanes = {names.job(one): one for lane in lanes(base.job) for one in self._stretches(names, lane)}
        self.indexes, self.job_rounds = {}, {}
        for one in () if self.searching else self.rounds:
            for group in groups(base.job, one):
                trials, name = group.trials(base, taken_over), names.of_round(one.number).job(group)
                if trials:
                    self.indexes[name], self.job_rounds[name] = trials, one.number
        if self.searching:
            self.indexes = {name: self.search.turns.get(one.stretch, ()) for name, one in self.lanes.items()}
        self.workload.call(frozenset((*self.indexes, *self.lanes)))

    def _stretches(self, names: Names, lane: TrialGroup) -> list[TrialGroup]:
        """The stretches of a lane: those of the last look, and those whose Jobs were seen."""
        found = {0: range(0)}
        for name, job in self.workload.jobs.items():
            start = names.turn_of_job(lane, name)
            if start is not None:
                found[start] = range(start, start + job.completions)
        found |= {turns.start: turns for turns in self.search.stretches.get(lane.lane, ())}
        return [replace(lane, turns=found[start]) for start in sorted(found)]

    def saw_turns(self, turns: Mapping[str, tuple[int, ...]]) -> None:
        """Keeps which trials the search's pods run, as Redis has it: a pod may report before the next look."""
        if self.searching:
            self.saw_search(replace(self.search, turns=turns))

    def turn_of(self, attempt: str) -> tuple[str, int] | None:
        """What the report key of a search trial's pod derives from: its lane and its turn. None for other pods."""
        pod = self.workload.pod(attempt)
        lane = None if pod is None else self.lanes.get(pod.job)
        return None if pod is None or lane is None else (f"{search_uid(self.results_uid)}.{lane.stretch}", pod.index)

    def saw_search(self, found: SearchLook) -> None:
        """Keeps how far the search is, and which trials its pods run."""
        self.search, self.searched = found, found.searched
        self.lay_out_again()

    @property
    def unmade(self) -> tuple[Round, ...]:
        """The rounds that lack a Job."""
        missing = {self.job_rounds[name] for name in self.indexes.keys() - self.workload.jobs.keys()}
        return tuple(one for one in self.rounds if one.number in missing)

    def taken_over(self, planned: Plan) -> frozenset[int]:
        """The trials of the plan that another job measured, as the status says."""
        takes = takeover.takes(planned, self.run)
        return takeover.indexes(self.parent.status, len(planned)) if takes else frozenset()

    def planned(self) -> Plan:
        """The plan of the object as it is now. It is made again if it is not in memory.

        Raises:
            SpecError: the object is no valid job.
        """
        if self.plan is None or self.base is None or self.planned_generation != self.parent.generation:
            generation = self.parent.generation
            document = {key: value for key, value in self.parent.raw.items() if key != "status"}
            self.lay_out(plan(validate(document, source=self.name)), generation)
        assert self.plan is not None
        return self.plan

    def rest(self) -> None:
        """Forgets the plan, which is most of a race's memory, if no Job is to run and no pod was ever seen."""
        if self.workload.at_rest:
            self._forget_plan()
            self.rounds, self.job_rounds, self.looked = (), {}, None

    def let_go(self) -> None:
        """Forgets what only a race that goes on needs. A later pass finds it again."""
        self._forget_plan()
        self.laid_out = False
        self.rounds, self.job_rounds, self.looked = (), {}, None
        self.logbook.instructed = {}
        self.workload.let_go()

    def _forget_plan(self) -> None:
        self.plan, self.base, self.planned_generation, self.indexes = None, None, None, {}
        self.lanes, self.search = {}, SearchLook()

    def saw_started(self, event: Raw) -> None:
        """Keeps a pod that no operator saw while it existed, if the Event is about one of the race's pods."""
        if starts_in(event, self.namespace):
            self.workload.saw_started(event, self.indexes)

    def needs_key(self, attempt: str) -> bool:
        """Whether reports of the pod with that uid must show their trial's key: the pod's Job gave it one."""
        pod = self.workload.pod(attempt)
        job = None if pod is None else self.workload.jobs.get(pod.job)
        return job is not None and job.keyed

    def observed(self, index: int, attempt: str) -> Observed | None:
        """What was seen of the pod whose uid is `attempt`. None if no such pod ran that trial."""
        pod = self.workload.pod(attempt)
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
            pull_seconds=None if queued is None or pod.pull_seconds is None else min(queued, pod.pull_seconds),
        )


def may_share(execution: Execution) -> bool:
    """Whether trials of a race may share a node with each other.

    If they may, no trial counts as alone, even where the scheduler separated them. So the trials stay comparable.
    """
    return execution.isolation == "None" and execution.parallelism > 1
