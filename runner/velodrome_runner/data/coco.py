"""COCO: annotations of boxes in JSON, a file for each split, and folders of images.

The fields are COCO's: `images` (id, file_name, width, height), `annotations` (image_id, category_id, bbox as x, y,
width and height, and maybe area, iscrowd and segmentation) and `categories` (id, name, and maybe supercategory). Others
are left alone.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat, ValidationError, ValidationInfo

from velodrome.errors import ConfigurationError
from velodrome.spec import Dataset, DatasetSplits
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.coco_areas import area_problem, mask_area
from velodrome_runner.data.format import corrupt, invalid, missing
from velodrome_runner.data.manifest import read_bytes
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
from velodrome_runner.data.splitting import shared_out

# What people call the file or the folder of a split; that of a known validation split tests where nothing else does.
_NAMES = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
_EXPORTED = "_annotations.coco.json"  # beside the images of each split


# A number, also as text: 7, 7.0 and "007" are the same one. Other texts are taken as they are.
_Id = Annotated[int | Annotated[str, Field(min_length=1)], Field(union_mode="left_to_right")]


def _mask(segmentation: object, info: ValidationInfo) -> float | None:
    """The area of a mask, to compare with that of its annotation: without the latter nobody needs it."""
    return None if info.data.get("area") is None else mask_area(segmentation)


class _Image(BaseModel):
    id: _Id
    file_name: str = Field(min_length=1)
    width: Side
    height: Side


class _Annotation(BaseModel):
    id: _Id | None = None
    image_id: _Id
    category_id: _Id
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    area: FiniteFloat | None = None
    iscrowd: bool | None = None
    segmentation: Annotated[float | None, BeforeValidator(_mask)] = None  # its square pixels, where an area is given


class _Category(BaseModel):
    id: _Id
    name: str = Field(min_length=1)
    supercategory: Annotated[str | None, BeforeValidator(lambda given: given if isinstance(given, str) else None)] = (
        None
    )


class _Annotations(BaseModel):
    """A file of annotations."""

    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = Field(min_length=1)


def read_coco(dataset: Dataset, place: Path) -> AnnotatedFolders:
    """The images with boxes of a job at `place`, a folder, or (with `splits.fractions`) a file of annotations.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file and the field.
    """
    splits = dataset.splits or DatasetSplits()
    root = place if place.is_dir() else place.parent
    if splits.fractions is not None:
        files = {"": _only(place)}
    elif splits.files is not None:
        named = splits.files.model_dump()
        files = {split: place / path for split, path in named.items() if path is not None}
    else:
        files = _by_name(place)
    read = {split: _read(path) for split, path in files.items()}
    categories = _categories(files, read)
    scenes = {split: list(_scenes(root, files[split], found, categories)) for split, found in read.items()}
    if splits.fractions is not None:
        scenes = shared_out(scenes[""], lambda scene: scene.name, splits.fractions)
    return opened_scenes(root, scenes, tuple(categories.values()), scale=dataset.image_size)


def _only(place: Path) -> Path:
    """The one file of annotations that is divided."""
    if place.is_file():
        return place
    found = sorted(path for folder in (place, place / "annotations") for path in folder.glob("*.json"))
    if len(found) == 1:
        return found[0]
    raise missing(
        f"{place} has {len(found) or 'no'} files of annotations (*.json, also in its folder annotations): write the "
        "one to divide as spec.dataset.source.path, or name one for each split in spec.dataset.splits.files"
    )


def _by_name(place: Path) -> dict[str, Path]:
    """The files of annotations that are called as splits are, or that are in folders called so."""
    found: dict[str, Path] = {}
    for split, names in _NAMES.items():
        listed = [path for path in sorted((place / "annotations").glob("*.json")) if _named(path.stem, names)]
        listed += [path for name in names if (path := place / name / _EXPORTED).is_file()]
        boxes = [path for path in listed if path.name.startswith("instances_")] or listed
        if len(boxes) > 1:
            raise invalid(
                f"{boxes[0]} and {boxes[1]} are both called as a split {split} is: name one for each split in "
                "spec.dataset.splits.files"
            )
        if boxes:
            found[split] = boxes[0]
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    if {"train", "test"} <= found.keys():
        return found
    raise missing(
        f"{place} has no annotations/instances_train*.json and instances_val*.json, and no train/{_EXPORTED} and "
        f"valid/{_EXPORTED}: write spec.dataset.splits.files, or splits.fractions for a single file"
    )


def _named(stem: str, names: tuple[str, ...]) -> bool:
    """Whether a part of the name is that of a split, maybe with a year: instances_val2017."""
    return any(part.rstrip("0123456789") in names for part in stem.lower().replace("-", "_").split("_"))


def _read(path: Path) -> _Annotations:
    if not path.is_file():
        raise missing(f"there is no file of annotations {path}: correct spec.dataset.source or spec.dataset.splits")
    try:
        return _Annotations.model_validate_json(read_bytes(path).removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise _wrong(path, error) from error


def _wrong(path: Path, error: ValidationError) -> ConfigurationError:
    """The first problem of a file, by its field."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return corrupt(f"{path} is no JSON ({first['ctx']['error']}): save it as UTF-8, or get it again")
    return wrong_field(path, error, "the file", "COCO")


def _categories(files: Mapping[str, Path], read: Mapping[str, _Annotations]) -> dict[int | str, str]:
    """The name of each category by its id, in the order of the ids; the same in all files.

    A category that is the supercategory of others, or that is called background, is no class unless something is
    annotated with it: some tools list such a one first.
    """
    found: dict[int | str, str] = {}
    for split, file in read.items():
        path = files[split]
        ordered = sorted(file.categories, key=lambda each: (isinstance(each.id, str), each.id))
        named = {each.id: each.name for each in ordered}
        if len(set(named.values())) < len(file.categories):
            raise invalid(f"{path}: categories has an id or a name twice: give each category its own")
        refuse_names(list(named.values()), lambda _, path=path: f"{path}, categories")  # type: ignore[misc]
        first = next(iter(files.values()))
        if found and named != found:
            differing = min(set(named.items()) ^ set(found.items()), key=str)
            raise invalid(
                f"{path}: categories differ from those of {first}, at first in {differing[0]} ({differing[1]}): "
                "write the same categories into both"
            )
        found = named
    above = {
        each.supercategory for file in read.values() for each in file.categories if each.supercategory != each.name
    }
    used = {each.category_id for file in read.values() for each in file.annotations}
    above |= {name for name in found.values() if name.strip("_").lower() == "background"}
    return {number: name for number, name in found.items() if number in used or name not in above}


def _scenes(root: Path, path: Path, read: _Annotations, categories: Mapping[int | str, str]) -> Iterator[Scene]:
    """The images of a file in their order, with their boxes in the order of the file."""
    folder = _folder(root, path, read)
    labels = {number: label for label, number in enumerate(categories)}
    images = {image.id: image for image in read.images}
    if len(images) < len(read.images):
        raise invalid(f"{path}: images has an id twice: give each image its own")
    ids = [each.id for each in read.annotations if each.id is not None]
    if len(set(ids)) < len(ids):
        raise invalid(f"{path}: annotations has an id twice: remove what is there twice, or give each its own")
    boxes: dict[int | str, list[ObjectBox]] = {number: [] for number in images}
    problems: list[str] = []
    for at, each in enumerate(read.annotations):
        where = f"annotations[{at}]" + ("" if each.id is None else f" (id {each.id})")
        if each.image_id not in images:
            raise invalid(f"{path}: {where}: image_id {each.image_id} is no id of images: correct or remove it")
        if each.category_id not in labels:
            known = ", ".join(map(str, list(labels)[:5])) + (" and so on" if len(labels) > 5 else "")
            raise invalid(
                f"{path}: {where}: category_id {each.category_id} is no id of categories, which are {known}: correct "
                "it, or add the category"
            )
        image, (x, y, width, height) = images[each.image_id], each.bbox
        corners = (x, y, x + width, y + height)
        problem = box_problem(corners, image.width, image.height)
        if problem is not None:
            problems.append(f"{path}: {where}: bbox {problem}")
        elif each.area is not None and (problem := area_problem(each.area, width, height, each.segmentation)):
            problems.append(f"{path}: {where}: area {problem} (without the field, that of the box counts)")
        area = width * height if each.area is None else each.area
        boxes[each.image_id].append(ObjectBox(corners, labels[each.category_id], area, bool(each.iscrowd)))
    refuse_boxes(problems)
    for number, image in images.items():
        yield Scene(f"{folder}{_below(image.file_name)}", image.width, image.height, tuple(boxes[number]))


def _folder(root: Path, path: Path, read: _Annotations) -> str:
    """Where below `root` the images of a file of annotations are, with a slash at its end: where the first one is."""
    if not read.images:
        raise invalid(f"{path}: images is empty: add images, or leave the split out")
    for image in read.images:
        parts = PurePosixPath(_below(image.file_name))
        if parts.is_absolute() or PureWindowsPath(image.file_name).drive or ".." in parts.parts:
            raise invalid(f"{path}: file_name {image.file_name!r} leads out of the folder: write a path below it")
    first, own = _below(read.images[0].file_name), path.parent.relative_to(root)
    name = path.stem.rpartition("_")[2]
    places = (own, own / "images", Path(name), Path("images", name), Path("images"), Path("data"), Path())
    tried = dict.fromkeys(place.as_posix() for place in places)
    for folder in tried:
        if (root / folder / first).is_file():
            return "" if folder == "." else f"{folder}/"
    looked = ", ".join(str(root / folder) for folder in tried)
    raise missing(f"there is no image {first}, which {path} lists first, in any of {looked}: put the images there")


def _below(file_name: str) -> str:
    """The path of an image below its folder: ./1.png is 1.png, and Windows writes another slash."""
    return PurePosixPath(file_name.replace("\\", "/")).as_posix()
