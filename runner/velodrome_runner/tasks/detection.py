"""DetectionTask: boxes with a class and a score in each image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.metrics.catalogue import MetricKey
from velodrome.spec import Training
from velodrome.tasks import TASKS
from velodrome.vocabulary import Keeping
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.data.scenes import AREA, BOX, COLUMNS, CROWD, LABEL, SCALE
from velodrome_runner.inputs import Inputs, Transform
from velodrome_runner.inputs.scenes import Scenes
from velodrome_runner.tasks.base import Batch, QualityMeter, Reading, Task

# Where COCO's summary has each value, and of which objects it is.
_SUMMARY = {
    "box_map": (0, "object that counts"),
    "box_map_50": (1, "object that counts"),
    "box_map_small": (3, "object below 32 x 32 pixels"),
    "box_map_medium": (4, "object from 32 x 32 to 96 x 96 pixels"),
    "box_map_large": (5, "object above 96 x 96 pixels"),
}
_NOT_THERE = -1  # COCO's value where there is nothing to find


class DetectionTask(Task):
    """The losses of a detector, which computes them itself: it is called as torchvision's detectors are.

    In training, `model(images, targets)` gives a mapping of losses, whose sum is minimised. `targets` are for each
    image `boxes` (k, 4) float32, the corners in pixels, and `labels` (k,) int64 from 1 to `classes`: 0 is the
    background. In evaluation, `model(images)` gives for each image `boxes` (k, 4), `labels` (k,) and `scores` (k,).
    Images are a list of tensors (channels, height, width). Crowds are not learned from.
    """

    name = "detection"
    scores = TASKS["detection"].scores
    watched = frozenset({"box_map"})

    def __init__(self, classes: int, transform: Transform) -> None:
        super().__init__(transform)
        self.classes = classes

    @classmethod
    def fit(cls, train: SampleSource, schema: Schema, training: Training, transform: Transform) -> Self:
        if schema.classes is None or train.targets.shape[2:] != (COLUMNS,):
            raise ConfigurationError(
                "these data have no boxes: write another spec.task, or format: COCO or VOC", "WrongTask"
            )
        if training.regularization.label_smoothing:
            raise ConfigurationError(
                "training.regularization.labelSmoothing is for classification, and a detector has its own losses: "
                "leave it out"
            )
        return cls(len(schema.classes), transform)

    @property
    def told(self) -> Mapping[str, Any]:
        return {"classes": self.classes, "outputs": self.classes + 1}

    def refuse(self, keys: Iterable[str]) -> None:
        """Every key may have a value."""

    def problem(self, outputs: Any, samples: int) -> str | None:
        wanted = "it must return, for each image, a mapping with boxes (k, 4), labels (k,) and scores (k,)"
        if not isinstance(outputs, Sequence) or len(outputs) != samples:
            return wanted
        return None if all(map(_is_answer, outputs)) else wanted

    def unusable(self, outputs: Any, samples: int, *, training: bool) -> str | None:
        if not training:
            return self.problem(outputs, samples)
        losses = outputs.values() if isinstance(outputs, Mapping) else ()
        if losses and all(isinstance(loss, Tensor) and loss.numel() == 1 for loss in losses):
            return None
        return "it must return its losses, a number each, by their names"

    def call(self, model: nn.Module, inputs: Inputs) -> Any:
        assert isinstance(inputs, Tensor)
        return model(list(inputs))

    def call_in_training(self, model: nn.Module, batch: Batch) -> Any:
        return model(list(batch.inputs), [_learned(rows, batch.inputs.shape) for rows in batch.targets])

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        if not self.transform.augments:
            return batch
        assert isinstance(self.transform, Scenes)
        return Batch(*self.transform.changed(batch.inputs, batch.targets, generator))

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor) -> tuple[Tensor, int]:
        """The sum of the model's own losses. Its weight is the number of images."""
        return torch.stack([loss.float().reshape(()) for loss in outputs.values()]).sum(), len(targets)

    def meter(self, keys: Iterable[str], keeping: Keeping = "none") -> DetectionMeter:  # noqa: ARG002 - keeps nothing
        return DetectionMeter(self.classes, keys)


def _is_answer(answer: Any) -> bool:
    if not isinstance(answer, Mapping):
        return False
    boxes, others = answer.get("boxes"), [answer.get("labels"), answer.get("scores")]
    if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 4:
        return False
    return all(isinstance(each, Tensor) and each.shape == boxes.shape[:1] for each in others)


def _learned(rows: Tensor, shape: Sequence[int]) -> dict[str, Tensor]:
    """What a detector learns from an image: the boxes inside it, in its pixels."""
    rows = rows[(rows[:, LABEL] >= 0) & (rows[:, CROWD] == 0)]
    *_, height, width = shape
    most = torch.tensor([width, height, width, height], dtype=rows.dtype, device=rows.device)
    boxes = (rows[:, BOX] * rows[:, SCALE, None]).clamp(min=0).minimum(most).float()
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return {"boxes": boxes[kept], "labels": rows[kept, LABEL].long() + 1}


class DetectionMeter(QualityMeter):
    """COCO's mean average precision of boxes, by `faster_coco_eval`, in the pixels of the files.

    Its rules are COCO's: 101 levels of recall, overlaps of 0.5 to 0.95 in steps of 0.05, at most 100 boxes of a class
    in an image; a crowd that is found is no error. Sizes go by the object's area in the annotation.
    """

    def __init__(self, classes: int, keys: Iterable[str]) -> None:
        super().__init__()
        self.classes = classes
        self.keys = {text: MetricKey.parse(text) for text in keys}

    @torch.inference_mode()
    def update(self, outputs: Sequence[Mapping[str, Tensor]], targets: Tensor) -> None:
        targets, first = targets.cpu(), self._images
        for number, (answer, rows) in enumerate(zip(outputs, targets, strict=True), start=first):
            boxes, scores, labels = (answer[name].double().cpu() for name in ("boxes", "scores", "labels"))
            self.finite = self.finite and bool(boxes.isfinite().all()) and bool(scores.isfinite().all())
            image = torch.full_like(scores, number)[:, None]
            called = labels[:, None] - 1
            self.keep("found", torch.cat((image, boxes / rows[0, SCALE], scores[:, None], called), 1)[labels >= 1])
            there = rows[rows[:, LABEL] >= 0]
            self.keep("there", torch.cat((torch.full_like(there[:, :1], number), there), 1))
        self.add("images", torch.tensor(len(targets)))

    def merge(self, other: QualityMeter) -> None:
        """Images of another rank are counted on from those of this one."""
        first = self._images
        for name, parts in other.kept.items():
            for part in parts:
                self.keep(name, torch.cat((part[:, :1] + first, part[:, 1:]), 1))
        for name, value in other.sums.items():
            self.add(name, value)
        self.finite = self.finite and other.finite

    def read(self) -> Reading:
        summary = self._summary() if self.finite else None
        return Reading.of(self.keys, lambda key: self._value(key.name, summary))

    @property
    def _images(self) -> int:
        return int(self.sums.get("images", 0))

    def _value(self, name: str, summary: Sequence[float] | None) -> float | str:
        place, objects = _SUMMARY[name]
        if summary is None:
            return "the model's boxes are not all finite"
        return f"there is no {objects}" if summary[place] == _NOT_THERE else float(summary[place])

    def _summary(self) -> Sequence[float]:
        from faster_coco_eval import COCO, COCOeval_faster

        shared = {
            "images": [{"id": number + 1} for number in range(self._images)],
            "categories": [{"id": label + 1, "name": str(label)} for label in range(self.classes)],
        }
        evaluated = COCOeval_faster(
            COCO(shared | {"annotations": self._truths()}),
            COCO(shared | {"annotations": self._answers()}),
            "bbox",
            print_function=_quiet,
            extra_calc=False,
        )
        evaluated.run()
        found: Sequence[float] = evaluated.stats
        return found

    def _truths(self) -> list[dict[str, Any]]:
        rows = self.all("there").numpy()
        # Behind the number of the image, the columns are those of the targets.
        boxes, areas = _sized(rows[:, 1:][:, BOX]), rows[:, 1 + AREA]
        return [
            {"id": at, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": crowd}
            for at, (image, label, box, area, crowd) in enumerate(
                zip(
                    (rows[:, 0].astype(int) + 1).tolist(),
                    (rows[:, 1 + LABEL].astype(int) + 1).tolist(),
                    boxes.tolist(),
                    areas.tolist(),
                    rows[:, 1 + CROWD].astype(int).tolist(),
                    strict=True,
                ),
                start=1,
            )
        ]

    def _answers(self) -> list[dict[str, Any]]:
        rows = self.all("found").numpy()
        boxes = _sized(rows[:, 1:5])
        return [
            {
                "id": at,
                "image_id": image,
                "category_id": label,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "score": score,
            }
            for at, (image, label, box, score) in enumerate(
                zip(
                    (rows[:, 0].astype(int) + 1).tolist(),
                    (rows[:, 6].astype(int) + 1).tolist(),
                    boxes.tolist(),
                    rows[:, 5].tolist(),
                    strict=True,
                ),
                start=1,
            )
        ]


def _sized(corners: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Boxes (k, 4) as COCO has them: the upper left corner, the width and the height."""
    return np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)


def _quiet(*_: object) -> None:
    """COCO's evaluation prints its summary."""


TASK = DetectionTask
