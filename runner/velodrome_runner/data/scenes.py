"""Images with boxes: what the formats of detection share. See `SceneFiles` and `opened_scenes`."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field, ValidationError
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome.kernel.limits import cpu_limit
from velodrome_runner.data.contents import Schema
from velodrome_runner.data.format import Description, divided, invalid, missing
from velodrome_runner.data.image_files import BROKEN, ImageFiles, Pixels, check_bits, converted, undecodable
from velodrome_runner.data.listed import Folders, digests_of, encoded, entries_of
from velodrome_runner.data.manifest import kept_manifest
from velodrome_runner.data.orientation import is_turned

# What the last axis of the targets (n, most, 8) float64 has. Boxes are in the pixels of the image file, from the upper
# left corner of its first pixel. `AREA` is in square pixels: of the object where it is known, else of the box. `SCALE`
# is how many pixels of a model's input one pixel of the file is, in every row of an image. Rows behind an image's last
# box have the label -1.
BOX, LABEL, AREA, CROWD, SCALE, COLUMNS = slice(0, 4), 4, 5, 6, 7, 8
_ROUNDING = 1.0  # pixels by which a box may pass the border of its image
_LONGEST = 2**20  # pixels of a side that an annotation may say
Side = Annotated[int, Field(ge=1, le=_LONGEST)]
_QUOTED = 5  # boxes that a message lists
_KINDS = ("int", "constrained-str")  # where a field may have one of several kinds, pydantic names the kind too


@dataclass(frozen=True, slots=True)
class ObjectBox:
    """A box by its corners, in pixels of the file. A crowd is no single object: found or not, it does not count."""

    corners: tuple[float, float, float, float]
    label: int
    area: float
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """An image by its path below the folder, with its size in pixels and its boxes, of which it may have none."""

    name: str
    width: int
    height: int
    boxes: tuple[ObjectBox, ...] = ()


@dataclass(frozen=True)
class SceneFiles(ImageFiles):
    """A source of images with boxes, in RGB. `labels` are the targets, and `sizes` (n, 2) width and height.

    With a `scale`, the longer side of an image gets that many pixels, and what is left of the square is black.
    """

    sizes: Tensor = field(default_factory=lambda: torch.empty(0, 2))

    @property
    def nbytes(self) -> int:
        """Bytes of all images and targets in memory."""
        return len(self) * math.prod(self.shape) + self.labels.nbytes

    def look(self, index: int) -> None:
        """Looks at the header of an image. Raises ConfigurationError: DatasetCorrupt or DatasetInvalid, by the file."""
        path = self.root / self.names[index].decode()
        try:
            with Image.open(path) as image:
                self._check(index, image, path)
        except BROKEN as error:
            raise undecodable(path, error) from error

    def _check(self, index: int, image: Image.Image, path: Path) -> bool:
        """Whether the image is to be turned; it has the size and the bits that it must have."""
        width, height = size = tuple(self.sizes[index].tolist())
        turned = is_turned(image, size, path)
        if not turned and image.size != size:
            exchanged = ", with both exchanged" if image.size == (height, width) else ""
            raise invalid(
                f"{path} has {image.width} x {image.height} pixels, and its annotation says {width} x "
                f"{height}{exchanged}: correct the annotation, or get the image again"
            )
        check_bits(image, path)
        return turned

    def _decoded(self, index: int, content: bytes, path: Path) -> Pixels:
        try:
            with Image.open(io.BytesIO(content)) as image:
                upright = ImageOps.exif_transpose(image) if self._check(index, image, path) else image
                pixels = fitted(converted(upright, "RGB", path), self.scale)
        except BROKEN as error:
            raise undecodable(path, error) from error
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def fitted(
    image: Image.Image,
    side: int | None,
    *,
    resampling: Image.Resampling = Image.Resampling.BILINEAR,
    around: int = 0,
) -> Pixels:
    """The pixels of an image, at the upper left of a square of this side; as they are if there is no side.

    What is left of the square has the value `around`.
    """
    if side is None:
        return np.array(image)
    factor = side / max(image.size)
    width, height = (max(1, math.floor(each * factor)) for each in image.size)
    # Both axes have the same factor to the last digit: the rest of a pixel at the border is left out.
    box = (0, 0, min(width / factor, image.width), min(height / factor, image.height))
    pixels = np.asarray(image.resize((width, height), resampling, box=box))
    square = np.full((side, side, *pixels.shape[2:]), around, dtype=np.uint8)
    square[:height, :width] = pixels
    return square


@dataclass(frozen=True)
class AnnotatedFolders(Folders):
    """A data set of images with boxes, opened. `listed` has what each split was read from."""

    listed: Mapping[str, Sequence[Scene]] = field(default_factory=dict)

    def describe(self) -> Description:
        """Images with boxes."""
        return Description("scenes", self.schema)

    def digest(self) -> str:
        """The SHA-256 of the classes, and of a line for each image of each split, in the order of the names.

        A line is JSON of the split, the path, the size and the SHA-256 of the file, and its boxes in their order.
        """
        hasher = hashlib.sha256(line(["scenes", self.schema.classes]))
        files = self.entries()
        for split, scenes in sorted(self.listed.items()):
            pairs = zip(scenes, files.get(split, ()), strict=True)
            for scene, entry in sorted(pairs, key=lambda pair: pair[0].name):
                boxes = [[*box.corners, box.label, box.area, box.crowd] for box in scene.boxes]
                hasher.update(line([split, entry.name, entry.size, entry.sha256, boxes]))
        return f"sha256:{hasher.hexdigest()}"


def line(values: Any) -> bytes:
    """A line of what a digest covers."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def opened_scenes(
    root: Path, listed: Mapping[str, Sequence[Scene]], classes: tuple[str, ...], *, scale: int | None
) -> AnnotatedFolders:
    """The images of each split, below `root`, as a data set.

    Raises:
        ConfigurationError: DatasetMissing or DatasetInvalid, by the file.
    """
    scenes = [scene for each in listed.values() for scene in each]
    assigned = [split for split, each in listed.items() for _ in each]
    if not scenes:
        raise invalid(f"no image is listed in {root}: add images, or correct spec.dataset.splits")
    names = [scene.name for scene in scenes]
    check_files(root, listed, "annotated: put it there, or remove its annotation")
    for split, each in listed.items():
        _check_pixels(root, split, each)
    sizes = [(scene.width, scene.height) for scene in scenes]
    shape = common_shape(root, names, sizes, scale, says="has, by its annotation,")
    kept = kept_manifest(root, names)
    source = SceneFiles(
        root,
        encoded(names),
        targets_of(scenes, scale),
        shape,
        scale,
        convert=True,
        sha256=digests_of(kept),
        sizes=torch.tensor(sizes),
    )
    if kept is None:  # else `velodrome data prepare` has decoded them
        with ThreadPoolExecutor(cpu_limit()) as pool:
            list(pool.map(source.look, range(len(source))))
    entries = entries_of(root, names, assigned, kept)
    return AnnotatedFolders(Schema(shape, classes), divided(source, assigned), root, entries, listed)


def _check_pixels(root: Path, split: str, scenes: Sequence[Scene]) -> None:
    """Raises ConfigurationError, DatasetInvalid: the boxes of a split are fractions of their images."""
    with_boxes = [scene for scene in scenes if scene.boxes]
    if with_boxes and all(
        max(box.corners) <= _ROUNDING < max(scene.width, scene.height) for scene in with_boxes for box in scene.boxes
    ):
        raise invalid(
            f"all boxes of the {split} split in {root} end within the first pixel of their images, so they seem to be "
            "fractions: multiply them by the width and the height of their images"
        )


def targets_of(scenes: Sequence[Scene], scale: int | None) -> Tensor:
    """The targets of these images, (n, most, 8) float64: see `BOX` and the other columns."""
    most = max(1, *(len(scene.boxes) for scene in scenes))
    found = torch.zeros(len(scenes), most, COLUMNS, dtype=torch.float64)
    found[..., LABEL] = -1
    for row, scene in enumerate(scenes):
        if scene.boxes:
            found[row, : len(scene.boxes), :SCALE] = torch.tensor(
                [[*box.corners, box.label, box.area, box.crowd] for box in scene.boxes], dtype=torch.float64
            )
        found[row, :, SCALE] = 1.0 if scale is None else scale / max(scene.width, scene.height)
    return found


def common_shape(
    root: Path, names: Sequence[str], sizes: Sequence[tuple[int, int]], scale: int | None, *, says: str = "has"
) -> tuple[int, int, int]:
    """The shape of all images, in RGB. Raises ConfigurationError, DatasetInvalid: without a scale, they differ."""
    if scale is not None:
        return 3, scale, scale
    width, height = sizes[0]
    for name, size in zip(names, sizes, strict=True):
        if size != sizes[0]:
            raise invalid(
                f"{root / name} {says} {size[0]} x {size[1]} pixels, and {names[0]} {width} x {height}: write "
                "spec.dataset.imageSize, to which the longer side of all is scaled"
            )
    return 3, height, width


class Named(Protocol):
    """Something of an image, whose path below the folder is its name."""

    @property
    def name(self) -> str:
        """The path."""


def check_files(root: Path, listed: Mapping[str, Sequence[Named]], because: str) -> None:
    """Raises ConfigurationError, DatasetMissing or DatasetInvalid: an image is not there, or is listed twice."""
    seen: dict[str, str] = {}
    for split, scenes in listed.items():
        for scene in scenes:
            path = root / scene.name
            if not path.is_file():
                raise missing(f"there is no image {path}, which is {because}")
            if scene.name in seen:
                where = (
                    f"twice in the {split} split" if seen[scene.name] == split else f"in {seen[scene.name]} and {split}"
                )
                raise invalid(f"the image {path} is {where}: list each image once")
            seen[scene.name] = split


def refuse_boxes(problems: Iterable[str]) -> None:
    """Raises ConfigurationError, DatasetInvalid, if there are problems of boxes; it quotes the first ones."""
    found = list(problems)
    if found:
        more = f", and {len(found) - _QUOTED} more like these" if len(found) > _QUOTED else ""
        raise invalid("; ".join(found[:_QUOTED]) + more + ": correct or remove each of them")


def wrong_field(path: Path, error: ValidationError, whole: str, kind: str) -> ConfigurationError:
    """What to raise for a file of annotations: its first wrong field, or `whole` where the error is of none."""
    first = error.errors()[0]
    parts = [part for part in first["loc"] if part not in _KINDS]
    field_ = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    said = first["msg"][0].lower() + first["msg"][1:]
    if " instance of " in said:  # pydantic's words for what is no mapping, which name a class of ours
        said = "should be there once, with its own fields in it"
    return invalid(f"{path}: {field_ or whole}: {said}: write it as {kind} does")


def box_problem(corners: Sequence[float], width: int, height: int) -> str | None:
    """What is wrong with a box in an image of that size; None if nothing is."""
    left, top, right, bottom = corners
    if right <= left or bottom <= top:
        return f"has no area ({right - left:g} x {bottom - top:g} pixels)"
    if left < -_ROUNDING or top < -_ROUNDING or right > width + _ROUNDING or bottom > height + _ROUNDING:
        ends = f"from ({left:g}, {top:g}) to ({right:g}, {bottom:g})"
        return f"leaves its image: it goes {ends} in {width} x {height} pixels"
    return None
