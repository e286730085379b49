"""Images with something on them that moves with their pixels: augmentations that change both.

Augmentations that only change values are those of images. Those that move pixels are torchvision's, which move boxes
and masks too.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from velodrome.spec import Augmentation, Preprocessing
from velodrome.vocabulary import VOID
from velodrome_runner.augmentation import Normalization, Pipeline, compose
from velodrome_runner.augmentation.areas import RandomResizedCrop
from velodrome_runner.augmentation.geometry import (
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
)
from velodrome_runner.augmentation.perspective import RandomPerspective
from velodrome_runner.augmentation.step import Shape, Step
from velodrome_runner.data import SampleSource, Schema
from velodrome_runner.inputs.images import Images


@dataclass(frozen=True)
class Moving:
    """An augmentation of torchvision that moves the pixels of an image and what is on it."""

    transform: nn.Module

    def __call__(self, images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised images (n, c, h, w) and their targets, which are in the pixels of these images."""
        # torchvision draws from torch's global generator, from which models draw too: it is left as it was.
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
            pairs = [self.moved(image, target) for image, target in zip(images, targets, strict=True)]
        moved = torch.stack([image for image, _ in pairs])
        return moved.contiguous(memory_format=torch.channels_last), torch.stack([target for _, target in pairs])

    @abstractmethod
    def moved(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """An image (c, h, w) and its target after the same change."""


class MovedTogether(Images):
    """Images whose targets move with them. `changes` are the augmentations, each of values or of places."""

    moving: ClassVar[type[Moving]]
    changes: tuple[Pipeline | Moving, ...] = ()

    @classmethod
    def fit(
        cls,
        train: SampleSource,
        schema: Schema,
        preprocessing: Preprocessing,
        *,
        scores: tuple[str, ...],
        device: torch.device,
        seed: int,
    ) -> Self:
        """Learns the normalisation."""
        plain = preprocessing.model_copy(update={"augmentations": ()})
        made = super().fit(train, schema, plain, scores=scores, device=device, seed=seed)
        shape = made.pipeline.shape
        made.changes = tuple(cls._change(each, shape, made.normalization) for each in preprocessing.augmentations)
        made.augments = bool(made.changes)
        return made

    def changed(self, images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A training batch with random changes."""
        for change in self.changes:
            if isinstance(change, Moving):
                images, targets = change(images, targets, generator)
            else:
                images = change(images, generator)
        return images, targets

    @classmethod
    def _change(cls, augmentation: Augmentation, shape: Shape, normalization: Normalization) -> Pipeline | Moving:
        pipeline = compose((augmentation,), shape, normalization)
        black = normalization.apply(torch.zeros_like(normalization.mean)).flatten().tolist()
        moving = _moving(pipeline.steps[0], shape, black)
        return pipeline if moving is None else cls.moving(moving)


def _moving(step: Step, shape: Shape, black: list[float]) -> Any:
    """Torchvision's transform for a step that moves pixels; None for one that changes values alone."""
    from torchvision.transforms import v2

    size, fill = shape[1:], _fill(black)
    match step:
        case RandomHorizontalFlip():
            return v2.RandomHorizontalFlip(step.p)
        case RandomVerticalFlip():
            return v2.RandomVerticalFlip(step.p)
        case RandomCrop():
            return v2.RandomCrop(size, padding=step.padding or None, fill=fill)
        case RandomResizedCrop():
            return v2.RandomResizedCrop(size, scale=step.scale, ratio=step.ratio)
        case RandomRotation():
            return v2.RandomRotation(step.degrees, fill=fill)
        case RandomAffine():
            return v2.RandomAffine(step.degrees, step.translate, step.scale, step.shear, fill=fill)
        case RandomPerspective():
            return v2.RandomPerspective(step.distortion_scale, step.p, fill=fill)
    return None


def _fill(black: list[float]) -> dict[Any, Any]:
    """What comes from outside an image: black, which has no label."""
    from torchvision import tv_tensors

    return {tv_tensors.Image: black, tv_tensors.Mask: VOID, "others": 0}
