"""What an entry's search varies, in Optuna's terms. Pure, except that it imports Optuna when it is first asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from velodrome.canonical import canonical
from velodrome.spec import SearchParameter
from velodrome.spec.parameter_rules import size_of

if TYPE_CHECKING:
    from optuna.trial import FixedTrial, Trial


def chosen_by(trial: Trial | FixedTrial, parameters: Sequence[SearchParameter]) -> dict[str, Any]:
    """The values that Optuna suggests for a trial, in the order of the parameters, without those that do not apply."""
    found: dict[str, Any] = {}
    for one in parameters:
        if one.when is not None and not _is_among(found, one.when.parameter, one.when.values):
            continue
        found[one.name] = _suggested(trial, one)
    return found


def internal(parameters: Sequence[SearchParameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Optuna knows them. Those of other entries' parameters are left out."""
    known = {one.name: one for one in parameters}
    return {name: _to_optuna(known[name], value) for name, value in values.items() if name in known}


def grid(parameters: Sequence[SearchParameter]) -> dict[str, list[Any]]:
    """All values of each parameter, for a grid."""
    return {one.name: _all_values(one) for one in parameters}


def _suggested(trial: Trial | FixedTrial, one: SearchParameter) -> Any:
    if one.choices is not None:
        words = _words(one.choices)
        return one.choices[words.index(trial.suggest_categorical(one.name, words))]
    low, high = _ends(one)
    if one.type in ("Integer", "LogInteger"):
        step = int(one.step) if one.step is not None else 1
        return trial.suggest_int(one.name, int(low), int(high), step=step, log=one.type == "LogInteger")
    return trial.suggest_float(one.name, low, high, step=one.step, log=one.type == "LogFloat")


def _ends(one: SearchParameter) -> tuple[float, float]:
    """The smallest and the largest value that can be chosen: the last step may lie below `high`."""
    assert one.low is not None
    assert one.high is not None
    if one.step is None:
        return one.low, one.high
    size = size_of(one.model_dump(by_alias=True))
    assert size is not None
    return one.low, one.low + (size - 1) * one.step


def _all_values(one: SearchParameter) -> list[Any]:
    if one.choices is not None:
        return _words(one.choices)
    size = size_of(one.model_dump(by_alias=True))
    assert size is not None
    assert one.low is not None
    step = one.step if one.step is not None else 1.0
    values = [one.low + place * step for place in range(size)]
    return [int(value) for value in values] if one.type == "Integer" else values


def _to_optuna(one: SearchParameter, value: Any) -> Any:
    if one.choices is not None:
        same = next(at for at, choice in enumerate(one.choices) if _same(choice, value))
        return _words(one.choices)[same]
    return int(value) if one.type in ("Integer", "LogInteger") else float(value)


def _words(choices: Sequence[Any]) -> list[Any]:
    """The choices as Optuna takes them: as JSON texts, where there are lists and objects or Python calls some equal."""
    plain = all(one is None or isinstance(one, str | int | float) for one in choices)
    if plain and len(set(choices)) == len(choices):
        return list(choices)
    return [canonical(one) for one in choices]


def _is_among(values: Mapping[str, Any], name: str, allowed: Sequence[Any]) -> bool:
    return name in values and any(_same(values[name], one) for one in allowed)


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    return bool(value == other)
