"""The base of every augmentation: drawing parameters for each image, and applying them to the batch purely."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch

Shape = tuple[int, int, int]


class Step(ABC):
    """One augmentation, for images of one shape.

    Drawing and applying are separate, so that tests can pass the drawn parameters to torchvision's function and
    compare.
    """

    # Whether `apply` needs values from 0 to 1. Otherwise it only moves and blackens pixels, on any scale.
    needs_unit_range: ClassVar[bool] = False
    # Whether `apply` only copies pixels and black ones, so that raw bytes will do.
    copies: ClassVar[bool] = False

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Parameters for `count` images: a tuple of tensors of that length, on the generator's device."""

    @abstractmethod
    def apply(self, images: torch.Tensor, parameters: Any, black: torch.Tensor) -> torch.Tensor:
        """The changed images, in new memory or not. `black` (1, c, 1, 1) is the value of raw 0 in them."""

    def __call__(self, images: torch.Tensor, black: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draws and applies."""
        return self.apply(images, self.draw(len(images), generator), black)


class Sometimes(Step):
    """An augmentation of each image with probability `p`. `draw` says which: (n,)."""

    p: float

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return uniform(count, 0, 1, generator) < self.p


def changed_some(
    images: torch.Tensor, chosen: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """The images, of which those that are chosen (n,) are changed, in new memory. Only these are read and written."""
    # Selected on the device that drew them, so that nothing waits for a GPU.
    (members,) = torch.where(chosen)
    members = members.to(images.device)
    return images.index_copy(0, members, change(images.index_select(0, members)))


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """This many doubles, uniform between low and high."""
    unit = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
    return low + (high - low) * unit


def column(values: torch.Tensor, like: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """One value for each image, of shape (n, 1, 1, 1), on the images' device, in their type or the given one."""
    return values.to(like.device, dtype or like.dtype).view(-1, 1, 1, 1)
