"""Data of one's own code: `package.module:factory`, which returns torch datasets.

The factory is called with `spec.dataset.args`, and with `root`, the source's folder, if it has such a parameter.
It returns a dataset for each split, as a mapping {"train": …, "test": …, maybe "validation": …} or as a tuple
(train, test) or (train, validation, test); or one dataset, if `spec.dataset.splits.fractions` splits it. A dataset has
a length and gives (input, target) for each index. The input says the kind:

- an image: a uint8 tensor or array (channels, height, width), or a picture of Pillow;
- a sequence: a floating-point tensor or array (channels, length); lengths may differ;
- a row of a table: a tensor or array of numbers (columns,).

The target is a whole number, the label, or a floating-point number, the value to predict. Names of classes come from
the attribute `classes` of the training dataset, if it has one.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from velodrome.errors import ConfigurationError, VelodromeError
from velodrome.spec import Dataset
from velodrome_runner.data.contents import Kind, Samples, SampleSource, Schema
from velodrome_runner.data.format import Description, divided, invalid, missing, one
from velodrome_runner.data.splitting import by_fractions
from velodrome_runner.log import words

_KINDS: Mapping[int, Kind] = {3: "images", 2: "sequences", 1: "table"}
_SHORTEST = 2
_WANTED = (
    "return a torch dataset for each split, such as {'train': …, 'test': …}, whose items are (input, target): "
    "see docs/own-data.md"
)


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
        size = {"images": 1, "sequences": 4, "table": 8}[self.kind]
        return len(self) * (size * int(np.prod(self.shape)) + 8)

    def take(self, indices: Tensor) -> Samples:
        """The samples at those indices. Raises ConfigurationError: DatasetInvalid, an item is not as the others."""
        found = [_input(self.name, index, _item(self.dataset, self.name, index)[0]) for index in indices.tolist()]
        for index, value in zip(indices.tolist(), found, strict=True):
            _check_shape(self.name, index, value, self.kind, self.shape)
        targets = self.labels[indices]
        if self.kind == "images":
            return Samples({"images": _stacked(found, self.shape, torch.uint8)}, targets)
        if self.kind == "table":
            none = torch.empty(len(found), 0, dtype=torch.int64)
            return Samples({"numeric": _stacked(found, self.shape, torch.float64), "categorical": none}, targets)
        values = torch.zeros(len(found), *self.shape)
        for row, value in enumerate(found):
            values[row, :, : value.shape[1]] = value
        lengths = torch.tensor([value.shape[1] for value in found], dtype=torch.int64)
        return Samples({"values": values, "lengths": lengths}, targets)


@dataclass(frozen=True)
class Own:
    """The datasets of a factory, read once from end to end."""

    description: Description
    parts: Mapping[str, SampleSource]
    found_digest: str

    def describe(self) -> Description:
        """What a sample is, as the first item shows it."""
        return self.description

    def splits(self) -> Mapping[str, SampleSource]:
        """The splits, which are read by index."""
        return self.parts

    def digest(self) -> str:
        """The SHA-256 of every input and target, split by split and item by item."""
        return self.found_digest

    def sample(self, split: str, index: int) -> Samples:
        """One sample."""
        return one(self.parts[split], index)


def read_factory(dataset: Dataset, root: Path | None) -> Own:
    """The datasets that the factory of a job returns.

    Raises:
        ConfigurationError: DatasetMissing, there is no such factory; DatasetFactoryFailed, it or a dataset raised;
            DatasetInvalid, it returned something else.
    """
    name = dataset.format or ""
    given = dict(dataset.args or {})
    factory = _found(name)
    if "root" in _parameters(factory) and "root" not in given:
        given["root"] = None if root is None else str(root)
    returned = _called(name, factory, given)
    fractions = dataset.splits.fractions if dataset.splits is not None else None
    parts = {"train": returned} if fractions is not None and _is_dataset(returned) else _named(name, returned)
    hasher = hashlib.sha256()
    sources: dict[str, SampleSource] = {}
    identities: list[bytes] = []
    for split, each in parts.items():
        hasher.update(f"{split} {len(each)}\n".encode())
        sources[split] = _read(f"{name}, {split}", each, hasher, identities)
    first = sources["train"]
    assert isinstance(first, Items)
    for split, source in sources.items():
        assert isinstance(source, Items)
        if source.kind != first.kind or source.targets.dtype != first.targets.dtype:
            raise invalid(f"{name} gives {source.kind} for {split} and {first.kind} for train, or other targets")
    schema = _schema(first, parts["train"], [s for s in sources.values() if isinstance(s, Items)])
    sources = {split: _longest(source, schema.shape) for split, source in sources.items()}
    if fractions is not None:
        sources = divided(sources["train"], by_fractions(identities, fractions))
    return Own(Description(first.kind, schema), sources, f"sha256:{hasher.hexdigest()}")


def _found(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise missing(
            f"{name}: there is no module {error.name}: install it for the runner, or put its folder on PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise missing(f"{name}: {module} has no {path}: check spec.dataset.format") from error
    # Importing runs the user's code, which may raise anything.
    except (Exception, SystemExit) as error:
        raise _failed(f"{name}: importing {module}", error) from error
    if not callable(found):
        raise missing(f"{name} is no function or class, but {type(found).__name__}: check spec.dataset.format")
    return found


def _called(name: str, factory: Any, given: dict[str, Any]) -> Any:
    try:
        inspect.signature(factory).bind(**given)
    except TypeError as error:
        raise invalid(f"{name} does not take spec.dataset.args: {error}") from error
    except ValueError:  # a builtin without a signature
        pass
    try:
        return factory(**given)
    except (MemoryError, VelodromeError):
        raise
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _parameters(factory: Any) -> Sequence[str]:
    try:
        return list(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return []


def _failed(what: str, error: BaseException) -> ConfigurationError:
    return ConfigurationError(f"{what} raised {type(error).__name__}: {words(error)}", "DatasetFactoryFailed")


def _is_dataset(value: Any) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, Mapping | tuple | str)


def _named(name: str, returned: Any) -> dict[str, Any]:
    orders = {2: ("train", "test"), 3: ("train", "validation", "test")}
    if isinstance(returned, tuple) and len(returned) in orders:
        returned = dict(zip(orders[len(returned)], returned, strict=True))
    if not isinstance(returned, Mapping):
        extra = ", or write spec.dataset.splits.fractions" if _is_dataset(returned) else ""
        raise invalid(f"{name} returned {type(returned).__name__}: {_WANTED}{extra}")
    if not {"train", "test"} <= set(returned) <= {"train", "validation", "test"}:
        raise invalid(f"{name} returned the splits {', '.join(map(str, returned)) or 'none'}: {_WANTED}")
    for split, each in returned.items():
        if not _is_dataset(each):
            raise invalid(f"{name} returned {type(each).__name__} for {split}: {_WANTED}")
        if len(each) == 0:
            raise invalid(f"the {split} split of {name} is empty: give it samples")
    return {split: returned[split] for split in ("train", "validation", "test") if split in returned}


def _item(dataset: Any, name: str, index: int) -> tuple[Any, Any]:
    try:
        item = dataset[index]
    except VelodromeError:
        raise
    except Exception as error:  # the dataset is the user's code
        raise _failed(f"item {index} of {name}", error) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise invalid(f"item {index} of {name} is {type(item).__name__}, and not (input, target): {_WANTED}")
    return item[0], item[1]


def _read(name: str, dataset: Any, hasher: Any, identities: list[bytes]) -> Items:
    """One pass over a dataset, for its targets, its longest sequence, its digest and its items' identities."""
    targets: list[int | float] = []
    lengths: list[int] = []
    kind: Kind | None = None
    shape: tuple[int, ...] = ()
    for index in range(len(dataset)):
        given, target = _item(dataset, name, index)
        value = _input(name, index, given)
        if kind is None:
            kind, shape = _KINDS[value.ndim], tuple(value.shape)
        if kind == "sequences":
            lengths.append(value.shape[-1])
            shape = (shape[0], max(shape[1], lengths[-1]))
        _check_shape(name, index, value, kind, shape)
        targets.append(_target(name, index, target))
        content = (
            f"{value.dtype} {tuple(value.shape)} {targets[-1]!r}\n".encode() + value.contiguous().numpy().tobytes()
        )
        hasher.update(content)
        identities.append(content)
    whole = {isinstance(target, int) for target in targets}
    if len(whole) > 1:
        raise invalid(f"{name} has targets that are whole numbers and others that are not: give all of them one type")
    assert kind is not None
    labels = torch.tensor(targets, dtype=torch.int64 if whole == {True} else torch.float64)
    return Items(dataset, name, kind, shape, labels, torch.tensor(lengths) if kind == "sequences" else None)


def _input(name: str, index: int, given: Any) -> Tensor:
    from PIL import Image

    if isinstance(given, Image.Image):
        pixels = np.array(given, dtype=np.uint8)
        given = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if not isinstance(given, Tensor | np.ndarray):
        raise invalid(f"the input of item {index} of {name} is {type(given).__name__}: give a tensor or an array")
    value = torch.as_tensor(given)
    if value.ndim not in _KINDS or value.numel() == 0:
        raise invalid(
            f"the input of item {index} of {name} has the shape {tuple(value.shape)}: give an image (channels, height, "
            "width), a sequence (channels, length) or a row (columns,)"
        )
    if value.ndim == 3 and value.dtype != torch.uint8:
        raise invalid(
            f"the image {index} of {name} is {value.dtype}: give raw pixels as torch.uint8, which spec.preprocessing "
            "scales for every entry alike"
        )
    if value.ndim == 2:
        value = value.to(torch.float32)
        if value.shape[1] < _SHORTEST:
            raise invalid(f"item {index} of {name} is a sequence of length {value.shape[1]}: leave it out")
    elif value.ndim == 1:
        value = value.to(torch.float64)
    if value.dtype.is_floating_point and not bool(value.isfinite().all() if value.ndim == 2 else ~value.isinf().any()):
        raise invalid(f"item {index} of {name} has a value that is no finite number: mend it, or leave it out")
    return value


def _check_shape(name: str, index: int, value: Tensor, kind: Kind, shape: tuple[int, ...]) -> None:
    same = value.ndim == len(shape) and (
        value.shape[0] == shape[0] if kind == "sequences" else tuple(value.shape) == shape
    )
    if not same:
        raise invalid(f"item {index} of {name} has the shape {tuple(value.shape)}, and item 0 has {shape}")


def _target(name: str, index: int, target: Any) -> int | float:
    if isinstance(target, Tensor | np.ndarray | np.generic) and np.asarray(target).size == 1:
        target = np.asarray(target).reshape(()).item()
    if isinstance(target, int | float):
        return int(target) if isinstance(target, bool) else target
    raise invalid(
        f"the target of item {index} of {name} is {type(target).__name__}: give a label, which is a whole number, or a "
        "floating-point number"
    )


def _schema(first: Items, dataset: Any, sources: Sequence[Items]) -> Schema:
    shape, equal = first.shape, True
    if first.kind == "sequences":
        lengths = {source.shape[1] for source in sources}
        shape, equal = (first.shape[0], max(lengths)), False
    for source in sources:
        if (source.kind != "sequences" and source.shape != shape) or source.shape[0] != shape[0]:
            raise invalid(f"{source.name} has items of the shape {source.shape}, and {first.name} {shape}")
    if first.labels.dtype == torch.float64:
        classes = None
    else:
        named = getattr(dataset, "classes", None)
        count = int(first.labels.max()) + 1
        classes = tuple(map(str, named)) if isinstance(named, Sequence) and named else tuple(map(str, range(count)))
    columns = tuple(f"x{number}" for number in range(shape[0])) if first.kind == "table" else ()
    return Schema(shape, classes, numeric=columns, equal=equal)


def _longest(source: SampleSource, shape: tuple[int, ...]) -> SampleSource:
    assert isinstance(source, Items)
    return replace(source, shape=shape)


def _stacked(values: list[Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.stack(values).to(dtype) if values else torch.empty((0, *shape), dtype=dtype)
