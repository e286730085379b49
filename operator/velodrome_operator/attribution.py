"""Who sent a report that arrived before its pod's event. The API server is asked, outside of the collector's rounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from velodrome.errors import StoreUnavailable, VelodromeError
from velodrome.results.records import Observed
from velodrome_operator.cluster import Cluster
from velodrome_operator.races import Race, Races

_LOOKUP_SECONDS = 10.0
_AT_ONCE = 8


class Unattributed(StoreUnavailable):
    """The API server does not say which pod sent a report. A later try may succeed."""


class Witness:
    """What is known about attempts at a race's trials. `missed` says that somebody asked for an unknown attempt."""

    def __init__(self, race: Race) -> None:
        self._race = race
        self.missed = False

    def __call__(self, index: int, attempt: str) -> Observed | None:
        known = self._race.observed(index, attempt)
        self.missed = self.missed or known is None
        return known


class Attribution:
    """Asks the API server for a race's pods.

    Every pod that reported existed before the inbox was read. So one question after the reading is enough, no matter
    how many reports are forged.
    """

    def __init__(self, races: Races, cluster: Cluster) -> None:
        self._races = races
        self._cluster = cluster
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def look(self, race: Race) -> None:
        """Notes the race's pods as the API server has them now.

        Raises:
            Unattributed: the API server does not answer in time, or refuses.
        """
        async with self._turn:
            await _in_time(self._look(race))

    async def look_back(self, race: Race) -> None:
        """Notes the race's pods that came and went while no operator ran, as far as Events show them.

        Raises:
            Unattributed: the API server does not answer in time, or refuses.
        """
        async with self._turn:
            await _in_time(self._look_back(race))

    async def _look(self, race: Race) -> None:
        async for raw in self._cluster.jobs(race.namespace, race.uid):  # a pod is known by its Job alone
            self._races.saw_job(raw)
        async for raw in self._cluster.pods(race.namespace, race.uid):
            self._races.saw_pod(raw)

    async def _look_back(self, race: Race) -> None:
        async for event in self._cluster.started_pods(race.namespace):
            race.saw_started(event)


async def _in_time(question: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            await question
    except (VelodromeError, TimeoutError) as error:
        raise Unattributed(f"a report can't be attributed: {str(error) or 'the API server does not answer'}") from error
