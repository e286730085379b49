"""Passes on what a trial writes, and keeps the end of it for the result of a failed trial."""

from __future__ import annotations

import io
import sys
from collections import deque
from typing import TextIO, cast

from velodrome.results.records import LOG_TAIL_LIMIT


def say(line: str) -> None:
    """Writes a line to the log at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def complain(line: str) -> None:
    """Writes a line about a problem to the log at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def words(error: BaseException) -> str:
    """What an exception says; its name where it says nothing, or raises another one when it is asked."""
    try:
        said = str(error).strip()
    except Exception:  # it may be a person's
        said = ""
    return said or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an exception's message."""
    return words(error).splitlines()[0][:500]


class Tail:
    """The last `limit` characters that were written to the wrapped streams."""

    def __init__(self, limit: int = LOG_TAIL_LIMIT) -> None:
        self._limit = limit
        self._pieces: deque[str] = deque()
        self._length = 0

    def wrap(self, stream: TextIO) -> TextIO:
        """A stream that passes everything on to `stream`, and whose end is kept here."""
        return cast("TextIO", _Tee(stream, self))

    def note(self, text: str) -> None:
        """Adds a piece of text."""
        self._pieces.append(text)
        self._length += len(text)
        while self._length - len(self._pieces[0]) >= self._limit:
            self._length -= len(self._pieces.popleft())

    def text(self) -> str:
        """The kept text, at most `limit` characters. If it was cut, it begins at the start of a line."""
        whole = "".join(self._pieces)
        if len(whole) <= self._limit:
            return whole
        end = whole[-self._limit :]
        return end.partition("\n")[2] or end


class _Tee(io.TextIOBase):
    """A text stream over another one, which answers all other calls."""

    def __init__(self, stream: TextIO, tail: Tail) -> None:
        self._stream = stream
        self._tail = tail

    def write(self, text: str) -> int:
        self._tail.note(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding
