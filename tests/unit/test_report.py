"""The helper for training programs of one's own, held to what Velodrome's own training computes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall

from velodrome import report
from velodrome.keys import ENV_REPORT, ENV_TRIAL
from velodrome.metrics.scalars import whole
from velodrome_runner.data import Raw, Split, content_digest


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def trial(tmp_path: Path) -> report.TrialReport:
    facts = {
        "entry": "mine", "index": 3, "repeat": 1, "seed": 8, "cpus": 2, "data": "/data", "metrics": ["accuracy"],
        "conditions": {"budget": {"maxEpochs": 3, "target": {"metric": "accuracy", "value": 0.5}},
                       "evaluation": {"inference": {"batchSizes": [1, 4], "minRunSeconds": 0.05}},
                       "training": {"batchSize": 16}},
    }  # fmt: skip
    (tmp_path / "trial.json").write_text(json.dumps(facts))
    return report.trial({ENV_TRIAL: str(tmp_path / "trial.json"), ENV_REPORT: str(tmp_path / "report")})


def test_it_imports_no_library() -> None:
    code = "import sys, velodrome.report; print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic", "redis", "scipy", "torch", "kopf", "typer"} & set(eval(done.stdout))  # noqa: S307


def test_a_trial_is_what_its_file_says(trial: report.TrialReport) -> None:
    assert (trial.entry, trial.seed, trial.cpus, trial.data) == ("mine", 8, 2, "/data")
    assert trial.training_parameters["batchSize"] == 16
    assert list(trial.epochs()) == [1, 2, 3]


def test_training_time_is_that_of_the_blocks_alone(trial: report.TrialReport, tmp_path: Path) -> None:
    ticks = iter([10.0, 12.0, 100.0, 103.0])
    trial.clock = lambda: next(ticks)
    for epoch, accuracy in ((1, 0.4), (2, 0.6)):
        with trial.training():
            pass
        trial.epoch(epoch, train_loss=1.0, samples=50, validation={"accuracy": accuracy})
    trial.result({"accuracy": 0.55})
    first, second, last = lines(tmp_path / "report")
    assert (first["seconds"], first["samples_per_second"]) == (2.0, 25.0)
    assert (second["seconds"], second["samples_per_second"]) == (5.0, 20.0)
    assert last["metrics"] == {
        "accuracy": 0.55, "train_seconds": 5.0, "train_samples_per_second": 20.0, "time_to_target_seconds": 5.0,
    }  # fmt: skip
    assert last["epochs"] == 2


def test_a_budget_of_seconds_ends_the_epochs(trial: report.TrialReport) -> None:
    trial.conditions = {"budget": {"maxEpochs": 9, "maxSeconds": 4.0}}
    seen = []
    for epoch in trial.epochs():
        trial.seconds += 2.0
        seen.append(epoch)
    assert seen == [1, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused_by_name(trial: report.TrialReport, value: float) -> None:
    with pytest.raises(ValueError, match=r"metrics\.accuracy = "):
        trial.result({"accuracy": value})


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ({"accuracy": 97.3}, r"metrics\.accuracy: 97\.3 is not between 0 and 1: write 0\.973 for 97\.3 %"),
        ({"accuracy": 1.7}, r"metrics\.accuracy: 1\.7"),
        ({"latency_p50_seconds{batch_size=4}": -5}, "below 1e-09 seconds"),
        ({"latency_p50_seconds{batch_size=2}": 1}, "batch size 2 is none of evaluation.inference.batchSizes: 1, 4"),
        ({"parameters": 1.5}, "no whole number"),
        ({"acuracy": 0.5}, "names no metric"),
    ],
)
def test_what_can_not_be_is_refused_where_it_is_said(
    trial: report.TrialReport, tmp_path: Path, metrics: dict[str, float], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        trial.result(metrics)
    assert not (tmp_path / "report").exists()


def test_what_can_not_be_on_the_validation_split_is_refused_too(trial: report.TrialReport) -> None:
    with pytest.raises(ValueError, match=r"validation\.accuracy: 81"):
        trial.epoch(1, train_loss=0.1, samples=1, validation={"accuracy": 81})
    assert trial.done == 0


def test_a_ratio_that_rounding_put_above_1_is_1(trial: report.TrialReport, tmp_path: Path) -> None:
    trial.result({"accuracy": float(np.float32(1) + np.finfo(np.float32).eps)})
    assert lines(tmp_path / "report")[0]["metrics"]["accuracy"] == 1.0


def test_without_a_race_it_writes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    trial = report.trial({})
    trial.result({"accuracy": 1.0})
    assert json.loads(capsys.readouterr().out)["metrics"] == {"accuracy": 1.0}


def test_the_digest_is_velodromes() -> None:
    generator = np.random.default_rng(5)
    images = generator.integers(0, 256, (7, 3, 4, 5), dtype=np.uint8)
    labels = generator.integers(0, 3, 7)
    own = report.digest(train=(images[:4], labels[:4]), test=(images[4:], labels[4:]))
    train = Split(torch.from_numpy(images[:4]), torch.from_numpy(labels[:4]))
    test = Split(torch.from_numpy(images[4:]), torch.from_numpy(labels[4:]))
    assert own == content_digest(Raw(train, test, ("a", "b", "c"), peak=255))


def test_a_digest_of_flat_images_is_refused() -> None:
    flat = np.zeros((4, 20), dtype=np.uint8)
    with pytest.raises(ValueError, match="2 axes"):
        report.digest(train=(flat, np.zeros(4)), test=(flat, np.zeros(4)))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_quality_is_as_torchmetrics_computes_it(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = zip(*pairs, strict=True)
    own = report.classification(labels, predicted)
    target, guesses = torch.tensor(labels), torch.tensor(predicted)
    for name, theirs in (
        ("precision", multiclass_precision), ("recall", multiclass_recall), ("f1", multiclass_f1_score),
    ):  # fmt: skip
        assert own[name] == pytest.approx(float(theirs(guesses, target, num_classes=5, average="macro")), abs=1e-6)


def test_inference_is_timed_for_each_batch_size_of_the_race(trial: report.TrialReport) -> None:
    calls: list[int] = []
    found = trial.time_inference(calls.append)
    assert set(calls) == {1, 4}
    assert calls.count(4) >= 101  # one to warm up, and enough for p99
    for size in (1, 4):
        p50, p99 = (found[f"latency_p{percent}_seconds{{batch_size={size}}}"] for percent in (50, 99))
        assert 0 < p50 <= p99
        assert found[f"inference_samples_per_second{{batch_size={size}}}"] > 0


def test_a_program_is_served_as_the_race_says_and_tells_why_a_percentile_is_missing(
    trial: report.TrialReport, tmp_path: Path
) -> None:
    evaluation = {
        "inference": {"batchSizes": [1], "minRunSeconds": 0.01},
        "serving": {"arrivalRate": 200, "queries": 70, "maxBatchSize": 3},
        "offline": {"maxBatchSize": 4},
    }
    trial.conditions = {"evaluation": evaluation}
    calls: list[int] = []
    found = trial.time_inference(calls.append)
    assert set(calls) <= {1, 2, 3, 4}
    assert found["offline_batch_size"] in (1, 2, 4)
    assert 0 < found["served_latency_p50_seconds"] <= found["served_latency_p90_seconds"]
    assert "served_latency_p99_seconds" not in found
    trial.result({"accuracy": 0.5} | found, {"energy_joules": "no counter"})
    assert lines(tmp_path / "report")[-1]["unavailable"] == {
        "served_latency_p99_seconds": "70 queries are too few for p99, which needs 662",
        "energy_joules": "no counter",
    }


NUMBERS: list[Any] = [
    np.float32(0.5), np.float64(0.5), np.float16(0.5), np.longdouble(0.5), np.array(0.5), np.array([0.5], np.float32),
    torch.tensor(0.5), torch.tensor([0.5]), torch.tensor(0.5, dtype=torch.bfloat16),
    torch.tensor(0.5, requires_grad=True),
    Decimal("0.5"), Fraction(1, 2), 0.5,
]  # fmt: skip
NO_NUMBERS: list[Any] = [
    "0.5", b"0.5", np.str_("0.5"), True, np.True_, np.array(True), torch.tensor(True), None, 0.5j, np.complex64(0.5),
    [0.5], {"a": 0.5}, np.array([0.5, 0.5]), np.array([]), torch.tensor([0.5, 0.5]), math.nan, math.inf,
    np.float32(math.nan), torch.tensor(math.inf), Decimal("NaN"), Decimal("sNaN"), 10**400,
]  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_a_number_of_any_library_is_taken_wherever_one_is_reported(
    trial: report.TrialReport, tmp_path: Path, value: Any
) -> None:
    trial.epoch(1, train_loss=value, samples=10, learning_rate=value, validation={"accuracy": value})
    trial.result({"accuracy": value})
    epoch, result = lines(tmp_path / "report")
    assert epoch["train_loss"] == epoch["learning_rate"] == epoch["validation"]["accuracy"] == 0.5
    assert result["metrics"]["accuracy"] == 0.5


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:30])
def test_what_is_no_number_is_refused_wherever_one_is_reported(
    trial: report.TrialReport, tmp_path: Path, value: Any
) -> None:
    with pytest.raises(ValueError, match="train_loss"):
        trial.epoch(1, train_loss=value, samples=10)
    with pytest.raises(ValueError, match="learning_rate"):
        trial.epoch(1, train_loss=1, samples=10, learning_rate=value)
    with pytest.raises(ValueError, match=r"validation\.accuracy"):
        trial.epoch(1, train_loss=1, samples=10, validation={"accuracy": value})
    with pytest.raises(ValueError, match=r"metrics\.accuracy"):
        trial.result({"accuracy": value})
    assert not (tmp_path / "report").exists()
    assert (trial.done, trial.samples) == (0, 0)


@pytest.mark.parametrize(
    "value", [np.int64(7), np.uint8(7), np.array(7), torch.tensor(7), Decimal(7), Fraction(7), np.float32(7), 7.0],
    ids=repr,
)  # fmt: skip
def test_a_whole_number_of_any_library_is_taken(trial: report.TrialReport, tmp_path: Path, value: Any) -> None:
    sizes = {"train_samples": value, "validation_samples": value, "test_samples": value}
    trial.dataset("digits", digest=f"sha256:{'0' * 64}", shape=[value, value], classes=[value], **sizes)
    trial.epoch(value, train_loss=1, samples=value)
    trial.result({"parameters": value})
    dataset, epoch, result = lines(tmp_path / "report")
    assert [dataset[name] for name in sizes] == [7, 7, 7]
    assert dataset["shape"] == [7, 7]
    assert epoch["epoch"] == trial.samples == 7
    assert result["metrics"]["parameters"] == 7


@pytest.mark.parametrize("value", [7.5, np.float32(7.5), True, "7", None, math.nan, np.array([1, 2])])
def test_what_is_no_whole_number_is_refused(trial: report.TrialReport, tmp_path: Path, value: Any) -> None:
    sizes: dict[str, Any] = {"train_samples": 1, "validation_samples": 1, "test_samples": 1}
    for name in sizes:
        with pytest.raises(ValueError, match=name):
            trial.dataset("x", digest="x", shape=[1], classes=[], **{**sizes, name: value})
    for name in ("epoch", "samples"):
        with pytest.raises(ValueError, match=name):
            trial.epoch(**{"epoch": 1, "train_loss": 1, "samples": 1, name: value})
    assert not (tmp_path / "report").exists()
    assert (trial.done, trial.samples, trial.test_samples) == (0, 0, None)


def test_whole_numbers_stay_exact() -> None:
    assert whole(np.int64(2**62 + 1), "x") == 2**62 + 1


def test_a_share_in_float32_is_the_share_in_float64(trial: report.TrialReport, tmp_path: Path) -> None:
    trial.dataset(
        "digits", digest=f"sha256:{'0' * 64}", train_samples=1, validation_samples=6000, test_samples=355, shape=[1],
        classes=["0"],
    )  # fmt: skip
    trial.conditions = {"budget": {"target": {"metric": "accuracy", "value": 0.95}}}
    with trial.training():
        pass
    trial.epoch(1, train_loss=1, samples=1, validation={"accuracy": np.float32(5700 / 6000)})
    trial.result({"accuracy": np.float32(35 / 355), "f1": np.float32(0.1)})
    _, epoch, result = lines(tmp_path / "report")
    assert float(np.float32(0.95)) < 0.95
    assert epoch["validation"]["accuracy"] == 0.95
    assert result["metrics"]["accuracy"] == 35 / 355
    assert "time_to_target_seconds" in result["metrics"]
    assert result["metrics"]["f1"] == float(np.float32(0.1))  # of how many samples is unknown
