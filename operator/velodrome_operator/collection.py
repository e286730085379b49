"""The collector's rounds over all races that can still report. Redis is asked in a thread: the loop never waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from velodrome.collector import Collected, Collector
from velodrome.errors import StoreRefused, StoreUnavailable
from velodrome.plan import Plan
from velodrome.results import Observed
from velodrome.store import Store
from velodrome_operator.cluster import Cluster, Refused, Unavailable
from velodrome_operator.races import Race, Races

# How often inboxes are looked into; a report waits half of it on average.
ROUND_SECONDS = 0.3
_LOOKUP_SECONDS = 10.0

log = logging.getLogger("velodrome.operator")


class Collection:
    """Collects every race's inbox and wakes those that got something. `last_round` is when Redis last answered."""

    def __init__(self, races: Races, store: Store, cluster: Cluster, wake: Callable[[str], None]) -> None:
        self._races = races
        self._store = store
        self._cluster = cluster
        self._wake = wake
        self.accepted = 0
        self.rejected: dict[str, int] = {}
        self.last_round: float | None = None

    async def work(self) -> None:
        """Rounds for ever; a Redis that is away is waited for."""
        pause = ROUND_SECONDS
        while True:
            try:
                for race in self._races:
                    if race.plan is not None and not race.ended:
                        await self._collect(race, race.plan)
                self.last_round = time.monotonic()
                pause = ROUND_SECONDS
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("collecting waits: %s", error)
                pause = min(pause * 2, 10.0)
            await asyncio.sleep(pause)

    async def _collect(self, race: Race, plan: Plan) -> None:
        loop = asyncio.get_running_loop()

        def observe(index: int, attempt: str) -> Observed | None:
            known = race.observed(index, attempt)
            if known is None:  # the report overtook the pod's event: ask
                asyncio.run_coroutine_threadsafe(self._look(race), loop).result(_LOOKUP_SECONDS)
                known = race.observed(index, attempt)
            return known

        collector = Collector(self._store, plan, race.uid, observe, time.time)
        collected = await asyncio.to_thread(collector.collect_once)
        self._count(collected)
        if collected.verdicts or collected.rejected:
            self._wake(race.uid)

    async def _look(self, race: Race) -> None:
        """The race's pods as the API server has them now."""
        try:
            for raw in await self._cluster.pods(race.namespace, race.uid):
                self._races.saw_pod(raw)
        except (Unavailable, Refused) as error:
            raise StoreUnavailable(f"a report can't be attributed: {error}") from error

    def _count(self, collected: Collected) -> None:
        self.accepted += sum(1 for _, verdict in collected.verdicts if verdict == "accepted")
        for rejection in collected.rejected:
            self.rejected[rejection.reason] = self.rejected.get(rejection.reason, 0) + 1
