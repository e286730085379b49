"""Images with masks: as images, and augmentations that move the masks with the pixels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from velodrome.vocabulary import DataKind
from velodrome_runner.data import SampleSource
from velodrome_runner.inputs.moving import MovedTogether, Moving


class MovingMasks(Moving):
    """An augmentation that moves masks, whose pixels are the nearest ones."""

    def moved(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        from torchvision import tv_tensors

        moved, mask = self.transform(tv_tensors.Image(image), tv_tensors.Mask(target))
        return moved.as_subclass(Tensor), mask.as_subclass(Tensor)


class Masks(MovedTogether):
    """Images with masks, as `Images`."""

    kind: ClassVar[DataKind] = "masks"
    moving = MovingMasks

    def nbytes(self, source: SampleSource) -> int:
        """Bytes of the images as numbers, and of the masks as they are."""
        channels, height, width = self.pipeline.shape
        return len(source) * (4 * channels + 1) * height * width
