"""Images with boxes on disk, in COCO's and in VOC's form: as people have them, and as they must not be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CocoDetection, VOCDetection
from torchvision.transforms.v2.functional import pil_to_tensor

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome_runner.data import Contents, Memory, loading, open_contents, whole
from velodrome_runner.data.loading import read
from velodrome_runner.data.manifest import MANIFEST
from velodrome_runner.data.report import report
from velodrome_runner.data.scenes import AREA, BOX, CROWD, LABEL, SCALE

SIDE = 40
Document = dict[str, Any]


def picture(path: Path, seed: int, size: tuple[int, int] = (SIDE, SIDE), mode: str = "RGB") -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).convert(mode).save(path)


def annotated(count: int = 6, seed: int = 0) -> Document:
    """COCO's annotations of images, of which the first has no box; ids are neither dense nor sorted."""
    noise = np.random.default_rng(seed)
    images = [
        {"id": 100 - at, "file_name": f"{at}.png", "width": SIDE, "height": SIDE, "license": 1} for at in range(count)
    ]
    boxes = [(image["id"], noise.integers(1, 20, 4).tolist(), at) for image in images[1:] for at in range(2)]
    return {
        "info": {"year": 2017},
        "images": images,
        "annotations": [
            {
                "id": 7 + number, "image_id": image, "category_id": (18, 3)[at], "bbox": box,
                "area": 0.5 * box[2] * box[3], "iscrowd": int(number == 3),
            }
            for number, (image, box, at) in enumerate(boxes)
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car", "supercategory": "vehicle"}],
    }  # fmt: skip


def coco(folder: Path, change: Callable[[Document], object] = lambda _: None, **sizes: Any) -> Path:
    """COCO's own layout. `change` spoils the training annotations."""
    root = folder / "street"
    for seed, split in enumerate(("train", "val")):
        document = annotated(seed=seed)
        for at in range(6):
            picture(root / f"{split}2017" / f"{at}.png", 10 * seed + at, **sizes)
        if split == "train":
            change(document)
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(document))
    return root


def job(form: str = "COCO", **fields: Any) -> Dataset:
    given = {"name": "street", "format": form, "source": {"path": "street"}, "validationFraction": 0}
    return Dataset.model_validate(given | fields)


def refusal(folder: Path, form: str = "COCO", **fields: Any) -> tuple[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        read(job(form, **fields), folder)
    return caught.value.reason, str(caught.value)


def test_coco_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    root = coco(tmp_path)
    found = read(job(), tmp_path)
    assert (found.kind, found.schema.shape, found.schema.classes) == ("scenes", (3, SIDE, SIDE), ("car", "dog"))
    for split, name in (("train", "train2017"), ("test", "val2017")):
        theirs = CocoDetection(str(root / name), str(root / f"annotations/instances_{name}.json"))
        samples = whole(found.splits[split])
        paths = [theirs.coco.imgs[number]["file_name"] for number in theirs.ids]
        for row, path in enumerate(sorted(paths)):
            image, boxes = theirs[paths.index(path)]
            assert torch.equal(samples.inputs["images"][row], pil_to_tensor(image))
            targets = samples.targets[row]
            kept = targets[targets[:, LABEL] >= 0]
            assert len(kept) == len(boxes) == (2 if row else 0)
            for ours, box in zip(kept, boxes, strict=True):
                x, y, width, height = box["bbox"]
                assert ours[BOX].tolist() == [x, y, x + width, y + height]
                assert ours[LABEL] == {3: 0, 18: 1}[box["category_id"]]
                assert ours[AREA] == box["area"]
                assert ours[CROWD] == box["iscrowd"]
            assert (targets[:, SCALE] == 1).all()
    assert set(found.splits) == {"train", "test"}


def test_a_validation_split_is_drawn_without_looking_at_boxes(tmp_path: Path) -> None:
    coco(tmp_path)
    opened = open_contents(job(validationFraction=0.3), folder=tmp_path, seed=0)
    assert [opened.facts.train_samples, opened.facts.validation_samples, opened.facts.test_samples] == [4, 2, 6]
    assert opened.facts.classes == ("car", "dog")


def exported(root: Path) -> None:
    """As tools export it: annotations beside the images of each split."""
    for seed, split in enumerate(("train", "valid", "test")):
        for at in range(6):
            picture(root / split / f"{at}.png", at)
        (root / split / "_annotations.coco.json").write_text(json.dumps(annotated(seed=seed)))


def single(root: Path) -> None:
    for at in range(60):
        picture(root / "images" / f"{at}.png", at)
    (root / "annotations.json").write_text(json.dumps(annotated(60)))


def elsewhere(root: Path) -> None:
    for seed, split in enumerate(("a", "b")):
        for at in range(6):
            picture(root / "pictures" / f"{split}{at}.png", at)
        document = annotated(seed=seed)
        for image in document["images"]:
            image["file_name"] = f"pictures/{split}{image['file_name']}"
        (root / f"{split}.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("make", "fields", "sizes"),
    [
        (exported, {}, {"train": 6, "validation": 6, "test": 6}),
        (single, {"splits": {"fractions": {"test": 0.3}}}, {"train": 38, "test": 22}),
        (
            single,
            {"splits": {"fractions": {"test": 0.3}}, "source": {"path": "street/annotations.json"}},
            {"train": 38, "test": 22},
        ),
        (elsewhere, {"splits": {"files": {"train": "a.json", "test": "b.json"}}}, {"train": 6, "test": 6}),
    ],
    ids=["exported", "single", "a file", "elsewhere"],
)
def test_other_layouts_are_read_too(
    tmp_path: Path, make: Callable[[Path], None], fields: dict[str, Any], sizes: dict[str, int]
) -> None:
    (tmp_path / "street").mkdir()
    make(tmp_path / "street")
    found = read(job(**fields), tmp_path)
    counts = {name: len(source) for name, source in found.splits.items()}
    assert counts == sizes


# VOC

VOC_OBJECT = """<object><name>{name}</name><pose>Left</pose><difficult>{difficult}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def voc_xml(name: str, *objects: str, width: int = SIDE) -> str:
    size = f"<size><width>{width}</width><height>{SIDE}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.jpg</filename>{size}{''.join(objects)}</annotation>"


def box(*corners: float | str, name: str = "dog", difficult: int = 0) -> str:
    return VOC_OBJECT.format(name=name, box=corners, difficult=difficult)


def voc(folder: Path) -> Path:
    """VOC2012's layout: the last image has no object, the first a difficult one."""
    root = folder / "street" / "VOCdevkit" / "VOC2012"
    for part in ("Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for at in range(8):
        name = f"2012_{at:06}"
        picture(root / "JPEGImages" / f"{name}.jpg", at)
        objects = [box(1 + at, 2, 20, SIDE), box(4, 5, 9, 9, name="car", difficult=int(at == 0))] if at < 7 else []
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(name, *objects))
    for split, numbers in (("train", range(5)), ("val", range(5, 8))):
        lines = "".join(f"2012_{at:06}\n" for at in numbers)
        (root / "ImageSets/Main" / f"{split}.txt").write_text(lines)
    return root


def test_voc_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    voc(tmp_path)
    found = read(job("VOC"), tmp_path)
    assert (found.kind, found.schema.classes) == ("scenes", ("car", "dog"))
    for split, name in (("train", "train"), ("test", "val")):
        theirs = VOCDetection(str(tmp_path / "street"), "2012", name)
        samples = whole(found.splits[split])
        assert len(theirs) == len(samples)
        for row, (image, annotation) in enumerate(theirs):
            assert torch.equal(samples.inputs["images"][row], pil_to_tensor(image))
            targets = samples.targets[row][samples.targets[row, :, LABEL] >= 0]
            objects = annotation["annotation"]["object"]
            assert len(targets) == len(objects)
            for ours, each in zip(targets, objects, strict=True):
                corners = {side: float(value) for side, value in each["bndbox"].items()}
                left, top = corners["xmin"] - 1, corners["ymin"] - 1  # counted from 1
                assert ours[BOX].tolist() == [left, top, corners["xmax"], corners["ymax"]]
                assert ours[LABEL] == ("car", "dog").index(each["name"])
                assert ours[CROWD] == int(each["difficult"])
                assert ours[AREA] == (corners["xmax"] - left) * (corners["ymax"] - top)


def test_voc_is_split_by_fractions_of_its_names_and_by_lists(tmp_path: Path) -> None:
    root = voc(tmp_path)
    for path in sorted((root / "ImageSets/Main").iterdir()):
        path.rename(path.with_stem(f"my-{path.stem}"))
    assert "write spec.dataset.splits.fractions" in refusal(tmp_path, "VOC")[1]
    files = {"train": "ImageSets/Main/my-train.txt", "test": "ImageSets/Main/my-val.txt"}
    found = read(job("VOC", splits={"files": files}), tmp_path)
    assert {name: len(source) for name, source in found.splits.items()} == {"train": 5, "test": 3}
    divided = read(job("VOC", splits={"fractions": {"test": 0.45}}, source={"path": str(root)}), tmp_path)
    assert {name: len(source) for name, source in divided.splits.items()} == {"train": 6, "test": 2}


# Sizes


def wide(folder: Path) -> None:
    def change(document: Document) -> None:
        for image in document["images"]:
            image["width"] = 80
        document["annotations"][0]["bbox"] = [70, 10, 9.5, 20]

    root = coco(folder, change)
    for at in range(6):
        picture(root / "train2017" / f"{at}.png", at, (80, SIDE))


def test_the_longer_side_gets_the_size_and_the_rest_is_black(tmp_path: Path) -> None:
    wide(tmp_path)
    assert "write spec.dataset.imageSize" in refusal(tmp_path)[1]
    found = read(job(imageSize=32), tmp_path)
    train, test = (whole(found.splits[split]) for split in ("train", "test"))
    assert train.inputs["images"].shape == (6, 3, 32, 32)
    assert bool((train.inputs["images"][:, :, 16:] == 0).all())
    assert bool((train.inputs["images"][:, :, :16] > 0).any(1).all())
    assert set(train.targets[..., SCALE].flatten().tolist()) == {0.4}
    assert set(test.targets[..., SCALE].flatten().tolist()) == {0.8}
    assert train.targets[1, 0, BOX].tolist() == [70, 10, 79.5, 30], "boxes stay in the pixels of the file"


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    coco(tmp_path, mode="L")
    images = whole(read(job(), tmp_path).splits["train"]).inputs["images"]
    assert images.shape[1] == 3
    assert torch.equal(images[:, 0], images[:, 2])


def test_a_size_that_is_not_the_annotated_one_is_refused_by_the_file(tmp_path: Path) -> None:
    root = coco(tmp_path)
    picture(root / "train2017/4.png", 4, (SIDE, 30))
    reason, said = refusal(tmp_path)
    assert reason == "DatasetInvalid"
    assert re.search(r"train2017/4.png has 40 x 30 pixels, and its annotation says 40 x 40: correct", said)


# What is in memory, and what is read when it is needed


def test_images_that_do_not_fit_in_memory_are_read_with_the_same_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide(tmp_path)
    held = read(job(imageSize=32), tmp_path).splits["train"]
    monkeypatch.setattr(loading, "fits", lambda *_: False)
    source = read(job(imageSize=32), tmp_path).splits["train"]
    assert isinstance(held, Memory)
    assert not isinstance(source, Memory)
    order = torch.tensor([3, 0])
    assert torch.equal(source.take(order).inputs["images"], held.take(order).inputs["images"])
    assert torch.equal(source.take(order).targets, held.take(order).targets)
    assert source.nbytes == held.nbytes


def digest(folder: Path, form: str = "COCO", **fields: Any) -> str:
    return read(job(form, **fields), folder).digest


def test_the_digest_changes_with_images_boxes_and_names_and_with_nothing_else(tmp_path: Path) -> None:
    root = coco(tmp_path)
    path = root / "annotations/instances_train2017.json"
    document, first = json.loads(path.read_text()), digest(tmp_path)
    path.write_text(json.dumps(document | {"images": document["images"][::-1], "info": {}}, indent=2))
    assert digest(tmp_path) == first == digest(tmp_path, imageSize=16)
    for place, value in (("bbox", [1, 2, 9.5, 14]), ("category_id", 3), ("iscrowd", 1), ("area", 2.0)):
        changed = json.loads(json.dumps(document))
        changed["annotations"][0][place] = value
        path.write_text(json.dumps(changed))
        assert digest(tmp_path) != first, place
    path.write_text(json.dumps(document))
    assert digest(tmp_path) == first
    picture(root / "val2017/2.png", 99)
    assert digest(tmp_path) != first


def test_a_manifest_spares_reading_and_tells_a_changed_image(tmp_path: Path) -> None:
    root = coco(tmp_path)
    first = digest(tmp_path)
    found = report(job(), tmp_path, task=None, prepare=True)
    assert found["digest"] == first
    assert found["kind"] == "scenes"
    assert (root / MANIFEST).is_file()
    assert digest(tmp_path) == first
    content = bytearray((root / "train2017/1.png").read_bytes())
    content[-20] ^= 1
    (root / "train2017/1.png").write_bytes(bytes(content))
    assert "train2017/1.png is not the file that" in refusal(tmp_path)[1]


# What can't be read


def spoiled(field: str, place: int, **values: Any) -> Callable[[Document], None]:
    return lambda document: document[field][place].update(values)


BAD: dict[str, tuple[Callable[[Document], object], str]] = {
    "outside": (
        spoiled("annotations", 1, bbox=[30, 30, 20, 5]),
        r"annotations\[1\] \(id 8\): bbox leaves its image: it goes from \(30, 30\) to \(50, 35\) in 40 x 40 pixels",
    ),
    "before": (
        spoiled("annotations", 0, bbox=[-9, 0, 20, 5]),
        r"\(id 7\): bbox leaves its image: it goes from \(-9, 0\)",
    ),
    "flat": (
        spoiled("annotations", 2, bbox=[3, 3, 4, 0]),
        r"annotations\[2\] \(id 9\): bbox has no area \(4 x 0 pixels\)",
    ),
    "negative": (spoiled("annotations", 2, bbox=[9, 9, -4, 5]), r"bbox has no area \(-4 x 5 pixels\)"),
    "three": (
        spoiled("annotations", 0, bbox=[1, 2, 3]),
        r"annotations\[0\].bbox\[3\]: field required: write it as COCO",
    ),
    "words": (
        spoiled("annotations", 0, bbox=["a", 2, 3, 4]),
        r"annotations\[0\].bbox\[0\]: input should be a valid number",
    ),
    "nan": (
        spoiled("annotations", 0, bbox=[float("nan"), 2, 3, 4]),
        r"annotations\[0\].bbox\[0\]: input should be a finite",
    ),
    "category": (
        spoiled("annotations", 4, category_id=99),
        r"annotations\[4\] \(id 11\): category_id 99 is no id of categories, which are 3, 18: correct it, or add",
    ),
    "image": (spoiled("annotations", 4, image_id=1), r"annotations\[4\] \(id 11\): image_id 1 is no id of images"),
    "nobody": (
        lambda document: document["categories"].append({"id": 0, "name": "shapes"}),
        r"categories differ from those of .*instances_train2017.json, at first in 0 \(shapes\)",
    ),
    "same id": (lambda document: document["categories"].append({"id": 3, "name": "x"}), "an id or a name twice"),
    "same name": (lambda document: document["categories"].append({"id": 4, "name": "car"}), "an id or a name twice"),
    "same image": (spoiled("images", 2, id=100), "images has an id twice"),
    "same file": (spoiled("images", 2, file_name="1.png"), "train2017/1.png is twice in the train split"),
    "no file": (spoiled("images", 3, file_name="9.png"), r"there is no image .*train2017/9.png, which is annotated"),
    "first file": (
        spoiled("images", 0, file_name="9.png"),
        r"there is no image 9.png, which .* lists first, in any of",
    ),
    "escape": (spoiled("images", 3, file_name="../9.png"), r"file_name '../9.png' leads out of the folder"),
    "same file by another name": (spoiled("images", 2, file_name="./1.png"), "train2017/1.png is twice in the train"),
    "too long": (
        spoiled("images", 3, file_name="9" * 5000),
        r"/999.*… can't be read \(File name too long\)",
    ),
    "same annotation": (
        lambda document: document["annotations"].append(dict(document["annotations"][0])),
        "annotations has an id twice: remove what is there twice",
    ),
    "infinite": (
        spoiled("annotations", 0, bbox=[1, 2, float("inf"), 4]),
        r"\[0\].bbox\[2\]: input should be a finite",
    ),
    "area": (
        spoiled("annotations", 1, bbox=[3, 4, 10, 20], area=1e5),
        r"annotations\[1\] \(id 8\): area 100000 is more than its box of 10 x 20 pixels has \(without the field",
    ),
    "huge": (spoiled("images", 1, width=10**30), r"images\[1\].width: input should be less than or equal to 1048576"),
    "no size": (lambda document: document["images"][1].pop("width"), r"images\[1\].width: field required"),
    "no images": (lambda document: document.update(images=[], annotations=[]), "images is empty"),
    "no categories": (lambda document: document.update(categories=[]), "categories: list should have at least 1 item"),
    "unlabelled": (lambda document: document.pop("annotations"), "annotations: field required"),
}


@pytest.mark.parametrize("name", BAD)
def test_annotations_that_are_wrong_are_refused_by_file_and_field(tmp_path: Path, name: str) -> None:
    change, says = BAD[name]
    coco(tmp_path, change)
    reason, said = refusal(tmp_path)
    assert reason in ("DatasetInvalid", "DatasetMissing", "DatasetCorrupt")
    assert re.search(says, said), said
    assert "street" in said


def test_many_wrong_boxes_are_counted_and_the_first_ones_named(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        for each in document["annotations"][:7]:
            each["bbox"][2] = 0

    coco(tmp_path, change)
    said = refusal(tmp_path)[1]
    assert said.count("has no area") == 5
    assert "and 2 more like these: correct or remove each of them" in said


def test_a_category_that_nobody_annotated_is_refused_in_the_training_split(tmp_path: Path) -> None:
    root = coco(tmp_path, lambda document: document["categories"].append({"id": 40, "name": "kite"}))
    path = root / "annotations/instances_val2017.json"
    document = json.loads(path.read_text())
    document["categories"].append({"id": 40, "name": "kite"})
    path.write_text(json.dumps(document))
    reason, said = refusal(tmp_path)
    assert reason == "DatasetInvalid"
    assert "the training split of street has no box of the class kite" in said
    document["annotations"][0] |= {"category_id": 40}
    path.write_text(json.dumps(document))
    assert "has no box of the class kite" in refusal(tmp_path)[1], "boxes of test images teach nobody"


def test_a_split_without_any_box_is_refused(tmp_path: Path) -> None:
    root = coco(tmp_path)
    path = root / "annotations/instances_val2017.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    assert "no image of the test split of street has a box that counts" in refusal(tmp_path)[1]


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        ('{"images": [', "DatasetCorrupt", r"instances_train2017.json is no JSON \(.*line 1 column 12\)"),
        ("[]", "DatasetInvalid", "the file: input should be an object"),
        ("", "DatasetCorrupt", "is no JSON"),
        ("{}".encode("utf-16"), "DatasetCorrupt", "is no JSON .*: save it as UTF-8, or get it again"),
        (b'{"\xff": 1}', "DatasetCorrupt", "is no JSON .*: save it as UTF-8, or get it again"),
    ],
    ids=["broken", "a list", "empty", "UTF-16", "Latin-1"],
)
def test_a_file_that_is_no_json_of_coco_is_refused(
    tmp_path: Path, content: str | bytes, reason: str, says: str
) -> None:
    root = coco(tmp_path)
    written = content.encode() if isinstance(content, str) else content
    (root / "annotations/instances_train2017.json").write_bytes(written)
    found, said = refusal(tmp_path)
    assert found == reason
    assert re.search(says, said), said


def test_files_of_windows_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    root = coco(tmp_path)
    first = read(job(), tmp_path).digest
    path = root / "annotations/instances_train2017.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(job(), tmp_path).digest == first
    root = voc(tmp_path)
    path = root / "ImageSets/Main/train.txt"
    first = read(job("VOC"), tmp_path).digest
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(job("VOC"), tmp_path).digest == first


@pytest.mark.parametrize("form", ["COCO", "VOC"])
def test_pixels_of_more_than_8_bits_are_refused_where_pillow_would_make_them_white(tmp_path: Path, form: str) -> None:
    root = coco(tmp_path) if form == "COCO" else voc(tmp_path)
    path = root / ("train2017/1.png" if form == "COCO" else "JPEGImages/2012_000001.jpg")
    Image.fromarray(np.full((SIDE, SIDE), 40_000, dtype=np.uint16)).save(path, format="PNG")
    reason, said = refusal(tmp_path, form)
    assert reason == "DatasetInvalid"
    assert f"{path} is of the mode I;16, whose pixels have more than 8 bits: save it with 8 bits a channel" in said


def test_folders_without_annotations_say_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "street").mkdir()
    assert "write spec.dataset.splits.files, or splits.fractions" in refusal(tmp_path)[1]
    assert "has no files of annotations" in refusal(tmp_path, splits={"fractions": {"test": 0.2}})[1]
    files = {"files": {"train": "a.json", "test": "b.json"}}
    assert "there is no file of annotations" in refusal(tmp_path, splits=files)[1]
    assert "no folder Annotations" in refusal(tmp_path, "VOC")[1]
    root = coco(tmp_path)
    (root / "annotations/instances_my_train.json").write_text("{}")
    assert "are both called as a split train is" in refusal(tmp_path)[1]


BAD_VOC: dict[str, tuple[str, str, str]] = {
    "broken": ("<annotation><size>", "DatasetCorrupt", "2012_000001.xml is no XML"),
    "empty": ("", "DatasetCorrupt", "2012_000001.xml is no XML"),
    "other": ("<dog/>", "DatasetInvalid", "2012_000001.xml: annotation: "),
    "no size": ("<annotation><filename>a</filename></annotation>", "DatasetInvalid", "size: field required"),
    "word": (
        voc_xml("2012_000001", box(1, 2, 3, "x")),
        "DatasetInvalid",
        r"object\[0\].bndbox.ymax: input should be a valid",
    ),
    "outside": (voc_xml("2012_000001", box(1, 2, 60, 9)), "DatasetInvalid", r"object\[0\]: bndbox leaves its image"),
    "before": (voc_xml("2012_000001", box(-9, 2, 30, 9)), "DatasetInvalid", r"it goes from \(-10, 1\)"),
    "flat": (voc_xml("2012_000001", box(9, 9, 8, 20)), "DatasetInvalid", r"object\[0\]: bndbox has no area"),
    "no name": (voc_xml("2012_000001", box(1, 2, 3, 4, name="")), "DatasetInvalid", r"object\[0\].name: "),
    "size": (
        voc_xml("2012_000001", box(1, 2, 3, 4), width=41),
        "DatasetInvalid",
        "2012_000001.jpg has, by its annotation, 41 x 40 pixels, and .*: write spec.dataset.imageSize",
    ),
    "huge": (
        voc_xml("2012_000001", box(1, 2, 3, 4), width=10**30),
        "DatasetInvalid",
        "size.width: input should be l",
    ),
    "empty object": (
        voc_xml("2012_000001").replace("</annotation>", "<object/></annotation>"),
        "DatasetInvalid",
        r"object\[0\].name: field required",
    ),
    "two boxes": (
        voc_xml("2012_000001", box(1, 2, 3, 4).replace("</object>", "<bndbox><xmin>1</xmin></bndbox></object>")),
        "DatasetInvalid",
        r"object\[0\].bndbox: should be there once, with its own fields in it",
    ),
    "nested": (
        "<annotation>" + "<a>" * 50_000 + "</a>" * 50_000 + "</annotation>",
        "DatasetInvalid",
        "size: field req",
    ),
    "infinite": (
        voc_xml("2012_000001", box(1, 2, "inf", 4)),
        "DatasetInvalid",
        r"bndbox.xmax: input should be a finite",
    ),
}


@pytest.mark.parametrize("name", BAD_VOC)
def test_xml_that_is_wrong_is_refused_by_file_and_field(tmp_path: Path, name: str) -> None:
    content, reason, says = BAD_VOC[name]
    root = voc(tmp_path)
    (root / "Annotations/2012_000001.xml").write_text(content)
    found, said = refusal(tmp_path, "VOC")
    assert found == reason
    assert re.search(says, said), said


def test_files_that_voc_lists_and_lacks_are_named(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "JPEGImages/2012_000002.jpg").rename(root / "JPEGImages/2012_000002.png")
    assert len(read(job("VOC"), tmp_path).splits["train"]) == 5, "the name of the annotation leads to it"
    (root / "JPEGImages/2012_000002.png").unlink()
    assert re.search(r"there is no image .*JPEGImages/2012_000002.jpg, which is annotated", refusal(tmp_path, "VOC")[1])
    (root / "Annotations/2012_000001.xml").unlink()
    assert re.search(r"there is no .*2012_000001.xml, whose image is listed", refusal(tmp_path, "VOC")[1])
    (root / "ImageSets/Main/train.txt").write_text("2012_000000\ncat 1\n")
    assert re.search(r"line 2 of .*train.txt is no name of an image", refusal(tmp_path, "VOC")[1])
    (root / "ImageSets/Main/train.txt").write_text("2012_000000\n2012_000005\n")
    assert re.search(r"2012_000005.jpg is in train and test", refusal(tmp_path, "VOC")[1])


def test_boxes_at_the_border_are_read_whether_counted_from_0_or_from_1(tmp_path: Path) -> None:
    root = voc(tmp_path)
    objects = (box(0, 0, SIDE, SIDE), box(1, 1, SIDE + 1, SIDE), box(SIDE, 5, SIDE, 5))
    (root / "Annotations/2012_000001.xml").write_text(voc_xml("2012_000001", *objects))
    targets = whole(contents(tmp_path).splits["train"]).targets[1, :3, BOX]
    assert targets.tolist() == [[0, 0, SIDE, SIDE], [0, 0, SIDE + 1, SIDE], [SIDE - 1, 4, SIDE, 5]]


def contents(folder: Path) -> Contents:
    return read(job("VOC"), folder)
