"""Readings of large boards that nobody has kept. Another process makes them, and all viewers share them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import redis
from pydantic_core import from_json

from velodrome import keys
from velodrome.board.kept import OBJECTIVES, usable
from velodrome.store import Store
from velodrome.store.edge import connect
from velodrome.store.readings import KeptReading
from velodrome.text import line

# A smaller board is ranked in less time than a process takes to start.
LARGE = 300
_MOST_READINGS = 8  # one of a thousand entries takes a few megabytes
_PATIENCE_SECONDS = 120.0

_LOG = logging.getLogger("velodrome.leaderboard")


@dataclass(frozen=True, slots=True)
class BesideReading:
    """The parts of a board's reading, as `velodrome.board.kept` keeps them, and the board's version then."""

    version: str
    parts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class BesideReadings:
    """The newest readings of the Redis at a URL. One is made at a time."""

    url: str
    _made: OrderedDict[str, BesideReading] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def read(self, board: str, version: str) -> BesideReading | None:
        """The reading of a board that has this version now. None if it can't be made."""
        with self._lock:
            found = self._made.get(board)
            if found is None or found.version != version:
                found = self._make(board)
            if found is not None:
                self._made[board] = found
                self._made.move_to_end(board)
                if len(self._made) > _MOST_READINGS:
                    self._made.popitem(last=False)
            return found

    def _make(self, board: str) -> BesideReading | None:
        command = [sys.executable, "-m", "velodrome_leaderboard.ranker", board]
        environ = {**os.environ, keys.ENV_REDIS_URL: self.url}  # its password is for no list of processes
        try:
            done = subprocess.run(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE_SECONDS,
                check=True,
            )
            made = from_json(done.stdout)
            return BesideReading(made["version"], {name: part.encode() for name, part in made["parts"].items()})
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            _LOG.warning("no other process could rank board %s, so this one does: %s", line(board), line(last))
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            _LOG.warning("no other process could rank board %s, so this one does: %s", line(board), error)
        return None


class PageStore(Store):
    """The store of the pages. Where no usable reading of a large board is kept, it has one made by another process."""

    def __init__(self, client: redis.Redis, url: str) -> None:
        super().__init__(client)
        self._beside = BesideReadings(url)

    def kept_reading(self, board: str, fields: Sequence[str]) -> KeptReading:
        found = super().kept_reading(board, [OBJECTIVES, *fields])
        if found.entries >= LARGE and not usable(found):
            made = self._beside.read(board, found.now)
            if made is not None:
                return KeptReading(made.version, made.version, tuple(map(made.parts.get, fields)), found.entries)
        return KeptReading(found.of, found.now, found.parts[1:], found.entries)


def open_pages(url: str) -> PageStore:
    """The store of the pages at a URL, as `velodrome.store.open_store` opens it. Raises as that does."""
    return PageStore(connect(url), url)
