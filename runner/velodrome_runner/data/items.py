"""One item of a dataset of one's own: its input as a tensor, its target as a number, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from velodrome.errors import ConfigurationError, VelodromeError
from velodrome_runner.data.contents import Kind, Samples
from velodrome_runner.data.format import invalid
from velodrome_runner.log import words

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# The kind of data by the number of an input's dimensions.
KINDS: Mapping[int, Kind] = {3: "images", 2: "sequences", 1: "table"}
WANTED = (
    "return a torch dataset for each split, such as {'train': …, 'test': …}, whose items are (input, target): "
    "see docs/own-data.md"
)
# Pillow's modes of 8 bits a channel, and how many channels tell that an image has them last.
_MODES = ("L", "RGB")
_CHANNELS = (1, 3, 4)
_SHORTEST = 2
_LARGEST = 2**63  # of an int64, one more


@dataclass(frozen=True)
class Items:
    """A dataset of one's own as a source. `shape` is that of one sample, with the longest length of a sequence."""

    dataset: Any
    name: str
    kind: Kind
    shape: tuple[int, ...]
    labels: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def targets(self) -> Tensor:
        """The targets of all samples."""
        return self.labels

    @property
    def nbytes(self) -> int:
        """Bytes of all samples in memory."""
        if self.lengths is not None:
            return 4 * self.shape[0] * int(self.lengths.sum()) + 16 * len(self)
        size = {"images": 1, "table": 8}[self.kind]
        return len(self) * (size * int(np.prod(self.shape)) + 8)

    def take(self, indices: Tensor) -> Samples:
        """The samples at those indices. Raises ConfigurationError: DatasetInvalid, an item is not as the others."""
        found = [input_of(self.name, index, item_of(self.dataset, self.name, index)[0]) for index in indices.tolist()]
        for index, value in zip(indices.tolist(), found, strict=True):
            check_shape(self.name, index, value, self.kind, self.shape)
        targets = self.labels[indices]
        if self.kind == "images":
            return Samples({"images": _stacked(found, self.shape, torch.uint8)}, targets)
        if self.kind == "table":
            none = torch.empty(len(found), 0, dtype=torch.int64)
            return Samples({"numeric": _stacked(found, self.shape, torch.float64), "categorical": none}, targets)
        lengths = torch.tensor([value.shape[1] for value in found], dtype=torch.int64)
        values = torch.zeros(len(found), self.shape[0], int(lengths.max()) if found else 0)
        for row, value in enumerate(found):
            values[row, :, : value.shape[1]] = value
        return Samples({"values": values, "lengths": lengths}, targets)


def item_of(dataset: Any, name: str, index: int) -> tuple[Any, Any]:
    """The input and the target at that index of a dataset that messages call `name`, as the dataset gives them.

    Raises:
        ConfigurationError: DatasetFactoryFailed, the dataset raised; DatasetInvalid, it gave something else.
    """
    try:
        item = dataset[index]
    except VelodromeError:
        raise
    except Exception as error:  # the dataset is the user's code
        raise failed(f"item {index} of {name}", error) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise invalid(f"item {index} of {name} is {type(item).__name__}, and not (input, target): {WANTED}")
    return item[0], item[1]


def failed(what: str, error: BaseException) -> ConfigurationError:
    """The user's code raised this."""
    return ConfigurationError(f"{what} raised {type(error).__name__}: {words(error)}", "DatasetFactoryFailed")


def input_of(name: str, index: int, given: Any) -> Tensor:
    """The input as a tensor on the CPU: uint8 of an image, float32 of a sequence, float64 of a row.

    Raises:
        ConfigurationError: DatasetInvalid, it is none of these.
    """
    from PIL import Image

    if isinstance(given, Image.Image):
        given = _pixels(name, index, given)
    if not isinstance(given, Tensor | np.ndarray):
        raise invalid(f"the input of item {index} of {name} is {type(given).__name__}: give a tensor or an array")
    value = _tensor(name, index, given)
    if value.ndim not in KINDS or value.numel() == 0:
        raise invalid(
            f"the input of item {index} of {name} has the shape {tuple(value.shape)}: give an image (channels, height, "
            "width), a sequence (channels, length) or a row (columns,)"
        )
    if value.ndim == 3 and value.dtype != torch.uint8:
        raise invalid(
            f"the image {index} of {name} is {value.dtype}: give raw pixels as torch.uint8, which spec.preprocessing "
            "scales for every entry alike"
        )
    if value.ndim == 3 and value.shape[0] not in _CHANNELS and value.shape[2] in _CHANNELS:
        height, width, channels = value.shape
        raise invalid(
            f"the image {index} of {name} has the shape {tuple(value.shape)}, with its channels last: give them first, "
            f"as {(channels, height, width)}"
        )
    if value.ndim == 2:
        value = value.to(torch.float32)
        if value.shape[1] < _SHORTEST:
            raise invalid(f"item {index} of {name} is a sequence of length {value.shape[1]}: leave it out")
    elif value.ndim == 1:
        value = value.to(torch.float64)
    if value.ndim < 3:
        _check_finite(name, index, value)
    return value


def _check_finite(name: str, index: int, value: Tensor) -> None:
    """The numbers of a sequence or a row as models get them. A row may lack some, which are filled in."""
    single, missing = value.to(torch.float32), "missing, " if value.ndim == 2 else ""
    if bool((~single.isfinite() if missing else single.isinf()).any()):
        raise invalid(
            f"item {index} of {name} has a value that is {missing}infinite or too large for float32: mend it, or leave "
            "the item out"
        )


def _pixels(name: str, index: int, picture: Picture) -> np.ndarray[Any, Any]:
    if picture.mode not in _MODES:
        raise invalid(
            f"the image {index} of {name} is of Pillow's mode {picture.mode}: give 'RGB' or 'L', for example by "
            "Image.convert('RGB')"
        )
    pixels = np.array(picture, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _tensor(name: str, index: int, given: Any) -> Tensor:
    """The numbers of a tensor or an array, on the CPU, without a gradient."""
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "biuf":
            raise invalid(f"the input of item {index} of {name} is an array of {given.dtype}: give numbers")
        return torch.from_numpy(np.ascontiguousarray(given, dtype=given.dtype.newbyteorder("=")))
    if given.is_complex():
        raise invalid(f"the input of item {index} of {name} is {given.dtype}: give real numbers")
    value: Tensor = given.detach().cpu().to_dense()
    return value


def check_shape(name: str, index: int, value: Tensor, kind: Kind, shape: tuple[int, ...]) -> None:
    """Refuses an input that is not of the shape that the first one has; sequences may have other lengths.

    Raises:
        ConfigurationError: DatasetInvalid.
    """
    same = value.ndim == len(shape) and (
        value.shape[0] == shape[0] if kind == "sequences" else tuple(value.shape) == shape
    )
    if not same:
        raise invalid(f"item {index} of {name} has the shape {tuple(value.shape)}, and item 0 has {shape}")


def target_of(name: str, index: int, target: Any) -> int | float:
    """The target as a label or as a value to predict.

    Raises:
        ConfigurationError: DatasetInvalid, it is no number.
    """
    if isinstance(target, Tensor | np.ndarray | np.generic) and np.asarray(target).size == 1:
        target = np.asarray(target).reshape(()).item()
    if isinstance(target, int) and not -_LARGEST <= target < _LARGEST:
        raise invalid(f"the target of item {index} of {name} is {target}: labels count the classes from 0 on")
    if isinstance(target, int | float):
        return int(target) if isinstance(target, bool) else target
    raise invalid(
        f"the target of item {index} of {name} is {type(target).__name__}: give a label, which is a whole number, or a "
        "floating-point number"
    )


def _stacked(values: list[Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.stack(values).to(dtype) if values else torch.empty((0, *shape), dtype=dtype)
