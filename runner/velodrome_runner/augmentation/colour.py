"""Augmentations that change colours: ColorJitter, and the blending that TrivialAugment also uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from velodrome_runner.augmentation.step import Step, column, uniform

_OPERATIONS = ("brightness", "contrast", "saturation", "hue")


class Jitter(NamedTuple):
    """For each image, the order of the four operations (n, 4) and the factor of each (n, 4)."""

    order: torch.Tensor
    factors: torch.Tensor


@dataclass(frozen=True)
class ColorJitter(Step):
    """Changes brightness, contrast, saturation and hue by up to these amounts, in a random order for each image."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    needs_unit_range = True

    def draw(self, count: int, generator: torch.Generator) -> Jitter:
        order = torch.rand((count, 4), generator=generator, device=generator.device).argsort(1)
        ranges = [
            (1 - self.brightness, 1 + self.brightness),
            (1 - self.contrast, 1 + self.contrast),
            (1 - self.saturation, 1 + self.saturation),
            (-self.hue, self.hue),
        ]
        return Jitter(order, torch.stack([uniform(count, low, high, generator) for low, high in ranges], dim=1))

    def apply(self, images: torch.Tensor, parameters: Jitter, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        images = images.clone()
        for place in range(4):
            for operation, name in enumerate(_OPERATIONS):
                if getattr(self, name) == 0:
                    continue
                (members,) = torch.where(parameters.order[:, place] == operation)
                factor = column(parameters.factors[members, operation], images, torch.float64)
                members = members.to(images.device)
                images[members] = _CHANGES[operation](images[members], factor)
        return images


def blend(images: torch.Tensor, other: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Share x images + (1 - share) x other, within the type's range; integers are truncated, as torchvision does."""
    bound = 1.0 if images.is_floating_point() else 255.0
    mixed = images * share.float() + other * (1 - share).float()
    return mixed.clamp_(0, bound).to(images.dtype)


def brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blends with black; `factor` (n, 1, 1, 1), 1 changes nothing."""
    return blend(images, torch.zeros((), device=images.device), factor)


def contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blends with the mean of the grey image; `factor` (n, 1, 1, 1), 1 changes nothing."""
    return blend(images, grey(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blends with the grey image; `factor` (n, 1, 1, 1), 1 changes nothing. Grey images stay as they are."""
    return images if images.shape[1] == 1 else blend(images, grey(images), factor)


def grey(images: torch.Tensor) -> torch.Tensor:
    """Luma by ITU-R BT.601 with torchvision's rounding of the weights, float32; whole numbers for 8-bit images."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.float().split(1, dim=1)
    luma: torch.Tensor = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    return luma if images.is_floating_point() else luma.floor_()


def hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotates the colour circle by this many turns (n, 1, 1, 1), for RGB images from 0 to 1.

    The hexagonal model of A. R. Smith, "Color Gamut Transform Pairs", SIGGRAPH 1978, in the closed form of
    https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative.
    """
    value, top = images.max(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    sixths = (
        torch.cat((green - blue, blue - red, red - green), dim=1).gather(1, top) / chroma.clamp_min(1e-12) + 2 * top
    )
    # For each channel, how far its peak is from the hue, in sixths of the circle.
    peaks = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    distance = (peaks + sixths + 6 * turns.float()).remainder(6)
    turned: torch.Tensor = value - chroma * torch.minimum(distance, 4 - distance).clamp(0, 1)
    return turned


_CHANGES = (brightness, contrast, saturation, hue)
