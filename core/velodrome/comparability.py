"""Which results a board can compare: its objectives, the cohorts of each, and why two cohorts can't be mixed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from velodrome.metrics import CATALOGUE, MetricKey

if TYPE_CHECKING:  # the store imports redis, which nothing here needs
    from velodrome.results import JobInfo
    from velodrome.store.types import CohortSummary


@dataclass(frozen=True, slots=True)
class BoardObjective:
    """One ranking of a board. `name` is unique on it: where two keys were given one name, the key stands behind it."""

    name: str
    key: MetricKey


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact in which two cohorts differ. `condition` is that of the catalogue; `fact` says which part of it."""

    condition: str
    fact: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.fact} differs: {self.here} here, {self.there} there"


def board_objectives(jobs: Iterable[JobInfo]) -> tuple[BoardObjective, ...]:
    """The objectives of a board's jobs, given newest first: each metric key once, under its newest name.

    An objective by a metric that this version's catalogue doesn't have is left out.
    """
    names: dict[MetricKey, str] = {}
    for job in jobs:
        for objective in job.document["spec"].get("objectives") or _DEFAULT_OBJECTIVES:
            if objective["metric"] in CATALOGUE:
                names.setdefault(_key(objective), str(objective["name"]))
    taken = list(names.values())
    return tuple(
        BoardObjective(name if taken.count(name) == 1 else f"{name} ({key})", key) for key, name in names.items()
    )


_DEFAULT_OBJECTIVES: tuple[Mapping[str, Any], ...] = ({"name": "accuracy", "metric": "accuracy"},)


def _key(objective: Mapping[str, Any]) -> MetricKey:
    return MetricKey.of(
        objective["metric"],
        average=objective.get("average"),
        label=objective.get("label"),
        batch_size=objective.get("batchSize"),
    )


def chosen_cohort(cohorts: Sequence[CohortSummary], wanted: str | None = None) -> CohortSummary | None:
    """The cohort that was asked for, else the newest; `cohorts` is newest first. None where there is none."""
    return next((cohort for cohort in cohorts if cohort.cohort_id == wanted), cohorts[0] if cohorts else None)


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Every fact in which two sets of conditions differ, in the order of the conditions."""
    left, right = dict(_facts(here)), dict(_facts(there))
    return tuple(
        Difference(path[0], fact_words(path), shown(left.get(path)), shown(right.get(path)))
        for path in dict.fromkeys((*left, *right))
        if left.get(path) != right.get(path)
    )


def cohort_labels(cohorts: Sequence[CohortSummary]) -> dict[str, str]:
    """A text for each cohort id that tells it from the others: the facts that vary among them, and only those.

    A single cohort is called by its words.
    """
    facts = {cohort.cohort_id: dict(_facts(cohort.conditions)) for cohort in cohorts}
    paths = dict.fromkeys(path for found in facts.values() for path in found)
    varying = [path for path in paths if len({shown(found.get(path)) for found in facts.values()}) > 1]
    if not varying:
        return {cohort.cohort_id: cohort.words for cohort in cohorts}
    return {
        name: " · ".join(f"{fact_words(path)}: {shown(found.get(path))}" for path in varying)
        for name, found in facts.items()
    }


Path = tuple[str, ...]

_WORDS: Mapping[Path, str] = {
    ("dataset", "digest"): "data",
    ("dataset", "name"): "dataset",
    ("dataset", "samples"): "train, validation and test samples",
    ("dataset", "validationFraction"): "validation fraction",
    ("preprocessing", "normalize"): "normalisation",
    ("preprocessing", "augmentations"): "augmentations",
    ("evaluation", "protocol"): "evaluation protocol",
    ("evaluation", "minRunSeconds"): "seconds of timing",
    ("budget", "maxEpochs"): "epochs at most",
    ("budget", "maxSeconds"): "training seconds at most",
    ("hardware", "cpu_model"): "CPU",
    ("hardware", "cpu_count"): "CPUs of the machine",
    ("hardware", "accelerator"): "accelerator",
    ("hardware", "accelerator_memory_bytes"): "accelerator memory, bytes",
    ("hardware", "driver"): "driver",
    ("software", "framework"): "framework",
    ("software", "velodrome"): "Velodrome",
    ("software", "python"): "Python",
    ("software", "cuda"): "CUDA",
    ("software", "cudnn"): "cuDNN",
    ("software", "image"): "image",
    ("resources", "cpus"): "CPUs granted",
    ("resources", "memory_limit_bytes"): "memory limit, bytes",
    ("resources", "accelerators"): "accelerators granted",
    ("resources", "concurrent_trials"): "trials at once",
    ("resources", "nodes"): "nodes",
}


def fact_words(path: Path) -> str:
    """A fact's name for people; an unknown one is named by where it stands."""
    if path in _WORDS:
        return _WORDS[path]
    return path[-1] if path[:2] == ("software", "libraries") else " ".join(path)


def shown(value: object) -> str:
    """A fact's value for people: a digest in short, a list with commas, an absent one as a word."""
    match value:
        case None | () | []:
            return "none"
        case True | False:
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case str():
            return re.sub(r"^sha256:(.{8}).*", r"\1", value)
        case Mapping():  # an augmentation or another part with a name
            name = str(value.get("name", ""))
            parts = [f"{key} {shown(item)}" for key, item in value.items() if key != "name" and item not in ({}, None)]
            return f"{name} ({', '.join(parts)})" if name and parts else name or ", ".join(parts)
        case list() | tuple():
            return ", ".join(shown(item) for item in value)
        case _:
            return str(value)


def _facts(value: Mapping[str, Any], here: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The leaves of nested conditions with where they stand. Lists count as leaves: their order is a fact too."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _facts(item, (*here, str(key)))
        else:
            yield (*here, str(key)), item
