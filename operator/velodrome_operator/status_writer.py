"""Writes the status of BenchmarkJobs, and the Events that follow a written status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from velodrome.errors import VelodromeError
from velodrome_operator import status, texts
from velodrome_operator.cluster import Cluster
from velodrome_operator.races import Race, Races

# The least time between two writes of a status if only its counts changed. The API server takes longer for a status
# than for any other write, and everybody else waits for the API server.
STATUS_SECONDS = 2.0

log = logging.getLogger("velodrome.operator")


class StatusWriter:
    """Remembers when it last wrote the status of each race. A status that it wrote counts as seen."""

    def __init__(self, cluster: Cluster, races: Races, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._races = races
        self._clock = clock
        self._written: dict[str, datetime] = {}

    def forget(self, uid: str) -> None:
        """Forgets a race that is gone."""
        self._written.pop(uid, None)

    async def replace(self, race: Race, wanted: Mapping[str, Any]) -> None:
        """Writes this status.

        Raises:
            TryAgain, ActionNeeded: as the API server answers.
        """
        written = await self._cluster.write_status(race.parent.raw, wanted)
        self._written[race.uid] = self._clock()
        if written is not None:
            self._races.saw_parent(written)

    async def update(self, race: Race, wanted: Mapping[str, Any], now: datetime | None = None) -> timedelta | None:
        """Writes this status if it says something new, and writes an Event for each transition.

        With `now`, a status that changes only counts waits for its turn. Then this returns how long.

        Raises:
            TryAgain, ActionNeeded: as the API server answers.
        """
        present = race.parent.status
        if wanted == present:
            return None
        news = status.news(present, wanted)
        last = self._written.get(race.uid)
        early = STATUS_SECONDS - (now - last).total_seconds() if last and now else 0.0
        if early > 0 and not news:
            return timedelta(seconds=early)
        await self.replace(race, wanted)
        await self._events(race, news)
        return None

    async def show(self, race: Race, message: str) -> None:
        """Writes what holds the race up into the status' message, if that can be written."""
        message, present = texts.summary(message), race.parent.status
        if race.parent.ended or present.get("message") == message:
            return
        try:
            await self.replace(race, {**present, "message": message})
        except VelodromeError as error:
            log.info("the status can't be written: %s", error, extra=race.log_fields)

    async def stall(self, race: Race, reason: str, message: str) -> None:
        """Says in the condition Stalled that a person must act. The next pass that succeeds takes that back."""
        try:
            present = race.parent.status
            wanted = status.stalled(present, reason, message, race.parent.generation, self._clock())
            if not race.parent.ended and wanted != present:
                await self.replace(race, wanted)
        except Exception:  # the object is odd already: a status that can't be written must not stop the pass
            log.warning("the status can't be written", exc_info=True, extra=race.log_fields)

    async def _events(self, race: Race, news: Sequence[status.News]) -> None:
        """Writes an Event for each. The status that says the same was written before."""
        parent = race.parent.raw if news else {}
        for item in news:
            level = logging.WARNING if item.warning else logging.INFO
            log.log(level, "%s: %s", item.reason, item.message, extra=race.log_fields)
            await self._cluster.event(parent, item.reason, item.message, warning=item.warning, at=self._clock())
