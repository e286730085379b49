"""What a program of one's own predicted, as what is kept of each test sample; and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from velodrome import report
from velodrome.keys import ENV_REPORT, ENV_TRIAL
from velodrome.plan import Plan, Trial, plan
from velodrome.results.scores import SampleScores, labels_digest, packed_bits
from velodrome.spec import BenchmarkJob
from velodrome_runner.lines import Reported
from velodrome_runner.own import Ended, conclude
from velodrome_runner.reporting import Failure

DATASET = {
    "type": "dataset", "name": "digits", "digest": "sha256:" + "a" * 64, "train_samples": 9, "validation_samples": 1,
    "test_samples": 3, "shape": [1, 8, 8], "classes": list("0123456789"),
}  # fmt: skip
PREDICTIONS = {"type": "predictions", "targets": [4, 7, 7], "predicted": [4, 1, 7]}


def made(dataset: str = "digits", **evaluation: Any) -> tuple[Plan, Trial]:
    spec = {
        "entries": [{"name": "own", "command": ["python", "x.py"]}],
        "dataset": {"name": dataset},
        "evaluation": evaluation,
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "j"}, "spec": spec}
    found = plan(BenchmarkJob.model_validate(document))
    return found, found.trial(0)


def concluded(predictions: Any, metrics: Any = None, job: tuple[Plan, Trial] | None = None, **dataset: Any) -> Any:
    job = job or made()
    found = Reported(job[1].config)
    result = {"type": "result", "metrics": metrics or {"accuracy": 2 / 3}}
    for line in (DATASET | dataset, predictions, result):
        found.take(line if isinstance(line, str) else json.dumps(line))
    return conclude(*job, found, Ended(0))


def test_predictions_are_kept_as_those_of_velodromes_own_models() -> None:
    scores = concluded(PREDICTIONS)["scores"]
    assert isinstance(scores, SampleScores)
    assert scores.right == packed_bits([True, False, True])
    assert scores.losses is None
    assert scores.of.class_of_each() == (4, 7, 7)
    assert scores.of.targets == labels_digest([4, 7, 7])
    assert scores.of.dataset == DATASET["digest"]


def test_losses_and_groups_are_kept_where_they_are_wanted() -> None:
    more = {**PREDICTIONS, "losses": [0.5, 2.0, 0.25], "groups": [9, 9, 3]}
    assert concluded(more)["scores"].losses is None
    wanted = concluded(more, job=made(keepSamples="losses"))["scores"]
    assert wanted.loss_of_each() == (0.5, 2.0, 0.25)
    assert wanted.of.group_of_each() == (0, 0, 1)
    assert concluded(more, job=made(keepSamples="none"))["scores"] is None


def test_errors_of_a_regression_are_distances() -> None:
    line = {"type": "predictions", "targets": [1.5, 2.0, -1.0], "predicted": [1.0, 2.0, 1.0]}
    found = concluded(line, {"rmse": 1.19, "mae": 2.5 / 3}, made("diabetes", keepSamples="losses"), classes=[])
    assert found["scores"].error_of_each() == (0.5, 0.0, 2.0)


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"predicted": [4, 7, 7]}, "ImpossibleValue", "3 of 3 samples are right, which is an accuracy of 1.0"),
        ({"targets": [4, 7, 7, 1]}, "InvalidReport", "predicted has 3 samples, and targets has 4"),
        ({"targets": [4, 7], "predicted": [4, 7]}, "ImpossibleValue", "scores.of.samples: 2, and dataset.test_samples"),
        ({"targets": [], "predicted": []}, "InvalidReport", "targets"),
        (
            {"targets": [4, 7, 10], "predicted": [4, 1, 10]},
            "ImpossibleValue",
            "there is a class 10: classes are 0 to 9",
        ),
        (
            {"targets": [4, 7.5, 7]},
            "ImpossibleValue",
            "targets: that of sample 1 is 7.5, and classes are whole",
        ),
        ({"predicted": [4, 1, -7]}, "ImpossibleValue", "predicted: that of sample 2 is -7"),
        ({"predicted": [4, 1, 1e300]}, "ImpossibleValue", "predicted: that of sample 2 is 1e+300"),
        ({"losses": [0.5, 1]}, "InvalidReport", "losses has 2 samples, and targets has 3"),
        ({"labels": [1]}, "InvalidReport", "labels"),
    ],
)
def test_what_is_wrong_with_predictions_is_said(change: dict[str, Any], reason: str, words: str) -> None:
    found = concluded({**PREDICTIONS, **change})
    assert isinstance(found, Failure)
    assert found.reason == reason
    assert words in found.message


def test_losses_that_are_no_losses_are_refused() -> None:
    below = {**PREDICTIONS, "losses": [0.5, -2.0, 0.25]}
    found = concluded(below, job=made(keepSamples="losses"))
    assert isinstance(found, Failure)
    assert "scores.losses: that of sample 1 is -2.0" in found.message
    nan = json.dumps(PREDICTIONS)[:-1] + ', "losses": [NaN, 0, 0]}'
    assert isinstance(concluded(nan), Failure)


@pytest.fixture
def trial(tmp_path: Path) -> report.TrialReport:
    facts = {"entry": "own", "repeat": 0, "seed": 0, "cpus": 1, "data": "/data", "metrics": [], "conditions": {}}
    (tmp_path / "trial.json").write_text(json.dumps(facts))
    return report.trial({ENV_TRIAL: str(tmp_path / "trial.json"), ENV_REPORT: str(tmp_path / "report")})


def test_the_helper_writes_predictions_of_any_library(trial: report.TrialReport, tmp_path: Path) -> None:
    trial.predictions(
        np.array([4, 7, 7]), [np.int32(4), 1, 7.0], losses=np.array([0.5, 2, 0.25], np.float32), groups=[1, 1, 2]
    )
    (line,) = (tmp_path / "report").read_text().splitlines()
    assert json.loads(line) == {**PREDICTIONS, "losses": [0.5, 2.0, 0.25], "groups": [1, 1, 2]}
    assert concluded(line)["scores"].right == packed_bits([True, False, True])


def test_the_helper_refuses_what_can_not_be_before_it_writes(trial: report.TrialReport, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="predicted has 1 samples, and targets has 2"):
        trial.predictions([1, 2], [1])
    with pytest.raises(ValueError, match="losses = nan"):
        trial.predictions([1], [1], losses=[float("nan")])
    with pytest.raises(ValueError, match="targets"):
        trial.predictions(["cat"], [1])  # type: ignore[list-item]
    assert not (tmp_path / "report").exists()
