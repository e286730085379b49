"""Rules of the parameters of a search, one by one and among each other. Pure; see `velodrome.spec.rules`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from pydantic import BaseModel, ValidationError

from velodrome.spec.conditions import Preprocessing
from velodrome.spec.override import overlay
from velodrome.spec.paths import MODEL_ARGS_ROOT, is_path, placed, wrong_path
from velodrome.spec.raw import Broken, as_list, as_mapping, as_text, numbered
from velodrome.spec.training import Training
from velodrome.spec.wording import Location, shown, suggestion
from velodrome.vocabulary import MODEL_ARGS

_HERE: Location = ("spec", "search", "parameters")
_NUMBERS = ("Float", "LogFloat", "Integer", "LogInteger")
_TYPES = (*_NUMBERS, "Categorical")
_ON_STEP = 1e-8


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number, written as one."""
    return isinstance(value, int) and not isinstance(value, bool)


def parameter_rules(spec: Mapping[str, Any], search: Mapping[str, Any]) -> Iterator[Broken]:
    """The parameters of a search: their names, their values, and whom they are of."""
    items = list(numbered(search.get("parameters")))
    entries = [entry for _, entry in numbered(spec.get("entries"))]
    names = [as_text(entry.get("name")) for entry in entries]
    for index, item in items:
        here: Location = (*_HERE, index)
        for at, name in enumerate(as_list(item.get("entries"))):
            if isinstance(name, str) and name not in names:
                yield Broken((*here, "entries", at), f"{shown(name)} is no entry", suggestion(name, names))
        yield from _named(here, item, [one for one in entries if applies(item, one)])
        wrong = list(_values(here, item))
        yield from wrong
        if not wrong:
            yield from _default(here, item)
            yield from _fitting(here, spec, item)
        yield from _condition(here, item, [other for at, other in items if at < index])
        yield from _lacking(here, item, [other for at, other in items if at < index], entries)
    yield from _twice(items, names)
    yield from _optimizers(items)


def applies(item: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether an entry has this parameter."""
    return item.get("entries") is None or entry.get("name") in as_list(item.get("entries"))


def size_of(item: Mapping[str, Any]) -> int | None:
    """How many values a parameter has; None if they have no end, or it is not written well."""
    kind, low, high, step = (item.get(field) for field in ("type", "low", "high", "step"))
    if kind == "Categorical":
        return len(as_list(item.get("choices"))) or None
    if not (is_number(low) and is_number(high)) or low > high:
        return None
    if kind == "Integer":
        step = 1 if step is None else step
    if kind in ("Integer", "Float") and is_number(step) and 0 < step < math.inf:
        return math.floor((high - low) / step + 1e-9) + 1
    return None


def outside(item: Mapping[str, Any], value: Any) -> str | None:
    """What a value of this parameter may be, if this one may not; else None."""
    if item.get("type") == "Categorical":
        choices = as_list(item.get("choices"))
        alike = any(type(one) is type(value) and one == value for one in choices)
        return None if alike or not choices else f"one of: {', '.join(map(shown, choices))}"
    low, high, whole = item.get("low"), item.get("high"), item.get("type") in ("Integer", "LogInteger")
    if not (is_number(low) and is_number(high)):
        return None
    fits = is_number(value) and low <= value <= high and not (whole and value != int(value))
    if not fits:
        return f"{'a whole number' if whole else 'a number'} from {shown(low)} to {shown(high)}"
    step = item.get("step")
    if not (is_number(step) and 0 < step < math.inf) or item.get("type") not in ("Integer", "Float"):
        return None
    steps = (value - low) / step
    if abs(steps - round(steps)) < _ON_STEP:
        return None
    below = low + math.floor(steps) * step
    return f"a step of {shown(step)} from {shown(low)}, such as {shown(below)}"


def _named(here: Location, item: Mapping[str, Any], entries: list[Mapping[str, Any]]) -> Iterator[Broken]:
    name = as_text(item.get("name"))
    if not name:
        return
    wrong = wrong_path(name) if is_path(name) else None
    if wrong is not None:
        yield Broken((*here, "name"), f"{shown(name)}: {wrong[0]}", wrong[1])
        return
    for entry in entries:
        own = entry.get("command") is not None
        called = as_text(entry.get("name"))
        model = as_text(as_mapping(entry.get("model")).get("name"))
        others = "write entries: […] to leave it out"
        if own and is_path(name):
            yield Broken((*here, "name"), f"{shown(name)} has no effect on the program of entry {called}", others)
        elif not own and not is_path(name):
            hint = f"write a path into training, preprocessing or model.args, or {others}"
            yield Broken((*here, "name"), f"{shown(name)} is no path, and entry {called} has no program", hint)
        elif name.startswith(MODEL_ARGS_ROOT) and model in MODEL_ARGS:
            argument = name.removeprefix(MODEL_ARGS_ROOT)
            if argument not in MODEL_ARGS[model]:
                hint = f"{suggestion(argument, MODEL_ARGS[model])}, or {others}"
                yield Broken((*here, "name"), f"{model} of entry {called} takes no {argument}", hint)


def _values(here: Location, item: Mapping[str, Any]) -> Iterator[Broken]:
    kind = item.get("type")
    if kind == "Categorical":
        yield from _foreign(here, item, ("low", "high", "step"), "a Categorical has choices")
        if item.get("choices") is None:
            yield Broken(here, "a Categorical needs values", "write choices: [VALUE, …]")
        choices = as_list(item.get("choices"))
        for at, choice in enumerate(choices):
            if any(_alike(one, choice) for one in choices[:at]):
                yield Broken((*here, "choices", at), f"{shown(choice)} is in the list twice", "leave one out")
        if len(choices) == 1:
            yield Broken((*here, "choices"), "one value varies nothing", "write a second one")
    elif kind in _NUMBERS:
        yield from _foreign(here, item, ("choices",), f"a {kind} has low and high")
        yield from _range(here, item, str(kind))


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are the same: 32 and 32.0 are, and 1 and true are not."""
    if is_number(one) and is_number(other):
        return one == other
    return type(one) is type(other) and bool(one == other)


def _foreign(here: Location, item: Mapping[str, Any], fields: tuple[str, ...], hint: str) -> Iterator[Broken]:
    for field in fields:
        if item.get(field) is not None:
            yield Broken((*here, field), f"{item.get('type')} has no {field}", hint)


def _range(here: Location, item: Mapping[str, Any], kind: str) -> Iterator[Broken]:
    low, high, step = item.get("low"), item.get("high"), item.get("step")
    for field, value in (("low", low), ("high", high)):
        if value is None:
            yield Broken(here, f"a {kind} needs {field}", f"write {field}: NUMBER")
        elif kind.endswith("Integer") and is_number(value) and value != int(value):
            yield Broken((*here, field), f"{shown(value)} is no whole number", "write one, or use Float")
    if not (is_number(low) and is_number(high)):
        return
    if low >= high:
        how = "is above" if low > high else "equals"
        hint = f"write low: {shown(high)} and high: {shown(low)}" if low > high else "write a larger high"
        yield Broken((*here, "low"), f"{shown(low)} {how} high, {shown(high)}", hint)
    yield from _logarithm_or_step(here, kind, low, high, step)


def _logarithm_or_step(here: Location, kind: str, low: float, high: float, step: Any) -> Iterator[Broken]:
    if kind.startswith("Log"):
        if low <= 0:
            hint = "write 1.0e-5, for example" if kind == "LogFloat" else "write 1, for example"
            yield Broken((*here, "low"), f"{shown(low)} has no logarithm", f"{hint}, or use {kind.removeprefix('Log')}")
        if step is not None:
            yield Broken((*here, "step"), f"{kind} has no step", "leave it out")
    elif is_number(step) and math.isfinite(step) and low < high:
        if kind == "Integer" and step != int(step):
            yield Broken((*here, "step"), f"{shown(step)} is no whole number", "write one")
        elif step > high - low:
            yield Broken((*here, "step"), f"{shown(step)} is longer than low to high", "write a smaller one")


def _default(here: Location, item: Mapping[str, Any]) -> Iterator[Broken]:
    value = item.get("default")
    allowed = None if value is None else outside(item, value)
    if allowed is not None:
        yield Broken((*here, "default"), f"{shown(value)} is outside", allowed)


def _fitting(here: Location, spec: Mapping[str, Any], item: Mapping[str, Any]) -> Iterator[Broken]:
    """Values that the field which the path names can't have."""
    name = as_text(item.get("name"))
    root, *path = name.split(".")
    if root not in ("training", "preprocessing") or wrong_path(name) is not None:
        return
    whole = item.get("type") in ("Integer", "LogInteger")
    places: list[tuple[Location, Any]] = [(("choices", at), one) for at, one in enumerate(as_list(item.get("choices")))]
    places += [((end,), item[end]) for end in ("low", "high") if is_number(item.get(end))]
    for at, value in places:
        exact = float(value) if is_number(value) and not whole and at[0] != "choices" else value
        problem = _refused(spec, root, path, int(value) if whole else exact)
        if problem is not None:
            yield Broken((*here, *at), f"{name} can't be {shown(value)}", problem)


def _refused(spec: Mapping[str, Any], root: str, path: list[str], value: Any) -> str | None:
    """Why the job's part with this value at the path is not valid; None if it is. Problems elsewhere don't count."""
    model: type[BaseModel] = Training if root == "training" else Preprocessing
    try:
        document = placed(as_mapping(spec.get(root)), path, value)
    except ValueError as error:
        return str(error)
    try:
        model.model_validate(overlay(document, {}), by_alias=True, by_name=False)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            found = [str(part) for part in detail["loc"]]
            if found[: len(path)] == path or path[: len(found)] == found:
                return str(detail["msg"])[:1].lower() + str(detail["msg"])[1:]
    return None


def _condition(here: Location, item: Mapping[str, Any], earlier: list[Mapping[str, Any]]) -> Iterator[Broken]:
    when = as_mapping(item.get("when"))
    parent = when.get("parameter")
    if not isinstance(parent, str):
        return
    known = [other for other in earlier if other.get("name") == parent]
    if not known:
        names = [as_text(other.get("name")) for other in earlier]
        hint = suggestion(parent, names) if names else "write the other parameter first"
        yield Broken((*here, "when", "parameter"), f"{shown(parent)} is no earlier parameter", hint)
        return
    for at, value in enumerate(as_list(when.get("values"))):
        allowed = outside(known[0], value)
        if allowed is not None:
            yield Broken((*here, "when", "values", at), f"{parent} is never {shown(value)}", allowed)


def _lacking(
    here: Location, item: Mapping[str, Any], earlier: list[Mapping[str, Any]], entries: list[Mapping[str, Any]]
) -> Iterator[Broken]:
    """Entries that have the parameter, and lack the one that it depends on: for them it is never tried."""
    parent = as_mapping(item.get("when")).get("parameter")
    known = [other for other in earlier if other.get("name") == parent]
    without = [
        as_text(entry.get("name"))
        for entry in entries
        if applies(item, entry) and not any(applies(other, entry) for other in known)
    ]
    if known and without:
        message = f"{', '.join(without)} does not vary {parent}, so this is never tried there"
        yield Broken((*here, "when", "parameter"), message, "write entries: […] that leaves it out, or vary both")


def _twice(items: list[tuple[int, Mapping[str, Any]]], names: list[str]) -> Iterator[Broken]:
    seen: dict[str, set[str]] = {}
    for index, item in items:
        name = as_text(item.get("name"))
        of = set(names) if item.get("entries") is None else {str(one) for one in as_list(item.get("entries"))}
        both = seen.setdefault(name, set()) & of
        if both:
            message = f"{shown(name)} is varied twice for {', '.join(sorted(both))}"
            yield Broken((*_HERE, index, "name"), message, "leave one out, or give them different entries")
        seen[name] |= of


def _optimizers(items: list[tuple[int, Mapping[str, Any]]]) -> Iterator[Broken]:
    """Another optimizer needs a learning rate of its own, as for an entry."""
    names = {as_text(item.get("name")) for _, item in items}
    for index, item in items:
        if item.get("name") == "training.optimizer.name" and "training.optimizer.learningRate" not in names:
            message = "each optimizer needs its own learning rate"
            yield Broken((*_HERE, index), message, "vary training.optimizer.learningRate too")
