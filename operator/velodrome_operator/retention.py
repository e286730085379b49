"""Deletes the results of jobs that are past the retention, a few at a time, and reports each deletion.

If the BenchmarkJob of such a job still exists, it stays as it is, with its status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
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
# A limit, so that the first retention of years of results does not block Redis for long.
JOBS_A_ROUND = 20
_HOUR = 3600
REASON = "ResultsRemoved"

log = logging.getLogger("velodrome.operator")


class Pruner:
    """Rounds over all boards. `removed` counts the jobs whose results were deleted.

    If the operator watches some namespaces alone, it leaves the jobs of other namespaces to the operators of those.
    """

    def __init__(
        self,
        deleter: Deleter,
        races: Races,
        cluster: Cluster,
        rules: Retention,
        namespaces: AbstractSet[str] = frozenset(),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.removed = 0
        self._deleter = deleter
        self._races = races
        self._cluster = cluster
        self._rules = rules
        self._namespaces = namespaces
        self._clock = clock
        self._settled: dict[str, tuple[object, ...]] = {}

    async def work(self) -> None:
        """Rounds without end."""
        while True:
            await self.round()
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> None:
        """Deletes what is past the retention, `JOBS_A_ROUND` jobs at most.

        If Redis is away, the next round tries again.
        """
        going = frozenset(race.results_uid for race in self._races if not race.parent.ended)
        try:
            for job in (await asyncio.to_thread(self._overdue, going))[:JOBS_A_ROUND]:
                race = self._races.get(job.uid)
                if race is not None and not race.parent.ended:
                    continue  # the job has come, or was first seen, in the meantime
                await asyncio.to_thread(self._deleter.delete, DeletionTarget(job.board, uid=job.uid))
                await self._tell(job)
        except VelodromeError as error:
            log.warning("the retention waits: %s", error)

    def _overdue(self, going: frozenset[str]) -> list[JobInfo]:
        """The jobs to delete, board by board, oldest first.

        A board that had nothing past the retention is read again after it changed, a race ended, or an hour passed.
        """
        changes, now = self._deleter.changes(), self._clock()
        found: list[JobInfo] = []
        for board in self._deleter.boards():
            seen = changes.get(board.name), board.jobs, going, int(now.timestamp()) // _HOUR
            if self._settled.get(board.name) == seen:
                continue
            jobs = overdue_of(self._deleter, board.name, self._rules, going, now)
            own = [job for job in jobs if not self._namespaces or job.namespace in self._namespaces]
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
