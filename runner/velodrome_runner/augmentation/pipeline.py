"""The augmentations of a BenchmarkJob as one function on normalised batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from velodrome.errors import ConfigurationError
from velodrome.spec import Augmentation
from velodrome_runner.augmentation.colour import ColorJitter
from velodrome_runner.augmentation.geometry import RandomCrop, RandomErasing, RandomHorizontalFlip, RandomRotation
from velodrome_runner.augmentation.step import Shape, Step
from velodrome_runner.augmentation.trivial import TrivialAugment


@dataclass(frozen=True)
class Normalization:
    """The affine map from values 0 to 1 to a model's input: mean and deviation of each channel, (1, c, 1, 1)."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.deviation

    def invert(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.deviation + self.mean

    def to(self, device: torch.device) -> Normalization:
        return Normalization(self.mean.to(device), self.deviation.to(device))


@dataclass(frozen=True)
class Pipeline:
    """Augmentations in order. `crops` are the sizes after each crop, in order; `shape` is the shape of the output."""

    steps: tuple[Step, ...]
    normalization: Normalization
    shape: Shape
    crops: tuple[tuple[int, int], ...]

    @property
    def copying(self) -> int:
        """How many steps at the beginning only copy pixels, so that raw bytes will do."""
        return next((place for place, step in enumerate(self.steps) if not step.copies), len(self.steps))

    def copied(self, raw: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Raw images (n, c, h, w) uint8 after the `copying` steps: less memory to move, and the same."""
        black = raw.new_zeros(1, raw.shape[1], 1, 1)
        for step in self.steps[: self.copying]:
            raw = step(raw, black, generator)
        return raw

    def __call__(self, images: torch.Tensor, generator: torch.Generator, *, start: int = 0) -> torch.Tensor:
        """Augments normalised images (n, c, h, w). Each step gets them as if they were not yet normalised.

        The first `start` steps are done already.

        Steps that only move pixels also work on normalised values. So only the other steps need the conversion in both
        directions.
        """
        normalization = self.normalization
        normalized = True
        for step in self.steps[start:]:
            if step.needs_unit_range and normalized:
                images, normalized = normalization.invert(images), False
            black = normalization.apply(torch.zeros_like(normalization.mean)) if normalized else 0 * normalization.mean
            images = step(images, black, generator)
        images = images if normalized else normalization.apply(images)
        return images.contiguous(memory_format=torch.channels_last)


def compose(augmentations: Sequence[Augmentation], shape: Shape, normalization: Normalization) -> Pipeline:
    """The pipeline for images of this shape.

    Raises:
        ConfigurationError: an augmentation can't be applied to such images.
    """
    steps: list[Step] = []
    crops: list[tuple[int, int]] = []
    for augmentation in augmentations:
        step = _step(augmentation, shape)
        steps.append(step)
        if isinstance(step, RandomCrop):
            shape = (shape[0], *step.size)
            crops.append(step.size)
    return Pipeline(tuple(steps), normalization, shape, tuple(crops))


def _step(augmentation: Augmentation, shape: Shape) -> Step:
    args = augmentation.args
    given: dict[str, Any] = args.model_dump(exclude_none=True)
    match augmentation.name:
        case "RandomCrop":
            return _crop(shape, args.size, args.padding or 0)
        case "RandomHorizontalFlip":
            return RandomHorizontalFlip(**given)
        case "RandomRotation":
            return RandomRotation(**given)
        case "RandomErasing":
            if args.scale is not None and args.scale[1] > 1:
                raise ConfigurationError(
                    f"RandomErasing: scale is a share of the area, at most 1, not {args.scale[1]:g}"
                )
            return RandomErasing(shape, **given)
        case "ColorJitter":
            if shape[0] == 1 and (args.saturation or args.hue):
                raise ConfigurationError(
                    "ColorJitter: grey images have no saturation and no hue to change: leave both out of its args"
                )
            return ColorJitter(**given)
        case "TrivialAugment":
            return TrivialAugment(**given)


def _crop(shape: Shape, size: int | None, padding: int) -> RandomCrop:
    _, height, width = shape
    crop = (height, width) if size is None else (size, size)
    if crop[0] > height + 2 * padding or crop[1] > width + 2 * padding:
        raise ConfigurationError(
            f"RandomCrop: size {size} does not fit into images of {height}x{width} with padding {padding}: "
            f"write a size of at most {min(height, width) + 2 * padding}, or more padding"
        )
    return RandomCrop(shape, crop, padding)
