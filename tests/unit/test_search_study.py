"""A study suggests what Optuna suggests in a plain loop with the same seeds, also when it is made again on the way."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pytest

from velodrome.results.searches import Suggestion
from velodrome.search.sampling import trial_seed
from velodrome.search.study import EntryStudy, Told
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


def _loss_after(values: Mapping[str, Any], epoch: int) -> float:
    """A loss that falls with the epochs, and where it is large rises after the third one."""
    return _cost(values) * (1 + 2 / epoch + (0.5 * max(0, epoch - 3) if _cost(values) > 9 else 0))


_PRUNERS: dict[str, tuple[dict[str, Any], Callable[[], optuna.pruners.BasePruner]]] = {
    "ASHA": ({"reductionFactor": 2}, lambda: optuna.pruners.SuccessiveHalvingPruner(1, 2)),
    "Hyperband": ({}, lambda: optuna.pruners.HyperbandPruner(max_resource=9)),
    "Median": ({"startupTrials": 3}, lambda: optuna.pruners.MedianPruner(n_startup_trials=3)),
    "Threshold": ({"upper": 20.0}, lambda: optuna.pruners.ThresholdPruner(upper=20.0)),
    "Patience": ({"patience": 2, "minDelta": 0.1}, lambda: optuna.pruners.PatientPruner(None, 2, 0.1)),
}
_Tried = list[tuple[dict[str, Any], int]]


def _pruned_plainly(make: Callable[[], optuna.pruners.BasePruner]) -> _Tried:
    """What Optuna alone tries, and after how many of nine epochs each trial ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(study_name="e", pruner=make())
    found: _Tried = []
    for number in range(_TRIALS):
        study.sampler = _plain_sampler("TPE", number)
        trial = study.ask()
        values, epoch, ended = _suggest_plainly(trial, _PARAMETERS), 0, False
        while epoch < 9 and not ended:
            epoch += 1
            trial.report(_loss_after(values, epoch), epoch)
            ended = trial.should_prune()
        if ended:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, _loss_after(values, epoch))
        found.append((values, epoch))
    return found


def _pruned_by_study(search: Search, again_after: int | None) -> _Tried:
    """The same through a study, which is made again every `again_after` trials."""
    study, made, told = EntryStudy(search, "e", ["minimize"], 9), list[Suggestion](), dict[int, Told]()
    found: _Tried = []
    for number in range(_TRIALS):
        if again_after is not None and number % again_after == 0:
            study = EntryStudy(search, "e", ["minimize"], 9)
            study.resume(made, told)
        made.append(study.suggest())
        own, steps, ended = made[-1].values, dict[int, float](), False
        while len(steps) < 9 and not ended:
            steps[len(steps) + 1] = _loss_after(own, len(steps) + 1)
            ended = study.ends(number, steps)
        told[number] = Told("Pruned", (), steps) if ended else Told("Complete", (steps[9],), steps)
        study.tell(number, told[number])
        found.append((dict(own), len(steps)))
    return found


@pytest.mark.parametrize("again_after", [None, 5])
@pytest.mark.parametrize("name", _PRUNERS)
def test_trials_end_early_where_optuna_ends_them(name: str, again_after: int | None) -> None:
    fields, make = _PRUNERS[name]
    found = _pruned_by_study(_search("TPE", _PARAMETERS, pruner={"name": name, **fields}), again_after)
    assert found == _pruned_plainly(make)
    assert len({epochs for _, epochs in found}) > 1, "some ended early"


def test_regret_is_judged_as_optuna_judges_it_from_thirty_trials_on() -> None:
    parameters = [{"name": "x", "type": "Float", "low": 0, "high": 1}]
    study = EntryStudy(_search("Random", parameters, terminator={"name": "Regret"}), "e", ["minimize"])
    space: dict[str, optuna.distributions.BaseDistribution] = {"x": optuna.distributions.FloatDistribution(0, 1)}
    plain = optuna.create_study()
    for _ in range(31):
        assert not study.is_unlikely_to_improve()
        made = study.suggest()
        value = (made.values["x"] - 0.4) ** 2
        plain.add_trial(optuna.trial.create_trial(params=dict(made.values), value=value, distributions=space))
        study.tell(made.number, Told("Complete", (value,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threshold = optuna.terminator.MedianErrorEvaluator(optuna.terminator.EMMREvaluator(seed=3))
        own = optuna.terminator.EMMREvaluator(seed=trial_seed(3, 31))
        wanted = optuna.terminator.Terminator(own, threshold).should_terminate(plain)
    assert study.is_unlikely_to_improve() == wanted
