"""Tasks by name: each has one module here, with the class `TASK`. See `velodrome_runner.tasks.base`."""

from __future__ import annotations

import importlib

import torch

from velodrome.spec import Preprocessing, Training
from velodrome_runner.data import Contents
from velodrome_runner.inputs import fit_transform
from velodrome_runner.tasks.base import Batch, QualityMeter, Reading, Task

__all__ = ["Batch", "QualityMeter", "Reading", "Task", "fit", "task_class"]


def task_class(name: str) -> type[Task]:
    """The class of the task of that name, which `velodrome.tasks` lists."""
    found: type[Task] = importlib.import_module(f"velodrome_runner.tasks.{name.replace('-', '_')}").TASK
    return found


def fit(
    name: str,
    contents: Contents,
    preprocessing: Preprocessing,
    training: Training,
    *,
    device: torch.device,
    seed: int,
) -> Task:
    """The task, with everything that it and the preprocessing learn from the training split.

    Raises:
        ConfigurationError: the preprocessing or the task does not fit these data.
    """
    kind, train = task_class(name), contents.splits["train"]
    transform = fit_transform(
        contents.kind, train, contents.schema, preprocessing, scores=kind.scores, device=device, seed=seed
    )
    return kind.fit(train, contents.schema, training, transform)
