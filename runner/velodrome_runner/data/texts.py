"""A running text: files of characters or of bytes, cut by position into splits, and each split into windows.

Each split is one stream of tokens. A model sees a window of them, and predicts each token of the same window one place
further on. Windows lie side by side, and the last one ends with its split, so it overlaps the one before. In training
all its tokens count. In validation and test, those that the window before has predicted do not count again (`IGNORED`):
each token but the first is predicted exactly once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from velodrome.spec import Dataset
from velodrome.vocabulary import TOKENS, WINDOW, Tokens
from velodrome_runner.data.characters import Characters, Numbers, blocks, bytes_of, narrowest, pieces_of, sizes_of
from velodrome_runner.data.contents import Samples, Schema, TokenWindows
from velodrome_runner.data.format import Description, invalid, missing, one
from velodrome_runner.data.overlap import APART

_BYTES = tuple(f"{value:#04x}" for value in range(256))
_SHARE = 0.1  # of a known text: to validate, and to test

Codes = NDArray[np.uint32]


class _Stream(NamedTuple):
    """The tokens of a split (n,), and words for the place that they come from.

    A token is a byte, or the number of a character: see `Characters`.
    """

    numbers: Numbers
    where: str
    mapped: bool = False


@dataclass(frozen=True)
class RunningText:
    """A text that has been read. Its digest is of the tokens of each split, whatever the length of a window."""

    schema: Schema
    parts: Mapping[str, TokenWindows]
    of: str

    def describe(self) -> Description:
        """Windows of a text."""
        return Description("text", self.schema)

    def splits(self) -> Mapping[str, TokenWindows]:
        """The splits, from which windows are cut when they are taken."""
        return self.parts

    def digest(self) -> str:
        """The digest of what was read."""
        return self.of

    def sample(self, split: str, index: int) -> Samples:
        """One window of a split."""
        return one(self.parts[split], index)


def read_text(dataset: Dataset, place: Path) -> RunningText:
    """The text of a job at `place`: a file, or all files of a folder, one after another by their paths.

    With `splits.files`, each split is a file or a folder below `place`.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file or the split.
    """
    characters = Characters()
    files = None if dataset.splits is None else dataset.splits.files
    if files is None:
        return _text(dataset, _by_position(_stored(place, dataset, characters), dataset), characters)
    parts = {name: path for name, path in files.model_dump().items() if path is not None}
    streams = {name: _stored(place / path, dataset, characters) for name, path in parts.items()}
    for (name, first), (other, second) in combinations(streams.items(), 2):
        if np.array_equal(first.numbers, second.numbers):
            raise invalid(f"{first.where} and {second.where} ({name}, {other}) have the same text: {APART}")
    if "validation" not in streams and dataset.validation_fraction:
        streams |= _validated(streams["train"], dataset.validation_fraction)
    return _text(dataset, streams, characters)


def read_pydoc(dataset: Dataset) -> RunningText:
    """The reference of Python's language, as `help()` shows it, topic after topic by their names.

    Raises:
        ConfigurationError: DatasetMissing, this Python was installed without it; or as `read_text`.
    """
    try:
        from pydoc_data import topics
    except ImportError as error:
        raise missing("this Python has no module pydoc_data: install Python's whole standard library") from error
    text = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
    characters = Characters()
    if (dataset.tokens or TOKENS) == "bytes":
        numbers: Numbers = np.frombuffer(bytearray(text.encode()), dtype=np.uint8)
    else:
        numbers = characters.numbered([text], len(text))
    return _text(dataset, _by_position(_Stream(numbers, "pydoc"), dataset), characters)


def _stored(place: Path, dataset: Dataset, characters: Characters) -> _Stream:
    """The tokens of the files at a path. Each is UTF-8 where characters are wanted."""
    paths = _files(place)
    if (dataset.tokens or TOKENS) == "bytes":
        numbers, mapped = bytes_of(paths)
        return _Stream(numbers, str(place), mapped)
    return _Stream(characters.numbered(pieces_of(paths), sum(sizes_of(paths))), str(place))


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise missing(f"there is no {place}: correct spec.dataset.source, or put a text there")
    paths = sorted(_below(place))
    if not paths:
        raise missing(f"there are no files in {place}: put a text there")
    return paths


def _below(place: Path) -> Iterator[Path]:
    """The files below a folder, hidden ones aside. Raises OSError where a folder can't be read: its text would lack."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(place, onerror=refuse):
        folders[:] = [name for name in folders if name[0] != "."]
        paths = (Path(folder) / name for name in names if name[0] != ".")
        yield from (path for path in paths if path.is_file())


def _by_position(stream: _Stream, dataset: Dataset) -> dict[str, _Stream]:
    """The beginning to train on, then what validates, and the end to test on."""
    fractions = None if dataset.splits is None else dataset.splits.fractions
    test = _SHARE if fractions is None else fractions.test
    rest, tested = _cut(stream, test)
    declared = None if fractions is None else fractions.validation
    # A declared share is one of the whole text, and the other one of what is not the test split.
    share = dataset.validation_fraction if declared is None else declared / (1 - test)
    return {"test": tested, "train": rest, **(_validated(rest, share) if share else {})}


def _validated(train: _Stream, share: float) -> dict[str, _Stream]:
    before, after = _cut(train, share)
    return {"train": before, "validation": after}


def _cut(stream: _Stream, share: float) -> tuple[_Stream, _Stream]:
    """The beginning, and this share of the tokens at the end."""
    numbers = stream.numbers
    at = len(numbers) - round(share * len(numbers))
    return stream._replace(numbers=numbers[:at]), stream._replace(numbers=numbers[at:])


def _text(dataset: Dataset, streams: Mapping[str, _Stream], characters: Characters) -> RunningText:
    tokens, window = dataset.tokens or TOKENS, dataset.window or WINDOW
    for split, stream in streams.items():
        _check_length(stream, split, tokens, window)
    if tokens == "bytes":
        vocabulary, codes = _BYTES, None
    else:
        codes = _vocabulary(streams, characters.codes)
        streams = {split: _sorted(stream, characters.codes, codes) for split, stream in streams.items()}
        vocabulary = tuple(map(chr, codes))
    parts = {
        split: TokenWindows(torch.from_numpy(stream.numbers), window, once=split != "train", mapped=stream.mapped)
        for split, stream in streams.items()
    }
    return RunningText(Schema((window,), None, tokens=vocabulary), parts, _digest(streams, tokens, codes))


def _check_length(stream: _Stream, split: str, tokens: Tokens, window: int) -> None:
    if len(stream.numbers) <= window:
        size = f"{len(stream.numbers)} {tokens}" if len(stream.numbers) else "no text"
        raise invalid(
            f"the {split} split of {stream.where} has {size}, and a window of {window} needs {window + 1}: add text, "
            "write a smaller spec.dataset.window, or give it a larger share in spec.dataset.splits"
        )


def _vocabulary(streams: Mapping[str, _Stream], codes: Codes) -> Codes:
    """The codes of the training split's characters, sorted; `codes` are those of all. The other splits have no more."""
    seen = {split: _occurring(stream.numbers, len(codes)) for split, stream in streams.items()}
    known = np.sort(codes[seen["train"]])
    if len(known) < 2:
        raise invalid(
            f"the training split of {streams['train'].where} has only the character {chr(known[0])!r}: a model has to "
            "choose among two or more"
        )
    for split, stream in streams.items():
        unknown = np.flatnonzero(seen[split] & ~seen["train"])
        if len(unknown):
            place = int(np.isin(stream.numbers, unknown).argmax())
            code, count = int(codes[stream.numbers[place]]), len(unknown)
            others = f" and {count - 1} other{'s' if count > 2 else ''}" if count > 1 else ""
            raise invalid(
                f"the {split} split of {stream.where} has, as its character {place + 1}, {chr(code)!r} (U+{code:04X}"
                f"{others}), which the training split lacks: write spec.dataset.tokens: bytes, or leave such "
                "characters out"
            )
    return known


def _occurring(numbers: Numbers, count: int) -> NDArray[np.bool_]:
    """Which of the numbers below `count` occur (count,)."""
    seen = np.zeros(count, dtype=np.bool_)
    for block in blocks(numbers):
        seen[block] = True
    return seen


def _sorted(stream: _Stream, codes: Codes, known: Codes) -> _Stream:
    """The stream with the place of each character among the known ones as its number, in the same memory if it fits."""
    places = np.searchsorted(known, codes).astype(narrowest(len(known)))
    found = stream.numbers
    if found.dtype != places.dtype:
        found = np.empty(len(found), dtype=places.dtype)
    for old, new in zip(blocks(stream.numbers), blocks(found), strict=True):
        new[:] = places[old]
    return stream._replace(numbers=found)


def _digest(streams: Mapping[str, _Stream], tokens: Tokens, codes: Codes | None) -> str:
    """The SHA-256 of JSON of what a token is, and of each split: its name, its length and its tokens.

    A character is its number in Unicode, little-endian, of 4 bytes: `codes` has it by the character's number.
    """
    hasher = hashlib.sha256(json.dumps({"kind": "text", "tokens": tokens}).encode())
    for split in ("train", "validation", "test"):
        if split in streams:
            numbers = streams[split].numbers
            hasher.update(split.encode("ascii") + len(numbers).to_bytes(8, "little"))
            for block in blocks(numbers):
                hasher.update((block if codes is None else codes[block]).data)
    return f"sha256:{hasher.hexdigest()}"
