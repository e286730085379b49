"""Images with masks, in which each pixel has a label. See `MaskFiles` and `opened_masks`."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from velodrome.kernel.limits import cpu_limit
from velodrome.text import counted
from velodrome.vocabulary import VOID
from velodrome_runner.data.contents import Samples, Schema
from velodrome_runner.data.format import Description, divided, invalid, missing
from velodrome_runner.data.image_files import BROKEN, ImageFiles, Pixels, check_bits, decoded_whole, undecodable
from velodrome_runner.data.listed import Folders, digests_of, encoded, entries_of
from velodrome_runner.data.manifest import kept_manifest, read_bytes
from velodrome_runner.data.orientation import is_turned
from velodrome_runner.data.scenes import SceneFiles, check_files, common_shape, fitted, line

_GREY, _PALETTE = 0, 3  # the colour types of PNG whose pixels can be labels
_QUOTED = 5  # classes that a message lists


@dataclass(frozen=True, slots=True)
class MaskedImage:
    """An image and its mask, by their paths below the folder."""

    name: str
    mask: str


@dataclass(frozen=True)
class LabelFiles(ImageFiles):
    """The masks as images (1, height, width) of labels below `classes`, or `VOID`, which also fills up a square."""

    classes: int = 0

    def _decoded(self, index: int, content: bytes, path: Path) -> Pixels:  # noqa: ARG002 - all masks are alike
        mask = opened_mask(content, path, self.classes)
        return fitted(mask, self.scale, resampling=Image.Resampling.NEAREST, around=VOID)[None]


@dataclass(frozen=True)
class MaskFiles:
    """A source of images with masks, in RGB. Both are read from files when they are taken."""

    images: SceneFiles
    masks: LabelFiles

    def __len__(self) -> int:
        return len(self.images)

    @property
    def targets(self) -> Tensor:
        """All masks (n, height, width) uint8, which are read for it."""
        return decoded_whole(self.masks).inputs["images"][:, 0]

    @property
    def lengths(self) -> None:
        """Images are no sequences."""

    @property
    def nbytes(self) -> int:
        """Bytes of all images and masks in memory."""
        return len(self) * (math.prod(self.images.shape) + math.prod(self.masks.shape))

    def take(self, indices: Tensor) -> Samples:
        """Reads and decodes the images and the masks at those indices. Raises as `ImageFiles.take` does."""
        return Samples(self.images.take(indices).inputs, self.masks.take(indices).inputs["images"][:, 0])


@dataclass(frozen=True)
class MaskedFolders(Folders):
    """A data set of images with masks, opened."""

    def describe(self) -> Description:
        """Images with masks."""
        return Description("masks", self.schema)

    def digest(self) -> str:
        """The SHA-256 of the classes, and of a line for each image and mask of each split, in the order of the names.

        A line is JSON of the split, the path, the size and the SHA-256 of the file.
        """
        hasher = hashlib.sha256(line(["masks", self.schema.classes]))
        for split, entries in sorted(self.entries().items()):
            for entry in sorted(entries, key=lambda entry: entry.name):
                hasher.update(line([split, entry.name, entry.size, entry.sha256]))
        return f"sha256:{hasher.hexdigest()}"


def opened_masks(
    root: Path, listed: Mapping[str, Sequence[MaskedImage]], classes: tuple[str, ...], *, scale: int | None
) -> MaskedFolders:
    """The images and masks of each split, below `root`, as a data set. Every mask is read once, to look at its labels.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid, by the file.
    """
    pairs = [pair for each in listed.values() for pair in each]
    assigned = [split for split, each in listed.items() for _ in each]
    if not pairs:
        raise invalid(f"no image is listed in {root}: add images, or correct spec.dataset.splits")
    check_files(root, listed, "listed: put it there, or remove it from the list")
    with ThreadPoolExecutor(cpu_limit()) as pool:
        looked = list(pool.map(lambda pair: _looked_at(root, pair, len(classes)), pairs))
    _check_classes(root, assigned, torch.stack([counts for _, counts in looked]), classes)
    sizes = [size for size, _ in looked]
    names, masks = [pair.name for pair in pairs], [pair.mask for pair in pairs]
    shape = common_shape(root, names, sizes, scale)
    kept = kept_manifest(root, [*names, *masks])
    sha256, none = digests_of(kept), torch.zeros(len(pairs))
    source = MaskFiles(
        SceneFiles(
            root, encoded(names), none, shape, scale, convert=True,
            sha256=None if sha256 is None else sha256[: len(pairs)], sizes=torch.tensor(sizes),
        ),
        LabelFiles(
            root, encoded(masks), none, (1, *shape[1:]), scale, convert=False,
            sha256=None if sha256 is None else sha256[len(pairs) :], classes=len(classes),
        ),
    )  # fmt: skip
    entries = entries_of(root, [*names, *masks], [*assigned, *assigned], kept)
    return MaskedFolders(Schema(shape, classes), divided(source, assigned), root, entries)


def opened_mask(content: bytes, path: Path, classes: int) -> Image.Image:
    """The mask in a file's content, whose pixels are labels.

    Raises:
        ConfigurationError: DatasetCorrupt or DatasetInvalid: it is no mask, or has a label that is no class.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            _check_kind(image, content, path)
            image.load()
    except BROKEN as error:
        raise undecodable(path, error) from error
    labels = np.asarray(image)
    wrong = labels[(labels >= classes) & (labels != VOID)]
    if len(wrong):
        row, column = np.argwhere(labels == wrong[0])[0]
        raise invalid(
            f"{path} has the label {wrong[0]} at column {column + 1} of row {row + 1}, and labels are 0 to "
            f"{classes - 1}, or {VOID} for what does not count: paint it again, or name its class in "
            "spec.dataset.classes"
        )
    return image


def _check_kind(image: Image.Image, content: bytes, path: Path) -> None:
    """PNG has the bits of a pixel and the type of its colours in its header, and Pillow stretches few bits of grey."""
    if image.format != "PNG":
        found = f"a {image.format}"
    else:
        bits, colours = content[24], content[25]
        if colours == _PALETTE or (colours, bits) == (_GREY, 8):
            return
        found = f"a PNG of {counted(bits, 'bit')} of grey" if colours == _GREY else f"a PNG of the mode {image.mode}"
    raise invalid(
        f"{path} is {found}, whose pixels are no labels: save the mask as a PNG with a palette or of 8 bits of grey, "
        "in which a pixel is the number of its class"
    )


def _looked_at(root: Path, pair: MaskedImage, classes: int) -> tuple[tuple[int, int], Tensor]:
    """Width and height of an image, and how many pixels of its mask have each label."""
    path, mask_path = root / pair.name, root / pair.mask
    if not mask_path.is_file():
        raise missing(f"the image {path} has no mask {mask_path}: paint one, or remove the image from the list")
    mask = opened_mask(read_bytes(mask_path), mask_path, classes)
    try:
        with Image.open(path) as image:
            size = image.size[::-1] if is_turned(image, mask.size, path) else image.size
            check_bits(image, path)
    except BROKEN as error:
        raise undecodable(path, error) from error
    if mask.size != size:
        raise invalid(
            f"{mask_path} has {mask.width} x {mask.height} pixels, and its image {pair.name} {size[0]} x {size[1]}: "
            "paint the mask in the size of its image"
        )
    return size, torch.from_numpy(np.bincount(np.asarray(mask).ravel(), minlength=VOID + 1))


def _check_classes(root: Path, assigned: Sequence[str], counts: Tensor, classes: Sequence[str]) -> None:
    """Each class is painted in the training split, and each split has a pixel that counts."""
    for split in dict.fromkeys(assigned):
        pixels = counts[torch.tensor([each == split for each in assigned])].sum(0)[:VOID]
        if not bool(pixels.any()):
            raise invalid(
                f"no mask of the {split} split in {root} has a pixel that counts, all are {VOID}: paint some classes"
            )
        lacking = [name for label, name in enumerate(classes) if not pixels[label]]
        if split == "train" and lacking:
            more = f" and {len(lacking) - _QUOTED} more" if len(lacking) > _QUOTED else ""
            raise invalid(
                f"no mask of the training split in {root} has a pixel of {', '.join(lacking[:_QUOTED])}{more}"
                f"{_of_void(counts)}: paint some, or write as spec.dataset.classes the names of the labels that there "
                "are"
            )


def _of_void(counts: Tensor) -> str:
    """A hint for masks of two values, 0 and 255, as many tools write what is an object and what is not."""
    labels = counts.sum(0).nonzero().flatten().tolist()
    return (
        f" (they have 0 and {VOID} alone, and {VOID} does not count: save {VOID} as 1)" if labels == [0, VOID] else ""
    )
