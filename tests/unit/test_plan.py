"""From a job to its trials: which, in which order, with which seeds, and who they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from velodrome.plan import (
    Plan,
    entry_id,
    local_uid,
    objective_key,
    plan,
    quality_keys,
    resolve,
    times_inference,
)
from velodrome.spec import BenchmarkJob, Entry, Objective, Training, read_jobs, validate

JOBS = Path(__file__).parent / "jobs"
FULL = JOBS / "full.yaml"


def job(**spec: Any) -> BenchmarkJob:
    """A small job with these parts."""
    entries = [{"name": name, "model": {"name": f"velodrome/{name}"}} for name in ("mlp", "cnn", "gru")]
    return validate(
        {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": "race"},
            "spec": {"dataset": {"name": "digits"}, "entries": entries, "trials": {"repeats": 2}} | spec,
        }
    )


def trained(defaults: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """What an entry's override makes of defaults, without what is null."""
    entry = {"name": "a", "model": {"name": "velodrome/mlp"}, "training": override}
    made = plan(job(training=defaults, entries=[entry]))
    return made.configs["a"].training.model_dump(mode="json", exclude_none=True)


# Trials


def test_entries_interleave_and_are_paired_by_seed() -> None:
    made = plan(job(trials={"repeats": 2, "baseSeed": 40}))
    assert [(trial.index, trial.entry, trial.repeat, trial.seed) for trial in made.trials] == [
        (0, "mlp", 0, 40),
        (1, "cnn", 0, 40),
        (2, "gru", 0, 40),
        (3, "mlp", 1, 41),
        (4, "cnn", 1, 41),
        (5, "gru", 1, 41),
    ]
    assert len(made) == 6


@pytest.mark.parametrize("index", [-1, 6, 100])
def test_a_trial_that_is_not_planned_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=f"the plan of race has trials 0 to 5, not {index}"):
        plan(job()).trial(index)


def test_the_trials_of_some_entries_keep_their_order_and_their_places() -> None:
    made = plan(job())
    assert made.indexes((0, 2)) == (0, 2, 3, 5)
    assert [made.trial(index).entry for index in made.indexes((1,))] == ["cnn", "cnn"]
    assert made.indexes((0, 1, 2)) == tuple(range(len(made)))


def test_more_repeats_leave_the_trials_before_them_as_they_were() -> None:
    few, many = plan(job(trials={"repeats": 2})), plan(job(trials={"repeats": 7}))
    assert many.trials[: len(few)] == few.trials


def test_every_trial_has_an_identity_of_its_own() -> None:
    assert len({trial.id for trial in plan(job(trials={"repeats": 50})).trials}) == 150


# What an entry makes of the defaults


def test_an_override_is_laid_over_the_defaults_part_by_part() -> None:
    defaults = {"batchSize": 32, "optimizer": {"name": "SGD", "learningRate": 0.1, "momentum": 0.9}}
    made = trained(defaults, {"optimizer": {"learningRate": 0.5}, "regularization": {"l2": 0.01}})
    assert made["batchSize"] == 32
    assert made["optimizer"] == {"name": "SGD", "learningRate": 0.5, "momentum": 0.9}
    assert made["regularization"] == {"l1": 0, "l2": 0.01, "dropout": 0, "labelSmoothing": 0}


def test_another_optimizer_or_schedule_drops_what_is_not_its_own() -> None:
    defaults = {
        "optimizer": {"name": "SGD", "learningRate": 0.1, "momentum": 0.9, "nesterov": True},
        "schedule": {"name": "Step", "stepEpochs": 3, "gamma": 0.5},
    }
    made = trained(defaults, {"optimizer": {"name": "Adam", "learningRate": 0.001}, "schedule": {"name": "Cosine"}})
    assert made["optimizer"] == {"name": "Adam", "learningRate": 0.001}
    assert made["schedule"] == {"name": "Cosine"}


def test_a_list_is_replaced_whole() -> None:
    defaults = {"optimizer": {"name": "Adam", "betas": [0.8, 0.9]}}
    assert trained(defaults, {"optimizer": {"betas": [0.5, 0.6]}})["optimizer"]["betas"] == [0.5, 0.6]


def test_null_turns_a_part_off_and_a_part_turns_it_on() -> None:
    assert "earlyStopping" not in trained({"earlyStopping": {"patience": 7}}, {"earlyStopping": None})
    made = trained({}, {"earlyStopping": {"patience": 7}})
    assert made["earlyStopping"] == {"metric": "validation_loss", "patience": 7, "minDelta": 0}


def test_an_override_in_an_override_keeps_the_rest_of_the_part() -> None:
    made = trained({"earlyStopping": {"patience": 7, "minDelta": 0.1}}, {"earlyStopping": {"patience": 9}})
    assert made["earlyStopping"] == {"metric": "validation_loss", "patience": 9, "minDelta": 0.1}


def test_an_empty_override_changes_nothing() -> None:
    defaults = Training(batch_size=7)
    entry = Entry.model_validate({"name": "a", "model": {"name": "velodrome/mlp"}, "training": {}})
    assert resolve(defaults, entry) == defaults


def test_overrides_survive_the_way_to_the_runner() -> None:
    original = job(
        training={"earlyStopping": {"patience": 7}, "optimizer": {"momentum": 0.9}},
        entries=[
            {"name": "a", "model": {"name": "velodrome/mlp"}, "training": {"earlyStopping": None}},
            {"name": "b", "model": {"name": "velodrome/mlp"}, "training": {"optimizer": {"momentum": None}}},
        ],
    )
    sent = validate(json.loads(original.model_dump_json()))
    assert plan(sent).configs == plan(original).configs
    assert plan(sent).configs["a"].training.early_stopping is None
    assert plan(sent).configs["b"].training.optimizer.momentum is None


# Metrics


def test_an_objective_ranks_the_key_of_its_metric_and_parameters() -> None:
    assert str(objective_key(Objective(name="a", metric="f1", average="macro"))) == "f1"
    assert str(objective_key(Objective(name="a", metric="f1", average="micro"))) == "f1{average=micro}"
    assert str(objective_key(Objective(name="a", metric="recall", label=3))) == "recall{label=3}"
    key = objective_key(Objective(name="a", metric="latency_p50_seconds", batch_size=64))
    assert str(key) == "latency_p50_seconds{batch_size=64}"


def test_quality_is_what_evaluation_lists_and_what_objectives_rank() -> None:
    made = job(
        evaluation={"metrics": ["loss", "accuracy"]},
        objectives=[
            {"name": "a", "metric": "f1", "label": 1},
            {"name": "b", "metric": "accuracy"},
            {"name": "c", "metric": "parameters"},
        ],
    )
    assert quality_keys(made) == ("accuracy", "f1{label=1}", "loss")
    assert plan(made).configs["mlp"].quality == ("accuracy", "f1{label=1}", "loss")


# Identities


def identities(made: Plan) -> str:
    """Every identity of a plan, as the golden files hold them."""
    return json.dumps(
        {
            "local_uid": local_uid(made),
            "local_uid of generation 1": local_uid(made, 1),
            "entries": {name: entry_id(config) for name, config in made.configs.items()},
            "trials": {f"{trial.index} {trial.entry} {trial.repeat}": trial.id for trial in made.trials},
        },
        indent=2,
    )


def test_identities_are_the_same_in_every_version(golden: Callable[[str, str], None]) -> None:
    (full,) = read_jobs(FULL)
    golden("identities.json", identities(plan(full)) + "\n")


@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_identities_are_the_same_in_every_process(seed: str) -> None:
    code = (
        "import sys; from pathlib import Path; from velodrome.plan import local_uid, plan;"
        "from velodrome.spec import read_jobs; made = plan(read_jobs(Path(sys.argv[1]))[0]);"
        "print(local_uid(made), *(trial.id for trial in made.trials))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code, str(FULL)], env=environment, capture_output=True, text=True, check=True
    )
    made = plan(read_jobs(FULL)[0])
    assert done.stdout.split() == [local_uid(made), *(trial.id for trial in made.trials)]


def test_1_and_1_0_are_one_number(tmp_path: Path) -> None:
    text = FULL.read_text(encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text(text.replace("l1: 0,", "l1: 0.0,").replace("minRunSeconds: 1}", "minRunSeconds: 1.0}"))
    assert other.read_text() != text
    assert identities(plan(read_jobs(other)[0])) == identities(plan(read_jobs(FULL)[0]))


ENTRY: dict[str, Any] = {"name": "mlp", "model": {"name": "velodrome/mlp"}}
# A change to the job, and whether it makes another race and other trials.
CHANGES: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "nothing": ({}, False, False),
    "an epoch more": ({"budget": {"maxEpochs": 11}}, True, True),
    "another target": ({"budget": {"target": {"metric": "accuracy", "value": 0.5}}}, True, True),
    "augmentation": ({"preprocessing": {"augmentations": [{"name": "RandomErasing"}]}}, True, True),
    "evaluation": ({"evaluation": {"metrics": ["loss"]}}, True, True),
    "default training": ({"training": {"batchSize": 64}}, True, True),
    "a new objective of quality": ({"objectives": [{"name": "a", "metric": "loss"}]}, True, True),
    "an objective's name": ({"objectives": [{"name": "b", "metric": "accuracy"}]}, True, False),
    "another board": ({"board": "other"}, True, False),
    "seeds": ({"trials": {"repeats": 2, "baseSeed": 1}}, True, True),
    "repeats": ({"trials": {"repeats": 3}}, True, False),
    "another model": ({"entries": [ENTRY | {"model": {"name": "velodrome/cnn"}}]}, True, True),
    "the model's arguments": ({"entries": [ENTRY | {"model": ENTRY["model"] | {"args": {"hidden": 3}}}]}, True, True),
    "an entry's name": ({"entries": [ENTRY | {"name": "other"}]}, True, False),
    "an entry's image": ({"entries": [ENTRY | {"image": "i@sha256:" + 64 * "0"}]}, False, True),
    "pods": ({"runner": {"nodes": 2}}, False, False),
    "parallelism": ({"execution": {"parallelism": 4}}, False, False),
    "suspend": ({"suspend": True}, False, False),
    "time to live": ({"ttlSecondsAfterFinished": 1}, False, False),
    "failures that it bears": ({"trials": {"repeats": 2, "maxFailed": 3}}, False, False),
    "regression": ({"regression": {"alpha": 0.1}}, False, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_another_race_or_other_trials_where_it_should(change: str) -> None:
    spec, another_race, other_trials = CHANGES[change]
    before, after = plan(job(entries=[ENTRY])), plan(job(**{"entries": [ENTRY]} | spec))
    assert (local_uid(after) != local_uid(before)) is another_race
    assert (after.trial(0).id != before.trial(0).id) is other_trials


def test_where_the_data_lie_makes_another_race_of_the_same_trials() -> None:
    here, there = (
        plan(job(dataset={"name": "MNIST", "source": source})) for source in ({"path": "a"}, {"download": True})
    )
    assert local_uid(here) != local_uid(there)
    assert here.trial(0).id == there.trial(0).id


def test_generations_tell_deliberate_repetitions_apart() -> None:
    made = plan(job())
    assert len({local_uid(made, generation) for generation in range(5)}) == 5


def test_an_entrys_identity_is_its_own_and_no_conditions() -> None:
    first = plan(job()).configs
    assert len({entry_id(config) for config in first.values()}) == 3
    second = plan(job(budget={"maxEpochs": 99}, dataset={"name": "MNIST", "source": {"path": "a"}})).configs
    assert [entry_id(config) for config in first.values()] == [entry_id(config) for config in second.values()]
    other = plan(job(training={"batchSize": 1})).configs
    assert entry_id(other["mlp"]) != entry_id(first["mlp"])


@pytest.mark.parametrize(
    ("objective", "evaluation", "timed"),
    [
        ({"name": "accuracy", "metric": "accuracy"}, {}, False),
        ({"name": "accuracy", "metric": "accuracy"}, {"serving": {"arrivalRate": 10}}, True),
        ({"name": "accuracy", "metric": "accuracy"}, {"offline": {}}, True),
        ({"name": "accuracy", "metric": "accuracy"}, {"offline": None, "serving": None}, False),
        ({"name": "speed", "metric": "train_seconds"}, {"inference": {"batchSizes": [1, 8]}}, False),
        ({"name": "speed", "metric": "latency_p99_seconds", "batchSize": 1}, {}, True),
        (
            {"name": "speed", "metric": "inference_samples_per_second", "batchSize": 64},
            {"inference": {"measure": "asked"}},
            True,
        ),
        ({"name": "accuracy", "metric": "accuracy"}, {"inference": {"measure": "always"}}, True),
    ],
)
def test_inference_is_timed_where_an_objective_or_the_field_asks(
    objective: dict[str, Any], evaluation: dict[str, Any], *, timed: bool
) -> None:
    made = job(objectives=[objective], evaluation=evaluation)
    assert times_inference(made) is timed
