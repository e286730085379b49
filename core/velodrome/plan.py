"""From a BenchmarkJob to its trials. Pure and deterministic: the same job gives the same plan on every machine.

Trials are numbered so that entries take turns: repeat 0 of each entry, then repeat 1 of each. So a machine whose speed
drifts during the race affects all entries alike. Repeat r of every entry has the seed `baseSeed + r`: trials are paired
by seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from velodrome.canonical import digest
from velodrome.metrics.catalogue import MetricKey, first_name, present_name
from velodrome.spec import (
    BenchmarkJob,
    Budget,
    Dataset,
    Entry,
    Evaluation,
    Model,
    Objective,
    OptimizeStep,
    Preprocessing,
    Strict,
    Training,
)
from velodrome.spec.base import absent
from velodrome.spec.override import overlay
from velodrome.spec.types import JsonObject, TaskName
from velodrome.tasks import inferred, task_of
from velodrome.vocabulary import OPTIMIZER_FIELDS, SCHEDULE_FIELDS


def _present(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Metric keys by their present names: an older version may have written them."""
    return tuple(map(present_name, keys))


class TrialConfig(Strict):
    """Everything that determines a trial, except its seed: the conditions and the resolved entry."""

    dataset: Dataset
    # Where the job names a task that its data do not imply; null otherwise, as in records of older versions.
    task: TaskName | None = Field(default=None, exclude_if=absent)
    preprocessing: Preprocessing
    budget: Budget
    evaluation: Evaluation
    training: Training
    model: Model | None = None
    command: tuple[str, ...] | None = None
    image: str | None = None
    # Keys of the quality metrics to measure: those of evaluation.metrics and those of the objectives.
    quality: Annotated[tuple[str, ...], AfterValidator(_present)]
    # Keys of the metrics that the job declares, sorted; null where it declares none.
    declared: tuple[str, ...] | None = Field(default=None, exclude_if=absent)
    # Values that a search chose for a program of the entry's own, by name; null where there are none.
    parameters: JsonObject | None = Field(default=None, exclude_if=absent)
    # Paths into preprocessing that a search of the job chose for each entry; null where there are none.
    chosen: tuple[str, ...] | None = Field(default=None, exclude_if=absent)
    # What is done to the model between its training and its evaluation; null where nothing is.
    optimize: tuple[OptimizeStep, ...] | None = Field(default=None, exclude_if=absent)
    # Of a search trial: the keys to measure on the validation split each epoch. Such a trial reads no test split.
    searched: tuple[str, ...] | None = Field(default=None, exclude_if=absent)

    @property
    def task_name(self) -> str:
        """The task of the trial."""
        return task_of(self.task, self.dataset.name, self.dataset.format)

    @property
    def optimized(self) -> dict[str, Any]:
        """The steps of `optimize` by name, in their order: `{"prune": {"amount": 0.5}, "compile": True}`."""
        steps = [step.model_dump(mode="json", by_alias=True, exclude_none=True) for step in self.optimize or ()]
        return {kind: setting for step in steps for kind, setting in step.items()}


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one entry.

    `index` counts from 0 over the whole job and is the pod's JOB_COMPLETION_INDEX. `id` is the identity of what is run:
    equal for equal configurations and seeds, whatever the job's name. It does not include where the data are stored;
    the record's dataset digest says which data were read.
    """

    index: int
    entry: str
    repeat: int
    seed: int
    config: TrialConfig
    id: str


@dataclass(frozen=True)
class Plan:
    """A job's trials. `configs` is by entry name, in the order of the spec.

    A race until decided may ask for any of its trials, and runs those that it asks for (`velodrome.board.rounds`).
    """

    job: BenchmarkJob
    configs: Mapping[str, TrialConfig]

    def __len__(self) -> int:
        return len(self.configs) * self.job.spec.trials.most

    @cached_property
    def _entries(self) -> tuple[tuple[str, TrialConfig, str], ...]:
        """Each entry with the digest of what its trials share, computed once because it is slow."""
        return tuple(
            (name, config, digest(identity_of(config, exclude={"dataset": {"source": True}}), 64))
            for name, config in self.configs.items()
        )

    def indexes(
        self, entries: Sequence[int], without: AbstractSet[int] = frozenset(), repeats: range | None = None
    ) -> tuple[int, ...]:
        """The trials of the entries at these positions: repeat 0 of each, then repeat 1 …, as in the whole plan.

        Those of the indexes `without` are left out. `repeats` are all if none are given.
        """
        rounds = range(self.job.spec.trials.most) if repeats is None else repeats
        all_ = (repeat * len(self.configs) + entry for repeat in rounds for entry in entries)
        return tuple(index for index in all_ if index not in without)

    def instructed(self, entries: Sequence[int], without: str, repeats: str) -> tuple[int, ...]:
        """The trials that the instructions of a Job's pods mean, in the order of its completion indexes.

        `entries` and `repeats` are all if they are empty. `without` and `repeats` are as `write_spans` writes them.

        Raises:
            ValueError: it wrote no such text.
        """
        most = self.job.spec.trials.most
        rounds = sorted(read_spans(repeats, most)) or range(most)
        return self.indexes(
            entries or range(len(self.configs)), read_spans(without, len(self)), range(rounds[0], rounds[-1] + 1)
        )

    def trial(self, index: int) -> Trial:
        """The trial of that index.

        Raises:
            IndexError: the plan has no such trial.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"the plan of {self.job.metadata.name} has trials 0 to {len(self) - 1}, not {index}")
        repeat, position = divmod(index, len(self._entries))
        name, config, identity = self._entries[position]
        seed = self.job.spec.trials.base_seed + repeat
        return Trial(index, name, repeat, seed, config, digest([identity, seed], 16))

    def has(self, index: int) -> bool:
        """Whether the plan has a trial of that index."""
        return 0 <= index < len(self)

    def entry(self, index: int) -> str:
        """The entry of the trial of that index."""
        return tuple(self.configs)[index % len(self.configs)]

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, by index."""
        return tuple(self.trial(index) for index in range(len(self)))


def plan(job: BenchmarkJob) -> Plan:
    """The job's trials, of all entries, resolved. A valid job always has a plan."""
    spec = job.spec
    quality, declared = quality_keys(job), tuple(sorted(map(str, spec.own_keys.values()))) or None
    bases = {entry.name: entry for entry in spec.entries}
    configs = {
        entry.name: TrialConfig(
            dataset=spec.dataset,
            task=None if spec.task == inferred(spec.dataset.name, spec.dataset.format) else spec.task,
            preprocessing=spec.preprocessing,
            budget=spec.budget,
            evaluation=spec.evaluation,
            training=resolve(spec.training, base),
            model=base.model,
            command=base.command,
            image=entry.image or base.image,
            quality=quality,
            declared=declared,
            optimize=entry.optimize,
        )
        for entry in spec.entries
        for base in [bases[entry.variant_of or entry.name]]
    }
    return Plan(job, configs)


def resolve(defaults: Training, entry: Entry) -> Training:
    """The job's training with the entry's overrides applied, part by part.

    If an entry names another optimizer or schedule, it drops the fields that only the default's name uses: Adam does
    not inherit SGD's momentum.
    """
    if entry.training is None:
        return defaults
    return without_foreign(overlay(defaults.model_dump(mode="json"), entry.training.model_dump(mode="json")))


def without_foreign(merged: dict[str, Any]) -> Training:
    """The training of these values, without the fields of optimizer and schedule that only other names use."""
    for part, table in (("optimizer", OPTIMIZER_FIELDS), ("schedule", SCHEDULE_FIELDS)):
        foreign = frozenset().union(*table.values()) - table[merged[part]["name"]]
        merged[part] = {field: value for field, value in merged[part].items() if field not in foreign}
    return Training.model_validate(merged)


def objective_key(objective: Objective, own: Mapping[str, MetricKey] | None = None) -> MetricKey:
    """The key of the value that an objective ranks. `own`: the keys of the job's own metrics, by name."""
    return (own or {}).get(objective.metric) or MetricKey.of(
        objective.metric, average=objective.average, label=objective.label, batch_size=objective.batch_size
    )


def times_inference(job: BenchmarkJob) -> bool:
    """Whether the trials time inference: an objective ranks such a time, or the evaluation says so.

    It is no part of a trial's identity: whether a time was measured changes no other value. A job that ranks one takes
    over only results that have it.
    """
    evaluation = job.spec.evaluation
    asked = any(key.metric.times_inference for key in objective_keys(job).values())
    written = evaluation.serving is not None or evaluation.offline is not None
    return asked or written or evaluation.inference.measure == "always"


def objective_keys(job: BenchmarkJob) -> dict[str, MetricKey]:
    """The key of the value that each objective ranks, by the objective's name."""
    own = job.spec.own_keys
    return {objective.name: objective_key(objective, own) for objective in job.spec.objectives}


def quality_keys(job: BenchmarkJob) -> tuple[str, ...]:
    """Keys of the quality metrics that every trial measures on the test split, sorted."""
    own = job.spec.own_keys
    keys = {str(own.get(name) or MetricKey.of(name)) for name in job.spec.evaluation.metrics}
    keys |= {str(key) for key in objective_keys(job).values() if key.metric.kind == "quality"}
    return tuple(sorted(keys))


def write_spans(indexes: Iterable[int]) -> str:
    """Indexes as Kubernetes writes them: `0,3-5` for 0, 3, 4 and 5."""
    spans: list[list[int]] = []
    for index in sorted(set(indexes)):
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def read_spans(text: str, limit: int) -> frozenset[int]:
    """The indexes below `limit` that `write_spans` wrote.

    Raises:
        ValueError: it wrote no such text.
    """
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if not all(number.isascii() and number.isdecimal() for number in (first, last or first)):
            raise ValueError(f"{text!r} are no indexes such as 0-3,7")
        found.update(range(int(first), min(int(last or first), limit - 1) + 1))
    return frozenset(found)


# The prefix of the uids of runs on one machine. No uid of an object on a cluster begins with it.
LOCAL_PREFIX = "local-"


def local_uid(plan: Plan, generation: int = 0, code: Mapping[str, str] | None = None) -> str:
    """The uid of a run on one machine: the same race gives the same uid, so running it again continues it.

    The uid leaves out what may change during a race (parallelism, suspend, the time to live, how many failures are
    allowed), and the pods' settings and images, which a run on one machine ignores. `generation` distinguishes
    deliberate repetitions of one race. `code` has the digest of the code of each entry that brings its own
    (`velodrome.own_code`).
    """
    trials = plan.job.spec.trials
    until = [] if trials.until is None else [trials.until.model_dump(mode="json")]
    search = plan.job.spec.search
    most = {} if search is None else {"searchTrials": search.max_trials}
    race = {**_race(plan), "trials": [trials.repeats, trials.base_seed, *until], "generation": generation, **most}
    return LOCAL_PREFIX + digest(race | ({"code": dict(code)} if code else {}), 16)


def lineage(plan: Plan) -> str:
    """What races on one machine share that differ in how many repeats they have, in generation or in code alone."""
    return digest({**_race(plan), "trials": [plan.job.spec.trials.base_seed]}, 16)


# What may be raised or lowered between two races of which the second carries on the search of the first.
_OF_ONE_RACE = {"parallelism", "confirm", "max_trials"}


def _race(plan: Plan) -> dict[str, Any]:
    search = plan.job.spec.search
    searched = {} if search is None else {"search": search.model_dump(mode="json", exclude=_OF_ONE_RACE)}
    return searched | {
        "job": [plan.job.namespace, plan.job.metadata.name, plan.job.board],
        "objectives": [
            first_named(objective.model_dump(mode="json", exclude_none=True)) for objective in plan.job.spec.objectives
        ],
        "entries": [[name, identity_of(config, exclude={"image": True})] for name, config in plan.configs.items()],
    }


_OF_ENTRY = {"model": True, "training": True, "command": True, "image": True, "parameters": True, "optimize": True}


def entry_id(config: TrialConfig) -> str:
    """Identity of an entry: what it is and how it trains, independent of its name and of the shared conditions."""
    return digest(identity_of(config, include=_OF_ENTRY))


def identity_of(config: TrialConfig, **parts: Any) -> dict[str, Any]:
    """The value that an identity is the hash of. Nulls are left out, so that a later field that is null by default
    changes no identity. Metrics have their first names there, so that a new name changes none either.
    """
    found: dict[str, Any] = first_named(config.model_dump(mode="json", exclude_none=True, **parts))
    if "quality" in found:
        found["quality"].sort()
    return found


def first_named(value: Any, field: str = "") -> Any:
    """The value with the first name of each metric that it names, wherever a part of a job names metrics.

    Readers of an older version know that name alone, and digests keep it for ever.
    """
    if isinstance(value, dict):
        return {name: first_named(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [first_named(item, field) for item in value]
    return first_name(value) if field in ("metric", "metrics", "quality") and isinstance(value, str) else value
