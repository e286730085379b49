"""Augmentations that change values, beside torchvision's functions for the same draw."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torchvision.transforms.v2 import functional

from tests.augmenting import BLACK, CIFAR, SHAPES, each, generator, pictures, pipeline
from velodrome_runner.augmentation.step import Sometimes
from velodrome_runner.augmentation.values import (
    GaussianNoise,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)

Change = Callable[[torch.Tensor], torch.Tensor]
CHANGES: list[tuple[Sometimes, Change]] = [
    (RandomGrayscale(0.5), lambda image: functional.to_grayscale(image, 3)),
    (RandomInvert(), functional.invert),
    *((RandomPosterize(bits), lambda image, bits=bits: functional.posterize(image, bits)) for bits in (0, 1, 4, 8)),
    *(
        (RandomSolarize(threshold), lambda image, threshold=threshold: functional.solarize(image, threshold))
        for threshold in (0.0, 0.3, 1.0)
    ),
    (RandomAutocontrast(), functional.autocontrast),
    (RandomEqualize(), functional.equalize),
    *(
        (RandomAdjustSharpness(factor), lambda image, factor=factor: functional.adjust_sharpness(image, factor))
        for factor in (0.0, 0.7, 3.0)
    ),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("step", "change"), CHANGES, ids=[str(step) for step, _ in CHANGES])
def test_changed_values_are_torchvisions(shape: tuple[int, int, int], step: Sometimes, change: Change) -> None:
    if isinstance(step, RandomGrayscale) and shape[0] == 1:
        return
    images = pictures(30, shape)
    drawn = step.draw(30, generator())
    theirs = each(images, lambda image, index: change(image) if drawn[index] else image)
    assert 0 < drawn.sum() < 30
    torch.testing.assert_close(step.apply(images, drawn, BLACK), theirs, rtol=0, atol=1e-5)
    assert torch.equal(images, pictures(30, shape)), "the batch that was passed in must not change"


@pytest.mark.parametrize("step", [step for step, _ in CHANGES[:1]] + [RandomInvert(0.2), RandomEqualize(1.0)])
def test_values_change_with_their_probability(step: Sometimes) -> None:
    from scipy.stats import binomtest

    assert binomtest(int(step.draw(5000, generator()).sum()), 5000, step.p).pvalue > 0.001


def test_no_image_that_chance_leaves_out_is_changed() -> None:
    images = pictures(10)
    for step, _ in CHANGES:
        assert torch.equal(step.apply(images, torch.zeros(10, dtype=torch.bool), BLACK), images)


def test_white_is_solarized_after_the_normalisation_too() -> None:
    white = torch.ones(500, 3, 2, 2)
    augment = pipeline(
        {"name": "RandomSolarize", "args": {"threshold": 1.0, "p": 1.0}}, shape=(3, 2, 2), normalization=CIFAR
    )
    assert (CIFAR.invert(augment(CIFAR.apply(white), generator())).abs() < 1e-5).all()


@pytest.mark.parametrize(("mean", "sigma", "clip"), [(0.0, 0.1, True), (0.3, 0.2, True), (-0.2, 0.05, False)])
def test_noise_is_torchvisions(mean: float, sigma: float, clip: bool) -> None:  # noqa: FBT001 - a parameter
    from scipy.stats import kstest

    images, step = pictures(40), GaussianNoise((3, 32, 32), mean, sigma, clip)
    drawn = step.draw(40, generator())
    noisy = images + drawn
    assert torch.equal(step.apply(images, drawn, BLACK), noisy.clamp(0, 1) if clip else noisy)
    assert kstest(drawn.flatten()[:20_000].numpy(), "norm", (mean, sigma)).pvalue > 0.001
    torch.manual_seed(0)
    theirs = functional.gaussian_noise(images, mean, sigma, clip)
    ours = step(images, BLACK, generator())
    assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=0.005)
    assert ours.std().item() == pytest.approx(theirs.std().item(), abs=0.005)
