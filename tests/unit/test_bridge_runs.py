"""What MLflow is to have of a job and a trial: names that it allows, curves by epoch, and identities."""

from __future__ import annotations

import re

import pytest

from tests.integration.conftest import Race
from velodrome.bridge.runs import INDEX, JOB_UID, RESULT, experiment_name, job_run, metric_name, trial_run
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.cohorts import cohort_of

ALLOWED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_. -]+)?")


@pytest.fixture
def race() -> Race:
    return Race(spec={"training": {"optimizer": {"name": "AdamW", "learningRate": 0.003}}})


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("accuracy", "accuracy"),
        ("f1{label=3}", "f1.label-3"),
        ("latency_p50_seconds{batch_size=1}", "latency_p50_seconds.batch_size-1"),
        (
            "own_gain{better=higher,high=1,kind=quality,low=-1,scale=interval,unit=points}",
            "own_gain.better-higher.high-1.kind-quality.low--1.scale-interval.unit-points",
        ),
    ],
)
def test_a_metric_key_becomes_a_name_that_mlflow_allows(key: str, name: str) -> None:
    assert metric_name(key) == name
    assert ALLOWED.fullmatch(name)


def test_a_trial_tells_its_configuration_values_curves_and_conditions(race: Race) -> None:
    record = race.record(0, values={"accuracy": 0.9, "f1{label=3}": 0.5})
    run = trial_run(race.info, record)

    assert (run.name, run.status) == ("cnn/0", "FINISHED")
    assert run.params["entry"] == "cnn"
    assert run.params["seed"] == str(record.result.seed)
    assert run.params["training.optimizer.learningRate"] == "0.003"
    assert run.params["model.args.hidden"] == "8"
    assert run.tags[JOB_UID] == "race-1"
    assert run.tags[INDEX] == "0"
    assert run.tags[RESULT] == record.result.content
    cohort = cohort_of(record, MetricKey("accuracy"))
    assert cohort is not None
    assert run.tags["velodrome.cohort.accuracy"] == cohort.id
    assert {point.key: (point.value, point.step) for point in run.points if "/" not in point.key} == {
        "accuracy": (0.9, 0),
        "f1.label-3": (0.5, 0),
    }
    losses = [(point.step, point.value, point.at) for point in run.points if point.key == "epoch/validation_loss"]
    assert losses == [(1, 0.7, run.started + 100), (2, 0.35, run.started + 200)]
    assert {point.key for point in run.points if point.key.startswith("epoch/")} == {
        "epoch/train_loss", "epoch/learning_rate", "epoch/samples_per_second",
        "epoch/validation_accuracy", "epoch/validation_loss",
    }  # fmt: skip
    assert run.data is not None
    assert len(run.data.digest) <= 36
    assert run.tags["velodrome.dataset_digest"] == "sha256:" + "0" * 64


def test_a_failed_trial_says_why(race: Race) -> None:
    run = trial_run(race.info, race.record(1, failed="LossNotFinite"))
    assert run.status == "FAILED"
    assert run.tags["velodrome.reason"] == "LossNotFinite"
    assert "accuracy" not in {point.key for point in run.points}


def test_another_result_of_a_trial_is_another_run_and_a_copy_is_the_same(race: Race) -> None:
    one, same, other = (trial_run(race.info, race.record(0, values={"accuracy": value})) for value in (0.9, 0.9, 0.8))
    assert one == same
    assert one.digest != other.digest


def test_a_job_has_ended_when_all_its_trials_have_results(race: Race) -> None:
    before, after = job_run(race.info, 5), job_run(race.info, 6)
    assert (before.status, after.status) == ("RUNNING", "FINISHED")
    assert before.digest != after.digest
    assert after.params["dataset.name"] == "digits"
    assert not any(name.startswith("entries.") for name in after.params)
    assert experiment_name(race.info.board) == "velodrome/digits"


def test_every_name_is_allowed_and_every_value_fits(race: Race) -> None:
    odd = {"a/b": 1, "..": 2, ".hidden": 3, "ü{}=,": "x" * 9000, "none": None, "empty": "", "many": [1, {"a": 2}]}
    record = race.record(0)
    model = record.config.model
    assert model is not None
    config = record.config.model_copy(update={"model": model.model_copy(update={"args": odd})})
    run = trial_run(race.info, record.model_copy(update={"config": config}))

    for name, value in {**run.params, **run.tags}.items():
        assert ALLOWED.fullmatch(name), name
        assert len(name) <= 250
        assert len(value) <= 6000
    assert run.params["model.args.many"] == '[1, {"a": 2}]'
    assert run.params["model.args.empty"] == '""'
    assert "model.args.none" not in run.params
