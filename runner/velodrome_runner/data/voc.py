"""Pascal VOC: an XML file of boxes for each image, in Annotations, and the images in JPEGImages.

Pixels of VOC are counted from 1, and a box includes its last ones. An object that is `difficult` counts neither as
found nor as missed, as a crowd of COCO.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError  # nosec B405 - only the error; torchvision reads the files

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from velodrome.spec import Dataset, DatasetSplits
from velodrome_runner.data.folders import SUFFIXES
from velodrome_runner.data.format import corrupt, invalid, missing
from velodrome_runner.data.scenes import (
    AnnotatedFolders,
    ObjectBox,
    Scene,
    box_problem,
    opened_scenes,
    refuse_boxes,
    wrong_field,
)
from velodrome_runner.data.splitting import shared_out

_ANNOTATIONS, _IMAGES, _LISTS = "Annotations", "JPEGImages", "ImageSets/Main"


class _Corners(BaseModel):
    xmin: FiniteFloat
    ymin: FiniteFloat
    xmax: FiniteFloat
    ymax: FiniteFloat


class _Object(BaseModel):
    name: str = Field(min_length=1)
    difficult: bool = False
    bndbox: _Corners


class _Size(BaseModel):
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class _Annotated(BaseModel):
    filename: str = ""
    size: _Size
    object: list[_Object] = []


def read_voc(dataset: Dataset, place: Path) -> AnnotatedFolders:
    """The images with boxes of a job at `place`, the folder of Annotations and JPEGImages, or one above VOC2012.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file and the field.
    """
    splits, root = dataset.splits or DatasetSplits(), _root(place)
    if splits.fractions is not None:
        every = sorted(path.stem for path in (root / _ANNOTATIONS).glob("*.xml"))
        names = shared_out(every, str, splits.fractions)
    else:
        files = _lists(root) if splits.files is None else splits.files.model_dump(exclude_none=True)
        names = {split: list(_listed(root / path)) for split, path in files.items()}
    read = {name: _read(root / _ANNOTATIONS / f"{name}.xml") for each in names.values() for name in each}
    classes = tuple(sorted({each.name for annotated in read.values() for each in annotated.object}))
    labels = {name: label for label, name in enumerate(classes)}
    refuse_boxes(problem for name, annotated in read.items() for problem in _problems(root, name, annotated))
    scenes = {split: [_scene(root, name, read[name], labels) for name in each] for split, each in names.items()}
    return opened_scenes(root, scenes, classes, scale=dataset.image_size)


def _root(place: Path) -> Path:
    if (place / _ANNOTATIONS).is_dir():
        return place
    found = sorted(path.parent for path in (*place.glob(f"VOC*/{_ANNOTATIONS}"), *place.glob(f"*/VOC*/{_ANNOTATIONS}")))
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} folders VOC* with" if found else "no folder"
    raise missing(f"{place} has {several} {_ANNOTATIONS}: write the one with it as spec.dataset.source.path")


def _lists(root: Path) -> dict[str, str]:
    """The lists of the splits; val tests where there is no list of test images."""
    there = {name for name in ("train", "val", "test") if (root / _LISTS / f"{name}.txt").is_file()}
    if {"train", "test"} <= there:
        found = {"train": "train", "test": "test"} | ({"validation": "val"} if "val" in there else {})
    elif {"train", "val"} <= there:
        found = {"train": "train", "test": "val"}
    else:
        raise missing(
            f"{root / _LISTS} has no train.txt and val.txt or test.txt: add them, an image's name a line, or write "
            "spec.dataset.splits.fractions"
        )
    return {split: f"{_LISTS}/{name}.txt" for split, name in found.items()}


def _listed(path: Path) -> Iterator[str]:
    """The names in a list, one a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise missing(f"there is no list of images {path}: correct spec.dataset.splits.files") from error
    except UnicodeDecodeError as error:
        raise corrupt(f"{path} is no UTF-8 (byte {error.start + 1}): save it as UTF-8") from error
    for at, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) > 1 or "/" in words[0]:
            raise invalid(f"line {at} of {path} is no name of an image: write one name a line, without a folder")
        yield words[0]


def _read(path: Path) -> _Annotated:
    from torchvision.datasets.voc import ET_parse, VOCDetection

    if not path.is_file():
        raise missing(f"there is no {path}, whose image is listed: add it, or remove the image from the list")
    try:
        found: Any = VOCDetection.parse_voc_xml(ET_parse(path).getroot())
        return _Annotated.model_validate(found.get("annotation"))
    except ParseError as error:
        raise corrupt(f"{path} is no XML ({error}): save or get it again") from error
    except ValidationError as error:
        raise wrong_field(path, error, "annotation", "VOC") from error


def _corners(box: _Corners) -> tuple[float, float, float, float]:
    """From pixels that are counted from 1, with the last one; tools that count from 0 write a 0 at the border."""
    return _from_1(box.xmin), _from_1(box.ymin), box.xmax, box.ymax


def _from_1(value: float) -> float:
    return 0.0 if 0 <= value < 1 else value - 1


def _problems(root: Path, name: str, annotated: _Annotated) -> Iterable[str]:
    for at, each in enumerate(annotated.object):
        problem = box_problem(_corners(each.bndbox), annotated.size.width, annotated.size.height)
        if problem is not None:
            yield f"{root / _ANNOTATIONS / name}.xml: object[{at}]: bndbox {problem}"


def _scene(root: Path, name: str, annotated: _Annotated, labels: Mapping[str, int]) -> Scene:
    boxes = []
    for each in annotated.object:
        left, top, right, bottom = corners = _corners(each.bndbox)
        boxes.append(ObjectBox(corners, labels[each.name], (right - left) * (bottom - top), each.difficult))
    return Scene(_image(root, name, annotated.filename), annotated.size.width, annotated.size.height, tuple(boxes))


def _image(root: Path, name: str, written: str) -> str:
    """The path of an image below `root`: as its file of annotations says, or by their common name."""
    names = [Path(written).name] if written else []
    names += [f"{name}{suffix}" for suffix in SUFFIXES]
    return next((f"{_IMAGES}/{each}" for each in names if (root / _IMAGES / each).is_file()), f"{_IMAGES}/{names[0]}")
