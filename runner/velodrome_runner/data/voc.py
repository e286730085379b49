"""Pascal VOC: an XML file of boxes for each image, in Annotations, and the images in JPEGImages.

Pixels of VOC are counted from 1, and a box includes its last ones. An object that is `difficult` counts neither as
found nor as missed, as a crowd of COCO.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError  # nosec B405 - only the error; torchvision reads the files

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from velodrome.spec import Dataset
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.format import corrupt, missing
from velodrome_runner.data.scenes import (
    AnnotatedFolders,
    ObjectBox,
    Scene,
    Side,
    box_problem,
    opened_scenes,
    refuse_boxes,
    wrong_field,
)
from velodrome_runner.data.voc_folders import PARTS, image_of, names_of, root_of

_ANNOTATIONS, _LISTS = PARTS["VOC"], "ImageSets/Main"
_DEPTH = 3  # of the fields: annotation, object, bndbox
_GROUPS = ("annotation", "object", "size", "bndbox")  # elements that hold fields, and no text


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
    width: Side
    height: Side


class _Annotated(BaseModel):
    filename: str = ""
    size: _Size
    object: list[_Object] = []


def read_voc(dataset: Dataset, place: Path) -> AnnotatedFolders:
    """The images with boxes of a job at `place`, the folder of Annotations and JPEGImages, or one above VOC2012.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file and the field.
    """
    root = root_of(place, _ANNOTATIONS)
    names = names_of(root, dataset.splits, every=f"{_ANNOTATIONS}/*.xml", lists=_LISTS)
    read = {name: _read(root / _ANNOTATIONS / f"{name}.xml") for each in names.values() for name in each}
    classes = tuple(sorted({each.name for annotated in read.values() for each in annotated.object}))
    refuse_names(classes, lambda each: f"{_first_of(each, read)}.xml in {root / _ANNOTATIONS}")
    labels = {name: label for label, name in enumerate(classes)}
    refuse_boxes(problem for name, annotated in read.items() for problem in _problems(root, name, annotated))
    scenes = {split: [_scene(root, name, read[name], labels) for name in each] for split, each in names.items()}
    return opened_scenes(root, scenes, classes, scale=dataset.image_size)


def _first_of(label: str, read: Mapping[str, _Annotated]) -> str:
    """The first annotation with an object of that class."""
    return next(name for name, annotated in read.items() if any(each.name == label for each in annotated.object))


def _read(path: Path) -> _Annotated:
    from torchvision.datasets.voc import ET_parse

    if not path.is_file():
        raise missing(f"there is no {path}, whose image is listed: add it, or remove the image from the list")
    try:
        root = ET_parse(path).getroot()
        return _Annotated.model_validate(_fields(root, _DEPTH) if root.tag == "annotation" else None)
    except ParseError as error:
        raise corrupt(f"{path} is no XML ({error}): save or get it again") from error
    except ValidationError as error:
        raise wrong_field(path, error, "annotation", "VOC") from error


def _fields(element: Any, depth: int) -> dict[str, Any] | str:
    """What an element has, by tag: texts, or fields of their own. Tags that occur again, and all objects, are lists.

    An empty element that has no fields is as good as none.
    """
    if depth == 0 or len(element) == 0:
        return {} if element.tag in _GROUPS else (element.text or "").strip()
    found: dict[str, list[Any]] = {}
    for child in element:
        value = _fields(child, depth - 1)
        if value != "":
            found.setdefault(child.tag, []).append(value)
    return {tag: each if tag == "object" or len(each) > 1 else each[0] for tag, each in found.items()}


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
    return Scene(image_of(root, name, annotated.filename), annotated.size.width, annotated.size.height, tuple(boxes))
