"""Carries on the search of a race that has ended, once its `maxTrials` is raised."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from velodrome.board.extension import carry, present_run
from velodrome.board.tenancy import BoardPolicy
from velodrome.keys import run_uid
from velodrome.plan import Plan
from velodrome.results.registration import job_info
from velodrome.search.trials import search_of
from velodrome.store import Store
from velodrome_operator import status
from velodrome_operator.admission import admit
from velodrome_operator.races import Race
from velodrome_operator.status_writer import StatusWriter

log = logging.getLogger("velodrome.operator")


class Extension:
    """What was raised is read from Redis: a search that ended knows its own `maxTrials`. So nothing is lost if this is
    killed: a run is registered first, then the status says that the race goes on, and then its pods are made.
    """

    def __init__(self, store: Store, boards: BoardPolicy, writer: StatusWriter, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._boards = boards
        self._writer = writer
        self._clock = clock
        self._settled: dict[str, int] = {}

    def forget(self, uid: str) -> None:
        """Forgets a race that is gone."""
        self._settled.pop(uid, None)

    async def begins(self, race: Race) -> bool:
        """Whether a race that has ended goes on now. Then its status says so, and it is planned anew.

        Raises:
            TryAgain, ActionNeeded: as the API server or Redis answers.
            BoardRefused: the race's board takes no jobs of its namespace any more.
        """
        planned, generation = race.base, race.parent.generation
        if planned is None or planned.job.spec.search is None or not race.parent.ended:
            return False
        if self._settled.get(race.uid) == generation:
            return False
        number = await asyncio.to_thread(self._run, race, planned)
        if number is None:
            self._settled[race.uid] = generation
            return False
        if number > race.run:
            await asyncio.to_thread(self._carry, race, planned, number)
        wanted = status.going_on(race.parent.status, number, generation, self._clock())
        await self._writer.update(race, wanted)
        race.begin(number)
        log.info("its search goes on, in run %d", number, extra=race.log_fields)
        return True

    def _run(self, race: Race, planned: Plan) -> int | None:
        """The number of the run in which the search goes on; None if it does not."""
        most = search_of(planned.job).max_trials
        number = present_run(self._store, race.uid, most, race.run)
        if number > race.run:
            return number
        job = self._store.job(run_uid(race.uid, number))
        return number if job is not None and job.searched is None and job.most_searched < most else None

    def _carry(self, race: Race, planned: Plan, number: int) -> None:
        """Registers the run, with what the run before suggested and measured."""
        now, before = self._clock(), self._store.job(run_uid(race.uid, number - 1))
        info = job_info(planned, run_uid(race.uid, number), now)
        admit(self._store, self._boards, info)
        if before is not None:
            carry(self._store, before, planned, info, now)
