"""Files in folders as a data set: what each split lists, and the digest of that. How a file is decoded is not here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from velodrome_runner.data.contents import Samples, SampleSource, Schema
from velodrome_runner.data.format import Description, corrupt, one
from velodrome_runner.data.manifest import MANIFEST, ListedFile, hashed, read_bytes

Names = np.ndarray[Any, np.dtype[np.bytes_]]
Digests = np.ndarray[Any, np.dtype[np.uint8]]
Entries = Callable[[], Mapping[str, Sequence[ListedFile]]]


@dataclass(frozen=True)
class Folders:
    """A data set of files, opened: images, unless a class that is made of it says otherwise."""

    schema: Schema
    parts: Mapping[str, SampleSource]
    root: Path
    entries: Entries

    def describe(self) -> Description:
        """Images, by class."""
        return Description("images", self.schema)

    def splits(self) -> Mapping[str, SampleSource]:
        """The splits, which are read from files."""
        return self.parts

    def digest(self) -> str:
        """The SHA-256 of the manifest: for each split in the order of the names, a line for each file in that order."""
        hasher = hashlib.sha256()
        for split, entries in sorted(self.entries().items()):
            for entry in sorted(entries, key=lambda entry: entry.name):
                hasher.update(f"{split}\t{entry.name}\t{entry.size}\t{entry.sha256}\n".encode())
        return f"sha256:{hasher.hexdigest()}"

    def sample(self, split: str, index: int) -> Samples:
        """One sample."""
        return one(self.parts[split], index)


def entries_of(root: Path, names: Sequence[str], assigned: Sequence[str], kept: Sequence[ListedFile] | None) -> Entries:
    """What gives the manifest's entries of these files by split, in their order. Files are read if none are `kept`."""

    def entries() -> Mapping[str, Sequence[ListedFile]]:
        by_split: dict[str, list[ListedFile]] = {split: [] for split in assigned}
        for split, entry in zip(assigned, kept if kept is not None else hashed(root, names), strict=True):
            by_split[split].append(entry)
        return by_split

    return entries


def digests_of(kept: Sequence[ListedFile] | None) -> Digests | None:
    """The SHA-256 of each file of a manifest, (n, 32); None without one."""
    if kept is None:
        return None
    return np.frombuffer(b"".join(bytes.fromhex(entry.sha256) for entry in kept), dtype=np.uint8).reshape(-1, 32)


def encoded(names: Sequence[str]) -> Names:
    """The names as UTF-8, (n,): of millions, these take less memory than strings."""
    return np.array([name.encode() for name in names])


@dataclass(frozen=True)
class ListedFiles:
    """Files below `root`: `names` (n,) as UTF-8, the label of each, and its SHA-256 (n, 32) where it is checked."""

    root: Path
    names: Names
    labels: Tensor
    sha256: Digests | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def targets(self) -> Tensor:
        """The label of each file."""
        return self.labels

    def read(self, index: int) -> tuple[Path, bytes]:
        """The path and the content of a file.

        Raises:
            ConfigurationError: DatasetCorrupt, it can't be read or is another file than the one that was listed.
        """
        path = self.root / self.names[index].decode()
        content = read_bytes(path)
        if self.sha256 is not None and hashlib.sha256(content).digest() != bytes(self.sha256[index]):
            raise corrupt(f"{path} is not the file that {self.root / MANIFEST} lists: run `velodrome data prepare`")
        return path, content
