"""Names of classes: which ones every format refuses, with the place and the fix, and which are welcome."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.loading import read

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def at(name: str) -> str:
    return f"row {len(name)}"


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog"), ("0", "1", "10"), ("قطة", "كلب"), ("猫", "狗"), ("\N{CAT FACE}", "👨\u200d👩\u200d👧"),
        (COMPOSED, "cafe"),
        ("a", "A"), ("ß", "s"), ("new york", "newyork"), ("नमस्ते", "क्\u200dष"), ("x" * 128, "y"), ("c++", "c#"),
    ],
)  # fmt: skip
def test_names_of_all_scripts_are_welcome(names: tuple[str, ...]) -> None:
    refuse_names(names, at)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("ok", ""), "row 0: the class '' is empty"),
        (("ok", " \u00a0 "), r"row 3: the class .* is empty, or has only spaces: give it a name"),
        (("ok", "x" * 129), "row 129: the class 'xxx.*… has 129 characters, and 128 are the most"),
        (("ok", "cat "), "row 4: the class 'cat ' begins or ends with a space"),
        (("ok", "c\x07at"), r"row 4: the class 'c\\x07at' has a character that can't be seen, U\+0007"),
        (("ok", "ca\u202et"), r"row 4: the class .* U\+202E: remove it"),
        (("ok", "ca\u200bt"), r"row 4: the class .* U\+200B: remove it"),
        (("spam", "ham", "Spam"), "row 4: the class 'Spam' differs by capitals alone from 'spam'.*.row 4"),
        (("STRASSE", "straße"), "differs by capitals alone"),
        ((COMPOSED, DECOMPOSED), r"'cafe\\u0301' looks like the class 'caf\\xe9'"),
        (("new york", "new  york"), "'new  york' looks like the class 'new york'"),
        (("a", "b", "a"), "the class 'a' is there twice"),
    ],
)
def test_a_name_that_cant_be_read_or_told_from_another_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        refuse_names(names, at)
    assert refused.value.reason == "DatasetInvalid"


def table(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    rows = [f'{number},"{names[number % 2]}",{"train" if number < 4 else "test"}' for number in range(6)]
    (folder / "own.csv").write_text("\n".join(["x,label,part", *rows]), encoding="utf-8")
    return {"format": "CSV", "source": {"path": "own.csv"}, "target": "label", "splits": {"column": "part"}}


def documents(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    rows = [{"text": "a b", "label": names[n % 2], "part": "train" if n < 4 else "test"} for n in range(6)]
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    of = {"format": "Documents", "source": {"path": "own.jsonl"}, "target": "label", "text": "text"}
    return {**of, "splits": {"column": "part"}}


def long_table(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    rows = [f'{n // 2},{n},"{names[n // 2 % 2]}",{"train" if n < 8 else "test"}' for n in range(12)]
    (folder / "own.csv").write_text("\n".join(["id,x,label,part", *rows]), encoding="utf-8")
    of = {"format": "SequenceCSV", "source": {"path": "own.csv"}, "target": "label", "columns": {"sequence": "id"}}
    return {**of, "splits": {"column": "part"}}


def series(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    lines = "\n".join(f"1,2,3:{names[number % 2]}" for number in range(4))
    for part in ("TRAIN", "TEST"):
        (folder / f"own_{part}.ts").write_text(
            f"@classLabel true {' '.join(names)}\n@data\n{lines}\n", encoding="utf-8"
        )
    return {"format": "TimeSeries", "source": {"path": "."}}


def images(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    for split in ("train", "test"):
        for name in names:
            (folder / split / name).mkdir(parents=True)
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / split / name / "0.png")
    return {"format": "ImageFolder", "source": {"path": "."}}


def sounds(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    for name in names:
        (folder / name).mkdir()
        (folder / name / "0.wav").write_bytes(b"")
    return {"format": "SpeechCommands", "source": {"path": "."}, "splits": {"fractions": {"test": 0.5}}}


def coco(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    (folder / "annotations").mkdir()
    image = {"id": 1, "file_name": "0.png", "width": 4, "height": 4}
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "0.png")
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    boxes = [{"id": n, "image_id": 1, "category_id": n, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0} for n in (0, 1)]
    whole = json.dumps({"images": [image], "annotations": boxes, "categories": categories})
    for split in ("train", "val"):
        (folder / "annotations" / f"{split}.json").write_text(whole)
    return {"format": "COCO", "source": {"path": "."}}


def voc(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    (folder / "Annotations").mkdir()
    (folder / "JPEGImages").mkdir()
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    size = "<size><width>4</width><height>4</height><depth>3</depth></size>"
    for number, name in enumerate(names):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "JPEGImages" / f"{number}.jpg")
        text = f"<annotation>{size}<object><name>{name}</name>{box}</object></annotation>"
        (folder / "Annotations" / f"{number}.xml").write_text(text, encoding="utf-8")
    return {"format": "VOC", "source": {"path": "."}, "splits": {"fractions": {"test": 0.5}}}


def masks(folder: Path, names: tuple[str, str]) -> dict[str, Any]:
    return {"format": "VOCSegmentation", "source": {"path": "."}, "classes": list(names)}


FORMATS: list[tuple[Callable[[Path, tuple[str, str]], dict[str, Any]], str]] = [
    (table, "line [23] of .*own.csv, column label"), (documents, "row [12] of .*own.jsonl, column label"),
    (long_table, "line [24] of .*own.csv .*column label"), (series, "@classLabel of .*own_TRAIN.ts"),
    (images, "/train/[Cc]at"), (sounds, "/[Cc]at"), (coco, "annotations/train.json, categories"),
    (voc, "[01].xml in .*Annotations"), (masks, "spec.dataset.classes"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "place"), FORMATS, ids=lambda each: getattr(each, "__name__", ""))
@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("cat", "Cat"), "(differs by capitals alone from|looks like)"),
        (("Cat\u202e", "dog"), "has a character that can't be seen, U.202E"),
    ],
    ids=["capitals", "unseen"],
)
def test_each_format_refuses_such_a_class_and_names_its_place(
    tmp_path: Path, written: Callable[..., dict[str, Any]], place: str, names: tuple[str, str], problem: str
) -> None:
    given = written(tmp_path, names)
    with pytest.raises(ConfigurationError, match=f"{place}.*: the class .*{problem}") as refused:
        read(Dataset.model_validate({"name": "own", **given}), tmp_path)
    assert refused.value.reason == "DatasetInvalid"
