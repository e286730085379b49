"""Deletes the results of jobs that are past the retention, a few at a time, and tells of each.

The BenchmarkJob of such a job stays as it is, with its status, where it still exists.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from velodrome.board.retention import Retention, overdue_of
from velodrome.errors import VelodromeError
from velodrome.store.deletion import Deleter, DeletionTarget
from velodrome_operator.cluster import Cluster
from velodrome_operator.races import Races

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo

ROUND_SECONDS = 60.0
# So that a first retention of years of results keeps Redis from nothing else for long.
JOBS_A_ROUND = 20
_HOUR = 3600
REASON = "ResultsRemoved"

log = logging.getLogger("velodrome.operator")


class Pruner:
    """Rounds over all boards. `removed` counts the jobs whose results were deleted.

    Where the operator watches one namespace, the jobs of others are left to who watches those.
    """

    def __init__(
        self,
        deleter: Deleter,
        races: Races,
        cluster: Cluster,
        rules: Retention,
        namespace: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.removed = 0
        self._deleter = deleter
        self._races = races
        self._cluster = cluster
        self._rules = rules
        self._namespace = namespace
        self._clock = clock
        self._settled: dict[str, tuple[object, ...]] = {}

    async def work(self) -> None:
        """Rounds for ever."""
        while True:
            await self.round()
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> None:
        """Deletes what is past the retention, `JOBS_A_ROUND` jobs at most; a Redis that is away is waited for."""
        going = frozenset(race.uid for race in self._races if not race.parent.ended)
        try:
            for job in (await asyncio.to_thread(self._overdue, going))[:JOBS_A_ROUND]:
                race = self._races.get(job.uid)
                if race is not None and not race.parent.ended:
                    continue  # it came to be, or was seen, since
                await asyncio.to_thread(self._deleter.delete, DeletionTarget(job.board, uid=job.uid))
                await self._tell(job)
        except VelodromeError as error:
            log.warning("the retention waits: %s", error)

    def _overdue(self, going: frozenset[str]) -> list[JobInfo]:
        """The jobs that go, board by board, oldest first. A board on which nothing was past the retention is looked at
        again once it changed, a race ended, or an hour has passed.
        """
        changes, now = self._deleter.changes(), self._clock()
        found: list[JobInfo] = []
        for board in self._deleter.boards():
            seen = changes.get(board.name), board.jobs, going, int(now.timestamp()) // _HOUR
            if self._settled.get(board.name) == seen:
                continue
            jobs = overdue_of(self._deleter, board.name, self._rules, going, now)
            own = [job for job in jobs if self._namespace in (None, job.namespace)]
            found += own
            if not own:
                self._settled[board.name] = seen
        return found

    async def _tell(self, job: JobInfo) -> None:
        self.removed += 1
        message = f"The results of job {job.name} ({job.uid}) left board {job.board}: they are past its retention."
        log.info("%s", message, extra={"namespace": job.namespace, "benchmarkjob": job.name, "uid": job.uid})
        race = self._races.get(job.uid)
        if race is None:
            return
        try:
            await self._cluster.event(race.parent.raw, REASON, message, warning=False, at=self._clock())
        except VelodromeError as error:
            log.info("the Event can't be written: %s", error, extra={"benchmarkjob": job.name, "uid": job.uid})
