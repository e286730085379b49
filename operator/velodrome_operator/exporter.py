"""/metrics: keeps what is exposed up to date, beside all other work, so that a scrape only fetches it.

A process of its own judges boards. Threads make and write out their families. Without Redis, the last results and
their age stay exposed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from velodrome.errors import TryAgain, VelodromeError
from velodrome.store import Changes, Store
from velodrome_operator.families import Exposed
from velodrome_operator.omissions import Omissions
from velodrome_operator.operator_facts import OperatorFacts
from velodrome_operator.page import MetricsPage, RaceReport
from velodrome_operator.ranker import Question, Ranker, RankerLost, answer

if TYPE_CHECKING:
    from velodrome.board.latest import Latest

ROUND_SECONDS = 1.0
# Slow work is done less often: the rest is so many times as long as the work took.
_REST_SHARE = 10.0
_LONGEST_PAUSE = 10.0
# If a board's content can't be judged, it is tried again after this long.
_REFUSED_SECONDS = 30.0

log = logging.getLogger("velodrome.operator")


class BoardResults:
    """What is exposed of each board's results. `stale` says that they changed since they were last `taken`.

    `marked` is called when a board's marks changed since the last call for it. It gets the board and how often its
    marks have changed. Without a `ranker` threads judge.
    """

    def __init__(
        self,
        store: Store,
        marked: Callable[[str, int], None],
        clock: Callable[[], datetime],
        timer: Callable[[], float],
        ranker: Ranker | None = None,
    ) -> None:
        self.stale = True
        self._store = store
        self._marked = marked
        self._clock = clock
        self._timer = timer
        self._ranker = ranker
        self._changes: dict[str, Changes] = {}
        self._marks: dict[str, int] = {}
        self._results: dict[str, tuple[Latest, ...]] = {}
        self._resting: dict[str, float] = {}

    def taken(self) -> list[Latest]:
        """All results as they are now."""
        self.stale = False
        return [one for found in self._results.values() for one in found]

    async def judge_changed(self) -> datetime | None:
        """Judges the boards that changed. Returns when all were read, or None if some are to come.

        Raises:
            TryAgain, ActionNeeded: as Redis answers.
        """
        read_at = self._clock()
        changes = await asyncio.to_thread(self._store.changes)
        for board in self._results.keys() - changes.keys():
            del self._results[board], self._changes[board]
            self.stale = True
        now, left = self._timer(), False
        for board, change in changes.items():
            if self._changes.get(board) == change:
                continue
            if self._resting.get(board, now) > now or not await self._judge(board, change):
                left = True
        return None if left else read_at

    async def _judge(self, board: str, change: Changes) -> bool:
        began = self._timer()
        try:
            # Importing takes a second, and the first board would rest for ten times as long.
            await self._ask("load")
            began = self._timer()
            self._results[board] = await self._ask("board", board)
        except RankerLost as error:
            log.warning("the results of board %s can't be judged: %s", board, error)
            self._resting[board] = self._timer() + _REFUSED_SECONDS
            return False
        except TryAgain:
            raise
        except Exception as error:  # an error in one board must not hold up the others
            log.warning("the results of board %s can't be judged: %r", board, error)
            self._resting[board] = self._timer() + _REFUSED_SECONDS
            return False
        self._changes[board], self.stale = change, True
        ended = self._timer()
        self._resting[board] = ended + _REST_SHARE * (ended - began)
        if self._marks.get(board, 0) != change.marks:
            self._marks[board] = change.marks
            self._marked(board, change.marks)
        return True

    async def _ask(self, question: Question, board: str = "") -> Any:
        if self._ranker is None:
            return await asyncio.to_thread(answer, self._store, question, board)
        return await self._ranker.ask(question, board)


class Exporter:
    """Answers /metrics.

    `judged_at` is when the exposed results were last known to be up to date. `swept_at` is when everything that is
    exposed about races was last listed. Alerts keep what they know until both are there. So each is exposed only when a
    scrape can also get what it describes.

    `races` and `operator` report what there is to expose, and are called in the event loop. `marked` is as in
    `BoardResults`. `clock` gives times, and `timer` gives seconds that only grow.
    """

    def __init__(
        self,
        store: Store,
        races: Callable[[], RaceReport],
        operator: Callable[[Exposed], OperatorFacts],
        marked: Callable[[str, int], None],
        limit: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        timer: Callable[[], float] = time.monotonic,
        ranker: Ranker | None = None,
    ) -> None:
        self.judged_at: datetime | None = None
        self.results = BoardResults(store, marked, clock, timer, ranker)
        self._races = races
        self._omissions = Omissions(lambda: store.left_out)
        self._page = MetricsPage(operator, limit, clock, timer)

    async def work(self) -> None:
        """Rounds without end."""
        pause = ROUND_SECONDS
        while True:
            pause = ROUND_SECONDS if await self.round() else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def round(self) -> bool:
        """Judges what changed, and makes again what is exposed if something did. Returns whether Redis answered.

        Logs what the operator could not read of Redis since the last round, here or elsewhere.
        """
        self._omissions.log_new()
        try:
            read_at = await self.results.judge_changed()
        except VelodromeError as error:
            log.info("results are exposed as they were: %s", error)
            await self._build()
            return False
        await self._build()
        if read_at is not None and not self.results.stale:
            self.judged_at = read_at
        return True

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The answer and its content type: OpenMetrics if the Accept header asks for it, else the text format."""
        return await self._page.scrape(accept)

    @property
    def swept_at(self) -> datetime | None:
        return self._page.swept_at

    async def _build(self) -> None:
        await self._page.build(self.results.taken, self._races(), stale=self.results.stale)
