"""The store across outages: repeats each question until Redis answers, and restarts Velodrome's own Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from velodrome.errors import LocalError, StoreUnavailable
from velodrome.machine.files import tail
from velodrome.machine.processes.stop import Stop
from velodrome.machine.race.events import Resumed, Waiting, Watch
from velodrome.machine.redis.server import OwnRedis
from velodrome.store import Store, open_store

Answer = TypeVar("Answer")

# The race gives up if its own server was restarted this often and never answered a question.
MOST_REVIVALS = 5
# How long a race waits for a Redis that it can't restart itself.
PATIENCE_SECONDS = 600.0


class StopRequested(Exception):
    """The person asked to stop while the race waited: for Redis, for its turn, or for its rehearsal."""


class Connection:
    """One race's store. `outages` counts the outages of Redis: an outage may lose what Redis had answered before."""

    def __init__(
        self,
        redis: OwnRedis | str,
        watch: Watch,
        stop: Stop,
        *,
        patience: float = PATIENCE_SECONDS,
        pause: float = 0.5,
        opener: Callable[[str], Store] = open_store,
    ) -> None:
        self._redis = redis
        self._watch = watch
        self._stop = stop
        self._patience = patience
        self._pause = pause
        self._opener = opener
        self._url = self.url
        self._store = opener(self._url)
        self.outages = 0

    @property
    def url(self) -> str:
        return self._redis if isinstance(self._redis, str) else self._redis.url

    def ask(self, question: Callable[[Store], Answer]) -> Answer:
        """Returns the answer, and waits for the end of any outage. The question may be asked more than once.

        Raises:
            StoreUnavailable: Redis has not come back within `patience` seconds.
            StoreRefused: Redis answers and refuses, so waiting does not help.
            LocalError: Velodrome's own Redis can't be started again.
            StopRequested: the person asked to stop during the outage.
        """
        try:
            return question(self._store)
        except StoreUnavailable as error:
            self.outages += 1
            self._watch(Waiting(f"{error}: trying again"))
            answer = self._insist(question)
            self._watch(Resumed())
            return answer

    def close(self) -> None:
        self._store.close()

    def _insist(self, question: Callable[[Store], Answer]) -> Answer:
        deadline = time.monotonic() + self._patience
        revivals = 0
        while True:
            revivals += self._revive()
            try:
                return question(self._store)
            except StoreUnavailable as error:
                if revivals >= MOST_REVIVALS and isinstance(self._redis, OwnRedis):
                    raise LocalError(
                        f"the Redis server ends as often as it is started. Its last words ({self._redis.log}):\n"
                        f"{tail(self._redis.log)}"
                    ) from error
                if time.monotonic() > deadline:
                    raise StoreUnavailable(f"gave up after {self._patience:g} s: {error}") from error
            if self._stop.requested:
                raise StopRequested
            time.sleep(self._pause)

    def _revive(self) -> bool:
        """Starts Velodrome's own server again if it has ended. Returns whether it started one."""
        started = isinstance(self._redis, OwnRedis) and self._redis.ensure()
        if self.url != self._url:  # it was started again at another port
            self._store.close()
            self._url = self.url
            self._store = self._opener(self._url)
        return started
