"""What every augmentation is: parameters drawn for each image, and their pure application to the batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch

Shape = tuple[int, int, int]


class Step(ABC):
    """One augmentation of images of one shape.

    Drawing and applying are apart, so that what is drawn can be given to torchvision's own function and compared.
    """

    # Whether `apply` needs values from 0 to 1; else it only moves and blackens pixels, whatever their scale.
    needs_unit_range: ClassVar[bool] = False

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Any:
        """Parameters for `count` images: a tuple of tensors of that length, on the generator's device."""

    @abstractmethod
    def apply(self, images: torch.Tensor, parameters: Any, black: torch.Tensor) -> torch.Tensor:
        """The changed images, new memory or not; `black` (1, c, 1, 1) is what raw 0 is in them."""

    def __call__(self, images: torch.Tensor, black: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draws and applies."""
        return self.apply(images, self.draw(len(images), generator), black)


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """That many doubles, uniform between low and high."""
    unit = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
    return low + (high - low) * unit


def column(values: torch.Tensor, like: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """One value for each image, shaped (n, 1, 1, 1), on the device of the images and in their type or the given one."""
    return values.to(like.device, dtype or like.dtype).view(-1, 1, 1, 1)
