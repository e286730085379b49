"""RegressionTask: one number for each sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome.metrics.catalogue import MetricKey
from velodrome.spec import Training
from velodrome.tasks import TASKS
from velodrome.vocabulary import Keeping
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.inputs import Transform
from velodrome_runner.tasks.base import QualityMeter, Reading, Task


class RegressionTask(Task):
    """Squared error of the standardised target. A model returns one number for each sample, (n, 1) or (n,).

    A model learns (target - `mean`) / `deviation`, with those of the training split, so that one learning rate suits
    targets of every unit. Metrics are in the target's own unit.
    """

    name = "regression"
    scores = TASKS["regression"].scores
    watched = frozenset({"validation_loss", "rmse"})

    def __init__(self, mean: float, deviation: float, transform: Transform) -> None:
        super().__init__(transform)
        self.mean = mean
        self.deviation = deviation

    @classmethod
    def fit(cls, train: SampleSource, schema: Schema, training: Training, transform: Transform) -> Self:
        if schema.classes is not None or not train.take(torch.tensor([0])).targets.is_floating_point():
            raise ConfigurationError(
                f"the target{f' {schema.target}' if schema.target else ''} is a class, not a number: "
                "write spec.task: classification, or name a column of numbers as spec.dataset.target",
                "WrongTask",
            )
        if training.regularization.label_smoothing:
            raise ConfigurationError(
                "training.regularization.labelSmoothing is for classes, and the target is a number: leave it out"
            )
        targets = train.targets.double()
        deviation = float(targets.std(correction=0))
        if not math.isfinite(float(targets.mean()) + deviation):
            raise ConfigurationError(
                "the training targets are not all finite numbers: leave such samples out", "DatasetCorrupt"
            )
        return cls(float(targets.mean()), deviation or 1.0, transform)

    @property
    def told(self) -> Mapping[str, Any]:
        return {"outputs": 1}

    def refuse(self, keys: Iterable[str]) -> None:
        """Every key of regression has a value."""

    def problem(self, outputs: Tensor, samples: int) -> str | None:
        if tuple(outputs.shape) in ((samples, 1), (samples,)):
            return None
        return f"it must return one number for each sample, {(samples, 1)}"

    def loss(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        wanted = ((targets - self.mean) / self.deviation).float()
        return F.mse_loss(outputs.float().reshape(-1), wanted), len(targets)

    def meter(self, keys: Iterable[str], keeping: Keeping = "none") -> RegressionMeter:
        return RegressionMeter(self, keys, keeping)


class RegressionMeter(QualityMeter):
    """`rmse`, `mae` and `r2` in the target's unit, and the loss, from sums in double precision.

    Sums of targets are of their distances from the training mean, so that a large mean costs no digits.
    """

    def __init__(self, task: RegressionTask, keys: Iterable[str], keeping: Keeping = "none") -> None:
        super().__init__()
        self.task = task
        self._keeping = keeping
        self.keys = {text: MetricKey.parse(text) for text in keys}

    @torch.inference_mode()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        standardised = outputs.double().reshape(-1)
        self.finite = self.finite and bool(standardised.isfinite().all())
        distances = targets.double() - self.task.mean
        errors = standardised * self.task.deviation - distances
        if self._keeping != "none":
            self.keep("errors", errors.abs())
        for name, value in (
            ("samples", torch.tensor(len(targets))),
            ("squares", errors.square().sum()),
            ("sizes", errors.abs().sum()),
            ("distances", distances.sum()),
            ("squared distances", distances.square().sum()),
        ):
            self.add(name, value)

    def read(self) -> Reading:
        return Reading.of(self.keys, lambda key: self._value(key.name))

    def _value(self, name: str) -> float | str:
        samples = int(self.sums["samples"])
        squares, distances = float(self.sums["squares"]), float(self.sums["distances"])
        match name:
            case "rmse":
                return math.sqrt(squares / samples)
            case "mae":
                return float(self.sums["sizes"]) / samples
            case "validation_loss":
                return squares / samples / self.task.deviation**2
        spread = float(self.sums["squared distances"]) - distances**2 / samples
        return 1 - squares / spread if spread > 0 else "all samples have the same target"


TASK = RegressionTask
