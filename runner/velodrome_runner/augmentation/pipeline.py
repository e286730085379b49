"""The augmentations of a BenchmarkJob as one function on normalised batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from velodrome.errors import ConfigurationError
from velodrome.spec import Augmentation
from velodrome_runner.augmentation.areas import RandomErasing, RandomResizedCrop
from velodrome_runner.augmentation.blur import GaussianBlur
from velodrome_runner.augmentation.colour import ColorJitter
from velodrome_runner.augmentation.geometry import (
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
)
from velodrome_runner.augmentation.mixing import CutMix, Mixing, MixUp
from velodrome_runner.augmentation.perspective import RandomPerspective
from velodrome_runner.augmentation.policies import AugMix, AutoAugment, RandAugment, TrivialAugment
from velodrome_runner.augmentation.step import Shape, Step
from velodrome_runner.augmentation.values import (
    GaussianNoise,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)

_STEPS: Mapping[str, Callable[..., Step]] = {
    step.__name__: step
    for step in (
        RandomHorizontalFlip,
        RandomVerticalFlip,
        RandomRotation,
        ColorJitter,
        RandomGrayscale,
        RandomInvert,
        RandomPosterize,
        RandomSolarize,
        RandomAutocontrast,
        RandomEqualize,
        RandomAdjustSharpness,
        GaussianBlur,
    )
}
# Those that are told the images' shape too.
_SHAPED: Mapping[str, Callable[..., Step]] = {
    step.__name__: step
    for step in (
        RandomAffine,
        RandomPerspective,
        RandomErasing,
        GaussianNoise,
        TrivialAugment,
        RandAugment,
        AutoAugment,
        AugMix,
    )
}
_CROPS: Mapping[str, type[RandomCrop | RandomResizedCrop]] = {
    "RandomCrop": RandomCrop,
    "RandomResizedCrop": RandomResizedCrop,
}
_MIXES: Mapping[str, type[MixUp | CutMix]] = {"MixUp": MixUp, "CutMix": CutMix}
# Those that use torchvision, and those that know grey images and RGB alone.
TORCHVISION = frozenset(
    {
        *("RandomAutocontrast", "RandomEqualize", "RandomAdjustSharpness"),
        *("TrivialAugment", "RandAugment", "AutoAugment", "AugMix"),
    }
)
_GREY_OR_RGB = (TORCHVISION | {"ColorJitter"}) - {"RandomEqualize"}


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
    """Augmentations in order. `crops` are the sizes after each crop, in order; `shape` is the shape of the output.

    `mixing` mixes the batch with itself after all steps. It changes labels too, so the task calls it.
    """

    steps: tuple[Step, ...]
    normalization: Normalization
    shape: Shape
    crops: tuple[tuple[int, int], ...]
    mixing: Mixing | None = None

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
    ways: list[MixUp | CutMix] = []
    for augmentation in augmentations:
        given: dict[str, Any] = augmentation.args.model_dump(exclude_none=True, by_alias=False)
        mix = _MIXES.get(augmentation.name)
        if mix is not None:
            ways.append(mix(**given))
            continue
        step = _step(augmentation.name, given, shape)
        steps.append(step)
        if isinstance(step, RandomCrop | RandomResizedCrop):
            shape = (shape[0], *step.size)
            crops.append(step.size)
    return Pipeline(tuple(steps), normalization, shape, tuple(crops), Mixing(tuple(ways)) if ways else None)


def _step(name: str, given: Mapping[str, Any], shape: Shape) -> Step:
    _refuse(name, given, shape)
    if name in _CROPS:
        return _crop(name, given, shape)
    return _STEPS[name](**given) if name in _STEPS else _SHAPED[name](shape, **given)


def _refuse(name: str, given: Mapping[str, Any], shape: Shape) -> None:
    """Refuses what images of this shape do not allow."""
    channels, *sides = shape
    if name == "ColorJitter" and channels == 1 and (given.get("saturation") or given.get("hue")):
        raise ConfigurationError(
            "ColorJitter: grey images have no saturation and no hue to change: leave both out of its args"
        )
    if name == "RandomGrayscale" and channels != 3:
        raise ConfigurationError(
            "RandomGrayscale makes RGB images grey, and these images "
            + ("are grey already" if channels == 1 else f"have {channels} channels")
            + ": leave it out of spec.preprocessing.augmentations"
        )
    if name in _GREY_OR_RGB and channels not in (1, 3):
        raise ConfigurationError(
            f"{name} is for grey images and RGB, and these images have {channels} channels: leave it out of "
            "spec.preprocessing.augmentations"
        )
    if name == "GaussianBlur" and given["kernel_size"] // 2 >= min(sides):
        raise ConfigurationError(
            f"GaussianBlur: kernelSize {given['kernel_size']} does not fit into images of {sides[0]}x{sides[1]}: write "
            f"at most {2 * min(sides) - 1}"
        )


def _crop(name: str, given: Mapping[str, Any], shape: Shape) -> RandomCrop | RandomResizedCrop:
    _, height, width = shape
    rest = {field: value for field, value in given.items() if field != "size"}
    size, padding = given.get("size"), given.get("padding", 0)
    crop = (height, width) if size is None else (size, size)
    if crop[0] > height + 2 * padding or crop[1] > width + 2 * padding:
        padded = f" with padding {padding}: " if name == "RandomCrop" else ": "
        more = ", or more padding" if name == "RandomCrop" else ", because other images are cropped to that size too"
        raise ConfigurationError(
            f"{name}: size {size} does not fit into images of {height}x{width}{padded}"
            f"write a size of at most {min(height, width) + 2 * padding}{more}"
        )
    return _CROPS[name](shape, crop, **rest)
