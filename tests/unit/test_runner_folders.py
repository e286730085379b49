"""Folders of images that the tests make: as people have them, and as they must not be."""

from __future__ import annotations

import io
import os
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets
from torchvision.transforms.v2.functional import pil_to_tensor

from velodrome.errors import ConfigurationError
from velodrome.plan import plan
from velodrome.results.records import DatasetFacts
from velodrome.spec import Dataset, Preprocessing, Training, validate
from velodrome_runner import tasks
from velodrome_runner.data import Contents, Memory, loading, open_contents, whole
from velodrome_runner.data.image_files import ImageFiles
from velodrome_runner.data.listed import encoded
from velodrome_runner.data.loading import open_format, read
from velodrome_runner.data.manifest import MANIFEST, hashed, write_manifest
from velodrome_runner.inputs import base, images
from velodrome_runner.measuring import opened, ready
from velodrome_runner.preprocessing import prepare
from velodrome_runner.tasks.base import Batch

SELECTION = {"method": "VarianceThreshold", "threshold": 0}


def picture(seed: int, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR).convert(mode)


def make(root: Path, splits: tuple[str, ...] = ("train", "test"), count: int = 4, **fields: Any) -> Path:
    suffix = fields.pop("suffix", "jpg")
    for number, split in enumerate(splits):
        for label in ("cat", "dog"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                picture(100 * number + index + (50 if label == "dog" else 0), **fields).save(
                    folder / f"{index}.{suffix}"
                )
    return root


def job(**fields: Any) -> Dataset:
    return Dataset.model_validate({"name": "pets", "format": "ImageFolder", "source": {"path": "pets"}} | fields)


def refusal(folder: Path, **fields: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(job(**fields), folder)
    assert caught.value.reason in ("DatasetInvalid", "DatasetCorrupt", "DatasetMissing")
    return str(caught.value)


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data set fits in memory."""
    monkeypatch.setattr(loading, "fits", lambda *_: False)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_images_are_those_that_torchvision_reads(tmp_path: Path, suffix: str) -> None:
    root = make(tmp_path / "pets", suffix=suffix)
    found = read(job(), tmp_path)
    assert (found.kind, found.schema.shape, found.schema.classes) == ("images", (3, 20, 24), ("cat", "dog"))
    for split in ("train", "test"):
        theirs = datasets.ImageFolder(str(root / split))
        samples = whole(found.splits[split])
        assert torch.equal(samples.inputs["images"], torch.stack([pil_to_tensor(image) for image, _ in theirs]))
        assert samples.targets.tolist() == theirs.targets


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    make(tmp_path / "pets", mode="L")
    assert read(job(), tmp_path).schema.shape == (1, 20, 24)


def test_images_of_all_sizes_are_scaled_to_the_central_square(tmp_path: Path) -> None:
    make(tmp_path / "pets", size=(30, 20))
    picture(7, size=(200, 300)).save(tmp_path / "pets" / "train" / "cat" / "9.jpg")
    samples = whole(read(job(imageSize=16), tmp_path).splits["train"])
    assert samples.inputs["images"].shape == (9, 3, 16, 16)
    with Image.open(tmp_path / "pets" / "train" / "cat" / "0.jpg") as image:
        expected = pil_to_tensor(image.crop((5, 0, 25, 20)).resize((16, 16), Image.Resampling.BILINEAR))
    assert (samples.inputs["images"][0].float() - expected.float()).abs().mean() < 1
    with Image.open(tmp_path / "pets" / "train" / "cat" / "9.jpg") as image:  # decoded at a fraction of its size
        expected = pil_to_tensor(image.crop((0, 50, 200, 250)).resize((16, 16), Image.Resampling.BILINEAR))
    assert (samples.inputs["images"][4].float() - expected.float()).abs().mean() < 4


@pytest.mark.parametrize(
    ("folders", "sizes"),
    [
        (("train", "test", "val"), {"train": 8, "validation": 8, "test": 8}),
        (("train", "val"), {"train": 8, "test": 8}),
        (("train", "test"), {"train": 8, "test": 8}),
    ],
)
def test_folders_are_splits(tmp_path: Path, folders: tuple[str, ...], sizes: dict[str, int]) -> None:
    make(tmp_path / "pets", folders)
    assert {name: len(source) for name, source in read(job(), tmp_path).splits.items()} == sizes


def test_splits_are_declared_by_folders_or_fractions(tmp_path: Path) -> None:
    make(tmp_path / "pets", ("a", "b"))
    named = read(job(splits={"files": {"train": "a", "test": "b"}}), tmp_path)
    assert (len(named.splits["train"]), len(named.splits["test"])) == (8, 8)
    make(tmp_path, ("all",), count=60)
    fields = {"source": {"path": "all"}, "splits": {"fractions": {"test": 0.25, "validation": 0.25}}}
    first, other = (open_contents(job(**fields), folder=tmp_path, seed=seed) for seed in (0, 1))
    sizes = [len(source) for source in first.contents.splits.values()]
    assert sum(sizes) == 120
    assert all(15 < size < 90 for size in sizes)
    assert first.facts == other.facts
    (tmp_path / "all" / "cat" / "0.jpg").rename(tmp_path / "all" / "cat" / "zero.jpg")
    later = read(job(**fields), tmp_path)
    assert abs(len(later.splits["test"]) - sizes[2]) <= 1


@pytest.mark.usefixtures("streamed")
def test_what_does_not_fit_in_memory_is_read_when_it_is_taken(tmp_path: Path) -> None:
    make(tmp_path / "pets")
    found = open_contents(job(validationFraction=0.25), folder=tmp_path, seed=0).contents
    assert not any(isinstance(source, Memory) for source in found.splits.values())
    assert found.splits["test"].nbytes == 8 * (3 * 20 * 24 + 8)
    kept = make(tmp_path / "again" / "pets").parent
    first = found.splits["train"].take(torch.tensor([2, 0]))
    assert first.inputs["images"].shape == (2, 3, 20, 24)
    assert len({*map(len, found.splits.values())} | {len(list(kept.iterdir()))}) == 4


def test_batches_that_workers_read_are_those_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "pets", count=12)

    def batches(*, stream: bool) -> tuple[list[Batch], str | None]:
        monkeypatch.setattr(loading, "fits", lambda *_: not stream)
        found = open_contents(job(validationFraction=0.25), folder=tmp_path, seed=0).contents
        task = tasks.fit("classification", found, Preprocessing(), Training(), device=torch.device("cpu"), seed=0)
        ready = prepare(found, task, in_memory=not stream, cpus=2)
        generator = torch.Generator().manual_seed(1)
        passes = [ready.batches(5, generator), ready.batches(5, generator), ready.batches(5, split="test")]
        found_batches = [batch for each in passes for batch in each]
        assert set(ready.streams) == ({"train"} if stream else set()), "nobody reads ahead while inference is timed"
        ready.close()
        return found_batches, ready.reading(5)

    (memory, unread), (streamed, reading) = batches(stream=False), batches(stream=True)
    assert len(memory) == len(streamed) == 4 + 4 + 5
    for left, right in zip(memory, streamed, strict=True):
        assert isinstance(left.inputs, torch.Tensor)
        assert isinstance(right.inputs, torch.Tensor)
        assert torch.equal(left.targets, right.targets)
        assert torch.allclose(left.inputs, right.inputs)
    assert unread is None
    assert reading is not None
    assert re.fullmatch(r"read by \d workers?, batches in (shared memory|pipes .*)", reading)


@pytest.mark.parametrize(
    ("preprocessing", "fitted"),
    [({}, 5), ({"normalize": False}, None), ({"normalize": False, "featureSelection": SELECTION}, 5)],
)
def test_the_record_says_on_how_many_of_the_images_the_preprocessing_was_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preprocessing: dict[str, Any], fitted: int | None
) -> None:
    make(tmp_path / "pets", count=12)
    monkeypatch.setattr(base, "FITTED", 5)
    dataset = {"name": "pets", "format": "ImageFolder", "source": {"path": "pets"}}
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "race"},
        "spec": {
            "dataset": dataset,
            "preprocessing": preprocessing,
            "entries": [{"name": "a", "model": {"name": "velodrome/mlp"}}],
        },
    }
    trial = plan(validate(document)).trial(0)

    def read_and_fitted(*, stream: bool) -> tuple[DatasetFacts, torch.Tensor]:
        monkeypatch.setattr(loading, "fits", lambda *_: not stream)
        facts, prepared = ready(trial, opened(trial, tmp_path), torch.device("cpu"), 1)
        assert isinstance(prepared.task.transform, images.Images)
        prepared.close()
        return facts, prepared.task.transform.normalization.mean

    (streamed, few), (memory, all_) = (read_and_fitted(stream=stream) for stream in (True, False))
    assert (streamed.fitted_samples, memory.fitted_samples) == (fitted, None)
    assert streamed.train_samples > 5
    assert torch.equal(few, all_) == (preprocessing.get("normalize") is False)
    assert "fitted_samples" not in memory.model_dump()


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-60])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def saved(mode: str, size: tuple[int, int] = (24, 20)) -> Callable[[Path], None]:
    return lambda file: picture(1, size, mode).save(file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "is no image that can be decoded (image file is truncated"),
        (cut, "is no image that can be decoded (Truncated File Read"),
        (lambda file: file.write_bytes(b"no image"), "is no image that can be decoded: replace or remove it"),
        (lambda file: file.write_bytes(b""), "is no image that can be decoded"),
        (saved("CMYK"), "is of the mode CMYK, and images are RGB or L (grey): save it as RGB"),
        (saved("L"), "is of the mode L, and the first image is RGB"),
        (saved("RGB", (24, 21)), "has 24 x 21 pixels, and the first image 24 x 20: write spec.dataset.imageSize"),
    ],
)
def test_an_image_that_can_not_be_used_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    file = make(tmp_path / "pets") / "train" / "dog" / "2.jpg"
    damage(file)
    said = refusal(tmp_path)
    assert str(file) in said
    assert message in said


def emptied(root: Path) -> None:
    for file in (root / "train" / "dog").iterdir():
        file.unlink()


def renamed(root: Path) -> None:
    (root / "test" / "dog").rename(root / "test" / "wolf")


def alone(root: Path) -> None:
    for file in (root / "test" / "dog").iterdir():
        file.unlink()
    (root / "test" / "dog").rmdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (emptied, "the folder of the class dog,"),
        (renamed, "the test split of pets has the class wolf, of which the training split has no sample"),
        (alone, "all samples of the test split of pets are of the class cat"),
        (lambda root: (root / "test").rename(root / "tests"), "has no folders train and test (it has tests, train)"),
        (lambda root: root.rename(root.with_name("gone")), "it is no folder, or empty"),
    ],
)
def test_folders_that_can_not_be_used_are_named(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    change(make(tmp_path / "pets"))
    assert message in refusal(tmp_path)


def digest(folder: Path, **fields: Any) -> str:
    return open_format(job(**fields), folder).digest()


def test_the_digest_is_of_names_sizes_and_contents(tmp_path: Path) -> None:
    make(tmp_path / "a" / "pets")
    make(tmp_path / "b" / "pets")
    first = digest(tmp_path / "a")
    assert digest(tmp_path / "b") == first == digest(tmp_path / "b", imageSize=8)
    file = tmp_path / "b" / "pets" / "train" / "cat" / "1.jpg"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    changed = digest(tmp_path / "b")
    file.write_bytes(content)
    file.rename(file.with_name("1b.jpg"))
    assert len({first, changed, digest(tmp_path / "b")}) == 3


def test_images_that_changed_under_a_pinned_digest_fail_before_training(tmp_path: Path) -> None:
    root = make(tmp_path / "pets")
    pinned = digest(tmp_path)
    open_contents(job(digest=pinned, validationFraction=0.25), folder=tmp_path, seed=0)
    picture(999).save(root / "train" / "cat" / "0.jpg")
    with pytest.raises(ConfigurationError) as caught:
        open_contents(job(digest=pinned), folder=tmp_path, seed=0)
    assert caught.value.reason == "DatasetDigestMismatch"


def listed(root: Path) -> None:
    names = sorted(str(file.relative_to(root)) for file in root.rglob("*.jpg"))
    write_manifest(root, hashed(root, names))


def test_a_manifest_gives_the_same_digest_and_needs_no_reading_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "pets")
    plain = digest(tmp_path)
    listed(root)
    assert (root / MANIFEST).is_file()
    monkeypatch.setattr("velodrome_runner.data.listed.hashed", lambda *_: pytest.fail("files were read"))
    assert digest(tmp_path) == plain


@pytest.mark.parametrize(
    "line", [b"hello", b"", b"x 1 cat/0.jpg", b"0" * 64 + b" -1 a.jpg", b"\xff\xfe\0", b"0" * 64 + b" 3"]
)
def test_a_damaged_manifest_says_which_line_and_how_to_go_on(tmp_path: Path, line: bytes) -> None:
    root = make(tmp_path / "pets")
    listed(root)
    lines = (root / MANIFEST).read_bytes()
    (root / MANIFEST).write_bytes(lines + line + b"\n")
    place = f"line {lines.count(bytes([10])) + 1} of {root / MANIFEST}"
    assert f"{place} is damaged: run `velodrome data prepare` again, or remove the file" in refusal(tmp_path)


@pytest.mark.usefixtures("streamed")
def test_a_file_that_a_manifest_does_not_know_is_refused_at_the_latest_when_it_is_read(tmp_path: Path) -> None:
    root = make(tmp_path / "pets")
    listed(root)
    file = root / "train" / "cat" / "0.jpg"
    content = file.read_bytes()
    file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    found = read(job(), tmp_path)
    with pytest.raises(ConfigurationError, match=r"0\.jpg is not the file that .* lists"):
        found.splits["train"].take(torch.tensor([0]))
    file.write_bytes(content + b"\0")
    assert "bytes, and" in refusal(tmp_path)
    file.unlink()
    assert "and is not there: run `velodrome data prepare`" in refusal(tmp_path)
    file.write_bytes(content)
    picture(3).save(root / "train" / "cat" / "new.jpg")
    assert "new.jpg is not in the manifest" in refusal(tmp_path)


def ilsvrc(root: Path, *, flat: bool, packed: bool) -> Path:
    """Three classes, with the devkit as it is published: the IDs are in another order than the folders."""
    wnids = ["n01440764", "n02123045", "n03126707"]
    for number, wnid in enumerate(wnids):
        (root / "train" / wnid).mkdir(parents=True)
        for index in range(3):
            size = (30 + 9 * index, 40)
            mode = ("RGB", "L", "CMYK")[index]
            picture(10 * number + index, size, mode).save(root / "train" / wnid / f"{wnid}_{index}.JPEG")
        folder = root / "val" if flat else root / "val" / wnid
        folder.mkdir(parents=True, exist_ok=True)
        picture(90 + number).save(folder / f"ILSVRC2012_val_{3 - number:08}.JPEG")
    ids = {1: wnids[2], 2: wnids[0], 3: wnids[1]}
    words = dict(zip(wnids, ["tench, Tinca tinca", "tabby, tabby cat", "crane"], strict=True))
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    synsets = np.array(
        [*((id_, wnid, words[wnid], 0) for id_, wnid in ids.items()), (4, "n00001740", "entity", 3)], kind
    )
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": synsets.reshape(-1, 1)})
    position = {wnid: id_ for id_, wnid in ids.items()}
    truth = [position[wnid] for wnid in reversed(wnids)]  # of the images 1, 2 and 3
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{id_}\n" for id_ in truth))
    if packed:
        with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
            tar.add(data.parent, "ILSVRC2012_devkit_t12")
        for file in data.iterdir():
            file.unlink()
        data.rmdir()
        data.parent.rmdir()
    return root


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_ilsvrc_is_read_with_the_devkit(tmp_path: Path, *, flat: bool, packed: bool) -> None:
    root = ilsvrc(tmp_path / "ilsvrc", flat=flat, packed=packed)
    given = {"name": "ImageNet", "source": {"path": "ilsvrc"}, "imageSize": 16}
    found = read(Dataset.model_validate(given), tmp_path)
    assert found.schema.classes == ("tench", "tabby", "crane")
    assert found.schema.shape == (3, 16, 16)
    assert whole(found.splits["train"]).targets.tolist() == datasets.ImageFolder(str(root / "train")).targets
    expected = {number: picture(90 + number).resize((16, 16), box=(2, 0, 22, 20)) for number in range(3)}
    test = whole(found.splits["test"])
    for image, label in zip(test.inputs["images"], test.targets.tolist(), strict=True):
        assert (image.float() - pil_to_tensor(expected[label]).float()).abs().mean() < 6


def test_flat_validation_images_need_the_devkit(tmp_path: Path) -> None:
    root = ilsvrc(tmp_path / "pets", flat=True, packed=True)
    (root / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    assert "ILSVRC2012_devkit_t12.tar.gz into" in refusal(tmp_path, format="ImageNet", imageSize=16)
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"no archive")
    assert "the devkit ILSVRC2012_devkit_t12 in" in refusal(tmp_path, format="ImageNet", imageSize=16)
    (root / "train").rename(root / "training")
    assert "unpack ILSVRC2012_img_train.tar there" in refusal(tmp_path, format="ImageNet", imageSize=16)


def svhn(root: Path, **changes: Any) -> Path:
    root.mkdir(exist_ok=True)
    for number, split in enumerate(("train", "test")):
        draw = np.random.default_rng(number)
        x = draw.integers(0, 256, (32, 32, 3, 40), dtype=np.uint8)
        y = (np.arange(40) % 10 + 1).astype(np.uint8).reshape(-1, 1)
        savemat(root / f"{split}_32x32.mat", {"X": x, "y": y} | (changes if split == "train" else {}))
    return root


def test_svhn_is_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = svhn(tmp_path / "pets")
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda _: True)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True)
    found: Contents = read(Dataset.model_validate({"name": "SVHN", "source": {"path": "pets"}}), tmp_path)
    assert found.schema.classes == tuple("0123456789")
    for split in ("train", "test"):
        theirs = datasets.SVHN(str(root), split=split)
        samples = whole(found.splits[split])
        assert np.array_equal(samples.inputs["images"].numpy(), theirs.data)
        assert samples.targets.tolist() == theirs.labels.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.zeros((39, 1), dtype=np.uint8)}, "have 40 images and 39 labels"),
        ({"X": np.zeros((32, 32, 3, 40))}, "it must be uint8"),
        ({"X": np.zeros((16, 16, 3, 40), dtype=np.uint8)}, "the test images of"),
    ],
)
def test_matlab_files_that_can_not_be_used_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    svhn(tmp_path / "pets", **changes)
    assert message in refusal(tmp_path, format="SVHN")


def test_cut_and_missing_matlab_files_are_named(tmp_path: Path) -> None:
    file = svhn(tmp_path / "pets") / "test_32x32.mat"
    file.write_bytes(file.read_bytes()[:3000])
    assert f"{file} is no file with SVHN's X and y" in refusal(tmp_path, format="SVHN")
    file.unlink()
    assert f"there is no {file}" in refusal(tmp_path, format="SVHN")


@pytest.mark.parametrize("packed", [True, False])
def test_a_devkit_is_refused_wherever_it_is_cut(tmp_path: Path, *, packed: bool) -> None:
    root = ilsvrc(tmp_path / "pets", flat=True, packed=packed)
    file = root / ("ILSVRC2012_devkit_t12.tar.gz" if packed else "ILSVRC2012_devkit_t12/data/meta.mat")
    content = file.read_bytes()
    for twelfth in range(12):
        file.write_bytes(content[: len(content) * twelfth // 12])
        assert "can't be read" in refusal(tmp_path, format="ImageNet", imageSize=16)


def test_svhn_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    file = svhn(tmp_path / "pets") / "test_32x32.mat"
    content = file.read_bytes()
    for twelfth in range(12):
        file.write_bytes(content[: len(content) * twelfth // 12])
        assert "is no file with SVHN's X and y" in refusal(tmp_path, format="SVHN")


def test_own_images_in_the_files_of_mnist_have_as_many_classes_as_labels(tmp_path: Path) -> None:
    def idx(values: np.ndarray[Any, Any]) -> bytes:
        return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()

    (tmp_path / "pets").mkdir()
    draw = np.random.default_rng(0)

    def write(train: list[int], test: list[int]) -> Contents:
        for name, labels in (("train", train), ("t10k", test)):
            images = draw.integers(0, 256, (len(labels), 5, 7), dtype=np.uint8)
            (tmp_path / "pets" / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
            (tmp_path / "pets" / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.array(labels, dtype=np.uint8)))
        return read(job(format="IDX"), tmp_path)

    found = write([0, 1, 2, 1], [2, 1])
    assert (found.schema.shape, found.schema.classes) == ((1, 5, 7), ("0", "1", "2"))
    with pytest.raises(ConfigurationError, match=r"the labels of the test split of pets go from 1 to 3, for 3 classes"):
        write([0, 1, 2, 1], [3, 1])
    with pytest.raises(ConfigurationError, match="have no images: add some"):
        write([0, 1], [])


def test_a_source_of_files_can_be_sent_to_a_process(tmp_path: Path) -> None:
    import pickle

    make(tmp_path / "pets")
    source = open_format(job(), tmp_path).splits()["train"]
    copy = pickle.load(io.BytesIO(pickle.dumps(source)))  # noqa: S301 - made here
    assert torch.equal(whole(copy).inputs["images"], whole(source).inputs["images"])
    assert ImageFiles.__name__ in repr(type(getattr(source, "source", source)))


def test_hidden_folders_and_links_to_folders_above_give_no_images(tmp_path: Path) -> None:
    root = make(tmp_path / "pets")
    hidden = root / "train" / "cat" / ".ipynb_checkpoints"
    hidden.mkdir()
    picture(1).save(hidden / "0-checkpoint.jpg")
    (root / "train" / "cat" / "above").symlink_to(root / "train")
    assert len(read(job(), tmp_path).splits["train"]) == 8


def test_folders_of_splits_are_not_taken_for_classes(tmp_path: Path) -> None:
    make(tmp_path / "pets")
    assert "are splits, and not classes" in refusal(tmp_path, splits={"fractions": {"test": 0.5}})


@pytest.mark.parametrize("name", [b"a\nb.jpg", b"a\xff.jpg"])
def test_a_name_that_no_manifest_can_hold_is_refused(tmp_path: Path, name: bytes) -> None:
    root = make(tmp_path / "pets")
    source = root / "train" / "cat"
    (source / "0.jpg").rename(source / os.fsdecode(name))
    assert "is no line of UTF-8 text: rename" in refusal(tmp_path)


def test_a_first_image_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "pets")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    said = refusal(tmp_path)
    assert str(root / "train" / "cat" / "0.jpg") in said
    assert "exceeds limit" in said


def test_pixels_of_16_bits_are_refused_where_images_are_converted(tmp_path: Path) -> None:
    root = make(tmp_path / "pets", suffix="png")
    deep = np.full((20, 24), 40_000, dtype=np.uint16)
    Image.fromarray(deep).save(root / "train" / "cat" / "1.png")
    assert "1.png is of the mode I;16, and" in refusal(tmp_path)
    ours = ImageFiles(root, encoded(["train/cat/1.png"]), torch.zeros(1), (3, 8, 8), 8, convert=True)
    with pytest.raises(ConfigurationError, match=r"1\.png is of the mode I;16, whose pixels have more than 8 bits"):
        ours.take(torch.tensor([0]))


def test_all_images_of_another_mode_are_told_which_modes_there_are(tmp_path: Path) -> None:
    make(tmp_path / "pets", suffix="png", mode="RGBA")
    assert "is of the mode RGBA, and images are RGB or L (grey): save it as RGB" in refusal(tmp_path)
