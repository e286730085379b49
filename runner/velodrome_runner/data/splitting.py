"""Which sample is in which split. Pure.

Declared fractions go by a hash of each sample's identity (or of its group), so a sample keeps its split whatever the
trial's seed, the machine, the order of the rows and the samples that are added later. The validation split that is
taken from the training split is drawn by the trial's seed instead (docs/decisions/0003-validation-split.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome.spec import SplitFractions
from velodrome.text import listed
from velodrome_runner.data.contents import SampleSource, part
from velodrome_runner.data.format import invalid

T = TypeVar("T")

_NAMES = ("train", "validation", "test")
_SALT = b"velodrome split\0"


def by_fractions(identities: Iterable[bytes], fractions: SplitFractions) -> list[str]:
    """The split of each identity: equal identities share one. Each share comes out as chance has it."""
    return [_drawn(identity, fractions) for identity in identities]


def shared_out(items: Sequence[T], identity: Callable[[T], str], fractions: SplitFractions) -> dict[str, list[T]]:
    """The items of each split, in their order, by `by_fractions` of their identities."""
    found: dict[str, list[T]] = {split: [] for split in _NAMES}
    for item, split in zip(items, by_fractions((identity(one).encode() for one in items), fractions), strict=True):
        found[split].append(item)
    return found


def _drawn(identity: bytes, fractions: SplitFractions) -> str:
    number = int.from_bytes(hashlib.sha256(_SALT + identity).digest()[:8], "big") / 2**64
    if number < fractions.test:
        return "test"
    return "validation" if number < fractions.test + (fractions.validation or 0.0) else "train"


def _row(row: int) -> str:
    return f"row {row + 1}"


def by_column(values: Sequence[object], column: str, where: Callable[[int], str] = _row) -> list[str]:
    """The split of each sample as a column names it; `where` has words for the place of a sample.

    Raises:
        ConfigurationError: DatasetInvalid, a value is none of train, validation and test.
    """
    names = [str(value).strip().lower() if value is not None else "" for value in values]
    for row, name in enumerate(names):
        if name not in _NAMES:
            raise invalid(
                f"{where(row)} has {values[row]!r} in the column {column}, which spec.dataset.splits.column names: "
                "write train, validation or test"
            )
    return names


def numbered_groups(groups: Sequence[object], names: Sequence[str], column: str) -> tuple[Tensor, Tensor]:
    """A number for the group of each training sample (n,) int64, and of each test sample.

    Raises:
        ConfigurationError: DatasetInvalid, a group has samples in two splits, or a sample has no group.
    """
    seen: dict[object, tuple[int, str]] = {}
    numbers = []
    for row, (group, name) in enumerate(zip(groups, names, strict=True), start=1):
        if group is None:
            raise invalid(f"row {row} has no value in the group column {column}: fill it in")
        number, first = seen.setdefault(group, (len(seen), name))
        if first != name:
            raise invalid(
                f"the group {group!r} of the column {column} is in the splits {first} and {name}: give all of its "
                "samples one split, or use spec.dataset.splits.fractions, which do that"
            )
        numbers.append(number)
    found = torch.tensor(numbers, dtype=torch.int64)
    train, test = (found[torch.tensor([name == split for name in names])] for split in ("train", "test"))
    return train, test


def split_validation(
    train: SampleSource,
    fraction: float,
    seed: int,
    *,
    groups: Tensor | None = None,
    classes: tuple[str, ...] | None,
) -> tuple[SampleSource, SampleSource]:
    """The training split without a share of it, and that share, drawn by `seed`; both in their original order.

    The share is stratified by the label, a position in `classes`, except where there are no `classes` or where there
    are `groups`, which are never torn apart. Then the share is of the groups.

    Raises:
        ConfigurationError: reason DatasetTooSmall, if a class has too few samples for that.
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    if groups is None and classes:
        _check_strata(train.targets, classes)
    indices = torch.arange(len(train)).numpy()
    try:
        if groups is not None:
            shuffle = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
            kept, held_out = next(shuffle.split(indices, groups=groups.numpy()))
        else:
            kept, held_out = train_test_split(
                indices,
                test_size=fraction,
                stratify=train.targets.numpy() if classes else None,
                random_state=seed,
            )
    except ValueError as error:
        kind = "validation split" if groups is not None or not classes else "stratified validation split"
        raise ConfigurationError(
            f"no {kind} of {fraction:g} can be drawn from {len(train)} samples ({error}): "
            "change spec.dataset.validationFraction or use more data",
            "DatasetTooSmall",
        ) from error
    return _sorted(train, kept), _sorted(train, held_out)


def _check_strata(labels: Tensor, classes: tuple[str, ...]) -> None:
    """Each class that is there must have a sample for either side of a split."""
    single = [classes[label] for label in (labels.bincount() == 1).nonzero().flatten().tolist()]
    if single:
        raise ConfigurationError(
            f"the training split has a single sample of {listed(single)}, and a stratified validation split needs "
            "another one: add samples, take the class out, or set spec.dataset.validationFraction: 0",
            "DatasetTooSmall",
        )


def _sorted(source: SampleSource, indices: object) -> SampleSource:
    return part(source, torch.as_tensor(indices).sort().values)
