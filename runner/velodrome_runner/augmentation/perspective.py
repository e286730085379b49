"""RandomPerspective: the view of an image from another side."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from velodrome_runner.augmentation.geometry import sampled
from velodrome_runner.augmentation.step import Shape, Step, column, uniform


@dataclass(frozen=True)
class RandomPerspective(Step):
    """With probability `p`, the view of the image from another side: each corner moves inwards, in whole pixels.

    Corners move by up to `distortion_scale` of half the image. Pixels are interpolated.
    """

    shape: Shape
    distortion_scale: float = 0.5
    p: float = 0.5

    needs_unit_range = True  # torchvision's interpolation at the edge would not commute with the normalisation

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """The eight coefficients of each image's map (n, 8); those of the identity if it does not change."""
        corners = self.corners(count, generator)
        chosen = uniform(count, 0, 1, generator) < self.p
        identity = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0], dtype=torch.float64, device=generator.device)
        return torch.where(chosen[:, None], _coefficients(corners, self._at_rest(generator.device)), identity)

    def _at_rest(self, device: torch.device) -> torch.Tensor:
        right, bottom = self.shape[2] - 1, self.shape[1] - 1
        return torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64, device=device)

    def corners(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Where the upper left, upper right, lower right and lower left corner go: x and y, (n, 4, 2)."""
        _, height, width = self.shape
        reach = [int(self.distortion_scale * (side // 2)) + 1 for side in (width, height)]
        inwards = [
            torch.randint(0, most, (count, 4), generator=generator, device=generator.device).double() for most in reach
        ]
        directions = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]], device=generator.device)
        return self._at_rest(generator.device) + torch.stack(inwards, dim=2) * directions

    def apply(self, images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:
        changed = sampled(images, self._grid(parameters.to(images.device, torch.float32)), black, "bilinear")
        # Interpolation may round what the identity leaves as it is.
        still = (parameters[:, :2] == parameters.new_tensor([1, 0])).all(1) & (parameters[:, 2:4] == 0).all(1)
        return torch.where(column(still, images, torch.bool), images, changed)

    def _grid(self, coefficients: torch.Tensor) -> torch.Tensor:
        """The places that pixels come from, as torchvision finds them: (n, h, w, 2), from -1 to 1."""
        _, height, width = self.shape
        device, half = coefficients.device, coefficients.new_tensor([width / 2, height / 2])
        x = torch.arange(width, device=device) + 0.5
        y = torch.arange(height, device=device)[:, None] + 0.5
        places = torch.stack(
            (x.expand(height, width), y.expand(height, width), torch.ones(height, width, device=device)), -1
        )
        above = coefficients[:, :6].view(-1, 2, 3).transpose(1, 2) / half
        below = torch.cat((coefficients[:, 6:], torch.ones_like(coefficients[:, :1])), dim=1)[:, :, None]
        flat = places.view(1, -1, 3).expand(len(coefficients), -1, -1)
        return (flat.bmm(above) / flat.bmm(below) - 1).view(-1, height, width, 2)


def _coefficients(corners: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """The coefficients (n, 8) of the projective maps that take corners (n, 4, 2) back to `rest` (4, 2).

    They are those of least squares, because corners that meet leave no exact map.
    """
    x, y = corners.unbind(2)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    across, down = rest.unbind(1)
    rows = torch.stack(
        (
            torch.stack((x, y, one, zero, zero, zero, -across * x, -across * y), dim=2),
            torch.stack((zero, zero, zero, x, y, one, -down * x, -down * y), dim=2),
        ),
        dim=2,
    )
    found: torch.Tensor = torch.linalg.pinv(rows.flatten(1, 2)) @ rest.flatten()
    return found
