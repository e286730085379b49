"""The operations that policies choose from, on 8-bit images, with torchvision's 8-bit arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from velodrome_runner.augmentation.colour import brightness, contrast, saturation
from velodrome_runner.augmentation.geometry import Interpolation, move, rotation
from velodrome_runner.augmentation.step import column

# As torchvision's tables of operations: strengths by number of bins, height and width, and whether they have a sign.
Space = Mapping[str, tuple[Callable[[int, int, int], torch.Tensor | None], bool]]


class Choice(NamedTuple):
    """For each image: the index of its operation in a list of names, and the operation's signed strength."""

    operation: torch.Tensor
    magnitude: torch.Tensor


class Strengths(NamedTuple):
    """A table of operations: their names, their strengths (names, bins), and whether they have a sign (names,)."""

    names: tuple[str, ...]
    magnitudes: torch.Tensor
    signed: torch.Tensor

    @classmethod
    def of(cls, space: Space, bins: int, shape: tuple[int, int, int]) -> Strengths:
        """The table of a `Space` for images of this shape; 0 for operations without a strength."""
        found = [strengths(bins, *shape[1:]) for strengths, _ in space.values()]
        table = [torch.zeros(bins) if each is None else each for each in found]
        return cls(
            tuple(space),
            torch.stack([each.double() for each in table]),
            torch.tensor([sign for _, sign in space.values()]),
        )

    def chosen(self, operation: torch.Tensor, strength: torch.Tensor, generator: torch.Generator) -> Choice:
        """The operations with these strengths, by their indexes; those with a sign get either at random."""
        device = operation.device
        negative = torch.randint(0, 2, operation.shape, generator=generator, device=generator.device).to(device) == 1
        magnitude = self.magnitudes.to(device)[operation, strength]
        return Choice(operation, torch.where(self.signed.to(device)[operation] & negative, -magnitude, magnitude))


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """Images from 0 to 1 as 8-bit images."""
    return (images * 255).round_().to(torch.uint8)


def change_each(
    names: Sequence[str], images: torch.Tensor, choice: Choice, interpolation: Interpolation = "nearest"
) -> torch.Tensor:
    """8-bit images (n, 1 or 3, h, w), each changed in place by its own operation, if that is not Identity."""
    for index, name in enumerate(names):
        if name == "Identity":
            continue
        (members,) = torch.where(choice.operation == index)
        if len(members) == 0:
            continue
        magnitude = choice.magnitude[members].to(images.device)
        members = members.to(images.device)
        images[members] = change(name, images[members], magnitude, interpolation)
    return images


def change(
    name: str, images: torch.Tensor, magnitude: torch.Tensor, interpolation: Interpolation = "nearest"
) -> torch.Tensor:
    """The 8-bit images (n, 1 or 3, h, w), each changed by this operation with its own magnitude (n,)."""
    if name in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
        matrices = _matrices(name, magnitude, images.shape[2], images.shape[3])
        moved = move(images.float(), matrices, None, interpolation)
        return moved.round_().to(torch.uint8)
    factor = column(1 + magnitude, images, torch.float64)
    match name:
        case "Brightness":
            return brightness(images, factor)
        case "Color":
            return saturation(images, factor)
        case "Contrast":
            return contrast(images, factor)
        case "Sharpness":
            return _sharpness(images, factor)
        case "Posterize":
            return images & column(256 - 2 ** (8 - magnitude), images, torch.uint8)
        case "Solarize":
            return torch.where(images >= column(255 * magnitude, images, torch.float32), 255 - images, images)
        case "Invert":
            return 255 - images
    from torchvision.transforms.v2 import functional

    # These two have no strength, so torchvision's functions can process whole batches.
    whole: torch.Tensor = functional.autocontrast(images) if name == "AutoContrast" else functional.equalize(images)
    return whole


def _sharpness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    # At factor 0 torchvision returns the blurred image; other factors blend with it. It is written as a difference, as
    # in torchvision, so that flat areas stay as they are: a blend's rounding would darken them by one.
    sharp, blurred = images.float(), functional.adjust_sharpness(images, 0.0).float()
    mixed: torch.Tensor = sharp + (blurred - sharp) * (1 - factor).float()
    return mixed.clamp_(0, 255).to(torch.uint8)


def _matrices(name: str, magnitude: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """For `move`: the inverse of the operation, because it gives the origin of a pixel; (n, 2, 3).

    Shears fix the image's upper left corner, rotations its centre.
    """
    if name == "Rotate":
        return rotation(magnitude)
    matrices = torch.eye(2, 3, dtype=torch.float64, device=magnitude.device).repeat(len(magnitude), 1, 1)
    match name:
        case "ShearX":
            matrices[:, 0, 1], matrices[:, 0, 2] = magnitude, magnitude * height / 2
        case "ShearY":
            matrices[:, 1, 0], matrices[:, 1, 2] = magnitude, magnitude * width / 2
        case "TranslateX":
            matrices[:, 0, 2] = -magnitude.trunc()
        case "TranslateY":
            matrices[:, 1, 2] = -magnitude.trunc()
    return matrices
