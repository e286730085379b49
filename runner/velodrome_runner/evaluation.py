"""The quality of a model: the quality metrics of the catalogue, from counts, torch and torchmetrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from velodrome.counts import ClassCounts, share
from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.metrics import MetricKey, without_rounding
from velodrome_runner.precision import Autocast


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    classes: int,
    keys: Iterable[str],
    where: str = "the test split",
    context: Autocast = nullcontext,
) -> dict[str, float]:
    """The value of each quality metric on these batches. Leaves the model in evaluation mode.

    Forward passes run inside `context`, without gradients. A key without any sample is left out: see `measure`.
    Messages name the samples by `where`.

    Raises:
        TrialFailed: `OutputNotFinite`, the model gave NaN or an infinity.
        ConfigurationError: see `measure`.
    """
    logits, labels = predict(model, batches, context=context)
    if not bool(logits.isfinite().all()):
        raise TrialFailed(
            "OutputNotFinite",
            f"on {where} the model's outputs are not all finite: lower the learning rate, or use float32",
        )
    return measure(logits, labels, classes=classes, keys=keys)


@torch.inference_mode()
def predict(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, context: Autocast = nullcontext
) -> tuple[Tensor, Tensor]:
    """The model's outputs (n, classes) as float32 and the labels (n,), on the device that the batches are on."""
    model.eval()
    logits, labels = [], []
    for images, truth in batches:
        with context():
            logits.append(model(images).float())
        labels.append(truth)
    return torch.cat(logits), torch.cat(labels)


def check_keys(keys: Iterable[str], classes: int) -> None:
    """Refuses keys that this data set can't have, before the training starts.

    Raises:
        ConfigurationError: `LabelOutOfRange`, a key names a class that does not exist.
    """
    for text in keys:
        label = dict(MetricKey.parse(text).parameters).get("label")
        if label is not None and int(label) >= classes:
            raise ConfigurationError(
                f"{text} names class {label}, but the data set has {classes} classes: use 0 to {classes - 1}",
                "LabelOutOfRange",
            )


@torch.inference_mode()
def measure(logits: Tensor, labels: Tensor, *, classes: int, keys: Iterable[str]) -> dict[str, float]:
    """The value of each key from outputs (n, classes) and labels (n,) of 0 to classes - 1.

    - `loss` and `validation_loss`: mean cross-entropy in nats, without label smoothing.
    - `accuracy`: the share of samples whose largest output is the right class. `top5_accuracy`: the share with the
      right class among the five largest outputs, or among all outputs if there are fewer than five classes.
    - `precision`, `recall`, `f1`: macro (the mean leaves out a class that neither occurs nor is predicted, as in
      scikit-learn), `average=micro`, `average=weighted` (by how often a class occurs), or of one class by `label`. A
      ratio with the denominator 0 is 0.
    - `mean_average_precision`: each class's average precision (the sum of precision x the step in recall over all
      thresholds, no interpolation), averaged over the classes that occur.

    All but the losses and `mean_average_precision` are divisions of counts in double precision (`velodrome.counts`).
    The answer leaves out the `label` key of a class that does not occur in `labels`.

    Raises:
        ConfigurationError: `LabelOutOfRange`, a label or a key's class is not below `classes`.
    """
    keys = tuple(keys)
    check_keys(keys, classes)
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise ConfigurationError(
            f"labels go from {lowest} to {highest}, but the model has {classes} classes, 0 to {classes - 1}",
            "LabelOutOfRange",
        )
    values = {}
    counts = _counts(logits, labels, classes)
    for text in keys:
        value = _value(MetricKey.parse(text), logits, labels, counts)
        if value is not None:
            values[text] = without_rounding(text, value)
    return values


def _value(key: MetricKey, logits: Tensor, labels: Tensor, counts: ClassCounts) -> float | None:
    if key.name in ("loss", "validation_loss"):
        return float(F.cross_entropy(logits, labels))
    if key.name in ("accuracy", "top5_accuracy"):
        top = 1 if key.name == "accuracy" else min(5, len(counts.there))
        # argmax and topk may choose differently among equal outputs.
        called = logits.argmax(1, keepdim=True) if top == 1 else logits.topk(top, dim=1).indices
        return share(int((called == labels[:, None]).sum()), len(labels))
    if key.name == "mean_average_precision":
        return _mean_average_precision(logits, labels, len(counts.there))
    return counts.score(key)


def _counts(logits: Tensor, labels: Tensor, classes: int) -> ClassCounts:
    called = logits.argmax(1)
    numbers = (labels[called == labels], called, labels)
    # Counted on the CPU: a GPU's bincount has no deterministic form.
    hits, guessed, there = (each.cpu().bincount(minlength=classes).tolist() for each in numbers)
    return ClassCounts(hits, guessed, there)


def _mean_average_precision(logits: Tensor, labels: Tensor, classes: int) -> float:
    occur = labels.bincount(minlength=classes) > 0
    from torchmetrics.functional import classification  # it imports torchvision, and takes as long as torch

    # Takes each class's value, because torchmetrics' mean warns about classes that don't occur before it skips them.
    each = classification.multiclass_average_precision(
        logits.softmax(1), labels, classes, average="none", validate_args=False
    )
    mean = float(each[occur].mean())
    assert math.isfinite(mean)  # a class that occurs has an average precision
    return mean
