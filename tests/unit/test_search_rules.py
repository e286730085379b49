"""What a search may not be, each with the field and the fix."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from velodrome.errors import SpecError
from velodrome.plan import local_uid, plan
from velodrome.search.trials import searched_keys, tuned, with_winners
from velodrome.spec import validate

RATE = "training.optimizer.learningRate"
GOOD: dict[str, Any] = {
    "apiVersion": "velodrome.dev/v1alpha1",
    "kind": "BenchmarkJob",
    "metadata": {"name": "search"},
    "spec": {
        "dataset": {"name": "digits"},
        "budget": {"maxEpochs": 4},
        "search": {
            "maxTrials": 6,
            "parameters": [
                {"name": RATE, "type": "LogFloat", "low": 0.001, "high": 1, "default": 0.01},
                {"name": "training.optimizer.name", "type": "Categorical", "choices": ["SGD", "AdamW"]},
                {
                    "name": "training.optimizer.momentum",
                    "type": "Float",
                    "low": 0,
                    "high": 0.99,
                    "when": {"parameter": "training.optimizer.name", "values": ["SGD"]},
                },
                {"name": "model.args.hidden", "type": "Integer", "low": 16, "high": 64, "step": 16, "entries": ["mlp"]},
            ],
            "confirm": {"repeats": 2},
        },
        "entries": [
            {"name": "mlp", "model": {"name": "velodrome/mlp"}},
            {"name": "cnn", "model": {"name": "velodrome/cnn"}},
        ],
    },
}
_Change = Callable[[dict[str, Any], dict[str, Any], list[dict[str, Any]]], object]


def changed(change: _Change) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    search = document["spec"]["search"]
    change(document["spec"], search, search["parameters"])
    return document


CASES: dict[str, tuple[_Change, str, str]] = {
    "no such path": (
        lambda _, __, p: p[0].update(name="training.optimizer.learningrate"),
        "parameters[0].name", 'did you mean "learningRate"',
    ),
    "shared": (lambda _, __, p: p[0].update(name="budget.maxEpochs"), "parameters[0].name", "shared by all entries"),
    "not an argument": (lambda _, __, p: p[3].update(name="model.name"), "parameters[3].name", "only the arguments"),
    "no such argument": (lambda _, __, p: p[3].pop("entries"), "parameters[3].name", "takes no hidden"),
    "a whole part": (lambda _, __, p: p[0].update(name="training.optimizer"), "parameters[0].name", "several fields"),
    "free name": (lambda _, __, p: p[2].update(name="lr"), "parameters[2].name", "has no program"),
    "low above high": (lambda _, __, p: p[0].update(low=2), "parameters[0].low", "is above high"),
    "log of 0": (lambda _, __, p: p[0].update(low=0), "parameters[0].low", "has no logarithm"),
    "no number": (lambda _, __, p: p[0].update(low=float("nan")), "parameters[0].low", "finite"),
    "no choice": (lambda _, __, p: p[1].update(choices=[]), "parameters[1].choices", "at least 1"),
    "unknown choice": (lambda _, __, p: p[1].update(choices=["SGD", "Adamm"]), "choices[1]", "can't be"),
    "default outside": (lambda _, __, p: p[0].update(default=3), "parameters[0].default", "from 0.001 to 1"),
    "bound of the field": (lambda _, __, p: p[2].update(high=1.5), "parameters[2].high", "less than 1"),
    "no such item": (
        lambda _, __, p: p[3].update(name="preprocessing.augmentations.0.args.magnitude", entries=None),
        "parameters[3]", "there is no item 0",
    ),
    "unknown parent": (
        lambda _, __, p: p[2]["when"].update(parameter="training.optimizer.nam"), "when.parameter", "did you mean",
    ),
    "impossible condition": (lambda _, __, p: p[2]["when"].update(values=["Adam"]), "when.values[0]", "is never"),
    "twice": (lambda _, __, p: p.append(dict(p[0])), "parameters[4].name", "varied twice"),
    "optimizer without a rate": (lambda _, __, p: p.pop(0), "parameters[0]", "learning rate"),
    "unknown entry": (lambda _, __, p: p[3].update(entries=["mpl"]), "entries[0]", 'did you mean "mlp"'),
    "more than a grid": (
        lambda _, s, __: s.update(
            algorithm="Grid", parameters=[{"name": "training.batchSize", "type": "Categorical", "choices": [32, 64]}]
        ),
        "search.maxTrials", "write 2 at most",
    ),
    "an endless grid": (lambda _, s, __: s.update(algorithm="Grid"), "parameters[0]", "write a step"),
    "nothing fits": (lambda _, s, __: s.update(budget={"epochs": 3}), "budget.epochs", "write 4 or more"),
    "an empty budget": (lambda _, s, __: s.update(budget={}), "search.budget", "limits nothing"),
    "a foreign field": (
        lambda _, s, __: s.update(pruner={"name": "ASHA", "patience": 2}), "pruner.patience", "has no patience",
    ),
    "a terminator of more": (
        lambda _, s, __: s.update(terminator={"name": "Stagnation", "trials": 6}),
        "terminator.trials", "no less than maxTrials, 6",
    ),
    "a terminator of few": (
        lambda _, s, __: s.update(terminator={"name": "Regret"}), "search.terminator", "the first 30 trials",
    ),
    "a terminator of several": (
        lambda _, s, __: s.update(
            terminator={"name": "Stagnation"}, objectives=[{"metric": "accuracy"}, {"metric": "parameters"}]
        ),
        "search.terminator", "several objectives",
    ),
    "another one's field": (
        lambda _, s, __: s.update(maxTrials=50, terminator={"name": "Regret", "trials": 2}),
        "terminator.trials", "Regret has no trials",
    ),
    "a warm start from nowhere": (
        lambda _, s, __: s.update({"from": {"points": 2}}), "search.from", "needs job or board",
    ),
    "a warm start from two": (
        lambda _, s, __: s.update({"from": {"job": "a", "board": "b"}}), "from.board", "beside job",
    ),
    "nothing to prune by": (
        lambda _, s, __: s.update(pruner={"name": "ASHA"}, objectives=[{"metric": "parameters"}]),
        "search.pruner", "not measured each epoch",
    ),
    "a point outside": (lambda _, s, __: s.update(enqueue=[{RATE: 9}]), "enqueue[0]", "from 0.001 to 1"),
    "a point of nothing": (lambda _, s, __: s.update(enqueue=[{"foo": 9}]), "enqueue[0].foo", "one of"),
    "a test metric": (lambda _, s, __: s.update(objectives=[{"metric": "loss"}]), "objectives[0]", "validation split"),
    "a timing": (
        lambda _, s, __: s.update(objectives=[{"metric": "latency_p50_seconds"}]), "objectives[0]", "not measured",
    ),
    "no validation split": (
        lambda spec, _, __: spec["dataset"].update(validationFraction=0), "validationFraction", "no validation split",
    ),
    "two numbers of repeats": (lambda spec, _, __: spec.update(trials={"repeats": 3}), "trials.repeats", "confirm"),
    "an endless step": (lambda _, __, p: p[3].update(step=float("inf")), "parameters[3].step", "finite"),
    "a step that is no number": (lambda _, __, p: p[3].update(step=float("nan")), "parameters[3].step", "finite"),
    "a default between steps": (lambda _, __, p: p[3].update(default=20), "parameters[3].default", "such as 16"),
    "a point between steps": (
        lambda _, s, __: s.update(enqueue=[{"model.args.hidden": 63}]), "enqueue[0]", "a step of 16 from 16",
    ),
    "a point that is never tried": (
        lambda _, s, __: s.update(
            enqueue=[{"training.optimizer.name": "AdamW", "training.optimizer.momentum": 0.5}]
        ),
        'enqueue[0]["training.optimizer.momentum"]', 'is not tried where training.optimizer.name is "AdamW"',
    ),
    "a condition of others": (
        lambda _, __, p: p[1].update(entries=["mlp"]), "parameters[2].when.parameter", "cnn does not vary",
    ),
    "a number twice": (
        lambda _, __, p: p.append(
            {"name": "training.batchSize", "type": "Categorical", "choices": [32, 64, 32.0]}
        ),
        "parameters[4].choices[2]", "twice",
    ),
    "a budget for some": (
        lambda _, s, __: s.update(budget={"epochs": 7, "scope": "Race"}), "budget.epochs", "write 8 or more",
    ),
    "a late pruner": (
        lambda _, s, __: s.update(pruner={"name": "ASHA", "minEpochs": 4}), "pruner.minEpochs", "end nothing",
    ),
    "an evolution of names": (
        lambda _, s, __: s.update(algorithm="CMA-ES"), "parameters[1].type", "numbers alone",
    ),
    "an evolution of what is not there": (
        lambda _, s, __: s.update(algorithm="CMA-ES"), "parameters[2].when", "in each trial",
    ),
    "an evolution of one number": (
        lambda _, s, p: s.update(algorithm="CMA-ES", parameters=[p[0], p[3]]), "algorithm", "entry cnn varies one",
    ),
    "an own program": (
        lambda spec, _, __: spec["entries"].append({"name": "own", "command": ["x"]}),
        "parameters[0].name", "no effect on the program",
    ),
}  # fmt: skip


def test_the_good_one_is_good() -> None:
    made = plan(validate(GOOD))
    assert len(made) == 4, "the trials that confirm the winners"
    assert [str(key) for key in searched_keys(made.job)] == ["accuracy"]


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_named_with_its_fix(name: str) -> None:
    change, where, words = CASES[name]
    with pytest.raises(SpecError) as error:
        validate(changed(change))
    said = [(problem.path, f"{problem.message} ({problem.hint})") for problem in error.value.problems]
    assert any(where in path and words in text for path, text in said), said


def test_values_go_where_their_paths_lead() -> None:
    made = plan(validate(GOOD))
    values = {RATE: 0.2, "training.optimizer.name": "AdamW", "model.args.hidden": 32}
    config = tuned(made.configs["mlp"], values)
    assert (config.training.optimizer.learning_rate, config.training.optimizer.name) == (0.2, "AdamW")
    assert config.model is not None
    assert config.model.args == {"hidden": 32}
    assert config.parameters is None
    assert tuned(made.configs["mlp"], {"lr": 1}).parameters == {"lr": 1}


def test_a_fields_of_another_optimizer_are_left_out() -> None:
    document = changed(lambda spec, _, __: spec.update(training={"optimizer": {"momentum": 0.9}}))
    made = plan(validate(document))
    config = tuned(made.configs["cnn"], {"training.optimizer.name": "AdamW", RATE: 0.1})
    assert config.training.optimizer.momentum is None


def test_searched_preprocessing_is_named_in_the_conditions_of_all_entries() -> None:
    document = changed(
        lambda _, __, p: p.append({"name": "preprocessing.normalize", "type": "Categorical", "choices": [True, False]})
    )
    made = with_winners(plan(validate(document)), {"mlp": {"preprocessing.normalize": False}})
    assert {config.chosen for config in made.configs.values()} == {("preprocessing.normalize",)}
    assert [config.preprocessing.normalize for config in made.configs.values()] == [False, True]


def test_another_search_is_another_race() -> None:
    uids = {
        local_uid(plan(validate(changed(change))))
        for change in (
            lambda *_: None,
            lambda _, s, __: s.update(seed=1),
            lambda _, s, __: s.update(maxTrials=7),
            lambda _, __, p: p[0].update(high=0.5),
        )
    }
    assert len(uids) == 4
    same = changed(lambda _, s, __: s.update(parallelism=2))
    assert local_uid(plan(validate(same))) in uids
