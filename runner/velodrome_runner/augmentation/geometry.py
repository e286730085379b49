"""Augmentations that move pixels (crop, flip, rotation), and erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from velodrome_runner.augmentation.step import Shape, Step, column, uniform


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
class RandomHorizontalFlip(Step):
    """The mirror image with probability `p`."""

    p: float = 0.5

    copies = True

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return uniform(count, 0, 1, generator) < self.p

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        # Selected on the device that drew them, so that nothing waits for a GPU. Only these images are read and
        # written.
        (members,) = torch.where(parameters)
        members = members.to(images.device)
        if not images.is_contiguous(memory_format=torch.channels_last):
            return images.index_copy(0, members, images.index_select(0, members).flip(3))
        pixels = images.permute(0, 2, 3, 1)
        flipped = pixels.index_select(0, members).flip(2)
        return pixels.index_copy(0, members, flipped).permute(0, 3, 1, 2)


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


def move(images: torch.Tensor, matrices: torch.Tensor, black: torch.Tensor) -> torch.Tensor:
    """Takes each pixel from the place that its image's matrix (n, 2, 3) gives, to the nearest pixel; outside is black.

    Coordinates are x and y in pixels from the image's centre. This is torchvision's affine grid, with a matrix for each
    image. A fourth channel of ones shows which pixels are from outside.
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
    marked = torch.cat((images, images.new_ones((count, 1, height, width))), dim=1)
    moved = F.grid_sample(marked, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return torch.where(moved[:, -1:] > 0, moved[:, :-1], black)


class Box(NamedTuple):
    """A rectangle in each image, in pixels: (n,) each. Its height is 0 if nothing is erased."""

    top: torch.Tensor
    left: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor


@dataclass(frozen=True)
class RandomErasing(Step):
    """Makes a rectangle black with probability `p`. Its share of the area is in `scale`, its aspect ratio in `ratio`.

    As in torchvision, ten rectangles are tried. If none is smaller than the image in both directions, nothing is
    erased. Source: Z. Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
    """

    shape: Shape
    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    copies = True
    _TRIES = 10

    def draw(self, count: int, generator: torch.Generator) -> Box:
        _, rows, columns = self.shape
        tries = count * self._TRIES
        area = rows * columns * uniform(tries, *self.scale, generator)
        ratio = uniform(tries, math.log(self.ratio[0]), math.log(self.ratio[1]), generator).exp()
        height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = ((height < rows) & (width < columns)).view(count, self._TRIES)
        # argmax finds the first that fits, or 0 if none fits.
        first = fits.to(torch.uint8).argmax(1, keepdim=True)
        chosen = uniform(count, 0, 1, generator) < self.p
        erased = fits.gather(1, first).squeeze(1) & chosen
        height, width = (side.view(count, -1).gather(1, first).squeeze(1) * erased for side in (height, width))
        top = (uniform(count, 0, 1, generator) * (rows - height + 1)).floor()
        left = (uniform(count, 0, 1, generator) * (columns - width + 1)).floor()
        return Box(*(value.to(torch.int64) for value in (top, left, height, width)))

    def apply(self, images: torch.Tensor, parameters: Box, black: torch.Tensor) -> torch.Tensor:
        top, left, height, width = (column(value, images, torch.int64) for value in parameters)
        row = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
        place = torch.arange(images.shape[3], device=images.device).view(1, 1, 1, -1)
        inside = (row >= top) & (row < top + height) & (place >= left) & (place < left + width)
        return torch.where(inside, black, images)
