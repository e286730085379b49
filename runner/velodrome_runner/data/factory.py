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

from velodrome.errors import VelodromeError
from velodrome.spec import Dataset
from velodrome_runner.data.class_names import refuse_names
from velodrome_runner.data.contents import Kind, Samples, SampleSource, Schema
from velodrome_runner.data.format import Description, divided, invalid, missing, one
from velodrome_runner.data.items import KINDS, WANTED, Items, check_shape, failed, input_of, item_of, target_of
from velodrome_runner.data.splitting import by_fractions


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
    if fractions is not None and not _is_dataset(returned):
        raise invalid(
            f"{name} returned {type(returned).__name__}, and spec.dataset.splits.fractions divide one dataset: return "
            "one, or leave the fractions out"
        )
    parts = _named(name, returned) if fractions is None else {"train": returned}
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
        raise failed(f"{name}: importing {module}", error) from error
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
        raise failed(name, error) from error


def _parameters(factory: Any) -> Sequence[str]:
    try:
        return list(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return []


def _is_dataset(value: Any) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, Mapping | tuple | str)


def _named(name: str, returned: Any) -> dict[str, Any]:
    orders = {2: ("train", "test"), 3: ("train", "validation", "test")}
    if isinstance(returned, tuple) and len(returned) in orders:
        returned = dict(zip(orders[len(returned)], returned, strict=True))
    if not isinstance(returned, Mapping):
        extra = ", or write spec.dataset.splits.fractions" if _is_dataset(returned) else ""
        raise invalid(f"{name} returned {type(returned).__name__}: {WANTED}{extra}")
    if not {"train", "test"} <= set(returned) <= {"train", "validation", "test"}:
        raise invalid(f"{name} returned the splits {', '.join(map(str, returned)) or 'none'}: {WANTED}")
    for split, each in returned.items():
        if not _is_dataset(each):
            raise invalid(f"{name} returned {type(each).__name__} for {split}: {WANTED}")
        if _length(name, split, each) == 0:
            raise invalid(f"the {split} split of {name} is empty: give it samples")
    return {split: returned[split] for split in ("train", "validation", "test") if split in returned}


def _length(name: str, split: str, dataset: Any) -> int:
    try:
        return len(dataset)
    except Exception as error:  # the dataset is the user's code
        raise failed(f"the length of {name}, {split},", error) from error


def _read(name: str, dataset: Any, hasher: Any, identities: list[bytes]) -> Items:
    """One pass over a dataset, for its targets, its longest sequence, its digest and its items' identities."""
    targets: list[int | float] = []
    lengths: list[int] = []
    kind: Kind | None = None
    shape: tuple[int, ...] = ()
    for index in range(len(dataset)):
        given, target = item_of(dataset, name, index)
        value = input_of(name, index, given)
        if kind is None:
            kind, shape = KINDS[value.ndim], tuple(value.shape)
        if kind == "sequences":
            lengths.append(value.shape[-1])
            shape = (shape[0], max(shape[1], lengths[-1]))
        check_shape(name, index, value, kind, shape)
        targets.append(target_of(name, index, target))
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


def _schema(first: Items, dataset: Any, sources: Sequence[Items]) -> Schema:
    shape, equal = first.shape, True
    if first.kind == "sequences":
        lengths = torch.cat([source.lengths for source in sources if source.lengths is not None])
        shape, equal = (first.shape[0], int(lengths.max())), len(lengths.unique()) == 1
    for source in sources:
        if (source.kind != "sequences" and source.shape != shape) or source.shape[0] != shape[0]:
            raise invalid(f"{source.name} has items of the shape {source.shape}, and {first.name} {shape}")
    named = getattr(dataset, "classes", None)
    classes = None if first.labels.dtype == torch.float64 else _classes(first, named)
    columns = tuple(f"x{number}" for number in range(shape[0])) if first.kind == "table" else ()
    return Schema(shape, classes, numeric=columns, equal=equal)


def _classes(train: Items, named: Any) -> tuple[str, ...]:
    """The names of the classes, or their labels where nobody names them."""
    if isinstance(named, Sequence | np.ndarray) and len(named) and not isinstance(named, str):
        names = tuple(map(str, named))
        refuse_names(names, lambda _: f"{train.name}, classes")
        return names
    most = int(train.labels.max())
    if most < 0 or most >= len(train):  # the message of `checks` would name a class for each label up to the largest
        raise invalid(
            f"the labels of {train.name} go up to {most}, for {len(train)} samples: labels count the classes from 0 on"
        )
    return tuple(map(str, range(most + 1)))


def _longest(source: SampleSource, shape: tuple[int, ...]) -> SampleSource:
    assert isinstance(source, Items)
    return replace(source, shape=shape)
