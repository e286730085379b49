"""Rules of the smallest changes that count for single objectives. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, numbered, one_of, taken_names
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.tasks import DEFAULT, TASKS, task_of


def threshold_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """Thresholds of objectives that the job does not have, and those that say nothing, or two things."""
    here: Location = ("spec", "regression", "objectives")
    items = as_mapping(spec.get("regression")).get("objectives")
    yield from taken_names(here, items)
    names = _objectives(spec)
    for index, item in numbered(items):
        yield from one_of((*here, index), item, ("minRelativeChange", "minAbsoluteChange"))
        name = item.get("name")
        if isinstance(name, str) and names and name not in names:
            yield Broken((*here, index, "name"), f"{shown(name)} is no objective of this job", suggestion(name, names))


def _objectives(spec: Mapping[str, Any]) -> list[str]:
    """The names of the job's objectives, that of the task if none is written. Empty if the task is unknown."""
    names = [as_text(item.get("name")) for _, item in numbered(spec.get("objectives"))]
    dataset, written = as_mapping(spec.get("dataset")), as_text(spec.get("task")) or None
    task = task_of(written, as_text(dataset.get("name")), as_text(dataset.get("format")) or None)
    if as_list(spec.get("objectives")) and names != [TASKS[DEFAULT].objective]:
        return names
    return [*names, TASKS[task].objective] if task in TASKS else []
