"""A running text: files of characters or of bytes, cut by position into splits, and each split into windows.

Each split is one stream of tokens. A model sees a window of them, and predicts each token of the same window one place
further on. Windows lie side by side, and the last one ends with its split, so it overlaps the one before. In training
all its tokens count. In validation and test, those that the window before has predicted do not count again (`IGNORED`):
each token but the first is predicted exactly once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from velodrome.spec import Dataset
from velodrome.vocabulary import TOKENS, WINDOW, Tokens
from velodrome_runner.data.contents import Memory, Samples, Schema
from velodrome_runner.data.format import Description, InMemory, corrupt, invalid, missing

# The target of a token that is not to be predicted; torch's own number for it.
IGNORED = -100
_BYTES = tuple(f"{value:#04x}" for value in range(256))
_SHARE = 0.1  # of a known text: to validate, and to test
_CODES = np.dtype("<u4")  # characters as numbers of Unicode

_LARGEST = 0x110000  # of the characters of Unicode, one more
_AT_ONCE = 2**22  # tokens that are looked up at a time, each of which needs an index of 8 bytes

Codes = NDArray[np.unsignedinteger[Any]]
Table = NDArray[Any]


class _Stream(NamedTuple):
    """The tokens of a split as numbers (n,), of Unicode or of bytes, and words for the place that they come from.

    A byte takes one, and a character four: not the eight of an index.
    """

    codes: Codes
    where: str


@dataclass(frozen=True)
class RunningText(InMemory):
    """A text that has been read. Its digest is of the tokens of each split, whatever the length of a window."""

    of: str = ""

    def digest(self) -> str:
        """The digest of what was read."""
        return self.of


def read_text(dataset: Dataset, place: Path) -> RunningText:
    """The text of a job at `place`: a file, or all files of a folder, one after another by their paths.

    With `splits.files`, each split is a file or a folder below `place`.

    Raises:
        ConfigurationError: DatasetMissing, DatasetCorrupt or DatasetInvalid; the message names the file or the split.
    """
    tokens, files = dataset.tokens or TOKENS, None if dataset.splits is None else dataset.splits.files
    if files is None:
        return _text(dataset, _by_position(_codes(_stored(place, tokens), tokens), str(place), dataset))
    parts = {name: path for name, path in files.model_dump().items() if path is not None}
    streams = {
        name: _Stream(_codes(_stored(place / path, tokens), tokens), str(place / path)) for name, path in parts.items()
    }
    if "validation" not in streams and dataset.validation_fraction:
        streams |= _validated(streams["train"], dataset.validation_fraction)
    return _text(dataset, streams)


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
    tokens = dataset.tokens or TOKENS
    return _text(dataset, _by_position(_codes([text.encode()], tokens), "pydoc", dataset))


def _stored(place: Path, tokens: Tokens) -> list[bytes]:
    """The contents of the files at a path. Each is UTF-8 where characters are wanted, without a byte order mark."""
    if place.is_dir():
        inside = (path for path in place.rglob("*") if path.is_file())
        paths = sorted(path for path in inside if not any(part[0] == "." for part in path.relative_to(place).parts))
        if not paths:
            raise missing(f"there are no files in {place}: put a text there")
    elif place.is_file():
        paths = [place]
    else:
        raise missing(f"there is no {place}: correct spec.dataset.source, or put a text there")
    return [_content(path, tokens) for path in paths]


def _content(path: Path, tokens: Tokens) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise corrupt(f"{path} can't be read ({error.strerror}): correct its permissions, or get it again") from error
    if not content:
        raise invalid(f"{path} is empty: write a text into it, or remove it")
    if tokens == "bytes":
        return content
    if b"\0" in content:
        raise invalid(
            f"{path} has the character U+0000, at byte {content.index(0) + 1}, as files of UTF-16 have: "
            "convert the file to UTF-8, or write spec.dataset.tokens: bytes"
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            f"{path} is no UTF-8: byte {error.start + 1} ({content[error.start]:#04x}) begins no character; convert "
            "the file, or write spec.dataset.tokens: bytes"
        ) from error
    return content.removeprefix(b"\xef\xbb\xbf")


def _codes(contents: Sequence[bytes], tokens: Tokens) -> Codes:
    whole = b"".join(contents)
    if tokens == "bytes":
        return np.frombuffer(whole, dtype=np.uint8)
    return np.frombuffer(whole.decode().encode("utf-32-le"), dtype=_CODES)


def _by_position(codes: Codes, where: str, dataset: Dataset) -> dict[str, _Stream]:
    """The beginning to train on, then what validates, and the end to test on."""
    fractions = None if dataset.splits is None else dataset.splits.fractions
    test = _SHARE if fractions is None else fractions.test
    rest, tested = _cut(codes, test)
    stream, streams = _Stream(rest, where), {"test": _Stream(tested, where)}
    declared = None if fractions is None else fractions.validation
    # A declared share is one of the whole text, and the other one of what is not the test split.
    share = dataset.validation_fraction if declared is None else declared / (1 - test)
    return {**streams, "train": stream, **(_validated(stream, share) if share else {})}


def _validated(train: _Stream, share: float) -> dict[str, _Stream]:
    before, after = _cut(train.codes, share)
    return {"train": _Stream(before, train.where), "validation": _Stream(after, train.where)}


def _cut(codes: Codes, share: float) -> tuple[Codes, Codes]:
    """The beginning, and this share of the tokens at the end."""
    at = len(codes) - round(share * len(codes))
    return codes[:at], codes[at:]


def _text(dataset: Dataset, streams: Mapping[str, _Stream]) -> RunningText:
    tokens, window = dataset.tokens or TOKENS, dataset.window or WINDOW
    for split, stream in streams.items():
        _check_length(stream, split, tokens, window)
    known = np.arange(256) if tokens == "bytes" else _occurring(streams["train"].codes)
    if len(known) < 2:
        raise invalid(
            f"the training split of {streams['train'].where} has only the character {chr(known[0])!r}: a model has to "
            "choose among two or more"
        )
    for split, stream in streams.items():
        _check_known(stream, split, known)
    vocabulary = _BYTES if tokens == "bytes" else tuple(map(chr, known))
    places = np.zeros(_LARGEST, dtype=np.int32)
    places[known] = np.arange(len(known), dtype=np.int32)
    parts = {
        split: Memory(windows(torch.from_numpy(_looked_up(stream.codes, places)), window, once=split != "train"))
        for split, stream in streams.items()
    }
    schema = Schema((window,), None, tokens=vocabulary)
    return RunningText(Description("text", schema), parts, _digest(streams, tokens))


def _check_length(stream: _Stream, split: str, tokens: Tokens, window: int) -> None:
    if len(stream.codes) <= window:
        size = f"{len(stream.codes)} {tokens}" if len(stream.codes) else "no text"
        raise invalid(
            f"the {split} split of {stream.where} has {size}, and a window of {window} needs {window + 1}: add text, "
            "write a smaller spec.dataset.window, or give it a larger share in spec.dataset.splits"
        )


def _looked_up(codes: Codes, table: Table) -> Table:
    """What a table (all codes,) says of each token (n,)."""
    found = np.empty(len(codes), dtype=table.dtype)
    for at in range(0, len(codes), _AT_ONCE):
        found[at : at + _AT_ONCE] = table[codes[at : at + _AT_ONCE]]
    return found


def _occurring(codes: Codes) -> NDArray[np.int64]:
    """The codes that occur, from small to large."""
    seen = np.zeros(_LARGEST, dtype=np.bool_)
    for at in range(0, len(codes), _AT_ONCE):
        seen[codes[at : at + _AT_ONCE]] = True
    return np.flatnonzero(seen)


def _check_known(stream: _Stream, split: str, known: NDArray[np.int64]) -> None:
    unknown = np.ones(_LARGEST, dtype=np.bool_)
    unknown[known] = False
    strange = _looked_up(stream.codes, unknown)
    if strange.any():
        place = int(strange.argmax())
        code, count = int(stream.codes[place]), len(np.unique(stream.codes[strange]))
        others = f" and {count - 1} other{'s' if count > 2 else ''}" if count > 1 else ""
        raise invalid(
            f"the {split} split of {stream.where} has, as its character {place + 1}, {chr(code)!r} (U+{code:04X}"
            f"{others}), which the training split lacks: write spec.dataset.tokens: bytes, or leave such characters out"
        )


def _digest(streams: Mapping[str, _Stream], tokens: Tokens) -> str:
    """The SHA-256 of JSON of what a token is, and of each split: its name, its length and its tokens, little-endian."""
    hasher = hashlib.sha256(json.dumps({"kind": "text", "tokens": tokens}).encode())
    for split in ("train", "validation", "test"):
        if split in streams:
            codes = streams[split].codes
            hasher.update(split.encode("ascii") + len(codes).to_bytes(8, "little"))
            hasher.update(codes.data)
    return f"sha256:{hasher.hexdigest()}"


def windows(stream: Tensor, size: int, *, once: bool) -> Samples:
    """A stream of tokens (n,), n > size, as windows (k, size) and, one place further on, their targets (k, size).

    `once`: targets that an earlier window has are `IGNORED`.
    """
    last = len(stream) - 1 - size  # where the last window begins
    before = -(-last // size)  # windows that lie side by side
    tokens, targets = (torch.empty(before + 1, size, dtype=torch.int64) for _ in range(2))
    for each, first in ((tokens, 0), (targets, 1)):
        each[:-1] = stream[first : first + before * size].view(before, size)
        each[-1] = stream[first + last : first + last + size]
    if once and before:
        targets[-1, : before * size - last] = IGNORED
    return Samples({"tokens": tokens}, targets)
