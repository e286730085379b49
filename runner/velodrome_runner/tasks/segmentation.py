"""SegmentationTask: a class for each pixel of an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.metrics.catalogue import MetricKey
from velodrome.metrics.counts import ClassCounts, share
from velodrome.spec import Training
from velodrome.tasks import TASKS
from velodrome.vocabulary import VOID, Keeping
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.inputs import Inputs, Transform
from velodrome_runner.inputs.base import apply
from velodrome_runner.inputs.masks import Masks
from velodrome_runner.tasks.base import Batch, QualityMeter, Reading, Task, refuse_labels

# A second answer that some models of torchvision give in training, and its share of the loss in torchvision's recipes.
_AUXILIARY = "aux"
_AUXILIARY_SHARE = 0.5


class SegmentationTask(Task):
    """Cross-entropy over the classes of each labelled pixel. Pixels labelled `VOID` don't count.

    A model returns one logit for each class at each pixel, (n, classes, height, width), or a mapping with these as
    `out`, as torchvision's do. If it has `aux` too in training, half of its loss is added.
    """

    name = "segmentation"
    scores = TASKS["segmentation"].scores
    watched = frozenset({"validation_loss", "miou"})

    def __init__(self, classes: int, label_smoothing: float, transform: Transform) -> None:
        super().__init__(transform)
        self.classes = classes
        self.label_smoothing = label_smoothing

    @classmethod
    def fit(cls, train: SampleSource, schema: Schema, training: Training, transform: Transform) -> Self:
        if schema.classes is None or train.take(torch.tensor([0])).targets.ndim != len(("sample", "row", "column")):
            raise ConfigurationError(
                "these data have no masks: write another spec.task, or format: VOCSegmentation", "WrongTask"
            )
        return cls(len(schema.classes), training.regularization.label_smoothing, transform)

    @property
    def told(self) -> Mapping[str, Any]:
        return {"classes": self.classes, "outputs": self.classes}

    def refuse(self, keys: Iterable[str]) -> None:
        refuse_labels(keys, self.classes)

    def problem(self, outputs: Any, samples: int) -> str | None:
        wanted = (samples, self.classes, *self.transform.shape[1:])
        if isinstance(outputs, Tensor) and tuple(outputs.shape) == wanted:
            return None
        return f"it must return one logit for each class at each pixel, {wanted}, or a mapping with them as out"

    def unusable(self, outputs: Any, samples: int, *, training: bool) -> str | None:
        answers = _answers(outputs) if training else {"out": outputs}
        return next((found for each in answers.values() if (found := self.problem(each, samples))), None)

    def call(self, model: nn.Module, inputs: Inputs) -> Any:
        return _answers(apply(model, inputs)).get("out")

    def call_in_training(self, model: nn.Module, batch: Batch) -> Any:
        return apply(model, batch.inputs)

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        if not self.transform.augments:
            return batch
        assert isinstance(self.transform, Masks)
        return Batch(*self.transform.changed(batch.inputs, batch.targets, generator))

    def loss(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over the labelled pixels, 0 if there is none. Its weight is their number."""
        labels = targets.long().flatten()
        counted = (labels != VOID).sum()
        answers = _answers(outputs)
        loss = self._sum(answers["out"], labels)
        if _AUXILIARY in answers:
            loss = loss + _AUXILIARY_SHARE * self._sum(answers[_AUXILIARY], labels)
        return loss / counted.clamp(min=1), counted

    def meter(self, keys: Iterable[str], keeping: Keeping = "none") -> SegmentationMeter:  # noqa: ARG002 - keeps nothing
        return SegmentationMeter(self.classes, keys)

    def _sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.label_smoothing
        return F.cross_entropy(
            _by_pixel(logits).float(), labels, ignore_index=VOID, label_smoothing=smoothing, reduction="sum"
        )


class SegmentationMeter(QualityMeter):
    """The quality of logits (n, classes, height, width) for labels (n, height, width), over all labelled pixels.

    From one matrix of whole numbers, the pixels by right and by predicted class over all images:

    - `miou`: the mean over the classes that occur of hits / (right + predicted - hits), as Pascal VOC defines it
      (M. Everingham et al., "The Pascal Visual Object Classes challenge: a retrospective", 2015); with a label, of that
      class alone.
    - `pixel_accuracy`: the share of pixels whose largest output is the right class.

    `loss` and `validation_loss` are the mean cross-entropy of a pixel in nats, without label smoothing.
    """

    def __init__(self, classes: int, keys: Iterable[str]) -> None:
        super().__init__()
        self.classes = classes
        self.keys = {text: MetricKey.parse(text) for text in keys}
        self._coded = not {key.name for key in self.keys.values()}.isdisjoint({"loss", "validation_loss"})

    @torch.inference_mode()
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        for logits, mask in zip(outputs, targets, strict=True):  # as double, a whole batch would take much memory
            labels = mask.long().flatten()
            counted = labels != VOID
            pixels, labels = _by_pixel(logits[None])[counted], labels[counted]
            self.finite = self.finite and bool(logits.isfinite().all())
            # Counted on the CPU: a GPU's bincount has no deterministic form.
            pairs = (labels * self.classes + pixels.argmax(1)).cpu().bincount(minlength=self.classes**2)
            self.add("pixels", pairs.view(self.classes, self.classes))
            if self._coded:
                self.add("nats", F.cross_entropy(pixels.double(), labels, reduction="sum"))

    def read(self) -> Reading:
        matrix = self.sums["pixels"]
        counts = ClassCounts(matrix.diagonal().tolist(), matrix.sum(0).tolist(), matrix.sum(1).tolist())
        return Reading.of(self.keys, lambda key: self._value(key, counts))

    def _value(self, key: MetricKey, counts: ClassCounts) -> float | str:
        pixels = sum(counts.there)
        if not pixels:
            return "no pixel has a label"
        match key.name:
            case "loss" | "validation_loss":
                return float(self.sums["nats"]) / pixels
            case "pixel_accuracy":
                return share(sum(counts.hits), pixels)
        found = counts.score(key)
        return f"no pixel is of class {dict(key.parameters)['label']}" if found is None else found


def _answers(outputs: Any) -> Mapping[str, Any]:
    """What counts of a model's answer: the logits as `out`, and those that only help in training."""
    if not isinstance(outputs, Mapping) or "out" not in outputs:
        return {"out": outputs}
    return {name: outputs[name] for name in ("out", _AUXILIARY) if name in outputs}


def _by_pixel(logits: Tensor) -> Tensor:
    """Logits (n * height * width, classes); in channels-last memory without a copy."""
    return logits.movedim(1, -1).flatten(0, -2)


TASK = SegmentationTask
