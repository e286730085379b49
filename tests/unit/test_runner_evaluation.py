from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as library
from torch import nn

from tests.prepared import untouched
from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.report import classification
from velodrome.spec import Target
from velodrome_runner.evaluation import measured, values_of
from velodrome_runner.stopping import reached
from velodrome_runner.tasks.base import Batch
from velodrome_runner.tasks.classification import ClassificationTask

CLASSES = 7


def outputs(seed: int = 0, count: int = 200, classes: int = CLASSES) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs that are right about half of the time, and labels of very different frequencies."""
    generator = torch.Generator().manual_seed(seed)
    frequencies = torch.arange(1, classes + 1).float() ** 2
    labels = torch.multinomial(frequencies, count, replacement=True, generator=generator)
    logits = torch.randn(count, classes, generator=generator)
    logits[torch.arange(count), labels] += 1.5
    return logits, labels


def task(classes: int = CLASSES) -> ClassificationTask:
    return ClassificationTask(classes, label_smoothing=0.0, transform=untouched())


def measure(logits: torch.Tensor, labels: torch.Tensor, *, classes: int, keys: Iterable[str]) -> dict[str, float]:
    meter = task(classes).meter(keys)
    meter.update(logits, labels)
    return meter.read().values


def one(key: str, logits: torch.Tensor, labels: torch.Tensor, classes: int = CLASSES) -> float:
    return measure(logits, labels, classes=classes, keys=[key])[key]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("precision", library.precision_score), ("recall", library.recall_score), ("f1", library.f1_score)],
)
def test_averages_are_scikit_learns(name: str, theirs: Callable[..., float], average: str, seed: int) -> None:
    logits, labels = outputs(seed)
    key = name if average == "macro" else f"{name}{{average={average}}}"
    expected = theirs(labels, logits.argmax(1), average=average, zero_division=0)
    assert one(key, logits, labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("label", range(CLASSES))
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("precision", library.precision_score), ("recall", library.recall_score), ("f1", library.f1_score)],
)
def test_one_class_is_scikit_learns(name: str, theirs: Callable[..., Any], label: int) -> None:
    logits, labels = outputs()
    assert (labels == label).any()
    expected = theirs(labels, logits.argmax(1), labels=range(CLASSES), average=None, zero_division=0)[label]
    assert one(f"{name}{{label={label}}}", logits, labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_loss_and_top_five_are_scikit_learns(seed: int) -> None:
    logits, labels = outputs(seed)
    every = range(CLASSES)
    shares = logits.double().softmax(1).numpy()
    assert one("accuracy", logits, labels) == pytest.approx(library.accuracy_score(labels, logits.argmax(1)))
    top = library.top_k_accuracy_score(labels, logits.numpy(), k=5, labels=every)
    assert one("top5_accuracy", logits, labels) == pytest.approx(top)
    expected = library.log_loss(labels, shares, labels=every)
    assert one("loss", logits, labels) == pytest.approx(expected, rel=1e-5)
    assert one("validation_loss", logits, labels) == one("loss", logits, labels)


@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_is_scikit_learns(seed: int) -> None:
    logits, labels = outputs(seed)
    truth = np.eye(CLASSES)[labels.numpy()]
    expected = library.average_precision_score(truth, logits.softmax(1).numpy(), average="macro")
    assert one("mean_average_precision", logits, labels) == pytest.approx(expected, abs=1e-5)


def test_a_class_that_never_occurs_is_in_no_mean() -> None:
    logits, labels = outputs()
    logits, labels = logits[labels != 3], labels[labels != 3]
    logits[:, 3] = -100.0
    truth = np.eye(CLASSES)[labels.numpy()]
    occur = [label for label in range(CLASSES) if label != 3]
    scores = logits.softmax(1).numpy()
    expected = library.average_precision_score(truth[:, occur], scores[:, occur], average="macro")
    assert one("mean_average_precision", logits, labels) == pytest.approx(expected, abs=1e-5)
    expected = library.f1_score(labels, logits.argmax(1), average="macro", zero_division=0)
    assert one("f1", logits, labels) == pytest.approx(expected, abs=1e-6)


def test_a_class_without_samples_has_no_value_of_its_own() -> None:
    logits, labels = outputs()
    keys = ["f1{label=3}", "f1{label=6}"]
    values = measure(logits[labels != 3], labels[labels != 3], classes=CLASSES, keys=keys)
    assert list(values) == ["f1{label=6}"]


def test_top_five_of_fewer_classes_is_certain() -> None:
    logits, labels = outputs(classes=3)
    assert one("top5_accuracy", logits, labels, classes=3) == 1.0


def test_two_classes_are_two_classes() -> None:
    logits, labels = outputs(classes=2)
    expected = library.f1_score(labels, logits.argmax(1), average="macro")
    assert one("f1", logits, labels, classes=2) == pytest.approx(expected, abs=1e-6)


def test_a_class_that_the_data_lack_is_refused_before_training() -> None:
    task(10).refuse(["accuracy", "f1{label=9}"])
    with pytest.raises(ConfigurationError, match=r"f1\{label=10\} names class 10, .* use 0 to 9") as refused:
        task(10).refuse(["f1{label=10}"])
    assert refused.value.reason == "LabelOutOfRange"


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_labels_out_of_range_are_refused(label: int) -> None:
    logits, labels = outputs()
    labels[5] = label
    with pytest.raises(ConfigurationError, match="labels go from") as refused:
        measure(logits, labels, classes=CLASSES, keys=["accuracy"])
    assert refused.value.reason == "LabelOutOfRange"


class Recording(nn.Module):
    """Passes images on as outputs, and notes in which mode it was asked."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.modes.append((self.training, torch.is_grad_enabled()))
        return images.flatten(1) * self.factor


def test_every_batch_counts_and_the_model_is_in_evaluation_mode() -> None:
    logits, labels = outputs()
    model = Recording()
    batches = map(Batch, logits.split(64), labels.split(64))
    values = values_of(measured(task(), model, batches, keys=["accuracy", "loss"]), {})
    assert values == pytest.approx(measure(logits, labels, classes=CLASSES, keys=["accuracy", "loss"]), rel=1e-12)
    assert model.modes == [(False, False)] * 4


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_fail_and_name_the_split(factor: float) -> None:
    logits, labels = outputs()
    with pytest.raises(TrialFailed, match=r"on the test split .* lower the learning rate") as failed:
        measured(task(), Recording(factor), [Batch(logits, labels)], keys=["accuracy"])
    assert failed.value.reason == "OutputNotFinite"


def test_counted_metrics_are_one_division_in_double_precision() -> None:
    labels = torch.tensor([0] * 35 + [1] * 320)
    logits = torch.zeros(355, 6)
    logits[:, 0] = 1.0  # always class 0
    logits[:, 1] = 0.5
    keys = [
        "accuracy", "top5_accuracy", "f1{average=micro}", "recall{label=0}", "precision{label=0}", "f1{label=0}",
        "precision{average=weighted}", "recall{average=weighted}",
    ]  # fmt: skip
    found = measure(logits, labels, classes=6, keys=keys)
    assert found == {
        "accuracy": 35 / 355, "top5_accuracy": 1.0, "f1{average=micro}": 35 / 355, "recall{label=0}": 1.0,
        "precision{label=0}": 35 / 355, "f1{label=0}": 70 / 390, "precision{average=weighted}": 35 / 355 * 35 / 355,
        "recall{average=weighted}": 35 / 355,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_own_code_and_torch_entries_get_the_same_values_to_the_last_bit(seed: int) -> None:
    logits, labels = outputs(seed)
    own = classification(labels.tolist(), logits.argmax(1).tolist())
    assert measure(logits, labels, classes=CLASSES, keys=own) == own


def test_a_target_that_is_reached_exactly_is_reached() -> None:
    labels = torch.zeros(6000, dtype=torch.long)
    logits = torch.zeros(6000, 2)
    logits[:5700, 0] = 1.0
    logits[5700:, 1] = 1.0
    accuracy = one("accuracy", logits, labels, classes=2)
    assert accuracy == 0.95
    assert reached(Target(metric="accuracy", value=0.95), accuracy)
