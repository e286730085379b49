"""GaussianBlur, with a deviation of its own for each image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from velodrome_runner.augmentation.step import Step, column, uniform


@dataclass(frozen=True)
class GaussianBlur(Step):
    """A mean over `kernel_size` pixels in both directions, weighted by a normal distribution of deviation `sigma`.

    For None, the deviation of each image is between 0.1 and 2 pixels, as in torchvision. Beyond the edges the image is
    mirrored.
    """

    kernel_size: int
    sigma: float | None = None

    _LEAST, _MOST = 0.1, 2.0

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        low, high = (self._LEAST, self._MOST) if self.sigma is None else (self.sigma, self.sigma)
        return uniform(count, low, high, generator)

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        weights = self._weights(parameters)
        reach = self.kernel_size // 2
        images = F.pad(images, (reach,) * 4, mode="reflect")
        for axis in (2, 3):
            side = images.shape[axis] - 2 * reach
            terms = (
                images.narrow(axis, place, side) * column(weights[:, place], images)
                for place in range(self.kernel_size)
            )
            total = next(terms)
            for term in terms:
                total += term
            images = total
        return images

    def _weights(self, sigma: torch.Tensor) -> torch.Tensor:
        """Each image's weights (n, kernel_size), whose sum is 1. The formula is torchvision's."""
        most = (self.kernel_size - 1) / (2 * math.sqrt(2))
        place = torch.linspace(-most, most, self.kernel_size, dtype=torch.float64, device=sigma.device)
        return (-((place / sigma[:, None]) ** 2)).softmax(1)
