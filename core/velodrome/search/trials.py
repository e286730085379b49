"""The trials of a search, and the plan of the trials that confirm its winners. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from velodrome.canonical import digest
from velodrome.keys import search_uid
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, Trial, TrialConfig, identity_of, objective_key, without_foreign
from velodrome.results.records import JobInfo
from velodrome.results.searches import Searched, Suggestion
from velodrome.spec import BenchmarkJob, Search
from velodrome.spec.paths import MODEL_ARGS_ROOT, is_path, placed

LARGEST_SEED = 2**31


@dataclass(frozen=True)
class SearchPlan(Plan):
    """The search trials of a job. Its trials are numbered like those of a plan: number 0 of each entry, then number 1.

    A trial exists once its suggestion is in `suggestions`, by index, which grow while a search goes on.
    """

    suggestions: Mapping[int, Suggestion]

    def __len__(self) -> int:
        return len(self.configs) * search_of(self.job).max_trials

    def has(self, index: int) -> bool:
        """Whether a trial of that index was suggested."""
        return index in self.suggestions

    def trial(self, index: int) -> Trial:
        """The trial of that index.

        Raises:
            IndexError: nothing was suggested for it.
        """
        if index not in self.suggestions:
            raise IndexError(f"nothing was suggested for search trial {index} of {self.job.metadata.name}")
        number, place = divmod(index, len(self.configs))
        name = tuple(self.configs)[place]
        keys = tuple(map(str, searched_keys(self.job)))
        tried = tuned(self.configs[name], self.suggestions[index].values)
        config = tried.model_copy(update={"searched": keys})
        seed = search_seed(self.job, number)
        identity = digest(identity_of(config, exclude={"dataset": {"source": True}}), 64)
        return Trial(index, name, number, seed, config, digest([identity, seed], 16))


def search_of(job: BenchmarkJob) -> Search:
    """The search of a job that has one."""
    search = job.spec.search
    assert search is not None
    return search


def search_plan(plan: Plan, suggestions: Mapping[int, Suggestion]) -> SearchPlan:
    """The search trials of a planned job."""
    return SearchPlan(plan.job, plan.configs, suggestions)


def confirming(plan: Plan, searched: Searched) -> Plan:
    """The plan of the trials that confirm the winners: the job's own, with the parameters that were chosen."""
    return with_winners(plan, {entry: chosen.values for entry, chosen in searched.entries.items()})


def with_winners(plan: Plan, winners: Mapping[str, Mapping[str, Any]]) -> Plan:
    """The same plan with these parameters, by entry."""
    paths = tuple(sorted({one.name for one in search_of(plan.job).parameters if one.name.startswith("preprocessing.")}))
    shared = {"chosen": paths or None}
    return Plan(
        plan.job,
        {name: tuned(config, winners.get(name, {})).model_copy(update=shared) for name, config in plan.configs.items()},
    )


def search_seed(job: BenchmarkJob, number: int) -> int:
    """The seed of the search trials of that number, the same for all entries. No confirming trial has it."""
    return (job.spec.trials.base_seed + job.spec.trials.most + number) % LARGEST_SEED


def searched_keys(job: BenchmarkJob) -> tuple[MetricKey, ...]:
    """The keys of what the search improves; the first one decides between equal ones."""
    own = job.spec.own_keys
    named = [objective.metric for objective in search_of(job).objectives or ()]
    if not named:
        return (objective_key(job.spec.objectives[0], own),)
    return tuple(own.get(name) or MetricKey.of(name) for name in named)


def tuned(config: TrialConfig, values: Mapping[str, Any]) -> TrialConfig:
    """The configuration with these values at their paths. Free names become `parameters`, for a program of one's own.

    Fields that only other optimizers or schedules than the chosen one use are left out.

    Raises:
        ValueError: no configuration can have such a value; the message names the field.
    """
    if not values:
        return config
    document: dict[str, Any] = config.model_dump(mode="json", by_alias=True)
    free: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith(MODEL_ARGS_ROOT):
            document = placed(document, ["model", "args", *name.removeprefix(MODEL_ARGS_ROOT).split(".")], value)
        elif is_path(name):
            document = placed(document, name.split("."), value)
        else:
            free[name] = value
    document["training"] = without_foreign(document["training"]).model_dump(mode="json", by_alias=True)
    return TrialConfig.model_validate({**document, **({"parameters": free} if free else {})})


def search_info(job: JobInfo, plan: Plan, points: Mapping[str, tuple[Mapping[str, Any], ...]] | None = None) -> JobInfo:
    """What is stored of the search trials of a registered job, apart from the trials that rank. `points` are those of
    other searches, by entry, that are tried early.
    """
    most = search_of(plan.job).max_trials
    return job.model_copy(
        update={
            "uid": search_uid(job.uid),
            "search_of": job.uid,
            "trials": most * len(job.entries),
            "repeats": most,
            "rounds": None,
            "searched": None,
            "points": points or None,
        }
    )
