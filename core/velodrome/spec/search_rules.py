"""Rules of a search. Pure; see `velodrome.spec.rules`. Those of single parameters are in `parameter_rules`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from velodrome.metrics.catalogue import CATALOGUE
from velodrome.spec.metric_rules import known_metric, lacking
from velodrome.spec.parameter_rules import (
    applies,
    is_number,
    is_whole,
    outside,
    parameter_rules,
    size_of,
)
from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, foreign_fields, numbered, one_of, repeated
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.tasks import TASKS, task_of

_HERE: Location = ("spec", "search")
_MOST_TRIALS = 100_000

PRUNER_FIELDS: Mapping[str, frozenset[str]] = {
    "Median": frozenset({"startupTrials", "warmupEpochs"}),
    "ASHA": frozenset({"minEpochs", "reductionFactor"}),
    "Hyperband": frozenset({"minEpochs", "reductionFactor"}),
    "Patience": frozenset({"patience", "minDelta"}),
    "Threshold": frozenset({"lower", "upper", "warmupEpochs"}),
}

TERMINATOR_FIELDS: Mapping[str, frozenset[str]] = {
    "Stagnation": frozenset({"trials", "minTrials"}),
    "Regret": frozenset({"minTrials"}),
}
FIRST_OF_REGRET = 30  # what Optuna compares with, as `velodrome.search.stopping` does


def search_rules(spec: Mapping[str, Any]) -> Iterator[Broken]:
    """What a search varies must be an entry's to set, what it improves must be measured, and something must fit in."""
    search = spec.get("search")
    if not isinstance(search, Mapping):
        return
    yield from parameter_rules(spec, search)
    yield from _objectives(spec, search)
    yield from _algorithm(spec, search)
    yield from _numbers_alone(spec, search)
    yield from _sizes(spec, search)
    yield from _pruner(spec, search)
    yield from _enqueued(search)
    yield from _terminator(search)
    yield from _source(search)
    yield from _trials(spec, search)


def _objectives(spec: Mapping[str, Any], search: Mapping[str, Any]) -> Iterator[Broken]:
    items = as_list(search.get("objectives"))
    for index, item in numbered(search.get("objectives")):
        yield from _objective((*_HERE, "objectives", index, "metric"), spec, item.get("metric"))
    for index, name in repeated([(at, as_mapping(item).get("metric")) for at, item in enumerate(items)]):
        yield Broken((*_HERE, "objectives", index, "metric"), f"{shown(name)} is in the list twice", "leave one out")
    if not items:
        metric = known_metric(spec, _default_metric(spec))
        if metric is None or not metric.per_epoch:
            named = "the job's first objective" if metric is None else metric.name
            hint = "write objectives: [{metric: …}], for example validation_loss"
            yield Broken(_HERE, f"{named} is not measured on the validation split each epoch", hint)
    if len(items) > 1 and search.get("algorithm") == "CMA-ES":
        hint = "use TPE or NSGA-II, or one objective"
        yield Broken((*_HERE, "algorithm"), "CMA-ES improves one objective alone", hint)
    fraction = as_mapping(spec.get("dataset")).get("validationFraction")
    if fraction == 0 and not as_mapping(spec.get("dataset")).get("splits"):
        message = "0 leaves no validation split, on which a search chooses"
        yield Broken(("spec", "dataset", "validationFraction"), message, "write 0.1, for example")


def _objective(here: Location, spec: Mapping[str, Any], name: Any) -> Iterator[Broken]:
    metric = known_metric(spec, name)
    if metric is None:
        return
    dataset = as_mapping(spec.get("dataset"))
    task = task_of(
        as_text(spec.get("task")) or None, as_text(dataset.get("name")), as_text(dataset.get("format")) or None
    )
    row = TASKS.get(task)
    if metric.kind == "quality" and not metric.per_epoch:
        allowed = ", ".join(
            one.name for one in CATALOGUE.values() if one.per_epoch and (row is None or row.measures(one))
        )
        yield Broken(here, f"{name} is not measured on the validation split each epoch", f"one of: {allowed}")
    elif row is not None and not row.measures(metric):
        yield Broken(here, f"{name} is no metric of {task}", f"one of: {', '.join(row.quality)}")
    elif metric.times_inference or metric.name == "time_to_target_seconds":
        yield Broken(here, f"{name} is not measured in search trials", "use parameters, flops or train_seconds")
    elif lacks := lacking(spec, metric):
        yield Broken(here, *lacks)


def _default_metric(spec: Mapping[str, Any]) -> str | None:
    """The metric that a search without objectives improves, as far as it is written."""
    objectives = [item for _, item in numbered(spec.get("objectives"))]
    if objectives:
        return as_text(objectives[0].get("metric")) or None
    dataset = as_mapping(spec.get("dataset"))
    task = task_of(
        as_text(spec.get("task")) or None, as_text(dataset.get("name")), as_text(dataset.get("format")) or None
    )
    return TASKS[task].objective if task in TASKS else None


def _algorithm(spec: Mapping[str, Any], search: Mapping[str, Any]) -> Iterator[Broken]:
    if search.get("algorithm") != "Grid":
        return
    here: Location = (*_HERE, "parameters")
    for index, item in numbered(search.get("parameters")):
        if size_of(item) is None and item.get("type") in ("Float", "LogFloat", "LogInteger"):
            hint = "write a step, or list values as choices of a Categorical"
            yield Broken((*here, index), "a grid needs a number of values that ends", hint)
        if item.get("when") is not None:
            hint = "use TPE or Random, or leave when out"
            yield Broken((*here, index, "when"), "a grid has every combination, so nothing in it depends", hint)
    most = search.get("maxTrials")
    for _, entry in numbered(spec.get("entries")):
        sizes = [size_of(item) for _, item in numbered(search.get("parameters")) if applies(item, entry)]
        known = [size for size in sizes if size is not None]
        if known and len(known) == len(sizes) and is_whole(most) and most > math.prod(known):
            grid = math.prod(known)
            message = f"{most} trials are more than the grid of entry {entry.get('name')} has, {grid}"
            yield Broken((*_HERE, "maxTrials"), message, f"write {grid} at most")
            return


def _numbers_alone(spec: Mapping[str, Any], search: Mapping[str, Any]) -> Iterator[Broken]:
    """CMA-ES moves numbers together. It would draw everything else at random, as Optuna does."""
    if search.get("algorithm") != "CMA-ES":
        return
    items, use = list(numbered(search.get("parameters"))), "use TPE, or leave it out"
    for index, item in items:
        if item.get("type") == "Categorical":
            yield Broken((*_HERE, "parameters", index, "type"), "CMA-ES varies numbers alone", use)
        elif item.get("when") is not None:
            yield Broken((*_HERE, "parameters", index, "when"), "CMA-ES varies all numbers in each trial", use)
    for _, entry in numbered(spec.get("entries")):
        if sum(applies(item, entry) for _, item in items) == 1:
            message = f"CMA-ES needs two numbers at least, and entry {entry.get('name')} varies one"
            yield Broken((*_HERE, "algorithm"), message, "use TPE, Random or Grid")
            return


def _sizes(spec: Mapping[str, Any], search: Mapping[str, Any]) -> Iterator[Broken]:
    entries, most = len(as_list(spec.get("entries"))), search.get("maxTrials")
    if is_whole(most) and most * entries > _MOST_TRIALS:
        message = f"{most} trials of {entries} entries are more than {_MOST_TRIALS:,}"
        yield Broken((*_HERE, "maxTrials"), message, f"write {_MOST_TRIALS // max(1, entries)} at most")
    budget = as_mapping(search.get("budget"))
    epochs, longest = budget.get("epochs"), as_mapping(spec.get("budget")).get("maxEpochs", 10)
    if is_whole(epochs) and is_whole(longest) and epochs < longest:
        message = f"not one trial fits into {epochs} epochs: spec.budget.maxEpochs is {longest}"
        yield Broken((*_HERE, "budget", "epochs"), message, f"write {longest} or more")
    tuned = sum(any(applies(item, entry) for _, item in numbered(search.get("parameters")))
                for _, entry in numbered(spec.get("entries")))  # fmt: skip
    least = longest * tuned if is_whole(longest) else 0
    if budget.get("scope") == "Race" and is_whole(epochs) and is_whole(longest) and longest <= epochs < least:
        message = f"{tuned} entries share {epochs} epochs, and a trial of each takes {least}"
        yield Broken((*_HERE, "budget", "epochs"), message, f"write {least} or more, or scope: Entry")
    written = [name for name in ("epochs", "seconds", "gpuHours") if budget.get(name) is not None]
    if search.get("budget") is not None and not written:
        yield Broken((*_HERE, "budget"), "limits nothing", "write epochs, seconds or gpuHours")


def _pruner(spec: Mapping[str, Any], search: Mapping[str, Any]) -> Iterator[Broken]:
    pruner, here = as_mapping(search.get("pruner")), (*_HERE, "pruner")
    if not pruner:
        return
    name, objectives = as_text(pruner.get("name")), as_list(search.get("objectives"))
    yield from foreign_fields(here, pruner, name, PRUNER_FIELDS)
    if name == "Patience" and pruner.get("patience") is None:
        yield Broken(here, "Patience needs a number of epochs", "write patience: NUMBER")
    longest = as_mapping(spec.get("budget")).get("maxEpochs", 10)
    for field in ("minEpochs", "warmupEpochs", "patience"):
        epochs = pruner.get(field)
        if is_whole(epochs) and is_whole(longest) and epochs >= longest and field in PRUNER_FIELDS.get(name, ()):
            message = f"{epochs} is no less than spec.budget.maxEpochs, {longest}, so it would end nothing"
            yield Broken((*here, field), message, "write a smaller number, or leave pruner out")
    lower, upper = pruner.get("lower"), pruner.get("upper")
    if name == "Threshold" and lower is None and upper is None:
        yield Broken(here, "Threshold needs a bound", "write lower, upper or both")
    if is_number(lower) and is_number(upper) and lower > upper:
        yield Broken((*here, "lower"), f"{shown(lower)} is above upper, {shown(upper)}", "swap them")
    if len(objectives) > 1:
        yield Broken(here, "trials with several objectives can't end early", "write one objective, or no pruner")
    metric = known_metric(spec, as_mapping(objectives[0]).get("metric")) if len(objectives) == 1 else None
    if metric is not None and not metric.per_epoch:
        message = f"{metric.name} is not measured each epoch, so no trial could end early"
        yield Broken(here, message, "leave pruner out, or improve a metric of the validation split")


def _enqueued(search: Mapping[str, Any]) -> Iterator[Broken]:
    named: dict[str, list[Mapping[str, Any]]] = {}
    for _, item in numbered(search.get("parameters")):
        named.setdefault(as_text(item.get("name")), []).append(item)
    for index, point in numbered(search.get("enqueue")):
        here: Location = (*_HERE, "enqueue", index)
        if not point:
            yield Broken(here, "names no parameter", "write PARAMETER: VALUE, or leave the point out")
        for name, value in point.items():
            if name not in named:
                yield Broken((*here, name), "is no parameter of this search", suggestion(name, named))
            elif all(outside(item, value) is not None for item in named[name]):
                yield Broken((*here, name), f"{shown(value)} is outside", outside(named[name][0], value) or "")
            elif left := [one for one in map(_left_out(point), named[name]) if one]:
                yield Broken((*here, name), *left[0])
    most = search.get("maxTrials")
    if is_whole(most) and len(as_list(search.get("enqueue"))) > most:
        message = f"has {len(as_list(search.get('enqueue')))} points, and there are {most} trials"
        yield Broken((*_HERE, "enqueue"), message, "raise maxTrials, or leave some out")


def _left_out(point: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], tuple[str, str] | None]:
    """Why a parameter has no value in a point, by what the point says of the one that it depends on."""

    def why(item: Mapping[str, Any]) -> tuple[str, str] | None:
        when = as_mapping(item.get("when"))
        parent, values = as_text(when.get("parameter")), as_list(when.get("values"))
        if parent not in point or point[parent] in values:
            return None
        allowed = ", ".join(map(shown, values))
        return f"is not tried where {parent} is {shown(point[parent])}", f"leave it out, or write {parent}: {allowed}"

    return why


def _terminator(search: Mapping[str, Any]) -> Iterator[Broken]:
    terminator, here = as_mapping(search.get("terminator")), (*_HERE, "terminator")
    if not terminator:
        return
    name, most = as_text(terminator.get("name")), search.get("maxTrials")
    yield from foreign_fields(here, terminator, name, TERMINATOR_FIELDS)
    if len(as_list(search.get("objectives"))) > 1:
        yield Broken(here, "a search with several objectives can't end early", "write one objective, or no terminator")
    for field, least in (("trials", terminator.get("trials")), ("minTrials", terminator.get("minTrials"))):
        if is_whole(least) and is_whole(most) and least >= most:
            yield Broken((*here, field), f"{least} is no less than maxTrials, {most}", "so it would end nothing")
    least = terminator.get("minTrials")
    if name == "Regret" and is_whole(least) and least < FIRST_OF_REGRET:
        message = f"Regret compares with the first {FIRST_OF_REGRET} trials"
        yield Broken((*here, "minTrials"), message, f"write {FIRST_OF_REGRET} or more")
    if name == "Regret" and is_whole(most) and most <= FIRST_OF_REGRET:
        message = f"Regret compares with the first {FIRST_OF_REGRET} trials, and there are {most}"
        yield Broken(here, message, "raise maxTrials, use Stagnation, or leave terminator out")


def _source(search: Mapping[str, Any]) -> Iterator[Broken]:
    if isinstance(search.get("from"), Mapping):
        yield from one_of((*_HERE, "from"), search["from"], ("job", "board"))


def _trials(spec: Mapping[str, Any], search: Mapping[str, Any]) -> Iterator[Broken]:
    trials = as_mapping(spec.get("trials"))
    repeats, own = as_mapping(search.get("confirm")).get("repeats", 5), trials.get("repeats", 5)
    if is_whole(own) and own not in (5, repeats):
        message = "the trials of a job with a search are those that confirm its winners"
        yield Broken(("spec", "trials", "repeats"), message, f"write search.confirm.repeats: {own} instead")
    if trials.get("until") is not None:
        yield Broken(("spec", "trials", "until"), "a search confirms a fixed number of trials", "leave until out")
