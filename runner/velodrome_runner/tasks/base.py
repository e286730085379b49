"""What a task is to a trial: the protocol that the loop, the timing, the footprint and the evaluation know.

A task says what a sample is, how a batch is made of samples, how a model is called, what the loss is, and which
metrics belong. `docs/adding-a-task.md` shows how to add one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.metrics.catalogue import MetricKey
from velodrome.spec import Training
from velodrome.vocabulary import Keeping
from velodrome_runner.data import Samples, SampleSource, Schema
from velodrome_runner.inputs.base import Inputs, Transform, apply


class Batch(NamedTuple):
    """Samples as a model and its loss take them, on the device. The first axis of every tensor is the sample.

    `inputs` are `Inputs`: Any here, because only a kind of data and its models know which.
    """

    inputs: Any
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter found: a value for each key, and for each key without a value the reason."""

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Mapping[str, MetricKey], value: Callable[[MetricKey], float | str]) -> Reading:
        """What `value` gives for each key: a value, or the reason why there is none."""
        reading = cls()
        for text, key in keys.items():
            found = value(key)
            if isinstance(found, str):
                reading.missing[text] = found
            else:
                reading.values[text] = found
        return reading


class QualityMeter(ABC):
    """The quality of outputs, gathered batch by batch in double precision.

    `sums` are added over batches and over ranks; `kept` are put one after another. Both are on the CPU, so that the
    meter of another rank can be sent as it is. `finite` says whether all outputs were finite.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.kept: dict[str, list[Tensor]] = {}
        self.finite = True
        # The samples' indices in the order in which they came, if that is not the order of the split.
        self.order: Tensor | None = None

    @abstractmethod
    def update(self, outputs: Any, targets: Tensor) -> None:
        """Takes in a batch: the model's outputs, and the targets of the same samples."""

    @abstractmethod
    def read(self) -> Reading:
        """The value of each key that was asked for, over everything so far."""

    @property
    def of_each(self) -> dict[str, Tensor]:
        """What was kept of each sample, in the split's order: `right` or `losses` of classes, `errors` of numbers."""
        found: dict[str, Tensor] = {name: self.all(name) for name in ("right", "losses", "errors") if name in self.kept}
        if self.order is None:
            return found
        places = self.order.argsort()
        return {name: values[places] for name, values in found.items()}

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...] | None:
        """Samples by right class (rows) and predicted class (columns); None where there are no or too many classes."""
        return None

    def merge(self, other: QualityMeter) -> None:
        """Takes in what the meter of another rank has gathered for the same keys."""
        for name, value in other.sums.items():
            self.add(name, value)
        for name, parts in other.kept.items():
            self.kept.setdefault(name, []).extend(parts)
        self.finite = self.finite and other.finite

    def add(self, name: str, value: Tensor) -> None:
        """Adds to a sum, which begins at 0."""
        value = value.cpu()
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def keep(self, name: str, values: Tensor) -> None:
        """Keeps the values of a batch, the first axis being the sample."""
        self.kept.setdefault(name, []).append(values.cpu())

    def all(self, name: str) -> Tensor:
        """Everything that was kept under this name."""
        return torch.cat(self.kept[name])


def refuse_labels(keys: Iterable[str], classes: int) -> None:
    """Raises ConfigurationError, LabelOutOfRange, if a key is of a class that the data don't have."""
    for text in keys:
        label = dict(MetricKey.parse(text).parameters).get("label")
        if label is not None and int(label) >= classes:
            raise ConfigurationError(
                f"{text} names class {label}, but the data set has {classes} classes: use 0 to {classes - 1}",
                "LabelOutOfRange",
            )


class Task(ABC):
    """A task that has learned what it needs from the training split.

    `transform` makes a model's inputs of raw samples. It too was fitted on the training split alone.
    """

    name: ClassVar[str]
    # The names in scikit-learn of the scores that features may be selected by; the first is the default.
    scores: ClassVar[tuple[str, ...]]
    # The metrics that are measured on the validation split after each epoch, whatever the job asks for.
    watched: ClassVar[frozenset[str]]

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    @classmethod
    @abstractmethod
    def fit(cls, train: SampleSource, schema: Schema, training: Training, transform: Transform) -> Self:
        """The task for these data, with what it learns from the targets of the training split.

        Raises:
            ConfigurationError: these data don't belong to such a task.
        """

    @property
    @abstractmethod
    def told(self) -> Mapping[str, Any]:
        """What a model's factory is told beside the inputs' shape: `outputs`, and `classes` where there are."""

    @abstractmethod
    def refuse(self, keys: Iterable[str]) -> None:
        """Refuses metric keys that these data can't have, before the training starts.

        Raises:
            ConfigurationError: the message names the key.
        """

    @abstractmethod
    def problem(self, outputs: Any, samples: int) -> str | None:
        """Why a model's outputs for this many samples can't be used, and what it must return; None if they can."""

    def unusable(self, outputs: Any, samples: int, *, training: bool) -> str | None:  # noqa: ARG002 - most answer alike
        """As `problem`, of whatever a model returned in that mode."""
        return self.problem(outputs, samples) if isinstance(outputs, Tensor) else "it must return one tensor"

    def leak(self, model: nn.Module, inputs: Inputs) -> str | None:  # noqa: ARG002 - most tasks hide their targets
        """Why a model in evaluation mode sees in its inputs what it has to predict, and the fix; None if it doesn't."""
        return None

    @abstractmethod
    def loss(self, outputs: Any, targets: Tensor) -> tuple[Tensor, int | Tensor]:
        """The mean loss that training minimises, and its weight: the number of samples in the mean.

        If the mean is over something else, such as labelled pixels, the weight is their number as a tensor, int64.
        """

    @abstractmethod
    def meter(self, keys: Iterable[str], keeping: Keeping = "none") -> QualityMeter:
        """A meter for these keys of quality metrics, which also keeps that of each sample (`of_each`)."""

    def call(self, model: nn.Module, inputs: Inputs) -> Any:
        """The model's outputs for a batch. This is what latency times and what FLOPs are counted of."""
        return apply(model, inputs)

    def call_in_training(self, model: nn.Module, batch: Batch) -> Any:
        """The model's outputs for a training batch. Models that compute their own loss need the targets for it."""
        return self.call(model, batch.inputs)

    def collate(self, samples: Samples, *, training: bool = False) -> Batch:
        """A batch on the device from raw samples; training images before their augmentation."""
        inputs = self.transform(samples, training=training)
        return Batch(inputs, samples.targets.to(self.transform.device, non_blocking=True))

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with random changes of its inputs; tasks whose targets move with them change both."""
        if not self.transform.augments:
            return batch
        return Batch(self.transform.augment(batch.inputs, generator), batch.targets)
