from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
import torch

from tests.prepared import load
from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome.spec import Source as Place
from velodrome_runner.data import Raw, SampleSource, Split, content_digest, whole
from velodrome_runner.data.contents import images
from velodrome_runner.data.loading import source_folder
from velodrome_runner.data.splitting import split_validation

NOWHERE = Path("/nonexistent")
DIGITS = "sha256:585a619e50a9b68f40434c4edc960c0ea61d17b3d10d13a10a9d305786006304"


def digits(seed: int = 0, **fields: object) -> Dataset:
    return Dataset.model_validate({"name": "digits", **fields})


def samples(count: int, labels: list[int] | None = None) -> Split:
    images = torch.arange(count * 12).remainder(256).to(torch.uint8).view(count, 3, 2, 2)
    return Split(images, torch.tensor(labels if labels is not None else [i % 2 for i in range(count)]))


def as_split(source: SampleSource) -> Split:
    taken = whole(source)
    return Split(taken.inputs["images"], taken.targets)


def test_digits_keep_every_value_of_the_library() -> None:
    from sklearn.datasets import load_digits

    library = load_digits()
    splits = load(digits(), folder=NOWHERE, seed=3)
    parts = [splits.train, splits.validation, splits.test]
    ours = torch.cat([torch.cat((p.images.flatten(1), p.labels.to(torch.uint8).unsqueeze(1)), dim=1) for p in parts])
    theirs = torch.from_numpy(library.images).flatten(1)
    theirs = torch.cat((theirs, torch.from_numpy(library.target).unsqueeze(1)), dim=1)
    assert torch.equal(ours.double().unique(dim=0), theirs.double().unique(dim=0))
    assert splits.peak == int(library.images.max()) == 16
    assert {part.images.dtype for part in parts} == {torch.uint8}
    assert {part.labels.dtype for part in parts} == {torch.int64}


def test_the_facts_say_what_was_read() -> None:
    facts = load(digits(), folder=NOWHERE, seed=0).facts
    assert facts.name == "digits"
    assert facts.digest == DIGITS
    assert facts.shape == (1, 8, 8)
    assert facts.classes == tuple("0123456789")
    assert (facts.train_samples, facts.validation_samples, facts.test_samples) == (1297, 145, 355)


def test_the_test_split_of_digits_is_every_fifth_of_each_class() -> None:
    from sklearn.datasets import load_digits

    library = load_digits()
    expected = torch.cat(
        [torch.where(torch.from_numpy(library.target) == label)[0][4::5] for label in range(10)]
    ).sort()[0]
    test = load(digits(), folder=NOWHERE, seed=0).test
    assert torch.equal(test.images.squeeze(1), torch.from_numpy(library.images)[expected].to(torch.uint8))
    assert torch.equal(test.labels, torch.from_numpy(library.target)[expected])


def test_seeds_move_the_validation_split_and_nothing_else() -> None:
    first, again, other = (load(digits(), folder=NOWHERE, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.validation.images, again.validation.images)
    assert torch.equal(first.train.images, again.train.images)
    assert not torch.equal(first.validation.images, other.validation.images)
    assert torch.equal(first.test.images, other.test.images)
    assert first.facts == other.facts


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_the_validation_split_is_a_stratified_part_of_the_training_split(fraction: float) -> None:
    everything = images(torch.arange(400).to(torch.int32).view(400, 1, 1, 1), torch.arange(400) % 4 // 3)
    for seed in range(5):
        train, validation = (
            as_split(each) for each in split_validation(everything, fraction, seed, classes=("a", "b"))
        )
        together = torch.cat((train.images, validation.images)).flatten()
        assert torch.equal(together.sort()[0], everything.samples.inputs["images"].flatten())
        assert torch.equal(train.images.flatten(), train.images.flatten().sort()[0])
        assert len(validation) == 400 * fraction
        assert int(validation.labels.sum()) == 100 * fraction
        # Labels follow their images.
        assert torch.equal(validation.labels, everything.targets[validation.images.flatten().long()])


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0] * 8 + [2], "a single sample of rare, "), ([0] * 4 + [1] * 2 + [2] * 2, "of 0.1 can be drawn from 8 samples")],
)
def test_too_few_samples_of_a_class_are_reported(labels: list[int], words: str) -> None:
    everything = images(torch.zeros(len(labels), 1, 1, 1), torch.tensor(labels))
    with pytest.raises(ConfigurationError, match=rf"{words}.*spec.dataset.validationFraction") as caught:
        split_validation(everything, 0.1, 0, classes=("cat", "dog", "rare"))
    assert caught.value.reason == "DatasetTooSmall"


def test_the_digest_is_the_documented_bytes() -> None:
    train, test = samples(5), samples(3)
    expected = hashlib.sha256()
    for name, split in ((b"train", train), (b"test", test)):
        expected.update(name + struct.pack("<4q", *split.images.shape))
        expected.update(bytes(split.images.flatten().tolist()))
        expected.update(struct.pack(f"<{len(split)}q", *split.labels.tolist()))
    assert content_digest(Raw(train, test, ("a", "b"))) == f"sha256:{expected.hexdigest()}"


def test_the_digest_depends_on_content_and_not_on_memory_layout() -> None:
    train, test = samples(5), samples(3)
    digest = content_digest(Raw(train, test, ("a", "b")))
    turned = Split(train.images.contiguous(memory_format=torch.channels_last), train.labels)
    assert content_digest(Raw(turned, test, ("a", "b"))) == digest
    pixel, label = train.images.clone(), train.labels.clone()
    pixel[4, 2, 1, 1] ^= 1
    label[0] += 1
    changed = [
        Raw(Split(pixel, train.labels), test, ("a", "b")),
        Raw(Split(train.images, label), test, ("a", "b")),
        Raw(train.take(torch.tensor([1, 0, 2, 3, 4])), test, ("a", "b")),
        Raw(test, train, ("a", "b")),
        Raw(Split(train.images.view(5, 3, 4, 1), train.labels), test, ("a", "b")),
    ]
    assert len({digest, *map(content_digest, changed)}) == 6


def test_a_digest_that_is_pinned_is_held_to() -> None:
    load(digits(digest=DIGITS), folder=NOWHERE, seed=0)
    other = "sha256:" + "0" * 64
    with pytest.raises(ConfigurationError) as caught:
        load(digits(digest=other), folder=NOWHERE, seed=0)
    assert caught.value.reason == "DatasetDigestMismatch"
    assert DIGITS in str(caught.value)
    assert other in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"path": "cifar"}, "/data/cifar"),
        ({"path": "/elsewhere"}, "/elsewhere"),
        ({"download": True}, "/data"),
        ({"persistentVolumeClaim": {"claimName": "c"}}, "/data"),
        ({"persistentVolumeClaim": {"claimName": "c", "path": "a/b"}}, "/data/a/b"),
        ({"persistentVolumeClaim": {"claimName": "c", "path": "/a"}}, "/data/a"),
    ],
)
def test_sources_are_folders_below_the_data_folder(source: dict[str, object], expected: str) -> None:
    assert source_folder(Place.model_validate(source), Path("/data")) == Path(expected)


def test_a_volume_s_path_stays_inside_the_volume() -> None:
    source = Place.model_validate({"persistentVolumeClaim": {"claimName": "c", "path": "a/../../etc"}})
    with pytest.raises(ConfigurationError, match=r"leads out of the volume"):
        source_folder(source, Path("/data"))


def test_files_need_a_source() -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.dataset\.source") as caught:
        load(Dataset(name="MNIST"), folder=NOWHERE, seed=0)
    assert caught.value.reason == "DatasetMissing"
