"""Each augmentation beside torchvision's own function, called for one image at a time with the parameters it drew."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from tests.prepared import Splits, prepared_images
from velodrome.errors import ConfigurationError
from velodrome.spec import Augmentation, Preprocessing
from velodrome_runner.augmentation import Normalization, Pipeline, compose
from velodrome_runner.augmentation.colour import ColorJitter
from velodrome_runner.augmentation.geometry import RandomCrop, RandomErasing, RandomHorizontalFlip, RandomRotation
from velodrome_runner.augmentation.trivial import OPERATIONS, Choice, TrivialAugment
from velodrome_runner.data import Split

BLACK = torch.zeros(1, 1, 1, 1)
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 9, 14), (1, 8, 8)]
CIFAR = Normalization(
    torch.tensor([0.49, 0.48, 0.45]).view(1, 3, 1, 1), torch.tensor([0.25, 0.24, 0.26]).view(1, 3, 1, 1)
)
ALL: list[dict[str, Any]] = [
    {"name": "RandomCrop", "args": {"padding": 4}},
    {"name": "RandomHorizontalFlip"},
    {"name": "RandomRotation"},
    {"name": "ColorJitter", "args": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    {"name": "RandomErasing"},
    {"name": "TrivialAugment"},
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("smaller", "padding"), [(0, 4), (0, 1), (3, 0), (2, 3), (0, 0)])
def test_crops_are_torchvisions(shape: tuple[int, int, int], smaller: int, padding: int) -> None:
    size = (shape[1] - smaller, shape[2] - smaller)
    images, step = pictures(20, shape), RandomCrop(shape, size, padding)
    drawn = step.draw(20, generator())
    black = torch.arange(1.0, shape[0] + 1).view(1, -1, 1, 1)

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        padded = functional.pad(image, [padding], fill=black.flatten().tolist())
        crop: torch.Tensor = functional.crop(padded, int(drawn.top[index]), int(drawn.left[index]), *size)
        return crop

    assert torch.equal(step.apply(images, drawn, black), each(images, theirs))


def test_every_crop_is_as_likely() -> None:
    drawn = RandomCrop((3, 9, 14), (7, 13), 2).draw(9000, generator())
    places = drawn.top * 100 + drawn.left
    assert evenly(places, [100 * top + left for top in range(7) for left in range(6)])


@pytest.mark.parametrize("shape", SHAPES)
def test_flips_are_torchvisions(shape: tuple[int, int, int]) -> None:
    images, step = pictures(20, shape), RandomHorizontalFlip()
    drawn = step.draw(20, generator())
    theirs = each(images, lambda image, index: functional.horizontal_flip(image) if drawn[index] else image)
    assert 0 < drawn.sum() < 20
    assert torch.equal(step.apply(images, drawn, BLACK), theirs)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_flips_happen_with_their_probability(p: float) -> None:
    from scipy.stats import binomtest

    flipped = int(RandomHorizontalFlip(p).draw(5000, generator()).sum())
    assert binomtest(flipped, 5000, p).pvalue > 0.001


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degrees", [15.0, 180.0])
def test_rotations_are_torchvisions(shape: tuple[int, int, int], degrees: float) -> None:
    images, step = pictures(40, shape), RandomRotation(degrees)
    drawn = step.draw(40, generator())
    black = torch.full((1, shape[0], 1, 1), 7.0)
    theirs = each(
        images, lambda image, index: functional.rotate(image, float(drawn[index]), fill=black.flatten().tolist())
    )
    ours = step.apply(images, drawn, black)
    assert differing(ours, theirs) == 0
    assert (ours == 7).any()


def test_rotations_turn_by_every_angle_as_often() -> None:
    drawn = RandomRotation(20.0).draw(5000, generator())
    assert uniform(drawn, -20, 20)


JITTERS = [
    {"brightness": 0.8},
    {"contrast": 0.8},
    {"saturation": 1.0},
    {"hue": 0.5},
    {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
]


@pytest.mark.parametrize("args", JITTERS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 9, 14)])
def test_jitter_is_torchvisions(args: dict[str, float], shape: tuple[int, int, int]) -> None:
    images, step = pictures(40, shape), ColorJitter(**args)
    drawn = step.draw(40, generator())
    changes = {
        "brightness": functional.adjust_brightness,
        "contrast": functional.adjust_contrast,
        "saturation": functional.adjust_saturation,
        "hue": functional.adjust_hue,
    }

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        for operation in drawn.order[index].tolist():
            name = list(changes)[operation]
            if name in args:
                image = changes[name](image, float(drawn.factors[index, operation]))
        return image

    ours = step.apply(images, drawn, BLACK)
    torch.testing.assert_close(ours, each(images, theirs), rtol=0, atol=2e-5)
    assert differing(ours, images) > 0.2
    assert torch.equal(images, pictures(40, shape)), "the batch that was passed in must not change"


@pytest.mark.parametrize("args", JITTERS[:2])
def test_jitter_of_grey_images_is_torchvisions(args: dict[str, float]) -> None:
    images, step = pictures(20, (1, 8, 8)), ColorJitter(**args)
    drawn = step.draw(20, generator())
    (name,) = args
    change, operation = getattr(functional, f"adjust_{name}"), ["brightness", "contrast"].index(name)
    theirs = each(images, lambda image, index: change(image, float(drawn.factors[index, operation])))
    torch.testing.assert_close(step.apply(images, drawn, BLACK), theirs, rtol=0, atol=2e-6)


def test_jitter_draws_every_order_and_every_factor_as_often() -> None:
    drawn = ColorJitter(brightness=0.1, contrast=0.2, saturation=0.3, hue=0.4).draw(6000, generator())
    assert torch.equal(drawn.order.sort(1).values, torch.arange(4).expand(6000, 4))
    orders = (drawn.order * torch.tensor([1000, 100, 10, 1])).sum(1)
    assert len(orders.unique()) == math.factorial(4)
    assert evenly(orders, orders.unique().tolist())
    for index, (low, high) in enumerate([(0.9, 1.1), (0.8, 1.2), (0.7, 1.3), (-0.4, 0.4)]):
        assert uniform(drawn.factors[:, index], low, high)


@pytest.mark.parametrize("shape", SHAPES)
def test_erasing_is_torchvisions(shape: tuple[int, int, int]) -> None:
    images, step = pictures(60, shape), RandomErasing(shape, p=0.7)
    drawn = step.draw(60, generator())
    black = torch.arange(1.0, shape[0] + 1).view(1, -1, 1, 1)

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        top, left, height, width = (int(value[index]) for value in drawn)
        erased: torch.Tensor = functional.erase(image, top, left, height, width, black[0])
        return erased

    assert torch.equal(step.apply(images, drawn, black), each(images, theirs))


@pytest.mark.parametrize("args", [{}, {"scale": (0.3, 0.9), "ratio": (0.2, 1.0)}])
def test_erased_rectangles_are_distributed_as_torchvisions(args: dict[str, Any]) -> None:
    from scipy.stats import ks_2samp

    drawn = RandomErasing((3, 28, 40), p=1.0, **args).draw(4000, generator())
    torch.manual_seed(0)
    transform = v2.RandomErasing(p=1.0, **args)
    drawn_there = [transform.make_params([torch.zeros(3, 28, 40)]) for _ in range(2000)]
    theirs = [params for params in drawn_there if params["v"] is not None]
    done = drawn.height > 0
    assert done.float().mean().item() == pytest.approx(len(theirs) / 2000, abs=0.03)
    for ours, name in zip(drawn, ("i", "j", "h", "w"), strict=True):
        # Sizes are whole numbers, so that the test errs to the safe side.
        assert ks_2samp(ours[done].numpy(), [params[name] for params in theirs]).pvalue > 0.001
    assert int((drawn.top + drawn.height).max()) <= 28
    assert int((drawn.left + drawn.width).max()) <= 40


def test_erasing_happens_with_its_probability() -> None:
    from scipy.stats import binomtest

    drawn = RandomErasing((3, 32, 32), p=0.3).draw(5000, generator())
    assert binomtest(int((drawn.height > 0).sum()), 5000, 0.3).pvalue > 0.001


def test_nothing_is_erased_where_no_rectangle_fits() -> None:
    step = RandomErasing((3, 32, 32), p=1.0, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    images = pictures(5)
    assert torch.equal(step(images, BLACK, generator()), images)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_trivial_augments_operations_are_torchvisions(name: str, shape: tuple[int, int, int]) -> None:
    """Over the whole range of strengths that torchvision's own table has, both ways where it has a sign."""
    transform = v2.TrivialAugmentWide()
    table, signed = transform._AUGMENTATION_SPACE[name]  # noqa: SLF001 - torchvision has no other way to its table
    strengths = table(31, *shape[1:])
    magnitudes = torch.zeros(31) if strengths is None else strengths.double()
    if signed:
        magnitudes = torch.cat((magnitudes, -magnitudes))
    images = pictures(len(magnitudes), shape)
    operation = torch.full((len(images),), OPERATIONS.index(name))
    ours = TrivialAugment().apply(images, Choice(operation, magnitudes.double()), BLACK)

    def theirs(image: torch.Tensor, index: int) -> torch.Tensor:
        changed: torch.Tensor = transform._apply_image_or_video_transform(  # noqa: SLF001 - torchvision has no other way to its table
            (image * 255).round().to(torch.uint8),
            name,
            float(magnitudes[index]),
            interpolation=transform.interpolation,
            fill=transform._fill,  # noqa: SLF001 - torchvision has no other way to its table
        )
        return changed / 255

    # A processor that multiplies and adds in one rounding may truncate to the whole number next to ours.
    rounds = name in ("Color", "Sharpness")
    expected = each(images, theirs)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1.01 / 255 if rounds else 0)
    assert differing(ours, expected) <= (0.001 if rounds else 0)


def test_trivial_augment_draws_each_operation_and_strength_as_torchvision_does() -> None:
    drawn = TrivialAugment(bins=7).draw(30_000, generator())
    assert tuple(v2.TrivialAugmentWide._AUGMENTATION_SPACE) == OPERATIONS  # noqa: SLF001 - torchvision has no other way to its table
    assert evenly(drawn.operation, list(range(14)))
    for index, name in enumerate(OPERATIONS):
        table, signed = v2.TrivialAugmentWide._AUGMENTATION_SPACE[name]  # noqa: SLF001 - torchvision has no other way to its table
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


def test_images_come_back_whole_from_trivial_augments_8_bits() -> None:
    images = torch.arange(256).view(1, 1, 16, 16) / 255
    ours = TrivialAugment().apply(images, Choice(torch.tensor([0]), torch.tensor([0.0])), BLACK)
    assert torch.equal(ours, images)


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_normalized_images_are_changed_as_if_they_were_not(augmentation: dict[str, Any]) -> None:
    images = pictures(64)
    plain = pipeline(augmentation)(images, generator())
    ours = pipeline(augmentation, normalization=CIFAR)(CIFAR.apply(images), generator())
    torch.testing.assert_close(ours, CIFAR.apply(plain), rtol=0, atol=1e-5)
    assert differing(plain, images) > 0.05


def test_a_pipeline_applies_its_augmentations_in_their_order() -> None:
    images = pictures(32)
    source = generator()
    expected = CIFAR.apply(images)
    for augmentation in ALL:
        expected = pipeline(augmentation, normalization=CIFAR)(expected, source)
    ours = pipeline(*ALL, normalization=CIFAR)(CIFAR.apply(images), generator())
    # TrivialAugment rounds: what lies between two of its 256 values may fall either way.
    assert ((ours - expected).abs() > 1e-4).float().mean() < 0.01
    backwards = pipeline(*ALL[::-1], normalization=CIFAR)(CIFAR.apply(images), generator())
    assert differing(ours, backwards) > 0.5


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_each_image_is_changed_in_its_own_way(augmentation: dict[str, Any]) -> None:
    changed = pipeline(augmentation)(pictures(1).expand(64, -1, -1, -1), generator())
    kinds = len(changed.flatten(1).unique(dim=0))
    assert kinds == 2 if augmentation["name"] == "RandomHorizontalFlip" else kinds > 25


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_the_generator_alone_decides(augmentation: dict[str, Any]) -> None:
    images, augment = pictures(32), pipeline(augmentation)
    before = images.clone()
    torch.manual_seed(0)
    first = augment(images, generator(1))
    torch.manual_seed(1)
    assert torch.equal(augment(images, generator(1)), first)
    assert not torch.equal(augment(images, generator(2)), first)
    assert torch.equal(images, before), "the data set must not change"


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_labels_stay_with_their_images(augmentation: dict[str, Any]) -> None:
    """Each image has one grey value of its own, which moving pixels, black from outside and other light leave known."""
    from velodrome.results.records import DatasetFacts

    images = torch.arange(10, 250, 4, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    split = Split(images, torch.arange(len(images)))
    facts = DatasetFacts(
        name="CIFAR10",
        digest="sha256:" + "0" * 64,
        train_samples=len(images),
        validation_samples=len(images),
        test_samples=len(images),
        shape=(3, 16, 16),
        classes=("one",) * len(images),
    )
    preprocessing = Preprocessing.model_validate({"augmentations": [augmentation], "normalize": False})
    ready = prepared_images(Splits(split, split, split, facts), preprocessing)
    ((changed, labels),) = ready.batches(len(images), generator())
    assert torch.equal(labels.sort().values, split.labels)
    assert not torch.equal(labels, split.labels)
    assert changed.shape == (len(images), 3, 16, 16)
    unchanged = (changed * 255).round().flatten(1).amax(1) == split.images[labels].flatten(1).amax(1)
    if augmentation["name"] in ("ColorJitter", "TrivialAugment"):
        # These change the values themselves, though TrivialAugment not those of images that it only moves.
        correlation = torch.corrcoef(torch.stack((changed.flatten(1).amax(1), labels.float())))[0, 1]
        assert correlation > 0.6
    else:
        assert unchanged.all()


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
@pytest.mark.parametrize("count", [1, 2])
def test_small_batches_of_grey_images(augmentation: dict[str, Any], count: int) -> None:
    chosen = augmentation
    if augmentation["name"] == "ColorJitter":
        chosen = {"name": "ColorJitter", "args": {"brightness": 0.5, "contrast": 0.5}}
    images = pictures(count, (1, 8, 8))
    changed = pipeline(chosen, shape=(1, 8, 8))(images, generator())
    assert changed.shape == images.shape
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= changed.min() <= changed.max() <= 1


def test_later_augmentations_see_the_size_that_crops_leave() -> None:
    augment = pipeline({"name": "RandomCrop", "args": {"size": 12}}, {"name": "RandomErasing", "args": {"p": 1.0}})
    assert augment.shape == (3, 12, 12)
    assert augment.crops == ((12, 12),)
    changed = augment(torch.ones(200, 3, 32, 32), generator())
    assert changed.shape == (200, 3, 12, 12)
    share = (changed == 0).float().mean((1, 2, 3))
    assert share.min() > 0
    assert share.max() < 0.4


@pytest.mark.parametrize(
    ("augmentation", "shape", "message"),
    [
        ({"name": "RandomCrop", "args": {"size": 9}}, (1, 8, 8), "size 9 does not fit .* size of at most 8"),
        ({"name": "RandomCrop", "args": {"size": 15, "padding": 3}}, (1, 8, 8), "at most 14"),
        ({"name": "ColorJitter", "args": {"saturation": 0.1}}, (1, 8, 8), "no saturation and no hue"),
        ({"name": "ColorJitter", "args": {"hue": 0.1}}, (1, 8, 8), "no saturation and no hue"),
    ],
)
def test_augmentations_that_these_images_do_not_allow_are_reported(
    augmentation: dict[str, Any], shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        pipeline(augmentation, shape=shape)
