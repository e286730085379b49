"""What takes most of a Redis that is full, by name: a look of bounded size at its keys."""

from __future__ import annotations

import re
import time
from collections import Counter

import redis

from velodrome import keys

_SCANS, _SCANNED_AT_ONCE, _NAMED = 20, 500, 3
_AGAIN_SECONDS = 10.0
# The part of a key that says whose it is, and what that is called.
_OWNERS = (
    (re.compile(f"{keys.PREFIX}:(?:reports|inbox):([^:]+)"), "the inbox of job"),
    (re.compile(f"{keys.PREFIX}:job:([^:]+)"), "the results of job"),
    (re.compile(f"{keys.PREFIX}:board:([^:]+)"), "the rankings of board"),
)


class Largest:
    """Called, it says in words what takes most of the memory; empty where that can't be known.

    It looks at ten thousand keys, and no more often than every ten seconds: a Redis that is full is asked by many.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._words = ""
        self._looked_at: float | None = None

    def __call__(self) -> str:
        now = time.monotonic()
        if self._looked_at is None or now - self._looked_at > _AGAIN_SECONDS:
            self._looked_at = now
            try:
                self._words = self._look()
            except redis.RedisError:  # a user who may not ask, or a Redis that is gone meanwhile
                self._words = ""
        return self._words

    def _look(self) -> str:
        cursor: int | bytes = 0
        sizes: Counter[str] = Counter()
        for _ in range(_SCANS):
            cursor, names = self._client.execute_command("SCAN", cursor, "COUNT", _SCANNED_AT_ONCE)
            with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.execute_command("MEMORY", "USAGE", name)
                for name, size in zip(names, pipe.execute(), strict=True):
                    sizes[owner_of(name)] += size or 0
            if int(cursor) == 0:
                break
        named = [f"{owner} ({size / 2**20:,.1f} MiB)" for owner, size in sizes.most_common(_NAMED) if size >= 2**20]
        return f"most of it is taken by {', '.join(named)}" if named else ""


def owner_of(name: bytes) -> str:
    """Whose a key is, in words. Pure."""
    text = name.decode(errors="replace")
    for pattern, words in _OWNERS:
        match = pattern.match(text)
        if match:
            return f"{words} {match[1]}"
    return "keys of others" if not text.startswith(f"{keys.PREFIX}:") else "what all jobs share"
