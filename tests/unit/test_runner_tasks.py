"""Tasks: their metrics beside scikit-learn's, merging over ranks, and the checks before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import calibration
from sklearn import metrics as library
from torch import nn

from tests.prepared import untouched
from velodrome.errors import ConfigurationError
from velodrome.spec import Model, Training
from velodrome.tasks import MODEL_KINDS, TASKS
from velodrome.vocabulary import MODEL_ARGS, VOID, DataKind
from velodrome_runner import tasks
from velodrome_runner.checks import check_model
from velodrome_runner.data import Memory, Samples, Schema
from velodrome_runner.data.windows import IGNORED
from velodrome_runner.models import build
from velodrome_runner.preprocessing import Prepared, ReadySplit
from velodrome_runner.tasks.base import QualityMeter, Reading, Task
from velodrome_runner.tasks.classification import ClassificationTask, log_odds
from velodrome_runner.tasks.language_modelling import LanguageModellingTask
from velodrome_runner.tasks.regression import RegressionTask
from velodrome_runner.tasks.segmentation import SegmentationTask

CLASSES = 5


def classified(seed: int = 0, count: int = 300, classes: int = CLASSES) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs that are right more often than not, and labels of different frequencies."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.arange(1.0, classes + 1), count, replacement=True, generator=generator)
    logits = torch.randn(count, classes, generator=generator) * 2
    logits[torch.arange(count), labels] += 2.0
    return logits, labels


def classification(classes: int = CLASSES) -> ClassificationTask:
    return ClassificationTask(classes, 0.0, untouched())


def read(task: Task, keys: list[str], outputs: torch.Tensor, targets: torch.Tensor, size: int = 64) -> Reading:
    meter = task.meter(keys)
    for batch in zip(outputs.split(size), targets.split(size), strict=True):
        meter.update(*batch)
    return meter.read()


def value(key: str, logits: torch.Tensor, labels: torch.Tensor, classes: int = CLASSES) -> float:
    return read(classification(classes), [key], logits, labels).values[key]


# ClassificationTask


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("key", "theirs"),
    [("balanced_accuracy", library.balanced_accuracy_score), ("mcc", library.matthews_corrcoef)],
)
def test_counted_metrics_are_scikit_learns(key: str, theirs: Callable[..., float], seed: int) -> None:
    logits, labels = classified(seed)
    assert value(key, logits, labels) == pytest.approx(theirs(labels, logits.argmax(1)), rel=1e-14)


def test_mcc_of_a_single_called_class_is_0() -> None:
    logits, labels = classified()
    logits[:, 1] += 100
    assert value("mcc", logits, labels) == library.matthews_corrcoef(labels, logits.argmax(1)) == 0.0


def test_mcc_of_large_counts_does_not_overflow() -> None:
    task = classification(2)
    meter = task.meter(["mcc"])
    meter.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    for name in ("hits", "guessed", "there"):
        meter.sums[name] = meter.sums[name] * 10**12
    assert meter.read().values["mcc"] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_auroc_and_average_precision_are_scikit_learns(seed: int) -> None:
    logits, labels = classified(seed)
    shares = logits.double().softmax(1).numpy()
    expected = library.roc_auc_score(labels, shares, multi_class="ovr", average="macro")
    assert value("auroc", logits, labels) == pytest.approx(expected, rel=1e-12)
    truth = np.eye(CLASSES)[labels.numpy()]
    expected = library.average_precision_score(truth, shares, average="macro")
    assert value("average_precision", logits, labels) == pytest.approx(expected, rel=1e-12)


def test_auroc_of_two_classes_is_that_of_the_second() -> None:
    logits, labels = classified(classes=2)
    expected = library.roc_auc_score(labels, (logits[:, 1] - logits[:, 0]).double())
    assert value("auroc", logits, labels, classes=2) == pytest.approx(expected, rel=1e-12)


def test_samples_that_float32_softmax_would_tie_are_told_apart() -> None:
    # Of the first two samples, the second is more surely of class 0, and is. float32 rounds both shares to 1.
    logits, labels = torch.tensor([[60.0, 0.0], [90.0, 0.0], [0.0, 5.0]]), torch.tensor([1, 0, 1])
    assert logits.softmax(1)[:2, 0].tolist() == [1.0, 1.0]
    assert value("average_precision", logits, labels, classes=2) == 1.0
    assert value("auroc", logits, labels, classes=2) == 1.0
    # The other way round, the surer of the two is wrong.
    swapped = logits[[1, 0, 2]]
    assert value("average_precision", swapped, labels, classes=2) == pytest.approx((1 / 2 + (1 + 2 / 3) / 2) / 2)
    assert value("auroc", swapped, labels, classes=2) == 0.5


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_log_odds_are_those_of_the_softmax(classes: int) -> None:
    logits, _ = classified(classes=classes)
    shares = logits.double().softmax(1)
    torch.testing.assert_close(log_odds(logits.double()), (shares / (1 - shares)).log(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("key", ["auroc", "average_precision"])
def test_a_class_that_never_occurs_is_in_no_mean(key: str) -> None:
    logits, labels = classified()
    logits, labels = logits[labels != 2], labels[labels != 2]
    shares, there = logits.double().softmax(1).numpy(), [0, 1, 3, 4]
    score = library.roc_auc_score if key == "auroc" else library.average_precision_score
    expected = np.mean([score(labels == label, shares[:, label]) for label in there])
    assert value(key, logits, labels) == pytest.approx(expected, rel=1e-12)


def test_one_class_alone_has_no_auroc_and_says_why() -> None:
    logits, _ = classified()
    reading = read(classification(), ["auroc", "accuracy"], logits, torch.ones(len(logits), dtype=torch.long))
    assert reading.missing == {"auroc": "all samples are of one class"}
    assert set(reading.values) == {"accuracy"}


def test_the_calibration_error_is_that_of_scikit_learns_curve() -> None:
    logits, labels = classified(count=2000)
    confidence, called = logits.double().softmax(1).max(1)
    right = (called == labels).numpy()
    accuracies, confidences = calibration.calibration_curve(right, confidence.numpy(), n_bins=15)
    sizes = np.histogram(confidence.numpy(), np.linspace(0, 1, 16))[0]
    expected = (np.abs(accuracies - confidences) * sizes[sizes > 0]).sum() / 2000
    assert value("calibration_error", logits, labels) == pytest.approx(expected, rel=1e-12)


def test_a_confident_and_right_model_is_calibrated() -> None:
    labels = torch.arange(20) % CLASSES
    logits = torch.nn.functional.one_hot(labels).float() * 100
    assert value("calibration_error", logits, labels) == pytest.approx(0.0, abs=1e-12)


def test_the_confusion_matrix_is_scikit_learns_where_classes_are_few() -> None:
    logits, labels = classified()
    meter = classification().meter(["accuracy"])
    for batch in zip(logits.split(64), labels.split(64), strict=True):
        meter.update(*batch)
    assert meter.confusion is not None
    assert np.array_equal(meter.confusion, library.confusion_matrix(labels, logits.argmax(1)))
    many = classification(101).meter(["accuracy"])
    many.update(torch.zeros(2, 101), torch.tensor([0, 100]))
    assert many.confusion is None
    assert regression().meter(["rmse"]).confusion is None


# RegressionTask

MEAN, DEVIATION = 1000.0, 20.0


def regression() -> RegressionTask:
    return RegressionTask(MEAN, DEVIATION, untouched())


def predicted(seed: int = 0, count: int = 200) -> tuple[torch.Tensor, torch.Tensor, np.ndarray[Any, Any]]:
    """Standardised outputs (n, 1), targets in their unit, and the predictions in that unit."""
    generator = torch.Generator().manual_seed(seed)
    targets = MEAN + DEVIATION * torch.randn(count, generator=generator, dtype=torch.float64)
    outputs = ((targets - MEAN) / DEVIATION + 0.3 * torch.randn(count, generator=generator)).float()[:, None]
    return outputs, targets, (outputs.double()[:, 0] * DEVIATION + MEAN).numpy()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("key", "theirs"),
    [
        ("rmse", library.root_mean_squared_error),
        ("mae", library.mean_absolute_error),
        ("r2", library.r2_score),
    ],
)
def test_errors_in_the_targets_unit_are_scikit_learns(key: str, theirs: Callable[..., float], seed: int) -> None:
    outputs, targets, predictions = predicted(seed)
    found = read(regression(), [key], outputs, targets).values[key]
    assert found == pytest.approx(theirs(targets.numpy(), predictions), rel=1e-10)


def test_the_loss_of_regression_is_in_units_of_the_training_variance() -> None:
    outputs, targets, predictions = predicted()
    task = regression()
    loss, weight = task.loss(outputs, targets)
    expected = library.mean_squared_error(targets.numpy(), predictions) / DEVIATION**2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert weight == len(targets)
    assert read(task, ["validation_loss"], outputs, targets).values["validation_loss"] == pytest.approx(expected)
    assert torch.equal(task.loss(outputs[:, 0], targets)[0], loss)


def test_equal_targets_have_no_r2_and_say_why() -> None:
    outputs, targets, _ = predicted()
    reading = read(regression(), ["r2", "mae"], outputs, torch.full_like(targets, 3.0))
    assert reading.missing == {"r2": "all samples have the same target"}
    assert set(reading.values) == {"mae"}


def source(targets: torch.Tensor) -> Memory:
    return Memory(Samples({"numeric": torch.zeros(len(targets), 1, dtype=torch.float64)}, targets))


def test_regression_learns_mean_and_deviation_of_its_training_targets() -> None:
    targets = torch.tensor([1.0, 3.0, 5.0], dtype=torch.float64)
    task = RegressionTask.fit(source(targets), Schema((1,), None, target="y"), Training(), untouched())
    assert task.mean == 3.0
    assert task.deviation == pytest.approx(targets.std(correction=0).item())
    constant = RegressionTask.fit(
        source(torch.ones(3, dtype=torch.float64)), Schema((1,), None), Training(), untouched()
    )
    assert constant.deviation == 1.0


@pytest.mark.parametrize(
    ("task", "classes", "targets", "message"),
    [
        ("classification", None, [0.5, 1.5], "write spec.task: regression"),
        ("regression", ("a", "b"), [0, 1], "write spec.task: classification"),
        ("regression", None, [0.5, float("nan")], "not all finite numbers"),
    ],
)
def test_a_target_of_the_other_task_is_refused_with_the_fix(
    task: str, classes: tuple[str, ...] | None, targets: list[float], message: str
) -> None:
    kind = tasks.task_class(task)
    tensor = torch.tensor(targets, dtype=torch.int64 if classes else torch.float64)
    with pytest.raises(ConfigurationError, match=message):
        kind.fit(source(tensor), Schema((1,), classes, target="y"), Training(), untouched())


# LanguageModellingTask

TOKENS = ("a", "b", "ß", "€", "😀")
WIDTHS = torch.tensor([1, 1, 2, 3, 4])
LENGTH = 7


def language(tokens: tuple[str, ...] = TOKENS) -> LanguageModellingTask:
    empty = Memory(Samples({"tokens": torch.empty(0, LENGTH)}, torch.empty(0, LENGTH)))
    return LanguageModellingTask.fit(empty, Schema((LENGTH,), None, tokens=tokens), Training(), untouched((LENGTH,)))


def told(seed: int = 0, count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, length, tokens), and targets of which the last window counts only in part."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(len(TOKENS), (count, LENGTH), generator=generator)
    targets[-1, :4] = IGNORED
    return torch.randn(count, LENGTH, len(TOKENS), generator=generator) * 3, targets


@pytest.mark.parametrize("size", [1, 7, 16, 50, 64])
def test_the_quality_of_a_language_model_is_torchs_cross_entropy_whatever_the_batches_are(size: int) -> None:
    outputs, targets = told()
    real = targets != IGNORED
    nats = nn.functional.cross_entropy(outputs.double()[real], targets[real])
    keys = list(TASKS["language-modelling"].quality)
    found = read(language(), keys, outputs, targets, size).values
    assert set(found) == set(keys)
    assert found["loss"] == found["validation_loss"] == pytest.approx(nats.item(), rel=1e-14)
    assert found["perplexity"] == pytest.approx(nats.exp().item(), rel=1e-13)
    bits = nats.item() / np.log(2)
    assert found["bits_per_character"] == pytest.approx(bits, rel=1e-13)
    written = "".join(TOKENS[token] for token in targets[real].tolist()).encode()
    assert found["bits_per_byte"] == pytest.approx(bits * int(real.sum()) / len(written), rel=1e-13)


def test_the_loss_of_a_language_model_is_torchs_over_the_windows_of_a_batch() -> None:
    outputs, targets = told()
    loss, weight = language().loss(outputs, targets)
    assert weight == len(targets)
    assert torch.equal(loss, nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten()))


def test_bytes_have_no_bits_per_character() -> None:
    task = language(tuple(f"{value:#04x}" for value in range(256)))
    task.refuse(["bits_per_byte", "perplexity"])
    with pytest.raises(ConfigurationError, match=r"use bits_per_byte, or write spec.dataset.tokens: characters"):
        task.refuse(["bits_per_character"])
    assert task.sizes.unique().tolist() == [1]


def test_a_perplexity_that_no_number_holds_is_missing_with_the_nats() -> None:
    outputs, targets = torch.zeros(1, LENGTH, len(TOKENS)), torch.zeros(1, LENGTH, dtype=torch.long)
    outputs[..., 1] = 2000.0
    found = read(language(), ["perplexity", "loss"], outputs, targets)
    assert found.values == {"loss": 2000.0}
    assert found.missing == {"perplexity": "it is above 1e+100: 2000 nats"}


def test_data_that_are_no_text_are_refused_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match=r"write another spec.task, or format: Text") as refused:
        LanguageModellingTask.fit(source(torch.zeros(3)), Schema((1,), None), Training(), untouched())
    assert refused.value.reason == "WrongTask"


class Looking(nn.Module):
    """A language model that sees so many tokens ahead."""

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.head = nn.Embedding(len(TOKENS), len(TOKENS))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(tokens.roll(-self.ahead, dims=1))
        return found


def windows(count: int = 20) -> Prepared:
    generator = torch.Generator().manual_seed(0)
    stream = torch.randint(len(TOKENS), (count, LENGTH + 1), generator=generator)
    part = ReadySplit(stream[:, :-1].contiguous(), stream[:, 1:].contiguous())
    return Prepared(language(), part, part, part, torch.device("cpu"))


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_model_that_sees_what_it_has_to_predict_is_refused(ahead: int) -> None:
    check_model(Looking(0), windows(), name="own.nets:net", batch_size=4, seed=0)
    with pytest.raises(ConfigurationError, match=r"own.nets:net can't be judged: its answer at a place") as refused:
        check_model(Looking(ahead), windows(), name="own.nets:net", batch_size=4, seed=0)
    assert refused.value.reason == "ModelSeesAhead"


def test_a_language_model_answers_at_each_place_of_each_window() -> None:
    with pytest.raises(ConfigurationError, match=r"the shape \(2, 5\) .*, \(2, 7, 5\)") as refused:
        check_model(nn.Sequential(Looking(0), Last()), windows(), name="own.nets:net", batch_size=4, seed=0)
    assert refused.value.reason == "ModelOutputShape"


class Last(nn.Module):
    """Only the last place of each window."""

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs[:, -1]


# Meters of several ranks


def segmentation() -> SegmentationTask:
    return SegmentationTask(CLASSES, 0.0, untouched((3, 6, 7)))


def painted(seed: int = 0, count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs that are right more often than not, and masks in which a tenth of the pixels is void."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, CLASSES, (count, 6, 7), generator=generator)
    logits = torch.randn(count, CLASSES, 6, 7, generator=generator) * 2
    logits.scatter_add_(1, masks[:, None], torch.full((count, 1, 6, 7), 2.0))
    masks[torch.rand(masks.shape, generator=generator) < 0.1] = VOID
    return logits, masks.to(torch.uint8)


MADE: dict[str, tuple[Task, Callable[[], tuple[torch.Tensor, torch.Tensor]]]] = {
    "classification": (classification(), classified),
    "regression": (regression(), lambda: predicted()[:2]),
    "language-modelling": (language(), told),
    "segmentation": (segmentation(), painted),
}
# Detection keeps boxes, and its meters are tested with them: tests/unit/test_runner_detection.py.


@pytest.mark.parametrize("name", sorted(TASKS.keys() - {"detection"}))
def test_the_meters_of_ranks_together_read_as_one_meter(name: str) -> None:
    task, make = MADE[name]
    outputs, targets = make()
    keys = [key for key in TASKS[task.name].quality if key != "f1"]
    ranks: list[QualityMeter] = [task.meter(keys) for _ in range(3)]
    for place, batch in enumerate(zip(outputs.split(16), targets.split(16), strict=True)):
        ranks[place % 3].update(*batch)
    for other in ranks[1:]:
        ranks[0].merge(other)
    assert ranks[0].read().values == pytest.approx(read(task, keys, outputs, targets).values, rel=1e-12)
    assert set(ranks[0].read().values) == set(keys)


def test_a_meter_sums_in_double_precision() -> None:
    for task, make in MADE.values():
        outputs, targets = make()
        meter = task.meter(TASKS[task.name].quality)
        meter.update(outputs, targets)
        assert {sums.dtype for sums in meter.sums.values()} <= {torch.float64, torch.int64}
        assert all(sums.device.type == "cpu" for sums in meter.sums.values())


def test_outputs_that_are_not_finite_are_seen_in_any_batch_of_any_rank() -> None:
    outputs, targets = classified()
    outputs[17, 2] = float("nan")
    meter, other = (classification().meter(["accuracy"]) for _ in range(2))
    meter.update(outputs, targets)
    assert not meter.finite
    other.merge(meter)
    assert not other.finite


# The table of tasks


def modules() -> Iterator[str]:
    folder = Path(tasks.__file__).parent
    yield from (path.stem for path in folder.glob("*.py") if path.stem not in ("__init__", "base"))


def test_each_task_of_the_table_has_one_module_and_no_module_is_without_its_row() -> None:
    assert set(modules()) == {name.replace("-", "_") for name in TASKS}
    for name in TASKS:
        kind = tasks.task_class(name)
        assert kind.name == name
        assert kind.scores == TASKS[name].scores
        assert kind.watched <= set(TASKS[name].quality)


SHAPES: dict[DataKind, dict[str, Any]] = {
    "images": {"shape": (3, 16, 16)},
    "sequences": {"shape": (3, 16)},
    "table": {"shape": (3,)},
    "text": {"shape": (16,), "vocabulary": 7},
    "documents": {"shape": (None,), "vocabulary": 9},
    "scenes": {"shape": (3, 64, 64)},
    "masks": {"shape": (3, 16, 16)},
}


def test_each_model_takes_the_kinds_of_data_that_the_table_says_and_no_other() -> None:
    assert {model for model in MODEL_KINDS if not model.endswith("/")} == set(MODEL_ARGS)
    for name in MODEL_ARGS:
        for kind, facts in SHAPES.items():
            if kind in MODEL_KINDS[name]:
                assert isinstance(build(Model(name=name), kind=kind, outputs=7, dropout=0.0, **facts), nn.Module)
                continue
            with pytest.raises(ConfigurationError, match=f"{name} takes .* use one of") as refused:
                build(Model(name=name), kind=kind, outputs=7, dropout=0.0, **facts)
            assert refused.value.reason == "ModelForwardFailed"


# Checks before training


def ready(task: Task, count: int = 40) -> Prepared:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 4, generator=generator)
    targets = torch.arange(count) % CLASSES if isinstance(task, ClassificationTask) else inputs.sum(1).double()
    part = ReadySplit(inputs, targets)
    return Prepared(task, part, part, part, torch.device("cpu"))


def check(model: nn.Module, task: Task | None = None, *, batch_size: int = 8, count: int = 40) -> None:
    check_model(model, ready(task or classification(), count), name="own.nets:net", batch_size=batch_size, seed=0)


def network(outputs: int = CLASSES) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, outputs))


class InTraining(nn.Module):
    """A network that behaves in another way in training mode."""

    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.body, self.change = nn.Linear(4, CLASSES), change

    def forward(self, inputs: torch.Tensor) -> Any:
        outputs = self.body(inputs)
        return self.change(outputs) if self.training else outputs


class Squeezing(nn.Linear):
    """Drops the axis of the samples where there is one."""

    def __init__(self) -> None:
        super().__init__(4, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs).squeeze()


class Rows(nn.Module):
    """A network whose embedding has sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(3, CLASSES, sparse=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.rows((inputs[:, 0] > 0).long())
        return found


class Waves(nn.Module):
    """A network with complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, CLASSES, dtype=torch.complex64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs.to(torch.complex64) @ self.weight).real


def _broken(outputs: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("only in training")


@pytest.mark.parametrize(
    ("model", "reason", "message"),
    [
        (InTraining(lambda outputs: (outputs, outputs)), "ModelOutputShape", "a tuple in training mode: .* one tensor"),
        (InTraining(lambda outputs: outputs[:, :2]), "ModelOutputShape", r"\(8, 2\) in training mode: .*\(8, 5\)"),
        (InTraining(_broken), "ModelForwardFailed", r"batches of shape \(8, 4\) in training mode: .* only in training"),
        (InTraining(lambda outputs: outputs.detach()), "NothingToTrain", "without a gradient"),
        (network().requires_grad_(False), "NothingToTrain", "no trainable parameter"),
        (nn.Linear(4, 2), "ModelOutputShape", r"2 samples with the shape \(2, 2\) in evaluation mode"),
        (nn.Linear(3, CLASSES), "ModelForwardFailed", "in evaluation mode"),
        (Squeezing(), "ModelOutputShape", r"1 sample with the shape \(5,\) in evaluation mode"),
        (Rows(), "ModelForwardFailed", "rows.weight has a sparse gradient, .* use sparse=False"),
        (Waves(), "ModelForwardFailed", "weight is complex, .* use real parameters"),
    ],
    ids=["tuple", "shape", "raises", "detached", "frozen", "narrow", "other input", "squeezes", "sparse", "complex"],
)
def test_a_model_that_cant_be_trained_is_refused_with_one_reason(model: nn.Module, reason: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        check(model)
    assert refused.value.reason == reason
    assert "own.nets:net" in str(refused.value)


@pytest.mark.parametrize(("batch_size", "count"), [(1, 40), (8, 1)])
def test_batch_normalisation_with_a_single_sample_is_refused_with_the_fix(batch_size: int, count: int) -> None:
    with pytest.raises(ConfigurationError, match="batchSize of 2 or more") as refused:
        check(network(), batch_size=batch_size, count=count)
    assert refused.value.reason == "BatchTooSmall"
    check(nn.Linear(4, CLASSES), batch_size=batch_size, count=count)


def test_a_data_set_smaller_than_a_batch_and_a_last_batch_of_one_are_fine() -> None:
    check(network(), batch_size=512)
    check(network(), batch_size=39)


@pytest.mark.parametrize("outputs", [1, 2])
def test_regression_wants_one_number_for_each_sample(outputs: int) -> None:
    if outputs == 1:
        check(network(1), regression())
        check(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), regression())
        return
    with pytest.raises(ConfigurationError, match="one number for each sample"):
        check(network(2), regression())


def test_the_check_changes_neither_the_model_nor_the_random_state() -> None:
    model = network()
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    check(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_running_out_of_memory_in_the_check_is_no_fault_of_the_model() -> None:
    def hungry(_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        check(InTraining(hungry))
