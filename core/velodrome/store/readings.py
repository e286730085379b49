"""What is kept of a board as it was read, so that the next reader need not work it out again. Pure: no I/O here.

What the parts mean is `velodrome.board`'s affair. They count only while the board has the version that they are of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from velodrome import keys

VERSION = "version"


@dataclass(frozen=True, slots=True)
class KeptReading:
    """Parts that were kept of a board, None for those that were not; `of` is the version that they are of, if any."""

    of: str | None
    now: str
    parts: tuple[bytes | None, ...]

    @property
    def current(self) -> bool:
        """Whether the board is still as it was."""
        return self.of == self.now


def questions(board: str) -> tuple[tuple[str, ...], ...]:
    """What to ask Redis for a board's version."""
    return (
        ("HMGET", keys.CHANGES, f"results:{board}", f"marks:{board}"),
        ("ZCARD", keys.board_jobs(board)),
        ("HLEN", keys.board_entries(board)),
    )


def version(answers: Sequence[Any]) -> str:
    """From the answers to `questions`: how often results and marks changed, and how many jobs and entries there are."""
    (results, marks), jobs, entries = answers
    return ".".join(str(int(number or 0)) for number in (results, marks, jobs, entries))


def keeping(version: str, parts: Mapping[str, bytes]) -> Iterator[str | bytes]:
    """Arguments of `keep.lua` behind the board's name."""
    yield version
    for name, part in parts.items():
        yield name
        yield part
