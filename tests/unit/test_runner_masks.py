"""Images with masks on disk, in VOC's form: as people have them, and as they must not be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.datasets import VOCSegmentation
from torchvision.transforms.v2.functional import pil_to_tensor

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome.vocabulary import VOC_CLASSES, VOID
from velodrome_runner.data import Memory, loading, open_contents, whole
from velodrome_runner.data.loading import read
from velodrome_runner.data.manifest import MANIFEST
from velodrome_runner.data.report import report

SIDE = 20
CLASSES = ("road", "car", "dog")
TRAIN, TEST = range(5), range(5, 8)


def name(number: int) -> str:
    return f"2012_{number:06}"


def picture(path: Path, seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(path)


def labels(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Blocks of all classes, and void at the left."""
    noise = np.random.default_rng(100 + seed)
    found = np.kron(noise.permutation(np.arange(4) % 3).reshape(2, 2), np.ones((size[1] // 2, size[0] // 2)))
    found[:, 0] = VOID
    return found.astype(np.uint8)


def save(
    mask: np.ndarray[Any, np.dtype[np.uint8]], path: Path, mode: str = "P", palette: int = 0, **options: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette(np.random.default_rng(palette).permutation(256 * 3).astype(np.uint8).tolist())
    image.save(path, **options)


def voc(folder: Path, size: Callable[[int], tuple[int, int]] = lambda _: (SIDE, SIDE), mode: str = "P") -> Path:
    """VOC2012's layout: 5 images to train, 3 of val."""
    root = folder / "street" / "VOCdevkit" / "VOC2012"
    for number in (*TRAIN, *TEST):
        picture(root / "JPEGImages" / f"{name(number)}.jpg", number, size(number))
        save(labels(number, size(number)), root / "SegmentationClass" / f"{name(number)}.png", mode)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split, numbers in (("train", TRAIN), ("val", TEST)):
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("".join(f"{name(each)}\n" for each in numbers))
    return root


def job(**fields: Any) -> Dataset:
    given = {
        "name": "street", "format": "VOCSegmentation", "source": {"path": "street"}, "validationFraction": 0,
        "classes": CLASSES,
    }  # fmt: skip
    return Dataset.model_validate(given | fields)


def refusal(folder: Path, **fields: Any) -> tuple[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        read(job(**fields), folder)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("mode", ["P", "L"])
def test_voc_is_read_as_torchvision_reads_it(tmp_path: Path, mode: str) -> None:
    voc(tmp_path, mode=mode)
    found = read(job(), tmp_path)
    assert (found.kind, found.schema.shape, found.schema.classes) == ("masks", (3, SIDE, SIDE), CLASSES)
    for split, listed in (("train", "train"), ("test", "val")):
        theirs = VOCSegmentation(str(tmp_path / "street"), "2012", listed)
        samples = whole(found.splits[split])
        assert len(theirs) == len(samples)
        for row, (image, mask) in enumerate(theirs):
            assert torch.equal(samples.inputs["images"][row], pil_to_tensor(image))
            assert torch.equal(samples.targets[row], pil_to_tensor(mask)[0])
        assert samples.targets.dtype == torch.uint8
        assert set(samples.targets.unique().tolist()) == {0, 1, 2, VOID}


def test_a_validation_split_is_drawn_without_looking_at_masks(tmp_path: Path) -> None:
    voc(tmp_path)
    opened = open_contents(job(validationFraction=0.3), folder=tmp_path, seed=0)
    assert [opened.facts.train_samples, opened.facts.validation_samples, opened.facts.test_samples] == [3, 2, 3]
    assert opened.facts.classes == CLASSES


def test_images_are_split_by_fractions_of_the_masks_and_by_lists(tmp_path: Path) -> None:
    root = voc(tmp_path)
    picture(root / "JPEGImages/2012_000009.jpg", 9)  # as most images of VOC2012, it has no mask
    for path in sorted((root / "ImageSets/Segmentation").iterdir()):
        path.rename(path.with_stem(f"my-{path.stem}"))
    assert "write spec.dataset.splits.fractions" in refusal(tmp_path)[1]
    files = {
        f"{split}": f"ImageSets/Segmentation/my-{name}.txt" for split, name in (("train", "train"), ("test", "val"))
    }
    found = read(job(splits={"files": files}), tmp_path)
    assert {split: len(source) for split, source in found.splits.items()} == {"train": 5, "test": 3}
    divided = read(job(splits={"fractions": {"test": 0.45}}, source={"path": str(root)}), tmp_path)
    assert {split: len(source) for split, source in divided.splits.items()} == {"train": 6, "test": 2}


def test_the_classes_are_those_of_voc_if_none_are_named(tmp_path: Path) -> None:
    root = voc(tmp_path)
    every = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % len(VOC_CLASSES)
    save(every.astype(np.uint8), root / "SegmentationClass" / f"{name(0)}.png")
    found = read(job(classes=None), tmp_path)
    assert found.schema.classes == VOC_CLASSES
    assert (len(VOC_CLASSES), VOC_CLASSES[15]) == (21, "person")


# Sizes


def uneven(folder: Path) -> Path:
    return voc(folder, lambda number: (2 * SIDE, SIDE) if number % 2 else (SIDE, SIDE))


def test_the_longer_side_gets_the_size_and_the_rest_of_the_square_is_void(tmp_path: Path) -> None:
    root = uneven(tmp_path)
    assert "write spec.dataset.imageSize" in refusal(tmp_path)[1]
    train = whole(read(job(imageSize=10), tmp_path).splits["train"])
    assert train.targets.shape == (5, 10, 10)
    wide = train.targets[1]
    assert bool((wide[5:] == VOID).all()), "what lies outside of the image has no label"
    assert bool((train.inputs["images"][1, :, 5:] == 0).all())
    mask = np.asarray(Image.open(root / "SegmentationClass" / f"{name(1)}.png"))
    # Each pixel is the one at the middle of the four by four that it stands for.
    assert torch.equal(wide[:5], torch.from_numpy(mask[2::4, 2::4].copy()))
    assert set(train.targets.unique().tolist()) == {0, 1, 2, VOID}, "no label is a mean of others"


def test_masks_that_do_not_fit_in_memory_are_read_with_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uneven(tmp_path)
    held = read(job(imageSize=16), tmp_path).splits["train"]
    monkeypatch.setattr(loading, "fits", lambda *_: False)
    source = read(job(imageSize=16), tmp_path).splits["train"]
    assert isinstance(held, Memory)
    assert not isinstance(source, Memory)
    order = torch.tensor([3, 0])
    assert torch.equal(source.take(order).inputs["images"], held.take(order).inputs["images"])
    assert torch.equal(source.take(order).targets, held.take(order).targets)
    assert torch.equal(source.targets, held.targets)
    assert (source.nbytes, len(source), source.lengths) == (held.nbytes, len(held), None)


# The digest


def test_the_digest_changes_with_images_masks_classes_and_splits_and_with_nothing_else(tmp_path: Path) -> None:
    root = voc(tmp_path)
    first = read(job(), tmp_path).digest
    assert read(job(imageSize=16), tmp_path).digest == first
    lists = root / "ImageSets/Segmentation/train.txt"
    lists.write_text("\n".join(reversed(lists.read_text().split())))
    assert read(job(), tmp_path).digest == first
    assert read(job(classes=("street", *CLASSES[1:])), tmp_path).digest != first
    path = root / "SegmentationClass" / f"{name(2)}.png"
    content = path.read_bytes()
    save(labels(2).T.copy(), path)
    assert read(job(), tmp_path).digest != first
    path.write_bytes(content)
    assert read(job(), tmp_path).digest == first
    picture(root / "JPEGImages" / f"{name(6)}.jpg", 99)
    assert read(job(), tmp_path).digest != first


def test_a_manifest_spares_reading_and_tells_a_changed_mask(tmp_path: Path) -> None:
    root = voc(tmp_path)
    source = {"path": str(root)}
    first = read(job(source=source), tmp_path).digest
    found = report(job(source=source), tmp_path, task=None, prepare=True)
    assert (found["digest"], found["kind"], found["classes"]) == (first, "masks", list(CLASSES))
    assert len((root / MANIFEST).read_text().splitlines()) == 16
    assert read(job(source=source), tmp_path).digest == first
    path = root / "SegmentationClass" / f"{name(1)}.png"
    size = path.stat().st_size
    save(labels(1), path, palette=1)
    assert path.stat().st_size == size, "other colours take the same bytes"
    assert f"{name(1)}.png is not the file that" in refusal(tmp_path, source=source)[1]


# What can't be read


def mask_file(root: Path) -> Path:
    return root / "SegmentationClass" / f"{name(1)}.png"


def with_label(root: Path) -> None:
    mask = labels(1)
    mask[3, 7] = 9
    save(mask, mask_file(root))


def in_colours(root: Path) -> None:
    Image.open(mask_file(root)).convert("RGB").save(mask_file(root))


def of_four_bits(root: Path) -> None:
    """A grey PNG of four bits, as Pillow can't write it: its header and its rows, each with two pixels in a byte."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 4, 0, 0, 0, 0)
    rows = (b"\0" + b"\x01" * (SIDE // 2)) * SIDE
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    mask_file(root).write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def truncated(root: Path) -> None:
    save(np.random.default_rng(0).integers(0, 3, (SIDE, SIDE), dtype=np.uint8), mask_file(root))
    content = mask_file(root).read_bytes()
    mask_file(root).write_bytes(content[: len(content) * 3 // 4])


def truncated_image(root: Path) -> None:
    path = root / "JPEGImages" / f"{name(1)}.jpg"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def void_everywhere(root: Path, numbers: range = TEST) -> None:
    for number in numbers:
        save(np.full((SIDE, SIDE), VOID, dtype=np.uint8), root / "SegmentationClass" / f"{name(number)}.png")


def without(*lost: int) -> Callable[[Path], None]:
    """The masks of the training images without some classes."""

    def change(root: Path) -> None:
        for number in TRAIN:
            mask = labels(number)
            mask[np.isin(mask, lost)] = 0
            save(mask, root / "SegmentationClass" / f"{name(number)}.png")

    return change


def listing(split: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / "ImageSets/Segmentation" / f"{split}.txt").write_text(text)


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "size": (
        lambda root: save(labels(1, (SIDE, 16)), mask_file(root)),
        "DatasetInvalid",
        r"2012_000001.png has 20 x 16 pixels, and its image JPEGImages/2012_000001.jpg 20 x 20: paint the mask in",
    ),
    "label": (
        with_label,
        "DatasetInvalid",
        r"2012_000001.png has the label 9 at column 8 of row 4, and labels are 0 to 2, or 255 for what does not count",
    ),
    "colours": (in_colours, "DatasetInvalid", r"2012_000001.png is a PNG of the mode RGB, whose pixels are no labels"),
    "jpeg": (
        lambda root: Image.fromarray(labels(1)).save(mask_file(root), format="JPEG"),
        "DatasetInvalid",
        r"2012_000001.png is a JPEG, whose pixels are no labels: save the mask as a PNG with a palette or of 8 bits",
    ),
    "bits": (of_four_bits, "DatasetInvalid", r"2012_000001.png is a PNG of 4 bits of grey, whose pixels are no"),
    "deep": (
        lambda root: Image.fromarray(labels(1).astype(np.uint16)).save(mask_file(root)),
        "DatasetInvalid",
        r"2012_000001.png is a PNG of 16 bits of grey, whose pixels are no labels",
    ),
    "one bit": (
        lambda root: Image.fromarray(labels(1) > 0).save(mask_file(root)),
        "DatasetInvalid",
        r"2012_000001.png is a PNG of 1 bit of grey, whose pixels are no labels",
    ),
    "deep image": (
        lambda root: Image.fromarray(labels(1).astype(np.uint16)).save(
            root / "JPEGImages" / f"{name(1)}.jpg", format="PNG"
        ),
        "DatasetInvalid",
        r"2012_000001.jpg is of the mode I;16, whose pixels have more than 8 bits",
    ),
    "truncated": (truncated, "DatasetCorrupt", r"2012_000001.png is no image that can be decoded .*: replace or"),
    "empty": (lambda root: mask_file(root).write_bytes(b""), "DatasetCorrupt", "2012_000001.png is no image that can"),
    "truncated image": (truncated_image, "DatasetCorrupt", r"2012_000001.jpg is no image that can be decoded"),
    "no mask": (
        lambda root: mask_file(root).unlink(),
        "DatasetMissing",
        r"the image .*2012_000001.jpg has no mask .*SegmentationClass/2012_000001.png: paint one, or remove the image",
    ),
    "no image": (
        lambda root: (root / "JPEGImages/2012_000001.jpg").unlink(),
        "DatasetMissing",
        r"there is no image .*2012_000001.jpg, which is listed: put it there, or remove it from the list",
    ),
    "void": (void_everywhere, "DatasetInvalid", "no mask of the test split in .* has a pixel that counts, all are 255"),
    "nobody": (without(1), "DatasetInvalid", "no mask of the training split in .* has a pixel of car: paint some, or"),
    "only road": (without(1, 2), "DatasetInvalid", "no mask of the training split in .* has a pixel of car, dog: "),
    "no test": (listing("val", ""), "DatasetInvalid", "the test split of street is empty: give it samples"),
    "no train": (listing("train", "\n"), "DatasetInvalid", "the train split of street is empty: give it samples"),
    "twice": (listing("val", f"{name(5)}\n{name(5)}\n"), "DatasetInvalid", "2012_000005.jpg is twice in the test"),
    "both": (listing("val", f"{name(5)}\n{name(1)}\n"), "DatasetInvalid", "2012_000001.jpg is in train and test"),
    "words": (listing("val", f"{name(5)} 1\n"), "DatasetInvalid", "line 1 of .*val.txt is no name of an image"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_masks_that_are_wrong_are_refused_by_file_with_one_reason(tmp_path: Path, bad: str) -> None:
    change, reason, says = BAD[bad]
    change(voc(tmp_path))
    found, said = refusal(tmp_path)
    assert found == reason
    assert re.search(says, said), said


def test_an_empty_folder_and_empty_lists_say_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "street").mkdir()
    assert refusal(tmp_path) == (
        "DatasetMissing",
        f"{tmp_path / 'street'} has no folder SegmentationClass: write the one with it as spec.dataset.source.path",
    )
    root = voc(tmp_path / "other")
    for split in ("train", "val"):
        listing(split, "")(root)
    assert "no image is listed in" in refusal(tmp_path / "other")[1]


def test_masks_of_0_and_255_say_that_255_does_not_count(tmp_path: Path) -> None:
    root = voc(tmp_path)
    for path in (root / "SegmentationClass").iterdir():
        save(np.where(np.asarray(Image.open(path)) == 1, VOID, 0).astype(np.uint8), path, mode="L")
    said = refusal(tmp_path, classes=["street", "car"])[1]
    assert "has a pixel of car (they have 0 and 255 alone, and 255 does not count: save 255 as 1): paint some" in said


@pytest.mark.parametrize(("orientation", "painted"), [(6, "turned"), (6, "as it is"), (3, "")])
def test_an_image_is_turned_if_its_mask_was_painted_so(tmp_path: Path, orientation: int, painted: str) -> None:
    root = voc(tmp_path)
    path = root / "JPEGImages" / f"{name(1)}.jpg"
    picture(path, 1, (SIDE, SIDE // 2))
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(path.with_suffix(".JPG"), exif=exif)
    path.unlink()
    size = (SIDE // 2, SIDE) if painted == "turned" else (SIDE, SIDE // 2)
    save(labels(1, size), root / "SegmentationClass" / f"{name(1)}.png")
    if not painted:
        assert "has the EXIF orientation 3" in refusal(tmp_path, imageSize=SIDE)[1]
        return
    found = whole(read(job(imageSize=SIDE), tmp_path).splits["train"])
    with Image.open(path.with_suffix(".JPG")) as image:
        seen = ImageOps.exif_transpose(image) if painted == "turned" else image
        assert torch.equal(found.inputs["images"][1, :, : size[1], : size[0]], pil_to_tensor(seen))
    assert torch.equal(found.targets[1, : size[1], : size[0]], torch.from_numpy(labels(1, size)))


def test_a_mask_that_is_void_throughout_is_allowed(tmp_path: Path) -> None:
    void_everywhere(voc(tmp_path), range(1, 2))
    targets = whole(read(job(), tmp_path).splits["train"]).targets
    assert bool((targets[1] == VOID).all())
    assert set(targets.unique().tolist()) == {0, 1, 2, VOID}


def test_a_class_that_no_test_image_has_is_allowed(tmp_path: Path) -> None:
    root = voc(tmp_path)
    for number in TEST:
        mask = labels(number)
        mask[mask == 2] = 0
        save(mask, root / "SegmentationClass" / f"{name(number)}.png")
    assert set(whole(read(job(), tmp_path).splits["test"]).targets.unique().tolist()) == {0, 1, VOID}


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_colours_are_labels_too(tmp_path: Path, bits: int) -> None:
    root = voc(tmp_path)
    mask = labels(1) % 2
    save(mask, mask_file(root), bits=bits)
    assert mask_file(root).read_bytes()[24] == bits
    assert torch.equal(whole(read(job(), tmp_path).splits["train"]).targets[1], torch.from_numpy(mask))
