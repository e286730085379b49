"""TrivialAugment: one operation of a list for each image, with a random strength.

Source: S. G. Müller, F. Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021, the
variant "Wide", with torchvision's strengths and torchvision's 8-bit arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from velodrome_runner.augmentation.colour import brightness, contrast, saturation
from velodrome_runner.augmentation.geometry import move, rotation
from velodrome_runner.augmentation.step import Step, column

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
# The largest strength of the operations with a signed strength.
_SIGNED = {
    "ShearX": 0.99,
    "ShearY": 0.99,
    "TranslateX": 32.0,
    "TranslateY": 32.0,
    "Rotate": 135.0,
    "Brightness": 0.99,
    "Color": 0.99,
    "Contrast": 0.99,
    "Sharpness": 0.99,
}


class Choice(NamedTuple):
    """For each image: the index of its operation in OPERATIONS, and the operation's signed strength."""

    operation: torch.Tensor
    magnitude: torch.Tensor


@dataclass(frozen=True)
class TrivialAugment(Step):
    """One of fourteen operations for each image, with one of `bins` strengths. Values are rounded to 8 bits for it.

    A grey image has no colour: `Color` does not change it, as in torchvision.
    """

    bins: int = 31

    needs_unit_range = True

    def draw(self, count: int, generator: torch.Generator) -> Choice:
        def integers(below: int) -> torch.Tensor:
            return torch.randint(0, below, (count,), generator=generator, device=generator.device)

        operation, strength, sign = integers(len(OPERATIONS)), integers(self.bins), integers(2)
        table = torch.stack([_magnitudes(name, self.bins) for name in OPERATIONS]).to(generator.device)
        signed = torch.tensor([name in _SIGNED for name in OPERATIONS], device=generator.device)
        magnitude = table[operation, strength]
        return Choice(operation, torch.where(signed[operation] & (sign == 1), -magnitude, magnitude))

    def apply(self, images: torch.Tensor, parameters: Choice, black: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        whole = (images * 255).round_().to(torch.uint8)
        for index, name in enumerate(OPERATIONS):
            (members,) = torch.where(parameters.operation == index)
            if name == "Identity" or len(members) == 0:
                continue
            magnitude = parameters.magnitude[members].to(images.device)
            members = members.to(images.device)
            whole[members] = change(name, whole[members], magnitude)
        return whole.float() / 255


def _magnitudes(name: str, bins: int) -> torch.Tensor:
    if name == "Posterize":
        return (8 - torch.arange(bins) / ((bins - 1) / 6)).round().double()
    if name == "Solarize":
        return torch.linspace(1.0, 0.0, bins).double()
    return torch.linspace(0.0, _SIGNED.get(name, 0.0), bins).double()


def change(name: str, images: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """The 8-bit images (n, 1 or 3, h, w), each changed by this operation with its own magnitude (n,)."""
    if name in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
        matrices = _matrices(name, magnitude, images.shape[2], images.shape[3])
        return move(images.float(), matrices, torch.zeros((), device=images.device)).to(torch.uint8)
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
