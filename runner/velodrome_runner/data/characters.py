"""Files of characters or of bytes as arrays of numbers, 1 to 4 bytes for each. They are read a piece at a time."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from velodrome.errors import ConfigurationError
from velodrome_runner.data.format import corrupt, invalid
from velodrome_runner.memory import fits

Numbers = NDArray[np.integer[Any]]

AT_ONCE = 2**20  # bytes or numbers that are converted at a time, some of which need 8 bytes
_LARGEST = 0x110000  # of the characters of Unicode, one more
# How compressed files begin: those of gzip, zip, bzip2, xz and Zstandard.
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_MARK = "\ufeff"  # which may begin a file


class Characters:
    """The characters of texts by their numbers, in the order in which they first came. `codes` are Unicode's."""

    def __init__(self) -> None:
        self._numbers = np.full(_LARGEST, -1, dtype=np.int32)
        self._codes: list[int] = []

    @property
    def codes(self) -> NDArray[np.uint32]:
        """The code of each character, by its number."""
        return np.array(self._codes, dtype="<u4")

    def numbered(self, pieces: Iterable[str], most: int) -> Numbers:
        """The numbers of a text's characters (n,), at most `most`, in the narrowest type that has them all."""
        found, at = np.empty(most, dtype=narrowest(1)), 0  # the system gives the memory that is written to
        for piece in pieces:
            numbers = self._numbered(piece)
            if at + len(numbers) > most:
                raise corrupt("the text was written to while it was read: let that end, and try again")
            if numbers.itemsize > found.itemsize:
                narrow, found = found, np.empty(most, dtype=numbers.dtype)
                found[:at] = narrow[:at]
            found[at : at + len(numbers)] = numbers
            at += len(numbers)
        return found[:at]

    def _numbered(self, piece: str) -> Numbers:
        codes = np.frombuffer(piece.encode("utf-32-le"), dtype="<u4")
        numbers: Numbers = self._numbers[codes]
        if numbers.size and numbers.min() < 0:
            fresh = np.unique(codes[numbers < 0])
            self._numbers[fresh] = np.arange(len(self._codes), len(self._codes) + len(fresh), dtype=np.int32)
            self._codes.extend(fresh.tolist())
            numbers = self._numbers[codes]
        return numbers.astype(narrowest(len(self._codes)))


def narrowest(count: int) -> np.dtype[Any]:
    """The smallest type that has the numbers below `count` and that torch takes from."""
    types = (np.uint8, np.int16, np.int32)
    return np.dtype(next(each for each in types if count <= np.iinfo(each).max + 1))


def blocks(numbers: Numbers) -> Iterator[Numbers]:
    """An array in pieces, without a copy."""
    return (numbers[at : at + AT_ONCE] for at in range(0, len(numbers), AT_ONCE))


def bytes_of(paths: list[Path]) -> tuple[Numbers, bool]:
    """The bytes of files, one after another; and whether they stay on the disk, as those of one large file do.

    Raises:
        ConfigurationError: DatasetCorrupt or DatasetInvalid; the message names the file.
    """
    sizes = sizes_of(paths)
    try:
        if len(paths) == 1 and not fits(sizes[0], torch.device("cpu")):
            return np.memmap(paths[0], dtype=np.uint8, mode="c"), True  # torch warns of an array that is read-only
        found, at = np.empty(sum(sizes), dtype=np.uint8), 0
        for path, size in zip(paths, sizes, strict=True):
            with path.open("rb") as file:
                if file.readinto(found[at : at + size].data) < size:
                    raise corrupt(f"{path} was cut off while it was read: get it again")
            at += size
    except OSError as error:
        raise _unreadable(error, error.filename or paths[0]) from error
    return found, False


def sizes_of(paths: list[Path]) -> list[int]:
    """The bytes of each file. Raises as `bytes_of` does: an empty one is no text."""
    sizes = [path.stat().st_size for path in paths]
    if 0 in sizes:
        raise invalid(f"{paths[sizes.index(0)]} is empty: write a text into it, or remove it")
    return sizes


def pieces_of(paths: list[Path]) -> Iterator[str]:
    """The characters of files of UTF-8, one after another, some at a time. A byte order mark is left out.

    Raises:
        ConfigurationError: DatasetCorrupt or DatasetInvalid; the message names the file and the byte.
    """
    for path in paths:
        try:
            yield from _decoded(path)
        except OSError as error:
            raise _unreadable(error, path) from error


def _decoded(path: Path) -> Iterator[str]:
    decoder, at, begins, packed = codecs.getincrementaldecoder("utf-8")(), 0, True, False
    with path.open("rb") as file:
        while True:
            block = file.read(AT_ONCE)
            packed = packed or (not at and block.startswith(_PACKED))
            if b"\0" in block:
                if packed:
                    raise _compressed(path)
                raise invalid(
                    f"{path} has the character U+0000, at byte {at + block.index(0) + 1:,}, as files of UTF-16 have: "
                    "convert the file to UTF-8, or write spec.dataset.tokens: bytes"
                )
            kept = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                if packed:
                    raise _compressed(path) from error
                raise invalid(
                    f"{path} is no UTF-8: byte {at - kept + error.start + 1:,} ({error.object[error.start]:#04x}) "
                    "begins no character; convert the file, or write spec.dataset.tokens: bytes"
                ) from error
            yield text.removeprefix(_MARK) if begins else text
            begins = begins and not text
            at += len(block)
            if not block:
                break


def _compressed(path: Path) -> ConfigurationError:
    return invalid(f"{path} is compressed: unpack it")


def _unreadable(error: OSError, path: Path | str) -> ConfigurationError:
    return corrupt(f"{path} can't be read ({error.strerror}): correct its permissions, or get it again")
