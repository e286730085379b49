"""Rules of a race until decided. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.spec.metric_rules import known_metric
from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, numbered, repeated
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.tasks import DEFAULT, TASKS, task_of

_HERE: Location = ("spec", "trials", "until")


def until_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """What `trials.until` names must be able to be decided, and there must be room for more rounds."""
    trials = as_mapping(spec.get("trials"))
    until = trials.get("until")
    if not isinstance(until, Mapping):
        return
    repeats, most = trials.get("repeats", 5), until.get("maxRepeats")
    if repeats == 1 and not isinstance(repeats, bool):
        message = "one trial of each entry shows no noise, so nothing can be decided after it"
        yield Broken(("spec", "trials", "repeats"), message, "write 2 or more, for example 5")
    elif _is_whole(repeats) and _is_whole(most) and most <= repeats:
        message = f"{most} leaves no room for another round after the first {repeats} repeats"
        yield Broken((*_HERE, "maxRepeats"), message, f"write more than {repeats}, for example {4 * repeats}")
    if len(as_list(spec.get("entries"))) == 1:
        yield Broken(_HERE, "one entry has no other to be told from", "add an entry, or leave until out")
    yield from _decided(spec, as_list(until.get("decided")))


def _decided(spec: Mapping[str, Any], names: list[Any]) -> Iterator[Broken]:
    metrics = _metrics(spec)
    here = (*_HERE, "decided")
    known = {name: known_metric(spec, metric) for name, metric in metrics.items()}
    vary = [name for name, metric in known.items() if metric is None or not metric.deterministic]
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue
        if name not in metrics:
            yield Broken((*here, index), f"{shown(name)} is no objective of this job", suggestion(name, metrics))
        elif name not in vary:
            message = f"{metrics[name]} is the same for every seed, so more seeds decide nothing"
            hint = f"name objectives that vary: {', '.join(vary)}" if vary else "leave until out"
            yield Broken((*here, index), message, hint)
    for index, name in repeated(list(enumerate(names))):
        yield Broken((*here, index), f"{shown(name)} is in the list twice", "leave one out")


def _metrics(spec: Mapping[str, Any]) -> dict[str, str]:
    """The metric of each objective, by the objective's name.

    Where the job names none, and where an API server wrote the default task's, it is the own objective of its task.
    """
    pairs = [(one.get("name"), one.get("metric")) for _, one in numbered(spec.get("objectives"))]
    default, dataset = TASKS[DEFAULT].objective, as_mapping(spec.get("dataset"))
    if spec.get("objectives") is None or pairs == [(default, default)]:
        task = task_of(as_text(spec.get("task")), as_text(dataset.get("name")), as_text(dataset.get("format")) or None)
        own = TASKS.get(task, TASKS[DEFAULT]).objective
        return {own: own}
    return {name: metric for name, metric in pairs if isinstance(name, str) and isinstance(metric, str)}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
