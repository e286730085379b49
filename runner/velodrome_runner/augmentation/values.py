"""Augmentations that change values with a probability, all images in the same way; and GaussianNoise.

Images are floats from 0 to 1, and results those of torchvision for such images.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch

from velodrome_runner.augmentation.colour import grey
from velodrome_runner.augmentation.operations import to_bytes
from velodrome_runner.augmentation.step import Shape, Sometimes, Step, changed_some

# Values that come from 8 bits are a little off after the normalisation and back. Half a level is 0.002.
_ROUNDING = 1e-5


class _Changed(Sometimes):
    """One change of the values of each image with probability `p`."""

    needs_unit_range = True

    @abstractmethod
    def change(self, images: torch.Tensor) -> torch.Tensor:
        """The changed images (n, c, h, w), in new memory or not. n may be 0."""

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return changed_some(images, parameters, self.change)


@dataclass(frozen=True)
class RandomGrayscale(_Changed):
    """The grey image in all three channels, with probability `p`."""

    p: float = 0.1

    def change(self, images: torch.Tensor) -> torch.Tensor:
        return grey(images).expand_as(images)


@dataclass(frozen=True)
class RandomInvert(_Changed):
    """The negative, with probability `p`."""

    p: float = 0.5

    def change(self, images: torch.Tensor) -> torch.Tensor:
        return 1 - images


@dataclass(frozen=True)
class RandomPosterize(_Changed):
    """Fewer different values, 2 to the power of `bits`, with probability `p`."""

    bits: int
    p: float = 0.5

    def change(self, images: torch.Tensor) -> torch.Tensor:
        levels: int = 2**self.bits
        return (images * levels).floor_().clamp_(0, levels - 1).div_(levels)


@dataclass(frozen=True)
class RandomSolarize(_Changed):
    """The negative of the values from `threshold` on, with probability `p`."""

    threshold: float
    p: float = 0.5

    def change(self, images: torch.Tensor) -> torch.Tensor:
        return torch.where(images >= self.threshold - _ROUNDING, 1 - images, images)


@dataclass(frozen=True)
class RandomAutocontrast(_Changed):
    """Each channel stretched to the range from black to white, with probability `p`."""

    p: float = 0.5

    def change(self, images: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import functional

        changed: torch.Tensor = functional.autocontrast(images)
        return changed


@dataclass(frozen=True)
class RandomEqualize(_Changed):
    """Values that are all as frequent in each channel, with probability `p`. They are rounded to 8 bits for it."""

    p: float = 0.5

    def change(self, images: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import functional

        changed: torch.Tensor = functional.equalize(to_bytes(images))
        return changed.float() / 255


@dataclass(frozen=True)
class RandomAdjustSharpness(_Changed):
    """A sharper image, or one that is less sharp for a factor below 1, with probability `p`."""

    sharpness_factor: float
    p: float = 0.5

    def change(self, images: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import functional

        changed: torch.Tensor = functional.adjust_sharpness(images, self.sharpness_factor)
        return changed


@dataclass(frozen=True)
class GaussianNoise(Step):
    """Noise of the normal distribution, drawn for each value."""

    shape: Shape
    mean: float = 0.0
    sigma: float = 0.1
    clip: bool = True

    needs_unit_range = True

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Noise (n, c, h, w)."""
        return torch.randn((count, *self.shape), generator=generator, device=generator.device) * self.sigma + self.mean

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        noisy = images + parameters.to(images.device)
        return noisy.clamp_(0, 1) if self.clip else noisy
