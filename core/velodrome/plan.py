"""From a BenchmarkJob to its trials. Pure and deterministic: the same job gives the same plan on every machine.

Trials are numbered so that entries interleave: repeat 0 of each entry, then repeat 1 of each, so that a machine that
drifts during the race drifts for all. Repeat r of every entry has the seed `baseSeed + r`: trials are paired by seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from velodrome.canonical import digest
from velodrome.errors import Problem, SpecError
from velodrome.metrics import CATALOGUE, MetricKey
from velodrome.spec import (
    BenchmarkJob,
    Budget,
    Dataset,
    Entry,
    Evaluation,
    Model,
    Objective,
    Preprocessing,
    Strict,
    Training,
)
from velodrome.vocabulary import OPTIMIZER_FIELDS, SCHEDULE_FIELDS


class TrialConfig(Strict):
    """All that decides what a trial does, but for its seed: the conditions and the entry, resolved."""

    dataset: Dataset
    preprocessing: Preprocessing
    budget: Budget
    evaluation: Evaluation
    training: Training
    model: Model | None = None
    command: tuple[str, ...] | None = None
    # Keys of the quality metrics to measure: those of evaluation.metrics and those of the objectives.
    quality: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one entry. `index` counts from 0 over the whole job and is the pod's JOB_COMPLETION_INDEX."""

    index: int
    entry: str
    repeat: int
    seed: int
    config: TrialConfig

    @property
    def id(self) -> str:
        """Identity of what is run: equal for equal configurations and seeds, whatever the job is called."""
        return digest([self.config.model_dump(mode="json", exclude_none=True), self.seed], 16)


@dataclass(frozen=True)
class Plan:
    """A job's trials. `configs` is by entry name, in the order of the spec."""

    job: BenchmarkJob
    configs: Mapping[str, TrialConfig]

    def __len__(self) -> int:
        return len(self.configs) * self.job.spec.trials.repeats

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.configs)

    def trial(self, index: int) -> Trial:
        """The trial of that index.

        Raises:
            IndexError: the plan has no such trial.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"the plan of {self.job.metadata.name} has trials 0 to {len(self) - 1}, not {index}")
        repeat, position = divmod(index, len(self._names))
        name = self._names[position]
        return Trial(index, name, repeat, self.job.spec.trials.base_seed + repeat, self.configs[name])

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, by index."""
        return tuple(self.trial(index) for index in range(len(self)))


def plan(job: BenchmarkJob) -> Plan:
    """Resolves every entry of the job.

    Raises:
        SpecError: an entry's override does not fit the defaults that it overrides.
    """
    quality = quality_keys(job)
    problems: list[Problem] = []
    configs: dict[str, TrialConfig] = {}
    for index, entry in enumerate(job.spec.entries):
        try:
            training = resolve(job.spec.training, entry)
        except ValueError as error:
            problems.append(Problem(f"spec.entries[{index}].training", str(error)))
            continue
        configs[entry.name] = TrialConfig(
            dataset=job.spec.dataset,
            preprocessing=job.spec.preprocessing,
            budget=job.spec.budget,
            evaluation=job.spec.evaluation,
            training=training,
            model=entry.model,
            command=entry.command,
            quality=quality,
        )
    if problems:
        raise SpecError(tuple(problems), job.metadata.name)
    return Plan(job, configs)


def resolve(defaults: Training, entry: Entry) -> Training:
    """The job's training with the entry's overrides laid over it, part by part.

    An entry that names another optimizer or schedule drops the fields that only the default's name uses: an Adam does
    not inherit SGD's momentum.
    """
    if entry.training is None:
        return defaults
    override = entry.training.model_dump(mode="json", by_alias=True, exclude_unset=True)
    merged = _merged(defaults.model_dump(mode="json", by_alias=True), override)
    for part, table in (("optimizer", OPTIMIZER_FIELDS), ("schedule", SCHEDULE_FIELDS)):
        foreign = frozenset().union(*table.values()) - table[merged[part]["name"]]
        merged[part] = {field: value for field, value in merged[part].items() if field not in foreign}
    return Training.model_validate(merged)


def _merged(base: dict[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for field, value in override.items():
        below = result.get(field)
        if isinstance(below, dict) and isinstance(value, Mapping):
            result[field] = _merged(below, value)
        else:
            result[field] = value
    return result


def objective_key(objective: Objective) -> MetricKey:
    """The key of the value that an objective ranks."""
    return MetricKey.of(
        objective.metric, average=objective.average, label=objective.label, batch_size=objective.batch_size
    )


def quality_keys(job: BenchmarkJob) -> tuple[str, ...]:
    """Keys of the quality metrics that every trial measures on the test split, sorted."""
    keys = {str(MetricKey.of(name)) for name in job.spec.evaluation.metrics}
    keys |= {str(objective_key(o)) for o in job.spec.objectives if CATALOGUE[o.metric].kind == "quality"}
    return tuple(sorted(keys))


def local_uid(plan: Plan, generation: int = 0) -> str:
    """The uid of a run on one machine: the same race gives the same uid, so that running it again carries on.

    What may change during a race (parallelism, suspend, the time to live) is left out, as are the pods' settings, which
    a run on one machine ignores; `generation` tells deliberate repetitions of one race apart.
    """
    spec = plan.job.spec
    race = {
        "job": [plan.job.namespace, plan.job.metadata.name, plan.job.board],
        "objectives": [objective.model_dump(mode="json", exclude_none=True) for objective in spec.objectives],
        "entries": [[name, config.model_dump(mode="json", exclude_none=True)] for name, config in plan.configs.items()],
        "trials": spec.trials.model_dump(mode="json"),
        "generation": generation,
    }
    return "local-" + digest(race, 16)


def entry_id(config: TrialConfig) -> str:
    """Identity of an entry: what it is and how it trains, whatever it is called and under whichever conditions."""
    return digest(config.model_dump(mode="json", exclude_none=True, include={"model", "training", "command"}))
