"""Says what uses most of the memory of a full Redis, by name, from a limited number of its keys."""

from __future__ import annotations

import re
import time
from collections import Counter

import redis

from velodrome import keys

_SCANS, _SCANNED_AT_ONCE, _NAMED = 20, 500, 3
_AGAIN_SECONDS = 10.0
# Patterns of keys that contain their owner's name, with the words for the owner.
_OWNERS = (
    (re.compile(f"{keys.PREFIX}:(?:reports|inbox):([^:]+)"), "the inbox of job"),
    (re.compile(f"{keys.PREFIX}:job:([^:]+)"), "the results of job"),
    (re.compile(f"{keys.PREFIX}:board:([^:]+)"), "the rankings of board"),
)


class Largest:
    """A call returns in words what uses most of the memory, or an empty text if that can't be known.

    It looks at ten thousand keys, at most once in ten seconds, because many calls may ask a full Redis at once.
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
            except redis.RedisError:  # the user may not ask, or Redis does not answer any more
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
    """The owner of a key, in words. Pure."""
    text = name.decode(errors="replace")
    for pattern, words in _OWNERS:
        match = pattern.match(text)
        if match:
            return f"{words} {match[1]}"
    return "keys of others" if not text.startswith(f"{keys.PREFIX}:") else "what all jobs share"
