"""A study suggests what Optuna suggests in a plain loop with the same seeds, also when it is made again on the way."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
import pytest

from velodrome.results.searches import Suggestion
from velodrome.search.study import EntryStudy, Told, trial_seed
from velodrome.spec import Search

_TRIALS = 24
_PARAMETERS: list[dict[str, Any]] = [
    {"name": "x", "type": "Float", "low": -5, "high": 5},
    {"name": "y", "type": "LogFloat", "low": 0.001, "high": 10},
    {"name": "n", "type": "Integer", "low": 1, "high": 9, "step": 2},
    {"name": "kind", "type": "Categorical", "choices": ["a", "b", [1, 2]]},
    {"name": "only-b", "type": "Float", "low": 0, "high": 1, "when": {"parameter": "kind", "values": ["b"]}},
]
_GRID: list[dict[str, Any]] = [
    {"name": "x", "type": "Float", "low": -5, "high": 5, "step": 2.5},
    {"name": "n", "type": "Integer", "low": 1, "high": 4},
    {"name": "kind", "type": "Categorical", "choices": ["a", "b"]},
]
_NUMBERS = _PARAMETERS[:3]


def _search(algorithm: str, parameters: list[dict[str, Any]], **more: Any) -> Search:
    return Search.model_validate(
        {"parameters": parameters, "algorithm": algorithm, "maxTrials": _TRIALS, "seed": 3, **more}
    )


def _cost(values: Mapping[str, Any]) -> float:
    """A test function with a valley, a slope, a penalty of one kind, and some conditional part."""
    x, y, n = values["x"], values.get("y", 1.0), values["n"]
    kind = {"a": 0.0, "b": 0.5}.get(values.get("kind", "a") if isinstance(values.get("kind", "a"), str) else "", 1.0)
    return float((x - 1.3) ** 2 + (math.log10(y) + 1) ** 2 + (n - 5) ** 2 / 4 + kind + values.get("only-b", 0.0) / 3)


def _plain_sampler(algorithm: str, number: int) -> optuna.samplers.BaseSampler:
    seed = trial_seed(3, number)
    match algorithm:
        case "TPE":
            return optuna.samplers.TPESampler(seed=seed)
        case "Random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "CMA-ES":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "GP":
            return optuna.samplers.GPSampler(seed=seed)
        case "NSGA-II":
            return optuna.samplers.NSGAIISampler(seed=seed)
        case "QMC":
            return optuna.samplers.QMCSampler(seed=3, scramble=True, warn_independent_sampling=False)
    space: dict[str, list[Any]] = {"x": [-5.0, -2.5, 0.0, 2.5, 5.0], "n": [1, 2, 3, 4], "kind": ["a", "b"]}
    return optuna.samplers.GridSampler(space, seed=3)


def _suggest_plainly(trial: optuna.Trial, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """What a person would write with Optuna alone."""
    names = [str(one["name"]) for one in parameters]
    if parameters is _GRID:
        return {
            "x": trial.suggest_float("x", -5, 5, step=2.5),
            "n": trial.suggest_int("n", 1, 4),
            "kind": trial.suggest_categorical("kind", ["a", "b"]),
        }
    found: dict[str, Any] = {
        "x": trial.suggest_float("x", -5, 5),
        "y": trial.suggest_float("y", 0.001, 10, log=True),
        "n": trial.suggest_int("n", 1, 9, step=2),
    }
    if "kind" in names:
        words = ['"a"', '"b"', "[1,2]"]
        chosen = trial.suggest_categorical("kind", words)
        found["kind"] = {'"a"': "a", '"b"': "b", "[1,2]": [1, 2]}[chosen]
        if found["kind"] == "b":
            found["only-b"] = trial.suggest_float("only-b", 0, 1)
    return found


def _plainly(algorithm: str, parameters: list[dict[str, Any]], trials: int, at_once: int) -> list[dict[str, Any]]:
    """Optuna's ask and tell, with a new sampler for each trial, `at_once` trials ahead of their results."""
    study = optuna.create_study(study_name="e")
    found: list[dict[str, Any]] = []
    waiting: list[tuple[optuna.Trial, dict[str, Any]]] = []
    for number in range(trials):
        study.sampler = _plain_sampler(algorithm, number)
        trial = study.ask()
        values = _suggest_plainly(trial, parameters)
        found.append(values)
        waiting.append((trial, values))
        if len(waiting) == at_once:
            done, of = waiting.pop(0)
            if algorithm == "Grid":  # its tell would end a loop of optimize, and there is none
                study.sampler = optuna.samplers.RandomSampler()
            study.tell(done, _cost(of))
    return found


def _through_study(search: Search, trials: int, at_once: int, again_after: int | None) -> list[dict[str, Any]]:
    """The same through a study. It is made again from what was stored every `again_after` trials."""
    study = EntryStudy(search, "e", ["minimize"])
    made: list[Suggestion] = []
    told: dict[int, Told] = {}
    for number in range(trials):
        if again_after is not None and number % again_after == 0:
            study = EntryStudy(search, "e", ["minimize"])
            study.resume([Suggestion.model_validate_json(one.model_dump_json()) for one in made], told)
        made.append(study.suggest())
        if len(made) - len(told) == at_once:
            done = len(told)
            told[done] = Told("Complete", (_cost(made[done].values),))
            study.tell(done, told[done])
    return [dict(one.values) for one in made]


@pytest.mark.parametrize("again_after", [None, 5])
@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [
        ("TPE", _PARAMETERS),
        ("Random", _PARAMETERS),
        ("QMC", _NUMBERS),
        ("CMA-ES", _NUMBERS),
        ("NSGA-II", _PARAMETERS),
        ("Grid", _GRID),
    ],
)
def test_suggestions_are_those_of_a_plain_loop(
    algorithm: str, parameters: list[dict[str, Any]], at_once: int, again_after: int | None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls some samplers experimental
        wanted = _plainly(algorithm, parameters, _TRIALS, at_once)
    assert _through_study(_search(algorithm, parameters), _TRIALS, at_once, again_after) == wanted


def test_a_gaussian_process_is_that_of_a_plain_loop() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = _plainly("GP", _NUMBERS, 14, 1)
    assert _through_study(_search("GP", _NUMBERS), 14, 1, 5) == wanted
