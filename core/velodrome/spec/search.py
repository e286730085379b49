"""Hyperparameter search: what is tried for each entry, how the next trial is chosen, how the winner is confirmed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from velodrome.spec.base import Strict, absent
from velodrome.spec.types import EntryName, Finite, JsonObject, MetricName, Name, storable

Algorithm = Literal["Grid", "Random", "QMC", "TPE", "CMA-ES", "GP", "NSGA-II"]
ParameterType = Literal["Float", "LogFloat", "Integer", "LogInteger", "Categorical"]
PrunerName = Literal["Median", "ASHA", "Hyperband", "Patience", "Threshold"]

Json = Annotated[JsonValue, AfterValidator(storable)]
Bounded = Annotated[float, Field(allow_inf_nan=False, ge=-1e18, le=1e18)]
ParameterName = Annotated[str, Field(min_length=1, max_length=253)]
MOST_SEARCHED = 10_000


class SearchCondition(Strict):
    """When a parameter is tried at all: only beside some values of an earlier one."""

    parameter: ParameterName = Field(description="An earlier parameter of this search, by its name.")
    values: tuple[Json, ...] = Field(
        min_length=1, max_length=1000, description="Values of it beside which this parameter is tried."
    )


class SearchParameter(Strict):
    """One thing that a search varies."""

    name: ParameterName = Field(
        description="Path into training, preprocessing or model.args; a name of your own for entries with a command."
    )
    type: ParameterType = Field(description="Float, LogFloat, Integer, LogInteger or Categorical.")
    low: Bounded | None = Field(default=None, description="Smallest value of a number.")
    high: Bounded | None = Field(default=None, description="Largest value of a number.")
    step: Finite | None = Field(
        default=None,
        gt=0,
        le=1e18,
        description="Float, Integer: distance of neighbouring values; none, and 1, if absent.",
    )
    choices: tuple[Json, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="Categorical: its values, of any kind."
    )
    default: Json = Field(default=None, description="Value of the first trial; chosen like all others if absent.")
    when: SearchCondition | None = Field(default=None, description="When it is tried at all; always if absent.")
    entries: tuple[EntryName, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="Entries that have it, by name; all if absent."
    )


class SearchObjective(Strict):
    """What a search is to improve: a metric on the validation split, or a cost of training."""

    metric: MetricName = Field(description="A metric that is measured each epoch, or a cost such as parameters.")


class SearchBudget(Strict):
    """What a search may spend beside its number of trials; it begins no trial when one of these is spent."""

    scope: Literal["Entry", "Race"] = Field(
        default="Entry", description="Whether each entry may spend it, or all entries of the race together."
    )
    epochs: int | None = Field(default=None, ge=1, le=100_000_000, description="Epochs of all its trials.")
    seconds: Finite | None = Field(default=None, gt=0, le=1e9, description="Training time of all its trials.")
    gpu_hours: Finite | None = Field(
        default=None, gt=0, le=1e6, description="Training time of all its trials on GPUs, times their number, in hours."
    )


class SearchPruner(Strict):
    """Which trials end early, judged after each epoch on the validation split."""

    name: PrunerName = Field(description="Rule, by its name in Optuna, where ASHA is successive halving.")
    warmup_epochs: int | None = Field(
        default=None, ge=0, le=100_000, description="Median, Threshold: epochs in which no trial ends; 0 if absent."
    )
    startup_trials: int | None = Field(
        default=None, ge=0, le=10_000, description="Median: trials that run to their end first; 5 if absent."
    )
    min_epochs: int | None = Field(
        default=None, ge=1, le=100_000, description="ASHA, Hyperband: epochs before the first decision; 1 if absent."
    )
    reduction_factor: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description="ASHA, Hyperband: one trial of so many goes on at each decision; 4 and 3 if absent.",
    )
    patience: int | None = Field(
        default=None, ge=1, le=100_000, description="Patience: epochs without improvement before a trial ends."
    )
    min_delta: Finite | None = Field(
        default=None, ge=0, le=1e9, description="Patience: smallest change that counts as improvement; 0 if absent."
    )
    lower: Bounded | None = Field(default=None, description="Threshold: a trial below this value ends.")
    upper: Bounded | None = Field(default=None, description="Threshold: a trial above this value ends.")


class SearchTerminator(Strict):
    """When the search of an entry ends before maxTrials, because more trials are unlikely to improve it."""

    name: Literal["Stagnation", "Regret"] = Field(
        description="Stagnation: no better trial for a while; Regret: what may still be gained became small (EMMR)."
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SEARCHED,
        description="Stagnation: trials that ran to their end without a better one among them; 30 if absent.",
    )
    min_trials: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SEARCHED,
        description="Trials that must have run to their end before it judges; 20 if absent, and 30 for Regret.",
    )


class SearchSource(Strict):
    """Searches whose best points are tried early here; they are measured again."""

    job: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Another job of this board with a search, by name (the newest) or uid.",
    )
    board: Name | None = Field(default=None, description="A board: all searches of its jobs, newest first.")
    points: int = Field(default=5, ge=1, le=1000, description="Number of points of each entry.")


class SearchConfirmation(Strict):
    """How the winner of each entry is measured again."""

    repeats: int = Field(
        default=5, ge=1, le=10_000, description="Trials of each winner, on seeds that the search did not use."
    )


class Search(Strict):
    """A search for the best setting of each entry, on validation data; only confirming trials are ranked."""

    parameters: tuple[SearchParameter, ...] = Field(
        min_length=1, max_length=100, description="What is varied, in the order in which it is chosen."
    )
    algorithm: Algorithm = Field(
        default="TPE", description="How the next trial is chosen: Grid, Random, QMC, TPE, CMA-ES, GP or NSGA-II."
    )
    max_trials: int = Field(ge=1, le=MOST_SEARCHED, description="Largest number of search trials of each entry.")
    parallelism: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Largest number of search trials at once; as many as can run if absent.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the choices.")
    objectives: tuple[SearchObjective, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        description="What is improved; the first objective of the job on the validation split if absent.",
    )
    budget: SearchBudget | None = Field(
        default=None, description="What it may spend; only maxTrials limits it if absent."
    )
    pruner: SearchPruner | None = Field(default=None, description="Which trials end early; none if absent.")
    enqueue: tuple[JsonObject, ...] = Field(
        default=(), max_length=1000, description="Known points, tried first: values by parameter; others are chosen."
    )
    taken_from: SearchSource | None = Field(
        default=None,
        alias="from",
        exclude_if=absent,
        description="Searches whose best points are tried after these; none if absent.",
    )
    terminator: SearchTerminator | None = Field(
        default=None, exclude_if=absent, description="When it ends before maxTrials; never if absent."
    )
    confirm: SearchConfirmation = Field(
        default=SearchConfirmation(), description="How the winner of each entry is measured again."
    )

    def of(self, entry: str) -> tuple[SearchParameter, ...]:
        """The parameters of an entry, in order."""
        return tuple(one for one in self.parameters if one.entries is None or entry in one.entries)
