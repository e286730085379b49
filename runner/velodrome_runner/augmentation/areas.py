"""Augmentations with a random rectangle of a random area: RandomResizedCrop and RandomErasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from velodrome_runner.augmentation.step import Shape, Step, column, uniform


class Box(NamedTuple):
    """A rectangle in each image, in pixels: (n,) each. Its height is 0 if nothing is erased."""

    top: torch.Tensor
    left: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor


_TRIES = 10  # rectangles that are drawn for each image


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

    def draw(self, count: int, generator: torch.Generator) -> Box:
        _, rows, columns = self.shape
        height, width = _sides(count, self.shape, self.scale, self.ratio, generator)
        height, width, fits = _first(height, width, (height < rows) & (width < columns))
        erased = fits & (uniform(count, 0, 1, generator) < self.p)
        height, width = height * erased, width * erased
        top = (uniform(count, 0, 1, generator) * (rows - height + 1)).floor()
        left = (uniform(count, 0, 1, generator) * (columns - width + 1)).floor()
        return Box(*(value.to(torch.int64) for value in (top, left, height, width)))

    def apply(self, images: torch.Tensor, parameters: Box, black: torch.Tensor) -> torch.Tensor:
        top, left, height, width = (column(value, images, torch.int64) for value in parameters)
        row = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
        place = torch.arange(images.shape[3], device=images.device).view(1, 1, 1, -1)
        inside = (row >= top) & (row < top + height) & (place >= left) & (place < left + width)
        return torch.where(inside, black, images)


@dataclass(frozen=True)
class RandomResizedCrop(Step):
    """A rectangle of each image, scaled to `size`. Its share of the area is in `scale`, its aspect ratio in `ratio`.

    As in torchvision, ten rectangles are tried. If none fits, it is the largest one in the middle whose ratio is
    allowed. Pixels are interpolated, and averaged where the rectangle is larger than `size` (`antialias`).
    """

    shape: Shape
    size: tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def draw(self, count: int, generator: torch.Generator) -> Box:
        _, rows, columns = self.shape
        # Here the ratio is of the width to the height.
        width, height = _sides(count, self.shape, self.scale, self.ratio, generator)
        fit = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
        height, width, found = _first(height, width, fit)
        height, width = (
            torch.where(found, side, most) for side, most in zip((height, width), self._middle(), strict=True)
        )
        top, left = (
            torch.where(found, (uniform(count, 0, 1, generator) * (room + 1)).floor(), (room / 2).floor())
            for room in (rows - height, columns - width)
        )
        return Box(*(value.to(torch.int64) for value in (top, left, height, width)))

    def _middle(self) -> tuple[float, float]:
        """Height and width of the rectangle that is taken where none fits."""
        _, rows, columns = self.shape
        low, high = self.ratio
        return min(rows, round(columns / low)), min(columns, round(rows * high))

    def apply(self, images: torch.Tensor, parameters: Box, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        top, left, height, width = (value.to(images.device) for value in parameters)
        down = _resizing(top, height, images.shape[2], self.size[0])
        across = _resizing(left, width, images.shape[3], self.size[1])
        return down[:, None] @ images @ across[:, None].transpose(2, 3)


def _sides(
    count: int, shape: Shape, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sides (count, tries) of rectangles, whose share of the area is in `scale`; `ratio` is of first to second."""
    _, rows, columns = shape
    area = rows * columns * uniform(count * _TRIES, *scale, generator)
    factor = uniform(count * _TRIES, math.log(ratio[0]), math.log(ratio[1]), generator).exp()
    first, second = (side.sqrt().round().view(count, _TRIES) for side in (area * factor, area / factor))
    return first, second


def _first(
    height: torch.Tensor, width: torch.Tensor, fit: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Height and width (n,) of each row's first rectangle that fits, else of the first, and whether one does."""
    # argmax finds the first that fits, or 0 if none fits.
    place = fit.to(torch.uint8).argmax(1, keepdim=True)
    height, width, fit = (each.gather(1, place).squeeze(1) for each in (height, width, fit))
    return height, width, fit


def _resizing(start: torch.Tensor, length: torch.Tensor, side: int, size: int) -> torch.Tensor:
    """The matrices (n, size, side) that make `size` pixels of `length` ones (n,) from `start` (n,) on.

    Each row has torch's weights of linear interpolation with antialiasing: a triangle about the pixel's place that
    reaches as far as the next pixel, of the larger of the two sizes. They are 0 outside of the rectangle.
    """
    start, length = (each.double()[:, None, None] for each in (start, length))
    factor = length / size
    centre = factor * (torch.arange(size, device=start.device)[:, None] + 0.5)
    place = torch.arange(side, device=start.device) - start
    weights = (1 - ((place + 0.5 - centre) / factor.clamp(min=1)).abs()).clamp(min=0)
    weights = weights * ((place >= 0) & (place < length))
    return (weights / weights.sum(2, keepdim=True)).float()
