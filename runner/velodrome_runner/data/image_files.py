"""Image files as a source: an image is decoded when it is taken, so a worker process can do that."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome.kernel.limits import cpu_limit
from velodrome_runner.data.contents import Samples, SampleSource, Schema
from velodrome_runner.data.format import corrupt, divided, invalid
from velodrome_runner.data.listed import Folders, ListedFiles, digests_of, encoded, entries_of
from velodrome_runner.data.manifest import kept_manifest

_MODES = {1: "L", 3: "RGB"}
_WIDE = ("I", "F")  # Pillow's modes of 16 and 32 bits: I, I;16, I;16B, F
# Pillow raises SyntaxError for a broken PNG, and ValueError or struct.error for odd headers.
BROKEN = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
_CHUNK = 64  # images that one thread decodes at once
_GAP = 2  # a JPEG may be decoded at a fraction of its size, if that has this many pixels for each that is asked for
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class ImageFiles(ListedFiles):
    """A source of image files.

    Images come as (channels, size, size), or unscaled in the size `shape`, which all of them must have then. If
    `convert`, images of other modes are converted to RGB; else they are refused.
    """

    shape: tuple[int, int, int]
    scale: int | None
    convert: bool

    @property
    def lengths(self) -> None:
        """Images are no sequences."""

    @property
    def nbytes(self) -> int:
        """Bytes of all images and labels in memory."""
        return len(self) * (int(np.prod(self.shape)) + 8)

    def take(self, indices: Tensor) -> Samples:
        """Reads and decodes the images at those indices.

        Raises:
            ConfigurationError: DatasetCorrupt, DatasetInvalid, DatasetMissing or DatasetDigestMismatch, by file.
        """
        images = torch.empty((len(indices), *self.shape), dtype=torch.uint8)
        for row, index in enumerate(indices.tolist()):
            images[row] = torch.from_numpy(self._image(index))
        return Samples({"images": images}, self.labels[indices])

    def _image(self, index: int) -> Pixels:
        path, content = self.read(index)
        return self._decoded(index, content, path)

    def _decoded(self, index: int, content: bytes, path: Path) -> Pixels:  # noqa: ARG002 - others look at it
        return decoded(content, path, self.shape, scale=self.scale, convert=self.convert)


def opened(
    root: Path,
    listed: Mapping[str, list[tuple[str, str]]],
    classes: tuple[str, ...],
    *,
    scale: int | None,
    convert: bool,
) -> Folders:
    """The files of each split with their class, by path below `root`, as a data set.

    Raises:
        ConfigurationError: DatasetCorrupt, DatasetInvalid or DatasetMissing, by the file.
    """
    files = [file for split in listed.values() for file in split]
    assigned = [split for split, each in listed.items() for _ in each]
    shape = _shape(root / files[0][0], scale=scale, convert=convert)
    label = {name: position for position, name in enumerate(classes)}
    names = [name for name, _ in files]
    kept = kept_manifest(root, names)
    source = ImageFiles(
        root,
        encoded(names),
        torch.tensor([label[name] for _, name in files]),
        shape,
        scale,
        convert,
        sha256=digests_of(kept),
    )
    return Folders(Schema(shape, classes), divided(source, assigned), root, entries_of(root, names, assigned, kept))


def _shape(path: Path, *, scale: int | None, convert: bool) -> tuple[int, int, int]:
    """Channels, height and width of every image, told by the first one."""
    try:
        with Image.open(path) as image:
            channels = 1 if image.mode == "L" and not convert else 3
            return (channels, scale, scale) if scale is not None else (channels, image.height, image.width)
    except BROKEN as error:
        raise undecodable(path, error) from error


def decoded(content: bytes, path: Path, shape: tuple[int, int, int], *, scale: int | None, convert: bool) -> Pixels:
    """The image (channels, height, width) in a file's content. Raises as `ImageFiles.take` does."""
    channels, height, width = shape
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode = _MODES[channels]
            if image.mode != mode and not convert:
                others = f"the first image is {mode}" if image.mode in _MODES.values() else "images are RGB or L (grey)"
                raise invalid(
                    f"{path} is of the mode {image.mode}, and {others}: save it as {mode}, for example by Pillow's "
                    f"Image.convert({mode!r})"
                )
            found: Image.Image = image
            if scale is not None:
                shorter = min(image.size)
                if shorter > _GAP * scale:
                    # libjpeg decodes at an eighth, a quarter or a half of the size in a fraction of the time.
                    longer = round(max(image.size) * _GAP * scale / shorter)
                    image.draft(None, (_GAP * scale if image.width <= image.height else longer,
                                       longer if image.width <= image.height else _GAP * scale))  # fmt: skip
                found = _square(converted(image, mode, path), scale)
            elif image.size != (width, height):
                raise invalid(
                    f"{path} has {image.width} x {image.height} pixels, and the first image {width} x {height}: write "
                    "spec.dataset.imageSize, to which all are scaled"
                )
            else:
                found = converted(image, mode, path)
            pixels = np.array(found, dtype=np.uint8)
    except BROKEN as error:
        raise undecodable(path, error) from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def converted(image: Image.Image, mode: str, path: Path) -> Image.Image:
    """The image in another of Pillow's modes. Raises ConfigurationError as `check_bits` does."""
    check_bits(image, path)
    return image.convert(mode)


def check_bits(image: Image.Image, path: Path) -> None:
    """Refuses pixels of more than 8 bits, most of which Pillow would make white.

    Raises:
        ConfigurationError: DatasetInvalid.
    """
    if image.mode.startswith(_WIDE):
        raise invalid(
            f"{path} is of the mode {image.mode}, whose pixels have more than 8 bits: save it with 8 bits a channel, "
            "all images scaled in the same way"
        )


def undecodable(path: Path, error: BaseException) -> ConfigurationError:
    """What to raise where Pillow can't decode a file."""
    why = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
    return corrupt(f"{path} is no image that can be decoded{why}: replace or remove it")


def _square(image: Image.Image, side: int) -> Image.Image:
    """The central square of the image, scaled so that the shorter side is `side`; in one resampling."""
    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def decoded_whole(source: SampleSource) -> Samples:
    """All images of a source, decoded by as many threads as there are CPUs."""
    with ThreadPoolExecutor(cpu_limit()) as pool:
        pieces = list(pool.map(source.take, torch.arange(len(source)).split(_CHUNK)))
    images = torch.cat([piece.inputs["images"] for piece in pieces])
    return Samples({"images": images}, torch.cat([piece.targets for piece in pieces]))
