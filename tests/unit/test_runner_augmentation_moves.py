"""Affine and perspective maps, vertical flips, resized crops and blur, beside torchvision's functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.functional import _get_perspective_coeffs
from torchvision.transforms.v2 import functional

from tests.augmenting import BLACK, SHAPES, differing, each, generator, pictures, uniform
from velodrome_runner.augmentation.areas import RandomResizedCrop
from velodrome_runner.augmentation.blur import GaussianBlur
from velodrome_runner.augmentation.geometry import RandomAffine, RandomVerticalFlip
from velodrome_runner.augmentation.perspective import RandomPerspective


@pytest.mark.parametrize("shape", SHAPES)
def test_vertical_flips_are_torchvisions(shape: tuple[int, int, int]) -> None:
    images, step = pictures(20, shape), RandomVerticalFlip()
    drawn = step.draw(20, generator())
    theirs = each(images, lambda image, index: functional.vertical_flip(image) if drawn[index] else image)
    assert 0 < drawn.sum() < 20
    assert torch.equal(step.apply(images, drawn, BLACK), theirs)


AFFINE: list[dict[str, Any]] = [
    {"degrees": 40.0},
    {"translate": (0.3, 0.5)},
    {"scale": (0.5, 2.0)},
    {"shear": 30.0},
    {"degrees": 180.0, "translate": (0.2, 0.1), "scale": (0.8, 1.2), "shear": 10.0},
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("args", AFFINE)
def test_affine_maps_are_torchvisions(shape: tuple[int, int, int], args: dict[str, Any]) -> None:
    images, step = pictures(40, shape), RandomAffine(shape, **args)
    drawn = step.draw(40, generator())
    black = torch.full((1, shape[0], 1, 1), 7.0)

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        angle, right, down, scale, shear = (float(value[index]) for value in drawn)
        moved: torch.Tensor = functional.affine(
            image, angle, [int(right), int(down)], scale, [shear, 0.0], fill=black.flatten().tolist()
        )
        return moved

    ours = step.apply(images, drawn, black)
    # A pixel's origin may be half-way between two pixels: then both are the nearest.
    assert differing(ours, each(images, theirs)) < 0.001
    assert differing(ours, images) > 0.1


def test_affine_maps_are_drawn_as_torchvisions() -> None:
    from scipy.stats import ks_2samp

    args: dict[str, Any] = {"degrees": 20.0, "translate": (0.2, 0.4), "scale": (0.7, 1.4), "shear": 12.0}
    drawn = RandomAffine((3, 40, 30), **args).draw(4000, generator())
    torch.manual_seed(0)
    transform = v2.RandomAffine(**args)
    theirs = [transform.make_params([torch.zeros(3, 40, 30)]) for _ in range(2000)]
    assert uniform(drawn.angle, -20, 20)
    assert uniform(drawn.scale, 0.7, 1.4)
    assert uniform(drawn.shear, -12, 12)
    for ours, place in ((drawn.right, 0), (drawn.down, 1)):
        assert ks_2samp(ours.numpy(), [params["translate"][place] for params in theirs]).pvalue > 0.001


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_perspectives_are_torchvisions(shape: tuple[int, int, int], scale: float) -> None:
    images, step = pictures(60, shape), RandomPerspective(shape, scale, p=0.8)
    corners = step.corners(60, generator())
    drawn = step.draw(60, generator())
    black = torch.full((1, shape[0], 1, 1), 0.6)
    right, bottom = shape[2] - 1, shape[1] - 1
    rest = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0], dtype=torch.float64)
    still = (drawn == identity).all(1)
    # Corners that meet leave no map, and torchvision may raise.
    exact = torch.ones(60, dtype=torch.bool)

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        if still[index]:
            return image
        try:
            coefficients = _get_perspective_coeffs(rest, corners[index].int().tolist())
        except RuntimeError:  # LinAlgError
            exact[index] = False
            return image
        exact[index] = torch.allclose(torch.tensor(coefficients).double(), drawn[index], atol=1e-6, rtol=1e-5)
        changed: torch.Tensor = functional.perspective(
            image, None, None, coefficients=coefficients, fill=black.flatten().tolist()
        )
        return changed

    ours, expected = step.apply(images, drawn, black), each(images, theirs)
    assert 5 <= still.sum() <= 25
    assert exact.float().mean() > 0.9
    assert ((ours - expected)[exact].abs() > 1e-3).float().mean() < 0.001
    assert differing(ours, images) > 0.1


def test_corners_move_as_often_as_torchvisions() -> None:
    """By the extremes and the means of each corner, which torchvision turns into coefficients at once."""
    corners = RandomPerspective((3, 32, 40), 0.5).corners(6000, generator())
    for corner, (x, y) in enumerate([(0, 0), (29, 0), (29, 23), (0, 23)]):
        for axis, low, most in ((0, x, 10), (1, y, 8)):
            values = corners[:, corner, axis]
            assert (float(values.min()), float(values.max())) == (low, low + most)
            assert values.mean().item() == pytest.approx(low + most / 2, abs=0.2)


def test_perspectives_happen_with_their_probability() -> None:
    from scipy.stats import binomtest

    drawn = RandomPerspective((3, 32, 32), 0.5, p=0.3).draw(3000, generator())
    changed = int((drawn != torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0]).double()).any(1).sum())
    assert binomtest(changed, 3000, 0.3).pvalue > 0.0001


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("smaller", "scale"), [(0, (0.08, 1.0)), (3, (0.3, 1.0)), (5, (1.0, 1.0))])
def test_resized_crops_are_torchvisions(shape: tuple[int, int, int], smaller: int, scale: tuple[float, float]) -> None:
    size = (shape[1] - smaller, shape[2] - smaller)
    images, step = pictures(60, shape), RandomResizedCrop(shape, size, scale=scale)
    drawn = step.draw(60, generator())

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        top, left, height, width = (int(value[index]) for value in drawn)
        crop: torch.Tensor = functional.resized_crop(image, top, left, height, width, list(size), antialias=True)
        return crop

    torch.testing.assert_close(step.apply(images, drawn, BLACK), each(images, theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "args",
    [{}, {"scale": (0.3, 0.9), "ratio": (0.2, 1.0)}, {"scale": (1.0, 1.0), "ratio": (3.0, 4.0)}],
)
def test_resized_rectangles_are_distributed_as_torchvisions(args: dict[str, Any]) -> None:
    from scipy.stats import ks_2samp

    drawn = RandomResizedCrop((3, 28, 40), (28, 40), **args).draw(4000, generator())
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop((28, 40), **args)
    theirs = [transform.make_params([torch.zeros(3, 28, 40)]) for _ in range(2000)]
    for ours, name in zip(drawn, ("top", "left", "height", "width"), strict=True):
        assert ks_2samp(ours.numpy(), [params[name] for params in theirs]).pvalue > 0.001
    assert int((drawn.top + drawn.height).max()) <= 28
    assert int((drawn.left + drawn.width).max()) <= 40


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("side", "sigma"), [(1, None), (3, None), (5, 1.5), (9, 0.4)])
def test_blurs_are_torchvisions(shape: tuple[int, int, int], side: int, sigma: float | None) -> None:
    images, step = pictures(20, shape), GaussianBlur(side, sigma)
    drawn = step.draw(20, generator())
    theirs = each(images, lambda image, index: functional.gaussian_blur(image, [side] * 2, [float(drawn[index])] * 2))
    torch.testing.assert_close(step.apply(images, drawn, BLACK), theirs, rtol=0, atol=1e-5)
    assert sigma is None or (drawn == sigma).all()


def test_blurs_are_as_strong_as_torchvisions() -> None:
    assert uniform(GaussianBlur(3).draw(5000, generator()), 0.1, 2.0)
