"""Augmentations that move pixels: crop, flips, rotation, affine and perspective maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

from velodrome_runner.augmentation.step import Shape, Sometimes, Step, changed_some, uniform

Interpolation = Literal["nearest", "bilinear"]


class Corner(NamedTuple):
    """Where a crop begins in the padded image, in pixels: (n,) each."""

    top: torch.Tensor
    left: torch.Tensor


@dataclass(frozen=True)
class RandomCrop(Step):
    """A square of `size` pixels at a random place of the image with `padding` black pixels on each side."""

    shape: Shape
    size: tuple[int, int]
    padding: int = 0

    copies = True

    def draw(self, count: int, generator: torch.Generator) -> Corner:
        room = [side + 2 * self.padding - size for side, size in zip(self.shape[1:], self.size, strict=True)]
        top, left = (
            torch.randint(0, most + 1, (count,), generator=generator, device=generator.device) for most in room
        )
        return Corner(top, left)

    def apply(self, images: torch.Tensor, parameters: Corner, black: torch.Tensor) -> torch.Tensor:
        padded = pad(images, self.padding, black)
        # A view of every possible crop. One of them is copied for each image, without an index for each pixel.
        windows = padded.unfold(2, self.size[0], 1).unfold(3, self.size[1], 1)
        top, left = (corner.to(images.device) for corner in parameters)
        return windows[torch.arange(len(images), device=images.device), :, top, left]


def pad(images: torch.Tensor, padding: int, black: torch.Tensor) -> torch.Tensor:
    """The images with this many black pixels on each side."""
    if padding == 0:
        return images
    count, channels, height, width = images.shape
    rows, columns = height + 2 * padding, width + 2 * padding
    # Writing whole black rows is several times faster than writing black pixels of a few channels each.
    padded = images.new_empty((count, rows, columns * channels))
    padded.copy_(black.expand(1, channels, 1, 1).flatten().repeat(columns))
    pixels = padded.view(count, rows, columns, channels).permute(0, 3, 1, 2)
    pixels[:, :, padding:-padding, padding:-padding] = images
    return pixels


@dataclass(frozen=True)
class RandomHorizontalFlip(Sometimes):
    """The mirror image with probability `p`."""

    p: float = 0.5

    copies = True

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return _flipped(images, parameters, 3)


@dataclass(frozen=True)
class RandomVerticalFlip(Sometimes):
    """The image upside down with probability `p`."""

    p: float = 0.5

    copies = True

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return _flipped(images, parameters, 2)


def _flipped(images: torch.Tensor, members: torch.Tensor, axis: int) -> torch.Tensor:
    """The images, of which some are reversed along an axis. Where channels are last in memory, whole pixels move."""
    if not images.is_contiguous(memory_format=torch.channels_last):
        return changed_some(images, members, lambda chosen: chosen.flip(axis))
    pixels = images.permute(0, 2, 3, 1)
    return changed_some(pixels, members, lambda chosen: chosen.flip(axis - 1)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class RandomRotation(Step):
    """A rotation about the centre by up to `degrees` in both directions, to the nearest pixel."""

    degrees: float = 15.0

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return uniform(count, -self.degrees, self.degrees, generator)

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:
        return move(images, rotation(parameters), black)


def rotation(degrees: torch.Tensor) -> torch.Tensor:
    """For `move`: a rotation by this many degrees, counter-clockwise on a screen; (n, 2, 3)."""
    radians = torch.deg2rad(degrees)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    return torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(-1, 2, 3)


class Affine(NamedTuple):
    """For each image (n,): rotation and shear in degrees, the shifts in pixels, and the factor of the size."""

    angle: torch.Tensor
    right: torch.Tensor
    down: torch.Tensor
    scale: torch.Tensor
    shear: torch.Tensor


@dataclass(frozen=True)
class RandomAffine(Step):
    """A rotation, a shift, a scaling and a shear about the centre, to the nearest pixel."""

    shape: Shape
    degrees: float = 0.0
    translate: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0

    def draw(self, count: int, generator: torch.Generator) -> Affine:
        _, height, width = self.shape
        right, down = (
            uniform(count, -most, most, generator).round()
            for most in (self.translate[0] * width, self.translate[1] * height)
        )
        return Affine(
            uniform(count, -self.degrees, self.degrees, generator),
            right,
            down,
            uniform(count, *self.scale, generator),
            uniform(count, -self.shear, self.shear, generator),
        )

    def apply(self, images: torch.Tensor, parameters: Affine, black: torch.Tensor) -> torch.Tensor:
        return move(images, _origins(parameters), black)


def _origins(affine: Affine) -> torch.Tensor:
    """For `move`: the inverse of the affine map, (n, 2, 3). The formulas are torchvision's."""
    angle, shear = torch.deg2rad(affine.angle), torch.deg2rad(affine.shear)
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    rows = [
        [(cos - sin * tan) / affine.scale, (cos * tan + sin) / affine.scale],
        [-sin / affine.scale, cos / affine.scale],
    ]
    return torch.stack([torch.stack((x, y, -x * affine.right - y * affine.down), dim=1) for x, y in rows], dim=1)


def move(
    images: torch.Tensor, matrices: torch.Tensor, black: torch.Tensor | None, interpolation: Interpolation = "nearest"
) -> torch.Tensor:
    """Takes each pixel from the place that its image's matrix (n, 2, 3) gives; outside is black, or 0 for None.

    Coordinates are x and y in pixels from the image's centre. This is torchvision's affine grid, with a matrix for each
    image.
    """
    count, _, height, width = images.shape
    device = images.device
    x = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=device)
    y = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=device)
    places = torch.stack(
        (x.expand(height, width), y[:, None].expand(height, width), torch.ones_like(x).expand(height, width)), -1
    )
    half = torch.tensor([width / 2, height / 2], device=device)
    scaled = matrices.to(device, torch.float32).transpose(1, 2) / half
    grid = places.view(1, -1, 3).expand(count, -1, -1).bmm(scaled).view(count, height, width, 2)
    return sampled(images, grid, black, interpolation)


def sampled(
    images: torch.Tensor, grid: torch.Tensor, black: torch.Tensor | None, interpolation: Interpolation
) -> torch.Tensor:
    """The images at the places of a grid (n, h, w, 2), from -1 to 1; outside is black, or 0 for None.

    A further channel of ones shows which pixels are from outside, as in torchvision.
    """
    if black is None:
        return F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    count, _, height, width = images.shape
    marked = torch.cat((images, images.new_ones((count, 1, height, width))), dim=1)
    moved = F.grid_sample(marked, grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    pixels, inside = moved[:, :-1], moved[:, -1:]
    if interpolation == "nearest":
        return torch.where(inside > 0, pixels, black)
    return (pixels - black) * inside + black
