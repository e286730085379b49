"""Logs what the operator leaves out of lists because it can't be read in Redis: each item once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from velodrome.text import counted
from velodrome_operator.texts import phrase

_MOST_NAMED = 3

log = logging.getLogger("velodrome.operator")


class Omissions:
    """`left_out` returns one sentence for each item that was left out so far."""

    def __init__(self, left_out: Callable[[], Sequence[str]]) -> None:
        self._left_out = left_out
        self._logged: set[str] = set()

    def log_new(self) -> None:
        """Logs the items that were not logged before: their number, and the first few with the reason of each."""
        found = self._left_out()
        new = [words for words in found if words not in self._logged]
        if not new:
            return
        self._logged.update(new)
        named = "; ".join(map(phrase, new[:_MOST_NAMED]))
        more = f"; and {len(new) - _MOST_NAMED} more" if len(new) > _MOST_NAMED else ""
        number = counted(len(new), "new item")
        log.warning("what can't be read in Redis is left out: %s, %d so far: %s%s", number, len(found), named, more)
