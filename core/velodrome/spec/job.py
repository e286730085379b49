"""The BenchmarkJob v1alpha1, strict and frozen.

All entries share everything outside `entries`. The description of each field is its text in `kubectl explain`, on the
reference page and in error messages, so each is one sentence. Field names in YAML are camelCase. `None` as a value
means what the field's description says.

This module reads no files and imports only pydantic. Rules that span fields are in `velodrome.spec.rules`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from velodrome import keys
from velodrome.metrics.catalogue import MetricKey
from velodrome.spec.artifacts import Artifacts
from velodrome.spec.base import Strict, absent
from velodrome.spec.conditions import MOST_DECLARED, Budget, Evaluation, Preprocessing
from velodrome.spec.dataset import Dataset
from velodrome.spec.metrics import OwnMetric
from velodrome.spec.optimize import OptimizeStep
from velodrome.spec.pods import Execution, Runner
from velodrome.spec.rules import broken_rules
from velodrome.spec.search import Search
from velodrome.spec.training import Training, TrainingOverride
from velodrome.spec.types import (
    Annotations,
    EntryName,
    Finite,
    Image,
    JsonObject,
    Labels,
    MetricName,
    ModelName,
    Name,
    TaskName,
)
from velodrome.tasks import DEFAULT, TASKS, task_of
from velodrome.vocabulary import OPTIMIZE_STEPS


class ObjectMeta(Strict):
    """The part of Kubernetes' ObjectMeta that Velodrome reads; other fields are allowed and ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Name = Field(description="Name of the job, a DNS label.")
    namespace: Name | None = Field(default=None, description="Namespace; a run on one machine uses `default`.")
    labels: Labels = Field(default={}, description="Labels; those of Kueue are copied to the Kubernetes Jobs.")
    annotations: Annotations = Field(default={}, description="Annotations, for people and tools.")
    uid: str | None = Field(default=None, max_length=128, description="Set by the API server.")


class Objective(Strict):
    """One thing to be best at; each objective has one ranking on the leaderboard."""

    name: Name = Field(description="Name of the objective on the leaderboard, unique in the job.")
    metric: MetricName = Field(
        description="A metric of the catalogue or of spec.metrics, which defines its direction and unit."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=65536, description="Batch size at which latency or inference throughput is ranked."
    )
    average: Literal["macro", "micro", "weighted"] | None = Field(
        default=None, description="How precision, recall and f1 are averaged over classes; macro if absent."
    )
    label: int | None = Field(
        default=None,
        ge=0,
        le=999_999,
        description="Index of a class: ranks the precision, recall, f1 or miou of that class alone.",
    )


class Model(Strict):
    """A model by name."""

    name: ModelName = Field(description="velodrome/NAME, torchvision/NAME, timm/NAME, or package.module:factory.")
    args: JsonObject = Field(default={}, description="Arguments of the model's constructor.")


class Entry(Strict):
    """One competitor: everything that may differ between entries."""

    name: EntryName = Field(description="Name on the leaderboard, unique in the job.")
    model: Model | None = Field(
        default=None, description="The model to train; absent if the entry has a `command` or is a variant."
    )
    training: TrainingOverride | None = Field(
        default=None, description="Overrides parts of spec.training for this entry."
    )
    image: Image | None = Field(default=None, description="This entry's own image, pinned by digest.")
    command: tuple[Annotated[str, Field(max_length=4096)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Your own training program, which runs instead of Velodrome's.",
    )
    variant_of: EntryName | None = Field(
        default=None,
        exclude_if=absent,
        description="Entry whose model this one trains in the same way, to optimize it afterwards.",
    )
    optimize: tuple[OptimizeStep, ...] | None = Field(
        default=None,
        exclude_if=absent,
        min_length=1,
        max_length=len(OPTIMIZE_STEPS),
        description="What makes the trained model smaller or faster before it is evaluated, in this order.",
    )


LARGEST_SEED = 2**31 - 1
MOST_REPEATS = 10_000


class UntilDecided(Strict):
    """When a race has seen enough: it adds seeds in rounds, until its objectives are decided."""

    decided: tuple[Name, ...] = Field(
        min_length=1,
        max_length=16,
        description="Objectives, by name; an entry gets more seeds only while these can still tell it from others.",
    )
    max_repeats: int = Field(
        ge=3, le=MOST_REPEATS, description="Largest number of trials of each entry, more than trials.repeats."
    )
    alpha: Finite = Field(
        default=0.05, gt=0, le=0.5, description="Largest chance of any false claim, over all rounds of the race."
    )


class Trials(Strict):
    """How many trials each entry has."""

    repeats: int = Field(
        default=5, ge=1, le=MOST_REPEATS, description="Number of trials of each entry, each with its own seed."
    )
    until: UntilDecided | None = Field(
        default=None,
        exclude_if=absent,
        description="Adds seeds after the first repeats, in rounds and only where they can change what is decided.",
    )
    base_seed: int = Field(
        default=0, ge=0, le=LARGEST_SEED, description="Seed of repeat 0; repeat r has baseSeed + r, for all entries."
    )
    taken_from: str | None = Field(
        default=None,
        alias="from",
        min_length=1,
        max_length=253,
        description="Job, by name or uid, whose results are taken over for the same trials; null: none.",
    )
    max_failed: int = Field(
        default=0, ge=0, le=100_000, description="Largest number of failed trials of the whole job; more fail it."
    )

    @property
    def most(self) -> int:
        """The largest number of trials that an entry may have: `repeats`, unless more rounds may follow."""
        return self.repeats if self.until is None else self.until.max_repeats

    @property
    def fresh_seed(self) -> int:
        """A base seed for the same number of trials, so that no seed is used again."""
        seed = self.base_seed + self.most
        return seed if seed <= LARGEST_SEED else max(0, self.base_seed - self.most)


class Threshold(Strict):
    """The smallest change of one objective that counts; write one of both."""

    name: Name = Field(description="An objective of spec.objectives.")
    min_relative_change: Finite | None = Field(
        default=None,
        ge=0,
        le=10,
        exclude_if=absent,
        description="Smallest relative change that counts; of a share such as accuracy, relative to the errors.",
    )
    min_absolute_change: Finite | None = Field(
        default=None,
        ge=0,
        le=1e18,
        exclude_if=absent,
        description="Smallest change that counts, in the metric's unit; 0.005 is half a point of accuracy.",
    )


class Regression(Strict):
    """When a change for the worse counts as a regression."""

    alpha: Finite = Field(default=0.01, gt=0, lt=0.5, description="Significance level.")
    min_relative_change: Finite = Field(default=0.02, ge=0, le=10, description="Smallest relative change that counts.")
    objectives: tuple[Threshold, ...] | None = Field(
        default=None,
        max_length=16,
        exclude_if=absent,
        description="Objectives with a smallest change of their own.",
    )
    min_samples: int = Field(
        default=3, ge=2, le=10_000, description="Smallest number of trials on each side of the comparison."
    )
    baseline: str | None = Field(
        default=None,
        max_length=253,
        description="Job to compare with, by uid or name; null: the pinned one (`velodrome baseline`), else the last.",
    )
    confirm: bool = Field(
        default=False,
        description="Whether a second job must show a regression before it counts; a cluster makes that job.",
    )

    def threshold(self, objective: str) -> Threshold:
        """The smallest change of this objective that counts: its own, or the default."""
        own = next((one for one in self.objectives or () if one.name == objective), None)
        if own is not None:
            return own
        # Names in a store may be of any kind, so they are not checked again.
        return Threshold.model_construct(
            name=objective, min_relative_change=self.min_relative_change, min_absolute_change=None
        )


class BenchmarkJobSpec(Strict):
    """What races, and under which conditions."""

    board: Name | None = Field(
        default=None, description="Board that results go to; the data set's name in lower case if absent."
    )
    task: TaskName | None = Field(
        default=None,
        exclude_if=absent,
        description="What a model has to do; as the data have it if absent, and classification if they leave a choice.",
    )
    metrics: tuple[OwnMetric, ...] | None = Field(
        default=None,
        exclude_if=absent,
        max_length=MOST_DECLARED,
        description="Metrics of your own, which the entries' programs report; those of the catalogue need no line.",
    )
    objectives: tuple[Objective, ...] = Field(
        default=(Objective(name=TASKS[DEFAULT].objective, metric=TASKS[DEFAULT].objective),),
        min_length=1,
        max_length=16,
        description="What to be best at; each objective has one ranking; in regression rmse if absent.",
    )
    dataset: Dataset = Field(description="The data.")
    preprocessing: Preprocessing = Field(default=Preprocessing(), description="What is done to the data.")
    budget: Budget = Field(default=Budget(), description="How long every entry may train.")
    training: Training = Field(default=Training(), description="Defaults that an entry may override.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is measured after training.")
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=1000, description="The competitors.")
    trials: Trials = Field(default=Trials(), description="How many trials each entry has.")
    search: Search | None = Field(
        default=None,
        exclude_if=absent,
        description="Search for the best setting of each entry before it is measured; none if absent.",
    )
    artifacts: Artifacts | None = Field(
        default=None, exclude_if=absent, description="Files that trials keep beside their results; none if absent."
    )
    runner: Runner = Field(default=Runner(), description="The pods that trials run in.")
    execution: Execution = Field(default=Execution(), description="How trials are distributed over time and nodes.")
    suspend: bool = Field(default=False, description="While true, no trial starts, and running trials are stopped.")
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="Seconds after the end of the race until its objects are deleted; its results stay.",
    )
    regression: Regression = Field(
        default=Regression(), description="When a change for the worse counts as a regression."
    )

    @model_validator(mode="after")
    def _defaults_of_the_task(self) -> BenchmarkJobSpec:
        """Puts the task's own objective and metrics in the place of the defaults, which an API server may have written.

        They are metrics that only the default task has, so that no job of another task means them.
        """
        row, fields = TASKS[self.task_name], type(self).model_fields
        if row.name != DEFAULT and self.objectives == fields["objectives"].default:
            objective = Objective(name=row.objective.replace("_", "-"), metric=row.objective)
            object.__setattr__(self, "objectives", (objective,))
        if row.name != DEFAULT and self.evaluation.metrics == TASKS[DEFAULT].metrics:
            object.__setattr__(self, "evaluation", self.evaluation.model_copy(update={"metrics": row.metrics}))
        return self

    @property
    def own_keys(self) -> dict[str, MetricKey]:
        """The keys of the declared metrics, by their names."""
        return {metric.name: metric.key for metric in self.metrics or ()}

    @property
    def task_name(self) -> str:
        """The task: as written, or as the data have it."""
        return task_of(self.task, self.dataset.name, self.dataset.format)


def board_of(dataset: str) -> str:
    """The board of a job that names none: the data set's name as a DNS label."""
    return dataset.lower().replace("_", "-")


class BenchmarkJob(Strict):
    """A race: entries, the conditions that they share, and the objectives that they are ranked by."""

    api_version: Literal["velodrome.dev/v1alpha1"] = Field(description=f"Always {keys.API_VERSION}.")
    kind: Literal["BenchmarkJob"] = Field(description=f"Always {keys.KIND}.")
    metadata: ObjectMeta = Field(description="Standard metadata of a Kubernetes object.")
    spec: BenchmarkJobSpec = Field(description="What races, and under which conditions.")
    status: JsonObject | None = Field(
        default=None, exclude=True, description="Written by the operator; ignored in files."
    )

    @model_validator(mode="after")
    def _rules(self) -> BenchmarkJob:
        """Applies the rules for files to objects that are made in Python."""
        problems = broken_rules(self.model_dump(mode="json"))
        if problems:
            raise ValueError("; ".join(f"{problem.path}: {problem.message}" for problem in problems))
        return self

    @model_validator(mode="after")
    def _confirming(self) -> BenchmarkJob:
        """The trials of a job with a search are those that confirm its winners."""
        trials, search = self.spec.trials, self.spec.search
        if search is not None and trials.repeats != search.confirm.repeats:
            confirming = trials.model_copy(update={"repeats": search.confirm.repeats})
            object.__setattr__(self.spec, "trials", confirming)
        return self

    @property
    def board(self) -> str:
        """The leaderboard that results go to."""
        return self.spec.board or board_of(self.spec.dataset.name)

    @property
    def namespace(self) -> str:
        """The namespace, `default` where none is written."""
        return self.metadata.namespace or "default"
