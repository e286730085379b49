"""Images with boxes: as images, and augmentations that move the boxes with the pixels."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from velodrome.vocabulary import DataKind
from velodrome_runner.data.scenes import BOX, LABEL, SCALE
from velodrome_runner.inputs.moving import MovedTogether, Moving

_LEAST = 1.0  # pixels of a box's sides: what is left of an object that a crop has cut away is none


class MovingBoxes(Moving):
    """An augmentation that moves boxes. One of which less than a pixel is left gets the label -1."""

    def moved(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        from torchvision import tv_tensors
        from torchvision.transforms.v2 import functional

        size = (image.shape[1], image.shape[2])
        boxes = tv_tensors.BoundingBoxes(target[:, BOX], format="XYXY", canvas_size=size)
        moved, corners = self.transform(tv_tensors.Image(image), boxes)
        found = functional.clamp_bounding_boxes(corners).as_subclass(Tensor)
        left = (found[:, 2] - found[:, 0] >= _LEAST) & (found[:, 3] - found[:, 1] >= _LEAST)
        rows = target.clone()
        rows[:, BOX] = found
        rows[:, LABEL] = torch.where(left, rows[:, LABEL], -1.0)
        return moved.as_subclass(Tensor), rows


class Scenes(MovedTogether):
    """Images with boxes, as `Images`."""

    kind: ClassVar[DataKind] = "scenes"
    moving = MovingBoxes

    def changed(self, images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A training batch with random changes. Boxes are in the pixels of the images then, and their scale is 1."""
        targets = targets.clone()
        targets[..., BOX] *= targets[..., SCALE, None]
        targets[..., SCALE] = 1
        return super().changed(images, targets, generator)
