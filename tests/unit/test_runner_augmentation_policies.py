"""Augmentations that draw operations, beside torchvision's own with the operations and strengths they drew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from tests.augmenting import BLACK, SHAPES, differing, each, evenly, generator, pictures
from velodrome_runner.augmentation.operations import Choice, Space, change_each
from velodrome_runner.augmentation.policies import AugMix, AutoAugment, RandAugment, TrivialAugment, shares

RGB = (3, 32, 32)
SPACES: dict[str, Space] = {
    name: getattr(v2, name)._AUGMENTATION_SPACE  # noqa: SLF001 - torchvision shows it nowhere else
    for name in ("TrivialAugmentWide", "RandAugment", "AutoAugment", "AugMix")
}


def transformed(image: torch.Tensor, name: str, magnitude: float, interpolation: str = "nearest") -> torch.Tensor:
    """What torchvision makes of an 8-bit image by this operation."""
    transform = v2.TrivialAugmentWide(interpolation=interpolation)
    changed: torch.Tensor = transform._apply_image_or_video_transform(  # noqa: SLF001 - torchvision shows it nowhere else
        image,
        name,
        magnitude,
        interpolation=transform.interpolation,
        fill=transform._fill,  # noqa: SLF001 - torchvision shows it nowhere else
    )
    return changed


OPERATIONS = [(space, name) for space, known in SPACES.items() for name in known]


@pytest.mark.parametrize(("space", "name"), OPERATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_operations_are_torchvisions(space: str, name: str, shape: tuple[int, int, int]) -> None:
    """Over the whole range of strengths that torchvision's own table has, both ways where it has a sign."""
    table, signed = SPACES[space][name]
    bins = 31 if space in ("TrivialAugmentWide", "RandAugment") else 10
    strengths = table(bins, *shape[1:])
    magnitudes = torch.zeros(bins) if strengths is None else strengths.double()
    if signed:
        magnitudes = torch.cat((magnitudes, -magnitudes))
    images = (pictures(len(magnitudes), shape) * 255).round().to(torch.uint8)
    interpolation = "bilinear" if space == "AugMix" else "nearest"
    choice = Choice(torch.zeros(len(images), dtype=torch.int64), magnitudes.double())
    ours = change_each([name], images.clone(), choice, interpolation)  # type: ignore[arg-type]
    expected = each(images, lambda image, index: transformed(image, name, float(magnitudes[index]), interpolation))
    # A processor that multiplies and adds in one rounding may truncate to the whole number next to ours.
    rounds = name in ("Color", "Contrast", "Sharpness") or interpolation == "bilinear"
    torch.testing.assert_close(ours.int(), expected.int(), rtol=0, atol=1 if rounds else 0)
    assert differing(ours.float(), expected.float()) <= (0.005 if rounds else 0)


def test_trivial_augment_draws_each_operation_and_strength_as_torchvision_does() -> None:
    step = TrivialAugment(RGB, bins=7)
    (drawn,) = step.draw(30_000, generator())
    assert step.names == tuple(SPACES["TrivialAugmentWide"])
    assert evenly(drawn.operation, list(range(14)))
    for index, name in enumerate(step.names):
        table, signed = SPACES["TrivialAugmentWide"][name]
        strengths = table(7, 32, 32)
        magnitudes = drawn.magnitude[drawn.operation == index]
        if strengths is None:
            assert not magnitudes.any()
        elif signed:
            # 0 has no sign; every other strength comes either way.
            assert evenly(magnitudes.abs().float(), strengths.tolist())
            assert (magnitudes < 0).float().mean().item() == pytest.approx(6 / 14, abs=0.06)
        else:
            assert evenly(magnitudes.float(), strengths.float().tolist())


def test_images_come_back_whole_from_8_bits() -> None:
    images = torch.arange(256).view(1, 1, 16, 16) / 255
    step = TrivialAugment((1, 16, 16))
    identity = Choice(torch.tensor([step.names.index("Identity")]), torch.tensor([0.0]))
    assert torch.equal(step.apply(images, (identity,), BLACK), images)


def test_rand_augment_draws_as_torchvision_does() -> None:
    step = RandAugment((3, 40, 30), num_ops=3, magnitude=5, num_magnitude_bins=11)
    drawn = step.draw(8000, generator())
    assert len(drawn) == 3
    for choice in drawn:
        assert evenly(choice.operation, list(range(14)))
        for index, name in enumerate(step.names):
            table, signed = SPACES["RandAugment"][name]
            strengths = table(11, 40, 30)
            strength = 0.0 if strengths is None else float(strengths[5])
            magnitudes = choice.magnitude[choice.operation == index]
            assert set(magnitudes.tolist()) == ({strength, -strength} if signed else {strength})
    first, second = drawn[0].operation, drawn[1].operation
    assert (first == second).float().mean().item() == pytest.approx(1 / 14, abs=0.02)


@pytest.mark.parametrize("policy", ["imagenet", "cifar10", "svhn"])
def test_auto_augment_draws_as_torchvision_does(policy: Any) -> None:
    """Each pair of operations with its strengths comes as often as its probabilities say."""
    step = AutoAugment(RGB, policy)
    first, second = step.draw(40_000, generator())
    expected: dict[tuple[tuple[str, float], ...], float] = {}
    space = SPACES["AutoAugment"]
    for pair in v2.AutoAugment(v2.AutoAugmentPolicy(policy))._policies:  # noqa: SLF001 - torchvision shows it nowhere else
        chances: dict[tuple[tuple[str, float], ...], float] = {(): 1 / 25}
        for name, chance, strength in pair:
            strengths = space[name][0](10, 32, 32)
            magnitude = 0.0 if strengths is None or strength is None else abs(float(strengths[strength]))
            done = {(*before, (name, magnitude)): share * chance for before, share in chances.items()}
            skipped = {(*before, ("Identity", 0.0)): share * (1 - chance) for before, share in chances.items()}
            chances = done | skipped
        for found, share in chances.items():
            expected[found] = expected.get(found, 0.0) + share
    counts: dict[tuple[tuple[str, float], ...], int] = {}
    for index in range(40_000):
        seen = []
        for choice in (first, second):
            name = step.names[int(choice.operation[index])]
            seen.append((name, 0.0 if name == "Identity" else abs(float(choice.magnitude[index]))))
        counts[tuple(seen)] = counts.get(tuple(seen), 0) + 1
    assert set(counts) <= set(expected)
    for found, share in expected.items():
        assert counts.get(found, 0) / 40_000 == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("step", [RandAugment(RGB, num_ops=3, magnitude=12), AutoAugment(RGB, "cifar10")])
def test_operations_follow_one_another_as_torchvisions(step: RandAugment | AutoAugment) -> None:
    images = pictures(60)
    drawn = step.draw(60, generator())

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        changed = (image * 255).round().to(torch.uint8)
        for choice in drawn:
            name = step.names[int(choice.operation[index])]
            changed = transformed(changed, name, float(choice.magnitude[index]))
        return changed / 255

    ours = step.apply(images, drawn, BLACK)
    assert differing(ours, each(images, theirs)) < 0.01
    assert differing(ours, images) > 0.2


@pytest.mark.parametrize("args", [{}, {"mixture_width": 1, "chain_depth": 4, "severity": 10, "all_ops": False}])
def test_mixtures_are_torchvisions(args: dict[str, Any]) -> None:
    images, step = pictures(40), AugMix(RGB, **args)
    drawn = step.draw(40, generator())

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        whole = (image * 255).round().to(torch.uint8)
        weights = drawn.shares[index].float()
        mixed = weights[0] * whole
        for place, chain in enumerate(drawn.chains, start=1):
            changed = whole
            for choice in chain:
                name = step.names[int(choice.operation[index])]
                changed = transformed(changed, name, float(choice.magnitude[index]), "bilinear")
            mixed = mixed + weights[place] * changed
        return mixed.to(torch.uint8) / 255

    ours = step.apply(images, drawn, BLACK)
    # Sums of shares are truncated to whole numbers.
    assert ((ours - each(images, theirs)).abs() > 1.01 / 255).float().mean() < 0.01
    assert differing(ours, images) > 0.2


def test_mixtures_are_drawn_as_torchvisions() -> None:
    step = AugMix(RGB, severity=4)
    drawn = step.draw(6000, generator())
    identity = step.names.index("Identity")
    torch.testing.assert_close(drawn.shares.sum(1), torch.ones(6000).double())
    assert drawn.shares.mean(0).tolist() == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6], abs=0.02)
    for chain in drawn.chains:
        depth = sum((choice.operation != identity).long() for choice in chain)
        assert isinstance(depth, torch.Tensor)
        assert evenly(depth, [1, 2, 3])
        assert evenly(chain[0].operation, list(range(13)))
        turned = chain[0].magnitude[chain[0].operation == step.names.index("Rotate")].abs()
        assert sorted(set(turned.tolist())) == pytest.approx([0, 30 / 9, 60 / 9, 10])


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 5.0])
def test_shares_have_their_distribution(alpha: float) -> None:
    from scipy.stats import kstest

    drawn = shares(alpha, (5000, 2), generator())[:, 0]
    assert drawn.isfinite().all()
    if alpha >= 0.2:
        assert kstest(drawn.numpy(), "beta", (alpha, alpha)).pvalue > 0.001
