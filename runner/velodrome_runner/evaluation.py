"""The quality of a model on a split, by the task's own meter."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

import torch
from torch import nn

from velodrome.errors import TrialFailed
from velodrome.metrics.catalogue import without_rounding
from velodrome.vocabulary import Keeping
from velodrome_runner.precision import Autocast
from velodrome_runner.tasks.base import Batch, QualityMeter, Task


@torch.inference_mode()
def measured(
    task: Task,
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    keys: Iterable[str],
    where: str = "the test split",
    context: Autocast = nullcontext,
    keeping: Keeping = "none",
) -> QualityMeter:
    """The task's meter of these keys after these batches. Leaves the model in evaluation mode.

    Forward passes run inside `context`, without gradients. Messages name the samples by `where`.

    Raises:
        TrialFailed: `OutputNotFinite`, the model gave NaN or an infinity.
        ConfigurationError: the targets are none of this task.
    """
    model.eval()
    meter = task.meter(keys, keeping)
    for batch in batches:
        with context():
            outputs = task.call(model, batch.inputs)
        meter.update(outputs, batch.targets)
    if not meter.finite:
        raise TrialFailed(
            "OutputNotFinite",
            f"on {where} the model's outputs are not all finite: lower the learning rate, or use float32",
        )
    return meter


def evaluate(
    task: Task,
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    keys: Iterable[str],
    where: str = "the test split",
    context: Autocast = nullcontext,
) -> dict[str, float]:
    """The value of each quality metric on these batches, without those that have none. Raises as `measured` does."""
    return values_of(measured(task, model, batches, keys=keys, where=where, context=context), {})


def values_of(meter: QualityMeter, unavailable: dict[str, str]) -> dict[str, float]:
    """What a meter found. The reasons of keys without a value are added to `unavailable`."""
    reading = meter.read()
    unavailable |= reading.missing
    return {text: without_rounding(text, value) for text, value in reading.values.items()}
