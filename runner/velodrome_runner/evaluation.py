"""The quality of a model on a split, by the task's own meter."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import nn

from velodrome.errors import TrialFailed
from velodrome.metrics.catalogue import without_rounding
from velodrome.vocabulary import Keeping
from velodrome_runner.precision import Autocast
from velodrome_runner.preprocessing import Prepared
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


def of_split(
    prepared: Prepared,
    split: Literal["validation", "test"],
    model: nn.Module,
    batch_size: int,
    *,
    keys: Iterable[str],
    where: str = "the test split",
    context: Autocast = nullcontext,
    keeping: Keeping = "none",
) -> QualityMeter:
    """As `measured`, of a whole split. A model that takes lengths gets sequences of similar length together.

    What the meter keeps of each sample is in the order of the split. Batches have at least 64 samples.
    """
    order = prepared.by_length(split)
    batches = prepared.batches(max(batch_size, 64), split=split, order=order)
    meter = measured(prepared.task, model, batches, keys=keys, where=where, context=context, keeping=keeping)
    meter.order = order
    return meter


def values_of(meter: QualityMeter, unavailable: dict[str, str]) -> dict[str, float]:
    """What a meter found. The reasons of keys without a value are added to `unavailable`."""
    reading = meter.read()
    unavailable |= reading.missing
    return {text: without_rounding(text, value) for text, value in reading.values.items()}
