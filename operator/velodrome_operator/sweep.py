"""Looks at everything again once in a while, and finds what no event reported."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Set as AbstractSet
from datetime import datetime

from velodrome.errors import VelodromeError
from velodrome.store import Store
from velodrome_operator.access import Access
from velodrome_operator.cluster import Cluster
from velodrome_operator.controller import Controller
from velodrome_operator.inventory import take_in
from velodrome_operator.watches import Watches

RESYNC_SECONDS = 60.0
_LISTING_SECONDS = 2.0

log = logging.getLogger("velodrome.operator")


class Sweep:
    """Sweeps over all BenchmarkJobs.

    `swept_at` is when everything was last listed. `tried_at` is when this was last tried, by the monotonic clock. If
    the operator watches some `namespaces` alone, it leaves other namespaces to the operators of those.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        access: Access,
        controller: Controller,
        watches: Watches,
        namespaces: AbstractSet[str] = frozenset(),
    ) -> None:
        self.swept_at: datetime | None = None
        self.tried_at = time.monotonic()
        self._cluster = cluster
        self._store = store
        self._access = access
        self._controller = controller
        self._watches = watches
        self._namespaces = namespaces
        self._listed = asyncio.Event()

    @property
    def has_listed(self) -> bool:
        """Whether everything has been listed once."""
        return self._listed.is_set()

    async def listed(self) -> None:
        """Waits until everything has been listed once."""
        await self._listed.wait()

    async def list_first(self) -> bool:
        """Lists everything and lets passes begin. Returns False if the API server does not answer; then try again.

        This runs before kopf lists: kopf needs some milliseconds for each object, and this only finds out what is new.
        """
        try:
            await self._list()
        except VelodromeError as error:
            log.warning("the first listing waits: %s", error)
            return False
        for race in self._controller.races:
            self._controller.wakeups.wake(race.uid)
        self.swept_at = self._cluster.now()
        self._listed.set()
        return True

    async def try_first(self) -> None:
        """Calls `list_first`, before anything else runs. If that fails, `work` tries it again."""
        try:
            await self.list_first()
        except Exception:  # `work` meets it again, and there it is counted
            log.exception("the first listing ended by an error that nobody expected")

    async def work(self) -> None:
        """Sweeps without end."""
        listed = self.has_listed
        while not listed:
            await asyncio.sleep(_LISTING_SECONDS)
            listed = await self.list_first()
        while True:
            await asyncio.sleep(RESYNC_SECONDS)  # everything has just been listed
            try:
                await self.once()
            except VelodromeError as error:
                log.warning("the sweep waits: %s", error)
            self.tried_at = time.monotonic()

    async def once(self) -> None:
        """One sweep: wakes the races that a pass may change, and removes what deleted races left in Redis.

        Raises:
            TryAgain, ActionNeeded: as the API server or Redis answers.
        """
        # Before the listing: a job that comes in the meantime gets its user later, and must not lose it.
        held = await asyncio.to_thread(self._access.holders)
        present = await self._list()
        for uid in await asyncio.to_thread(self.unpassed):
            self._controller.wakeups.wake(uid)
        races = [race for race in self._controller.races if race.uid in present and not race.logbook.cleared]
        await asyncio.to_thread(self._remove_leftovers, held - {race.results_uid for race in races})
        self.swept_at = self._cluster.now()

    def unpassed(self) -> list[str]:
        """The uids of the races that changed, in the cluster or in Redis, since their last successful pass.

        A pass over the same state would decide the same again. What only time changes has a timer of its own.
        """
        races = list(self._controller.races)
        going = [race for race in races if not race.parent.ended]
        results = self._store.result_counts([race.trials_uid for race in going])
        renewed = self._access.renewed()
        changed = {
            race.uid for race, count in zip(going, results, strict=True) if renewed or race.logbook.results != count
        }
        return [race.uid for race in races if race.logbook.passed != race.logbook.news or race.uid in changed]

    async def _list(self) -> frozenset[str]:
        return await take_in(self._cluster, self._controller, self._watches, self._namespaces)

    def _remove_leftovers(self, absent: AbstractSet[str]) -> None:
        """Removes users, inboxes and instructions of races that ended, or that were deleted while nobody looked.

        A runner may have reported while those of its race were removed.
        """
        for uid in absent:
            job = self._store.job(uid)
            if not self._namespaces or (job is not None and job.namespace in self._namespaces):
                self._access.remove(uid)
