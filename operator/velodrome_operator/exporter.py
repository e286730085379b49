"""/metrics: keeps what is exposed up to date beside everything else, so that a scrape only picks it up.

Boards are judged, and their families made and written out, in threads. Without Redis the last results stay exposed, and
their age with them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from velodrome.errors import TryAgain, VelodromeError
from velodrome.store import Changes, Store
from velodrome_operator.families import Exposed
from velodrome_operator.operator_facts import OperatorFacts
from velodrome_operator.page import MetricsPage, RaceReport

if TYPE_CHECKING:
    from velodrome.board.latest import Latest

ROUND_SECONDS = 1.0
# What takes long is done more seldom: it rests for so many times as long as it took.
_REST_SHARE = 10.0
_LONGEST_PAUSE = 10.0
# A board that can't be judged for what it holds is tried again after this long.
_REFUSED_SECONDS = 30.0

log = logging.getLogger("velodrome.operator")


class BoardResults:
    """What is exposed of each board's results. `stale` says that they changed since they were last `taken`.

    `marked` is called with a board whose marks changed since it was last called for it, and how often they did.
    """

    def __init__(
        self,
        store: Store,
        marked: Callable[[str, int], None],
        clock: Callable[[], datetime],
        timer: Callable[[], float],
    ) -> None:
        self.stale = True
        self._store = store
        self._marked = marked
        self._clock = clock
        self._timer = timer
        self._changes: dict[str, Changes] = {}
        self._marks: dict[str, int] = {}
        self._results: dict[str, tuple[Latest, ...]] = {}
        self._resting: dict[str, float] = {}

    def taken(self) -> list[Latest]:
        """All results as they are now."""
        self.stale = False
        return [one for found in self._results.values() for one in found]

    async def judge_changed(self) -> datetime | None:
        """Judges the boards that changed; when they were as they are now known to be, None where some are to come.

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
        await asyncio.to_thread(_load)
        began = self._timer()
        try:
            self._results[board] = await asyncio.to_thread(_latest, self._store, board)
        except TryAgain:
            raise
        except Exception as error:  # whatever is wrong with one board holds up no other
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


class Exporter:
    """What /metrics answers.

    `judged_at` is when the results that are exposed were last known to be up to date, and `swept_at` when all was last
    listed that is exposed of races. Alerts hold on to what they know until both are there, so neither is exposed
    before what it is about can be scraped.

    `races` and `operator` report what there is to expose, and are called in the event loop; `marked` is as that of
    `BoardResults`. `clock` gives times, and `timer` seconds that only grow.
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
    ) -> None:
        self.judged_at: datetime | None = None
        self.results = BoardResults(store, marked, clock, timer)
        self._races = races
        self._page = MetricsPage(operator, limit, clock, timer)

    async def work(self) -> None:
        """Rounds for ever."""
        pause = ROUND_SECONDS
        while True:
            pause = ROUND_SECONDS if await self.round() else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def round(self) -> bool:
        """Judges what changed, and makes anew what is exposed where something did; whether Redis answered."""
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
        """The answer and its content type: OpenMetrics where that is asked for, else the text format."""
        return await self._page.scrape(accept)

    @property
    def swept_at(self) -> datetime | None:
        return self._page.swept_at

    async def _build(self) -> None:
        await self._page.build(self.results.taken, self._races(), stale=self.results.stale)


def _load() -> None:
    """Imports what judges, when there is something to judge: an operator without results is small.

    Before judging is timed: SciPy takes a second, and the first board would rest for ten times as long.
    """
    import velodrome.board.kept  # noqa: F401


def _latest(store: Store, board: str) -> tuple[Latest, ...]:
    """What each entry has now; the board as it was read for that is kept for those who look at it."""
    from velodrome.board.kept import keep

    return keep(store, board)
