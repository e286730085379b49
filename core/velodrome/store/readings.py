"""The stored reading of a board, which saves the next reader the computation. Pure: no I/O here.

`velodrome.board` defines what the parts mean. They are valid only while the board has the version of the reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from velodrome import keys

VERSION = "version"


@dataclass(frozen=True, slots=True)
class KeptReading:
    """Parts of a stored reading, None for each missing part. `of` is the board's version then, if there is a reading,
    and `now` its version now. `entries` is the number of the board's entries.
    """

    of: str | None
    now: str
    parts: tuple[bytes | None, ...]
    entries: int = 0

    @property
    def current(self) -> bool:
        """Whether the board still has the version of the reading."""
        return self.of == self.now


def questions(board: str) -> tuple[tuple[str, ...], ...]:
    """The commands that ask Redis for a board's version."""
    return (
        ("HMGET", keys.CHANGES, f"results:{board}", f"marks:{board}"),
        ("ZCARD", keys.board_jobs(board)),
        ("HLEN", keys.board_entries(board)),
    )


def version(answers: Sequence[Any]) -> str:
    """From the answers to `questions`: how often results and marks changed, and the numbers of jobs and entries."""
    (results, marks), jobs, entries = answers
    return ".".join(str(int(number or 0)) for number in (results, marks, jobs, entries))


def entries(answers: Sequence[Any]) -> int:
    """From the same answers: the number of the board's entries."""
    return int(answers[-1] or 0)


def keeping(version: str, parts: Mapping[str, bytes]) -> Iterator[str | bytes]:
    """Arguments of `keep.lua` after the board's name."""
    yield version
    for name, part in parts.items():
        yield name
        yield part
