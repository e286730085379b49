"""What models see of the data: where its statistics come from, and how it comes in batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.prepared import Splits, load, prepared_images
from velodrome.errors import ConfigurationError
from velodrome.results.records import DatasetFacts
from velodrome.spec import Dataset, Preprocessing
from velodrome_runner.data import Memory, Split
from velodrome_runner.preprocessing import Prepared, ReadySplit
from velodrome_runner.tasks.base import Batch

CPU = torch.device("cpu")
CROP_AND_FLIP = [{"name": "RandomCrop", "args": {"padding": 2}}, {"name": "RandomHorizontalFlip"}]


def split(count: int, shape: tuple[int, int, int], *, low: int = 0, high: int = 256, seed: int = 0) -> Split:
    """Random images; the label of a sample is its position, so that each can be told from the others."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(low, high, (count, *shape), generator=random, dtype=torch.uint8)
    return Split(images, torch.arange(count))


def splits(train: Split, validation: Split, test: Split) -> Splits:
    facts = DatasetFacts(
        name="CIFAR10",
        digest="sha256:" + "0" * 64,
        train_samples=len(train),
        validation_samples=len(validation),
        test_samples=len(test),
        shape=train.shape,
        classes=tuple(str(label) for label in range(10)),
    )
    return Splits(train, validation, test, facts)


def colours(train: int = 45, size: int = 6) -> Splits:
    """Three splits whose values lie apart, so that statistics of the wrong ones would show."""
    shape = (3, size, size)
    return splits(
        split(train, shape, low=10, high=60), split(20, shape, low=100, high=200), split(25, shape, low=200, high=256)
    )


def classified(count: int = 120) -> Splits:
    """Grey images of ten classes of which each pixel carries a different amount, and some never change."""
    random = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 10
    noise = torch.randint(0, 100, (count, 1, 5, 5), generator=random)
    signal = torch.arange(25).view(1, 1, 5, 5) % 7 * labels.view(-1, 1, 1, 1)
    images = (noise + signal).clamp(0, 255).to(torch.uint8)
    images[:, :, 0, :2] = 0
    images[:, :, 1, 1] = 200
    whole = Split(images, labels)
    return splits(*(whole.take(torch.arange(start, count, 3)) for start in range(3)))


def prepared(data: Splits, *, seed: int = 0, in_memory: bool | None = None, **fields: Any) -> Prepared:
    return prepared_images(data, Preprocessing.model_validate(fields), seed=seed, in_memory=in_memory)


def pixels(part: object) -> torch.Tensor:
    """The images of a split that is in memory."""
    assert isinstance(part, ReadySplit)
    assert isinstance(part.inputs, torch.Tensor)
    return part.inputs


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def whole(batches: Iterable[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return Batch(torch.cat(images), torch.cat(labels))


def test_normalization_is_learned_from_the_training_split_alone() -> None:
    data = colours()
    ready = prepared(data)
    raw = data.train.images.numpy().astype(np.float64) / 255
    mean, deviation = (values.reshape(1, 3, 1, 1) for values in (raw.mean((0, 2, 3)), raw.std((0, 2, 3))))
    for part, source in ((ready.train, data.train), (ready.validation, data.validation), (ready.test, data.test)):
        expected = (source.images.numpy() / 255 - mean) / deviation
        np.testing.assert_allclose(pixels(part).numpy(), expected, rtol=1e-4, atol=1e-5)
        assert isinstance(part, ReadySplit)
        assert torch.equal(part.targets, source.labels)
    assert pixels(ready.train).mean((0, 2, 3)).abs().max() < 1e-5
    assert (pixels(ready.train).std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_the_held_out_validation_samples_take_no_part_in_the_statistics() -> None:
    first, second = (load(Dataset(name="digits"), folder=Path(), seed=seed) for seed in (0, 1))
    for data in (first, second):
        ready = prepared(data)
        raw = data.train.images.double() / 16
        expected = (data.test.images.double() / 16 - raw.mean()) / raw.std(correction=0)
        torch.testing.assert_close(pixels(ready.test).double(), expected, rtol=1e-5, atol=1e-5)
    # Another seed holds other samples out, so the same test images are seen through other statistics.
    assert not torch.equal(pixels(prepared(first).test), pixels(prepared(second).test))


def test_without_normalization_values_are_shares_of_full_intensity() -> None:
    data = load(Dataset(name="digits"), folder=Path(), seed=0)
    ready = prepared(data, normalize=False)
    assert torch.equal(pixels(ready.train), data.train.images / 16)
    assert pixels(ready.train).max() == 1


def test_a_channel_that_never_changes_is_only_centred() -> None:
    data = colours()
    data.train.images[:, 1] = 51
    ready = prepared(data)
    assert not pixels(ready.train)[:, 1].any()
    torch.testing.assert_close(pixels(ready.test)[:, 1], data.test.images[:, 1] / 255 - 0.2)


SELECTIONS: dict[str, dict[str, Any]] = {
    "best": {"method": "SelectKBest", "k": 7},
    "best by chi2": {"method": "SelectKBest", "k": 5, "score": "chi2"},
    "best by mutual information": {"method": "SelectKBest", "k": 5, "score": "mutual_info_classif"},
    "percentile": {"method": "SelectPercentile", "percentile": 30},
    "percentile by chi2": {"method": "SelectPercentile", "percentile": 50, "score": "chi2"},
    "variance": {"method": "VarianceThreshold"},
    "more variance": {"method": "VarianceThreshold", "threshold": 0.015},
}


def scikit_learn(selection: dict[str, Any], train: Split, seed: int) -> torch.Tensor:
    from sklearn import feature_selection

    def score(features: Any, labels: Any) -> Any:
        name = selection.get("score", "f_classif")
        random = {"random_state": seed} if name == "mutual_info_classif" else {}
        return getattr(feature_selection, name)(features, labels, **random)

    kind = getattr(feature_selection, selection["method"])
    options = {name: selection[name] for name in ("k", "percentile", "threshold") if name in selection}
    selector = kind(**options) if selection["method"] == "VarianceThreshold" else kind(score, **options)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the pixels that never change
        selector.fit(train.images.flatten(1).numpy() / 255, train.labels.numpy())
    return torch.from_numpy(selector.get_support())


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("in_memory", [True, False])
def test_features_are_those_that_scikit_learn_selects_on_the_training_split(name: str, *, in_memory: bool) -> None:
    data, selection = classified(), SELECTIONS[name]
    ready = prepared(data, seed=3, in_memory=in_memory, featureSelection=selection)
    everything = prepared(data, in_memory=in_memory)
    kept = scikit_learn(selection, data.train, 3)
    assert 0 < kept.sum() < 25
    parts: list[tuple[Iterable[Batch], Iterable[Batch]]] = [
        (ready.batches(16, generator()), everything.batches(16, generator())),
        (ready.batches(16, split="validation"), everything.batches(16, split="validation")),
        (ready.batches(16, split="test"), everything.batches(16, split="test")),
    ]
    for selected, unselected in parts:
        images, all_images = (whole(batches)[0].flatten(1) for batches in (selected, unselected))
        assert torch.equal(images[:, kept], all_images[:, kept])
        assert not images[:, ~kept].any()


def test_features_depend_on_the_training_split_and_on_nothing_else() -> None:
    data = classified()
    selection = SELECTIONS["best"]

    def kept(changed: Splits) -> torch.Tensor:
        # Without normalisation a dropped value is 0, and so is black: white images tell the two apart.
        white = Split(torch.full_like(data.test.images, 255), data.test.labels)
        final = Splits(changed.train, changed.validation, white, changed.facts)
        return pixels(prepared(final, normalize=False, featureSelection=selection).test)[0] > 0

    before = kept(data)
    other = Split(data.validation.images.flip(2), data.validation.labels)
    assert torch.equal(kept(Splits(data.train, other, data.test, data.facts)), before)
    turned = Split(data.train.images.flip(2), data.train.labels)
    assert torch.equal(kept(Splits(turned, data.validation, data.test, data.facts)), before.flip(1))


def test_dropped_features_stay_0_where_augmentation_moves_pixels() -> None:
    data = classified()
    ready = prepared(data, featureSelection=SELECTIONS["best"], augmentations=CROP_AND_FLIP)
    kept = scikit_learn(SELECTIONS["best"], data.train, 0)
    images = whole(ready.batches(16, generator()))[0].flatten(1)
    assert not images[:, ~kept].any()
    assert images[:, kept].any(dim=0).all()


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"method": "SelectKBest", "k": 26}, "k is 26, but an image has 25 features"),
        ({"method": "VarianceThreshold", "threshold": 1}, "VarianceThreshold selects nothing here"),
    ],
)
def test_a_selection_that_these_images_do_not_allow_is_reported(selection: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        prepared(classified(), featureSelection=selection)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (45, 16, [16, 16, 13]),
        (48, 16, [16, 16, 16]),
        (49, 16, [16, 16, 17]),  # a batch of one sample would break batch normalisation
        (50, 16, [16, 16, 16, 2]),
        (5, 16, [5]),
        (3, 1, [1, 1, 1]),
        (1, 16, [1]),
    ],
)
def test_every_training_sample_comes_once_an_epoch(
    count: int, batch_size: int, sizes: list[int], *, in_memory: bool
) -> None:
    data = colours(train=count)
    ready = prepared(data, in_memory=in_memory, normalize=False)
    batches = list(ready.batches(batch_size, generator()))
    assert [len(labels) for _, labels in batches] == sizes
    assert ready.lengths(batch_size) == sizes
    images, labels = whole(batches)
    assert torch.equal(labels.sort().values, data.train.labels)
    # Labels stay with their images.
    assert torch.equal(images, data.train.images[labels] / 255)


@pytest.mark.parametrize("in_memory", [True, False])
def test_other_splits_come_whole_in_their_order_and_unchanged(*, in_memory: bool) -> None:
    data = colours()
    ready = prepared(data, in_memory=in_memory, normalize=False, augmentations=CROP_AND_FLIP)
    for name, source in (("validation", data.validation), ("test", data.test)):
        batches = list(ready.batches(8, split=name))  # type: ignore[arg-type]
        assert [len(labels) for _, labels in batches][:-1] == [8] * (len(batches) - 1)
        images, labels = whole(batches)
        assert torch.equal(images, source.images / 255)
        assert torch.equal(labels, source.labels)


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_generator_alone_decides_about_batches(*, in_memory: bool) -> None:
    ready = prepared(colours(), in_memory=in_memory, augmentations=CROP_AND_FLIP)
    source = generator(1)
    first, next_epoch = whole(ready.batches(16, source)), whole(ready.batches(16, source))
    torch.manual_seed(99)
    again = whole(ready.batches(16, generator(1)))
    other = whole(ready.batches(16, generator(2)))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    for changed in (next_epoch, other):
        assert not torch.equal(first[1], changed[1])
        assert not torch.equal(first[0][first[1].argsort()], changed[0][changed[1].argsort()])


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_pass_goes_on_after_any_of_its_batches_also_after_the_last(*, in_memory: bool) -> None:
    """As after a checkpoint: that of the last step of an epoch leaves no batch of it."""
    data = colours()
    labels = [batch.targets.tolist() for batch in prepared(data, in_memory=in_memory).batches(16, generator(1))]
    for start in range(len(labels) + 1):
        ready = prepared(data, in_memory=in_memory)
        rest = [batch.targets.tolist() for batch in ready.batches(16, generator(1), start=start)]
        assert rest == labels[start:]
        assert len(list(ready.batches(16, generator(2)))) == len(labels)


@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_leave_the_global_generator_alone(*, in_memory: bool) -> None:
    """A model's dropout draws from it: else, quality would depend on how much memory happened to be free."""
    ready = prepared(colours(), in_memory=in_memory, augmentations=CROP_AND_FLIP)
    before = torch.get_rng_state()
    whole(ready.batches(16, generator()))
    whole(ready.batches(16, split="test"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"normalize": False},
        {"augmentations": CROP_AND_FLIP},
        {"augmentations": [{"name": "ColorJitter", "args": {"brightness": 0.4}}, *CROP_AND_FLIP]},
        {"augmentations": [{"name": "RandomCrop", "args": {"size": 3}}]},
        {"augmentations": CROP_AND_FLIP, "featureSelection": SELECTIONS["best"]},
    ],
)
def test_data_that_do_not_fit_into_memory_give_the_same_batches(fields: dict[str, Any]) -> None:
    data = classified()
    memory, loader = (prepared(data, in_memory=in_memory, **fields) for in_memory in (True, False))
    assert (memory.in_memory, loader.in_memory) == (True, False)
    assert isinstance(loader.train, Memory)
    pairs = [(memory.batches(7, generator(4)), loader.batches(7, generator(4)))]
    pairs += [(memory.batches(7, split=name), loader.batches(7, split=name)) for name in ("validation", "test")]
    for ours, theirs in pairs:
        for (images, labels), (loaded, loaded_labels) in zip(ours, theirs, strict=True):
            assert torch.equal(images, loaded)
            assert torch.equal(labels, loaded_labels)
            assert images.stride() == loaded.stride()


def test_data_are_kept_in_memory_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = colours()
    size = 4 * sum(part.images.numel() for part in (data.train, data.validation, data.test))
    for free, expected in ((2 * size, True), (2 * size - 2, False)):
        monkeypatch.setattr("velodrome_runner.memory.available", lambda device, free=free: float(free))
        assert prepared(data).in_memory is expected


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"augmentations": CROP_AND_FLIP},
        {"augmentations": CROP_AND_FLIP, "featureSelection": {"method": "VarianceThreshold"}},
    ],
)
def test_batches_are_float32_in_channels_last_memory(fields: dict[str, Any], *, in_memory: bool) -> None:
    ready = prepared(colours(), in_memory=in_memory, **fields)
    for batches in (ready.batches(16, generator()), ready.batches(16, split="validation")):
        for images, labels in batches:
            assert images.is_contiguous(memory_format=torch.channels_last)
            assert not images.is_contiguous()
            assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(("size", "padding"), [(4, 0), (3, 1), (8, 1), (6, 0)])
def test_crops_of_another_size_make_central_crops_of_the_other_splits(
    size: int, padding: int, *, in_memory: bool
) -> None:
    from torchvision.transforms.v2 import functional

    data = colours()
    crop = {"name": "RandomCrop", "args": {"size": size, "padding": padding}}
    ready = prepared(data, in_memory=in_memory, normalize=False, augmentations=[crop])
    assert ready.task.transform.shape == (3, size, size)
    assert {tuple(images.shape[1:]) for images, _ in ready.batches(16, generator())} == {(3, size, size)}
    for name, source in (("validation", data.validation), ("test", data.test)):
        images, _ = whole(ready.batches(16, split=name))  # type: ignore[arg-type]
        assert torch.equal(images, functional.center_crop(source.images, [size, size]) / 255)


def test_the_shape_is_the_images_own_without_crops() -> None:
    assert prepared(colours()).task.transform.shape == (3, 6, 6)
    assert prepared(colours(), augmentations=CROP_AND_FLIP).task.transform.shape == (3, 6, 6)
    assert prepared(colours()).task.told["classes"] == 10


def test_the_training_split_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="pass a generator"):
        prepared(colours()).batches(16)
