"""Which BenchmarkJobs need a pass, and when. Each has one pass at a time; a wake-up during a pass asks for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Wakeups(Generic[Key]):
    """A queue of keys without repetition, with delays. For one event loop.

    A key that is `urgent` when it comes in overtakes all others. Urgent keys keep the order in which they came.
    """

    def __init__(self, urgent: Callable[[Key], bool] = lambda _: False) -> None:
        self._urgent = urgent
        self._ready: asyncio.PriorityQueue[tuple[bool, int, Key]] = asyncio.PriorityQueue()
        self._places = count()
        self._waiting: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._rested: dict[Key, float] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    def forget(self, key: Key) -> None:
        """Forgets a key that is gone. It gets no pass any more."""
        self._rested.pop(key, None)
        if key in self._timers:
            self._timers.pop(key).cancel()

    def wake(self, key: Key, after: float = 0.0) -> None:
        """Asks for a pass in `after` seconds at the latest, or at the end of the key's rest if that is later."""
        loop = asyncio.get_running_loop()
        after = max(after, self._rested.get(key, 0.0) - loop.time())
        timer = self._timers.get(key)
        if after > 0:
            if timer is not None and timer.when() <= loop.time() + after:
                return
            if timer is not None:
                timer.cancel()
            self._timers[key] = loop.call_later(after, self._fire, key)
            return
        if timer is not None:
            self._timers.pop(key).cancel()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait((not self._urgent(key), next(self._places), key))

    def _fire(self, key: Key) -> None:
        self._timers.pop(key, None)
        self._rested.pop(key, None)
        self.wake(key)

    async def next(self) -> Key:
        """The next key for a pass. Call `done` after the pass."""
        *_, key = await self._ready.get()
        self._waiting.discard(key)
        self._busy.add(key)
        return key

    def done(self, key: Key, rest: float = 0.0) -> None:
        """Ends the pass. The next one begins in `rest` seconds at the earliest, no matter what wakes it."""
        self._busy.discard(key)
        self._rested.pop(key, None)
        if rest > 0:
            self._rested[key] = asyncio.get_running_loop().time() + rest
        if key in self._again:
            self._again.discard(key)
            self.wake(key)
