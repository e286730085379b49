"""The objectives of a board, which are those of its jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from velodrome.metrics.catalogue import CATALOGUE, MetricKey, present_name
from velodrome.metrics.declared import Declared

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo


@dataclass(frozen=True, slots=True)
class BoardObjective:
    """One ranking of a board. `name` is unique on the board: if two keys have the same name, it contains the key."""

    name: str
    key: MetricKey


def board_objectives(jobs: Iterable[JobInfo]) -> tuple[BoardObjective, ...]:
    """The objectives of a board's jobs: each metric key once, with its newest name. `jobs` are newest first.

    Objectives with a metric that is missing in this version's catalogue, and in the job's own metrics, are left out.
    """
    names: dict[MetricKey, str] = {}
    for job in jobs:
        spec = job.document["spec"]
        own = _own_keys(spec.get("metrics") or ())
        for objective in spec.get("objectives") or _DEFAULT_OBJECTIVES:
            metric = present_name(objective["metric"])
            if metric in own or metric in CATALOGUE:
                names.setdefault(own.get(metric) or _key(objective), str(objective["name"]))
    taken = list(names.values())
    return tuple(
        BoardObjective(name if taken.count(name) == 1 else f"{name} ({key})", key) for key, name in names.items()
    )


_DEFAULT_OBJECTIVES: tuple[Mapping[str, Any], ...] = ({"name": "accuracy", "metric": "accuracy"},)


def _own_keys(declarations: Iterable[Mapping[str, Any]]) -> dict[str, MetricKey]:
    """The keys of declared metrics by name, without those that this version can't read."""
    found = {}
    for declaration in declarations:
        with suppress(ValueError):
            found[str(declaration.get("name"))] = MetricKey.declared(Declared.of(declaration))
    return found


def _key(objective: Mapping[str, Any]) -> MetricKey:
    return MetricKey.of(
        present_name(objective["metric"]),
        average=objective.get("average"),
        label=objective.get("label"),
        batch_size=objective.get("batchSize"),
    )
