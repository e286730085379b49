"""Images with boxes as tools export them: another form of the same data is read alike, and nonsense is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from pycocotools import mask as masks
from torchvision.transforms.v2.functional import pil_to_tensor

from tests.unit.test_runner_scenes import (
    SIDE,
    Document,
    annotated,
    box,
    coco,
    digest,
    job,
    picture,
    refusal,
    voc,
    voc_xml,
)
from velodrome_runner.data import loading, whole
from velodrome_runner.data.coco_areas import area_problem, mask_area
from velodrome_runner.data.folders import SUFFIXES
from velodrome_runner.data.loading import read
from velodrome_runner.data.manifest import MANIFEST
from velodrome_runner.data.report import report
from velodrome_runner.data.scenes import BOX, LABEL, SCALE
from velodrome_runner.data.voc_folders import image_of

Change = Callable[[Document], object]


def both(root: Path, change: Change) -> None:
    """Changes the annotations of both splits."""
    for path in sorted((root / "annotations").glob("*.json")):
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))


def with_ids(kind: Callable[[int], Any]) -> Change:
    """All ids of a file in another form."""

    def change(document: Document) -> None:
        for each in (*document["images"], *document["annotations"], *document["categories"]):
            each["id"] = kind(each["id"])
        for each in document["annotations"]:
            each |= {"image_id": kind(each["image_id"]), "category_id": kind(each["category_id"])}

    return change


def with_names(document: Document) -> None:
    for each in document["images"]:
        each["id"] = f"frame-{each['id']}"
    for each in document["annotations"]:
        each |= {"id": f"box-{each['id']}", "image_id": f"frame-{each['image_id']}"}


def from_0_with_holes(document: Document) -> None:
    numbers = {3: 0, 18: 7}
    for each in document["categories"]:
        each["id"] = numbers[each["id"]]
    for each in document["annotations"]:
        each["category_id"] = numbers[each["category_id"]]


def with_a_category_above(document: Document) -> None:
    """As Roboflow lists first what all classes belong to, with which nothing is annotated."""
    for each in document["categories"]:
        each["supercategory"] = "things"
    document["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})


def with_a_background(document: Document) -> None:
    """As LabelMe's own script lists it first."""
    document["categories"].insert(0, {"id": 0, "name": "_background_", "supercategory": None})


def with_masks(document: Document) -> None:
    """Polygons, runs, runs in COCO's short form, and none; and what CVAT and Label Studio add."""
    for at, each in enumerate(document["annotations"]):
        x, y, width, height = each["bbox"]
        filled = np.zeros((SIDE, SIDE), dtype=np.uint8, order="F")
        filled[y : y + height // 2 + 1, x : x + width] = 1
        short = masks.encode(filled)
        runs = np.diff(np.flatnonzero(np.diff(filled.ravel(order="F"), prepend=0, append=2)), prepend=0).tolist()
        each["segmentation"] = (
            [[x, y, x + width, y, x, y + height]],
            {"size": [SIDE, SIDE], "counts": runs},
            {"size": [SIDE, SIDE], "counts": short["counts"].decode()},
            [],
            None,
        )[at % 5]
        each |= {"attributes": {"occluded": False}, "ignore": 0, "keypoints": [1, 2, 3], "num_keypoints": 1}
    document |= {"licenses": [], "info": {"contributor": ""}, "annotator": 7}


def with_nulls(document: Document) -> None:
    for each in document["annotations"]:
        if not each["iscrowd"]:
            each["iscrowd"] = None


def with_backslashes(document: Document) -> None:
    for each in document["images"]:
        each["file_name"] = f".\\{each['file_name']}"


@pytest.mark.parametrize(
    "change",
    [
        with_ids(float), with_ids(str), with_ids("{:08}".format), with_names, from_0_with_holes,
        with_a_category_above, with_a_background, with_masks, with_nulls, with_backslashes,
    ],
    ids=["decimals", "texts", "zeros", "names", "categories", "above", "background", "masks", "nulls", "backslashes"],
)  # fmt: skip
def test_the_same_annotations_in_another_form_are_the_same_data(tmp_path: Path, change: Change) -> None:
    root = coco(tmp_path)
    plain, targets = digest(tmp_path), read(job(), tmp_path).splits["train"].targets
    both(root, change)
    assert torch.equal(read(job(), tmp_path).splits["train"].targets, targets)
    assert digest(tmp_path) == plain


def test_what_annotates_a_category_above_others_is_a_class(tmp_path: Path) -> None:
    root = coco(tmp_path)
    both(root, with_a_category_above)
    both(root, lambda document: document["annotations"][0].update(category_id=0))
    assert read(job(), tmp_path).schema.classes == ("things", "car", "dog")


def test_splits_are_found_by_names_in_capitals(tmp_path: Path) -> None:
    root = coco(tmp_path)
    plain = read(job(), tmp_path).splits["train"].targets
    (root / "images").mkdir()
    for split, name in (("train2017", "Train"), ("val2017", "Validation")):
        (root / split).rename(root / "images" / name)
        (root / "annotations" / f"instances_{split}.json").rename(root / "annotations" / f"instances_{name}.json")
    assert torch.equal(read(job(), tmp_path).splits["train"].targets, plain)


@pytest.mark.parametrize("folder", ["data", "images", "."])
def test_images_are_found_in_the_folders_that_tools_write(tmp_path: Path, folder: str) -> None:
    """FiftyOne has labels.json and the folder data; Label Studio result.json and images."""
    (tmp_path / "street").mkdir()
    (tmp_path / "street/labels.json").write_text(json.dumps(annotated(20)))
    for at in range(20):
        picture(tmp_path / "street" / folder / f"{at}.png", at)
    found = read(job(splits={"fractions": {"test": 0.4}}), tmp_path)
    assert sum(map(len, found.splits.values())) == 20


@pytest.mark.parametrize("path", ["C:\\street\\1.png", "/data/upload/1.png", "..\\1.png"])
def test_paths_of_another_machine_are_refused(tmp_path: Path, path: str) -> None:
    coco(tmp_path, lambda document: document["images"][1].update(file_name=path))
    assert "leads out of the folder: write a path below it" in refusal(tmp_path)[1]


# Areas

TRIANGLE = [[10.0, 10.0, 30.0, 10.0, 10.0, 30.0]]


def test_the_area_of_a_mask_is_that_of_pycocotools() -> None:
    noise = np.random.default_rng(0)
    for _ in range(5):
        filled = np.asfortranarray(noise.random((SIDE, SIDE)) < 0.3, dtype=np.uint8)
        short = masks.encode(filled)
        assert mask_area({"size": [SIDE, SIDE], "counts": short["counts"].decode()}) == masks.area(short)
    assert mask_area({"size": [4, 4], "counts": [3, 5, 2, 6]}) == 11
    assert mask_area(TRIANGLE) == 200
    assert mask_area([*TRIANGLE, [30, 30, 34, 30, 34, 34, 30, 34]]) == 216


# fmt: off
BROKEN: list[Any] = [
    [[1, 2, 3]], [[]], [], None, 7, ["a"], [["a", "b"]], [[1, 2, float("inf"), 4, 5, 6]], [[10**400, 1, 2, 3, 4, 5]],
    {}, {"counts": 3}, {"counts": "x"}, {"counts": ["x", "y"]}, {"counts": [5, -3]}, {"counts": [1, 10**400]},
    {"size": [SIDE, SIDE], "counts": "abc"}, {"size": [2, 2], "counts": "0d0"}, {"size": "wide", "counts": "04"},
    {"size": None, "counts": "04"}, {"size": [SIDE, SIDE], "counts": "\ud83d"}, {"size": [2**70, 2], "counts": "04"},
]
# fmt: on


@pytest.mark.parametrize("broken", BROKEN)
def test_a_mask_that_cannot_be_read_has_no_area(broken: Any) -> None:
    assert mask_area(broken) is None


@pytest.mark.parametrize(
    ("area", "mask", "says"),
    [
        (200.0, 200.0, None),
        (400.0, 200.0, None),  # as tools write that of the box
        (430.0, None, None),  # rounded at the border
        (3.0, None, None),  # of a thin object
        (0.0, None, "0 is none"),
        (-5.0, None, "-5 is none"),
        (1600.0, 200.0, "1600 is more than its box of 20 x 20 pixels has"),
        (50.0, 200.0, "50 is less than half of the 200 pixels that its segmentation has"),
    ],
)
def test_an_area_is_between_that_of_the_mask_and_that_of_the_box(
    area: float, mask: float | None, says: str | None
) -> None:
    assert area_problem(area, 20, 20, mask) == says


def test_areas_of_another_scale_are_refused_with_all_that_are_wrong(tmp_path: Path) -> None:
    """Images were made half as large, their boxes and masks too, and their areas stayed."""

    def change(document: Document) -> None:
        for each in document["annotations"]:
            each |= {"bbox": [10, 10, 20, 20], "segmentation": TRIANGLE, "area": 800}

    coco(tmp_path, change)
    reason, said = refusal(tmp_path)
    assert reason == "DatasetInvalid"
    assert "annotations[0] (id 7): area 800 is more than its box of 20 x 20 pixels has (without the field, that" in said
    assert "and 5 more like these" in said


def test_boxes_in_fractions_of_their_images_are_refused(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        for each in document["annotations"]:
            each["bbox"] = [0.2, 0.1, 0.5, 0.3]
            del each["area"]

    coco(tmp_path, change)
    assert "all boxes of the train split in " in refusal(tmp_path)[1]


# Files


def note(path: Path, orientation: int) -> None:
    """Notes an orientation in the file, whose pixels stay."""
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(path, exif=exif)


def camera(folder: Path, orientation: int, size: tuple[int, int], said: tuple[int, int]) -> tuple[Path, Path]:
    """A JPEG of this size with that orientation, whose annotation says another size; and the folder."""

    def change(document: Document) -> None:
        document["images"][1] |= {"file_name": "1.jpg", "width": said[0], "height": said[1]}
        for each in document["annotations"][:2]:
            each |= {"bbox": [1, 2, 10, 10], "area": 60}

    root = coco(folder, change)
    path = root / "train2017/1.jpg"
    picture(path, 1, size)
    note(path, orientation)
    return root, path


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_an_image_is_turned_if_its_boxes_were_drawn_so(tmp_path: Path, orientation: int) -> None:
    _, path = camera(tmp_path, orientation, (SIDE, 24), (24, SIDE))
    found = read(job(imageSize=SIDE), tmp_path).splits["train"].take(torch.tensor([1]))
    with Image.open(path) as image:
        turned = pil_to_tensor(ImageOps.exif_transpose(image))
    assert torch.equal(found.inputs["images"][0, :, :, :24], turned)
    assert found.targets[0, 0, SCALE] == 1


def test_an_image_stays_as_it_is_if_its_boxes_were_drawn_so(tmp_path: Path) -> None:
    _, path = camera(tmp_path, 6, (SIDE, 24), (SIDE, 24))
    found = read(job(imageSize=SIDE), tmp_path).splits["train"].take(torch.tensor([1])).inputs["images"]
    with Image.open(path) as image:
        assert torch.equal(found[0, :, :24], pil_to_tensor(image))


@pytest.mark.parametrize(("orientation", "size"), [(3, (SIDE, 24)), (2, (SIDE, 24)), (6, (SIDE, SIDE))])
def test_an_image_is_refused_if_its_size_does_not_tell(
    tmp_path: Path, orientation: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera(tmp_path, orientation, size, size)
    monkeypatch.setattr(loading, "fits", lambda *_: False)
    reason, said = refusal(tmp_path, imageSize=SIDE)
    assert reason == "DatasetInvalid"
    assert f"1.jpg has the EXIF orientation {orientation}, by which tools turn or mirror it" in said


def test_a_size_that_is_exchanged_is_refused_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera(tmp_path, 1, (SIDE, 24), (24, SIDE))
    monkeypatch.setattr(loading, "fits", lambda *_: False)
    said = refusal(tmp_path, imageSize=SIDE)[1]
    assert "1.jpg has 40 x 24 pixels, and its annotation says 24 x 40, with both exchanged: correct the" in said


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_images_of_any_mode_of_8_bits_become_rgb(tmp_path: Path, mode: str) -> None:
    root = coco(tmp_path)
    path = root / "train2017/1.png"
    with Image.open(path) as image:
        changed = image.convert("L").convert("LA") if mode == "LA" else image.convert(mode)
    changed.save(path, format="TIFF" if mode in ("CMYK", "YCbCr") else "PNG")
    found = whole(read(job(), tmp_path).splits["train"]).inputs["images"][1]
    assert torch.equal(found, pil_to_tensor(changed.convert("RGB")))


@pytest.mark.parametrize("name", ["1.webp", "1.bmp", "1.tiff", "1.JPEG", "sub folder/ä.gif"])
def test_images_of_any_format_are_read_by_their_name(tmp_path: Path, name: str) -> None:
    root = coco(tmp_path, lambda document: document["images"][1].update(file_name=name))
    picture(root / "train2017" / name, 1)
    found = whole(read(job(), tmp_path).splits["train"]).inputs["images"][1]
    with Image.open(root / "train2017" / name) as image:
        assert torch.equal(found, pil_to_tensor(image.convert("RGB")))


@pytest.mark.parametrize("size", [(1, 1), (10_000, 200), (3, 5_000)])
def test_images_of_odd_sizes_are_scaled_with_their_boxes(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size

    def change(document: Document) -> None:
        document["images"][1] |= {"width": width, "height": height}
        for each in document["annotations"][:2]:
            each |= {"bbox": [0, 0, width, height], "area": width * height}

    root = coco(tmp_path, change)
    picture(root / "train2017/1.png", 1, size)
    found = read(job(imageSize=32), tmp_path).splits["train"].take(torch.tensor([1]))
    assert found.inputs["images"].shape == (1, 3, 32, 32)
    scale = 32 / max(size)
    assert found.targets[0, 0, BOX].tolist() == [0, 0, width, height]
    assert found.targets[0, 0, SCALE] == scale
    lit = found.inputs["images"][0].sum(0) > 0
    assert lit.any(0).sum() == max(1, int(width * scale))
    assert lit.any(1).sum() == max(1, int(height * scale))


# VOC


def test_voc_takes_the_image_of_the_annotations_name(tmp_path: Path) -> None:
    """After files are copied or renamed, the `filename` inside is often that of another image."""
    root = voc(tmp_path)
    plain = digest(tmp_path, "VOC")
    path = root / "Annotations/2012_000001.xml"
    path.write_text(path.read_text().replace("2012_000001.jpg", "2012_000002.jpg"))
    assert digest(tmp_path, "VOC") == plain


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_voc_finds_images_of_every_ending(tmp_path: Path, suffix: str, case: Callable[[str], str]) -> None:
    file = tmp_path / "JPEGImages" / f"7{case(suffix)}"
    file.parent.mkdir()
    file.touch()
    assert image_of(tmp_path, "7") == image_of(tmp_path, "7", "other.gif") == f"JPEGImages/{file.name}"


def test_voc_takes_names_with_spaces_capitals_and_decimals(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "JPEGImages/2012_000001.jpg").rename(root / "JPEGImages/photo 1.JPG")
    (root / "Annotations/2012_000001.xml").unlink()
    objects = [box(1.5, 2.25, 20.5, 30, name="dog").replace("<pose>", "<truncated>1</truncated><pose>")] * 2
    (root / "Annotations/photo 1.xml").write_text(voc_xml("C:\\photos\\other", *objects))
    path = root / "ImageSets/Main/train.txt"
    path.write_text(path.read_text().replace("2012_000001", "photo 1"))
    rows = read(job("VOC"), tmp_path).splits["train"].targets[1]
    assert rows[:, BOX].tolist() == [[0.5, 1.25, 20.5, 30]] * 2
    assert rows[:, LABEL].tolist() == [1, 1]
    path.write_text(path.read_text().replace("photo 1", "2012_000001  1"))
    assert "line 2 of" in refusal(tmp_path, "VOC")[1]


@pytest.mark.parametrize("form", ["VOC", "COCO"])
def test_a_manifest_is_written_where_trials_look_for_it(tmp_path: Path, form: str) -> None:
    """A source can be above the folder of VOC2012, or a file of annotations."""
    root = voc(tmp_path) if form == "VOC" else coco(tmp_path) / "annotations"
    given: dict[str, Any] = {}
    if form == "COCO":
        for at in range(6):
            picture(root / "images" / f"{at}.png", at)
        path = "street/annotations/instances_train2017.json"
        given = {"source": {"path": path}, "splits": {"fractions": {"test": 0.4}}}
    for _ in range(2):  # a second one replaces the first
        report(job(form, **given), tmp_path, task=None, prepare=True)
        assert (root / MANIFEST).is_file()
    image = root / ("JPEGImages/2012_000001.jpg" if form == "VOC" else "images/1.png")
    image.write_bytes(image.read_bytes() + b"0")
    assert "run `velodrome data prepare` again" in refusal(tmp_path, form, **given)[1]
    report(job(form, **given), tmp_path, task=None, prepare=True)
    read(job(form, **given), tmp_path)
