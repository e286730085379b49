"""The protocol of a format, and what formats share. Pure.

A format is one module that reads one layout of files. It is a class with four answers: what a sample is (`describe`),
the splits (`splits`), which data were read (`digest`), and one sample for people to look at (`sample`). `Table`, for
example, is made of a few lines on top of `InMemory`, because all of a table is in memory.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from velodrome.errors import ConfigurationError
from velodrome_runner.data.contents import Contents, Kind, Samples, SampleSource, Schema, Tensors, part

# What reading a file raises that is missing or forbidden, or, of a packed one, damaged or cut.
UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Description:
    """What a sample is. `groups` numbers the training samples that must stay together (n,), or is None; `test_groups`
    numbers the test samples in the same way.
    """

    kind: Kind
    schema: Schema
    groups: Tensor | None = None
    test_groups: Tensor | None = None


class Format(Protocol):
    """A data set in its format, opened. Whatever is wrong with it is a ConfigurationError, from any method."""

    def describe(self) -> Description:
        """What a sample is."""

    def splits(self) -> Mapping[str, SampleSource]:
        """The splits train and test, and validation where the data declare one."""

    def digest(self) -> str:
        """`sha256:` and 64 digits, which change with the data and with nothing else."""

    def sample(self, split: str, index: int) -> Samples:
        """One sample of a split."""


@dataclass(frozen=True)
class InMemory:
    """A format whose splits have been read. Its digest is of the tensors: see `samples_digest`."""

    description: Description
    parts: Mapping[str, Tensors]

    def describe(self) -> Description:
        """What a sample is."""
        return self.description

    def splits(self) -> Mapping[str, SampleSource]:
        """The splits, in memory."""
        return self.parts

    def digest(self) -> str:
        """The digest of all samples of all splits."""
        return samples_digest(self.description.kind, self.description.schema, self.parts)

    def sample(self, split: str, index: int) -> Samples:
        """One sample of a split."""
        return one(self.parts[split], index)


def one(source: SampleSource, index: int) -> Samples:
    """The sample at that index."""
    return source.take(torch.tensor([index]))


def contents_of(format_: Format) -> Contents:
    """All that a trial needs of a format."""
    described = format_.describe()
    return Contents(
        described.kind, format_.splits(), described.schema, format_.digest(), described.groups, described.test_groups
    )


def samples_digest(kind: Kind, schema: Schema, splits: Mapping[str, Tensors]) -> str:
    """The digest of samples in memory, which does not depend on how and where they are stored.

    Samples of unequal lengths count as if they were padded with zeros to the longest of all; no more than a few of them
    are padded at a time. A split that would have more than 2^28 values so counts as its lengths, and the steps of its
    samples one behind the other.

    The SHA-256 covers JSON of what a sample is, and then each split in the order train, validation, test: its name, and
    for each tensor in the order of the names (the targets last) the name, the sizes as little-endian 64-bit integers
    and the values in little-endian order.
    """
    about = {
        "kind": kind,
        "classes": schema.classes,
        "numeric": schema.numeric,
        "categorical": {name: list(values) for name, values in schema.categorical.items()},
        "target": schema.target,
    }
    hasher = hashlib.sha256(json.dumps(about, ensure_ascii=False, separators=(",", ":")).encode())
    for name in ("train", "validation", "test"):
        if name in splits:
            hasher.update(name.encode("ascii"))
            for label, shape, pieces in splits[name].tensors():
                hasher.update(label.encode("ascii"))
                hasher.update(torch.tensor(shape, dtype=torch.int64).numpy().astype("<i8").tobytes())
                for piece in pieces:
                    values = piece.contiguous().numpy()
                    hasher.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return f"sha256:{hasher.hexdigest()}"


def divided(pool: SampleSource, names: list[str]) -> dict[str, SampleSource]:
    """The samples of a pool by the split that `names` gives to each, in their order."""
    found: dict[str, SampleSource] = {}
    for name in ("train", "validation", "test"):
        indices = [index for index, given in enumerate(names) if given == name]
        if indices or name != "validation":
            found[name] = part(pool, torch.tensor(indices, dtype=torch.int64))
    return found


def invalid(message: str) -> ConfigurationError:
    """The data are readable, and can't be used as they are."""
    return ConfigurationError(message, "DatasetInvalid")


def corrupt(message: str) -> ConfigurationError:
    """A file can't be read."""
    return ConfigurationError(message, "DatasetCorrupt")


def unreadable(path: Path | str, error: BaseException) -> ConfigurationError:
    """What to say of a file whose reading raised one of `UNREADABLE`, with the fix of that."""
    fix = "correct its permissions" if isinstance(error, PermissionError) else "get it again"
    return corrupt(f"{path} can't be read ({getattr(error, 'strerror', None) or error}): {fix}")


def missing(message: str) -> ConfigurationError:
    """A file is not there."""
    return ConfigurationError(message, "DatasetMissing")
