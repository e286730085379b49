"""Each augmentation beside torchvision's own function, called for one image at a time with the parameters it drew."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from tests.augmenting import (
    ALL,
    BLACK,
    CIFAR,
    NAMES,
    SHAPES,
    differing,
    each,
    evenly,
    generator,
    pictures,
    pipeline,
    uniform,
)
from tests.prepared import Splits, prepared_images
from velodrome.errors import ConfigurationError
from velodrome.spec import Preprocessing
from velodrome_runner.augmentation.areas import RandomErasing
from velodrome_runner.augmentation.colour import ColorJitter
from velodrome_runner.augmentation.geometry import RandomCrop, RandomHorizontalFlip, RandomRotation
from velodrome_runner.data import Split

# Those that do the same to every image that chance chooses.
TWOFOLD = {
    *("RandomHorizontalFlip", "RandomVerticalFlip", "RandomGrayscale", "RandomInvert", "RandomPosterize"),
    *("RandomSolarize", "RandomAutocontrast", "RandomEqualize", "RandomAdjustSharpness"),
}


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


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_normalized_images_are_changed_as_if_they_were_not(augmentation: dict[str, Any]) -> None:
    images = pictures(64)
    plain = pipeline(augmentation)(images, generator())
    ours = pipeline(augmentation, normalization=CIFAR)(CIFAR.apply(images), generator())
    torch.testing.assert_close(ours, CIFAR.apply(plain), rtol=0, atol=1e-5)
    assert differing(plain, images) > 0.02


def test_a_pipeline_applies_its_augmentations_in_their_order() -> None:
    images = pictures(32)
    source = generator()
    expected = CIFAR.apply(images)
    names = ("RandomCrop", "RandomHorizontalFlip", "RandomRotation", "ColorJitter", "RandomErasing", "TrivialAugment")
    several = [ALL[NAMES.index(name)] for name in names]
    for augmentation in several:
        expected = pipeline(augmentation, normalization=CIFAR)(expected, source)
    ours = pipeline(*several, normalization=CIFAR)(CIFAR.apply(images), generator())
    # TrivialAugment rounds: what lies between two of its 256 values may fall either way.
    assert ((ours - expected).abs() > 1e-4).float().mean() < 0.01
    backwards = pipeline(*several[::-1], normalization=CIFAR)(CIFAR.apply(images), generator())
    assert differing(ours, backwards) > 0.5


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_each_image_is_changed_in_its_own_way(augmentation: dict[str, Any]) -> None:
    changed = pipeline(augmentation)(pictures(1).expand(64, -1, -1, -1), generator())
    kinds = len(changed.flatten(1).unique(dim=0))
    assert kinds == 2 if augmentation["name"] in TWOFOLD else kinds > 12


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
    if augmentation["name"] in ("RandomInvert", "RandomSolarize", "RandAugment", "AutoAugment"):
        return  # the negative of one image may be another image
    if augmentation["name"] in ("ColorJitter", "TrivialAugment", "RandomPosterize", "GaussianNoise", "AugMix"):
        # These change the values themselves, though TrivialAugment not those of images that it only moves.
        correlation = torch.corrcoef(torch.stack((changed.flatten(1).amax(1), labels.float())))[0, 1]
        assert correlation > 0.6
    else:
        assert unchanged.all()


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
@pytest.mark.parametrize("count", [1, 2])
def test_small_batches_of_grey_images(augmentation: dict[str, Any], count: int) -> None:
    chosen = augmentation
    if augmentation["name"] == "RandomGrayscale":
        return
    if augmentation["name"] == "ColorJitter":
        chosen = {"name": "ColorJitter", "args": {"brightness": 0.5, "contrast": 0.5}}
    images = pictures(count, (1, 8, 8))
    changed = pipeline(chosen, shape=(1, 8, 8))(images, generator())
    assert changed.shape == images.shape
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert -1e-6 <= changed.min() <= changed.max() <= 1 + 1e-6


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
        ({"name": "RandomResizedCrop", "args": {"size": 9}}, (1, 8, 8), "size 9 does not fit .* at most 8, because"),
        ({"name": "RandomGrayscale"}, (1, 8, 8), "RandomGrayscale .* are grey already: leave it out"),
        ({"name": "RandomGrayscale"}, (4, 8, 8), "RandomGrayscale .* have 4 channels: leave it out"),
        ({"name": "RandAugment"}, (4, 8, 8), "RandAugment is for grey images and RGB, and these images have 4"),
        ({"name": "GaussianBlur", "args": {"kernelSize": 17}}, (1, 8, 8), "kernelSize 17 does not fit .* at most 15"),
    ],
)
def test_augmentations_that_these_images_do_not_allow_are_reported(
    augmentation: dict[str, Any], shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        pipeline(augmentation, shape=shape)
