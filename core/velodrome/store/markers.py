"""Markers: questions to Redis whose answers change whenever what they stand for changes. Pure: no I/O here.

A marker takes a few of the cheapest commands, whatever the size of the board or the job. Only compare its answers.
"""

from __future__ import annotations

from dataclasses import dataclass

from velodrome import keys
from velodrome.store import readings


@dataclass(frozen=True, slots=True)
class Marker:
    """The commands that ask for it."""

    questions: tuple[tuple[str, ...], ...]


def of_boards() -> Marker:
    """Changes when a board appears or vanishes, and when any board gets a job or a result that no file brought."""
    return Marker((("ZCARD", keys.BOARDS), ("ZREVRANGE", keys.BOARDS, "0", "0", "WITHSCORES")))


def of_board(board: str) -> Marker:
    """Changes with the board's results, marks, jobs and entries, and when the board appears or vanishes."""
    return Marker((*readings.questions(board), ("HGET", keys.BOARD_TIMES, board)))


def of_job(uid: str, board: str) -> Marker:
    """Changes with every report of the job, with the results and marks of its board, and when the job appears."""
    changes = ("HMGET", keys.CHANGES, f"results:{board}", f"marks:{board}")
    return Marker((("EXISTS", keys.job(uid, "info")), ("GET", keys.job(uid, "position")), changes))
