"""Augmentations, images for them, and how their results and their draws are compared; for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from velodrome.spec import Augmentation
from velodrome_runner.augmentation import Normalization, Pipeline, compose

BLACK = torch.zeros(1, 1, 1, 1)
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 9, 14), (1, 8, 8)]
CIFAR = Normalization(
    torch.tensor([0.49, 0.48, 0.45]).view(1, 3, 1, 1), torch.tensor([0.25, 0.24, 0.26]).view(1, 3, 1, 1)
)
ALL: list[dict[str, Any]] = [
    {"name": "RandomCrop", "args": {"padding": 4}},
    {"name": "RandomResizedCrop"},
    {"name": "RandomHorizontalFlip"},
    {"name": "RandomVerticalFlip"},
    {"name": "RandomRotation"},
    {"name": "RandomAffine", "args": {"degrees": 10, "translate": [0.1, 0.2], "scale": [0.8, 1.2], "shear": 8}},
    {"name": "RandomPerspective"},
    {"name": "RandomErasing"},
    {"name": "ColorJitter", "args": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    {"name": "RandomGrayscale", "args": {"p": 0.5}},
    {"name": "RandomInvert"},
    {"name": "RandomPosterize", "args": {"bits": 3}},
    {"name": "RandomSolarize", "args": {"threshold": 0.5}},
    {"name": "RandomAutocontrast"},
    {"name": "RandomEqualize"},
    {"name": "RandomAdjustSharpness", "args": {"sharpnessFactor": 2}},
    {"name": "GaussianBlur", "args": {"kernelSize": 5}},
    {"name": "GaussianNoise"},
    {"name": "TrivialAugment"},
    {"name": "RandAugment"},
    {"name": "AutoAugment"},
    {"name": "AugMix"},
]
NAMES = [each["name"] for each in ALL]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, shape: tuple[int, int, int] = (3, 32, 32), seed: int = 0) -> torch.Tensor:
    """8-bit images as shares of 255, with the flat areas and the black and white that random noise has not."""
    images = torch.randint(0, 256, (count, *shape), generator=generator(seed))
    images[::3, :, : shape[1] // 2] = images[::3, :, :1, :1]
    images[1::3] = images[1::3] // 128 * 255
    return images / 255


def pipeline(
    *augmentations: dict[str, Any],
    shape: tuple[int, int, int] = (3, 32, 32),
    normalization: Normalization | None = None,
) -> Pipeline:
    zeros = torch.zeros(1, shape[0], 1, 1)
    normalization = normalization or Normalization(zeros, torch.ones_like(zeros))
    return compose([Augmentation.model_validate(each) for each in augmentations], shape, normalization)


def each(images: torch.Tensor, change: Callable[[torch.Tensor, int], torch.Tensor]) -> torch.Tensor:
    """Every image changed on its own; `change` gets the image and its index."""
    return torch.stack([change(image, index) for index, image in enumerate(images)])


def differing(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The share of pixels that are not the same."""
    return ((ours - theirs).abs() > 1e-5).float().mean().item()


def uniform(values: torch.Tensor, low: float, high: float) -> bool:
    """Whether values are uniform between low and high, by a Kolmogorov-Smirnov test."""
    from scipy.stats import kstest

    return bool(kstest(values.numpy(), "uniform", (low, high - low)).pvalue > 0.001)


def evenly(values: torch.Tensor, kinds: Sequence[float]) -> bool:
    """Whether values are those kinds and no others, each as often, by a chi-squared test."""
    from scipy.stats import chisquare

    counts = [int((values == kind).sum()) for kind in kinds]
    return sum(counts) == len(values) and bool(chisquare(counts).pvalue > 0.001)
