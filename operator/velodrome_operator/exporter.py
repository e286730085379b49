"""/metrics: keeps what is exposed up to date beside everything else, so that a scrape only picks it up.

Boards are judged, and their families made and written out, in threads; a scrape joins the bytes that lie ready with the
operator's own few series. Without Redis the last results stay exposed, and their age with them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from velodrome.errors import TryAgain, VelodromeError
from velodrome.store import Changes, Store
from velodrome_operator.families import Exposed, OperatorFacts, RaceFacts, Row, exposed, operator_families

if TYPE_CHECKING:
    from velodrome.board.latest import Latest

ROUND_SECONDS = 1.0
# What takes long is done more seldom: it rests for so many times as long as it took.
_REST_SHARE = 10.0
_LONGEST_PAUSE = 10.0
# Results leave by age, and nothing tells when.
_REBUILD_SECONDS = 60.0
# A board that can't be judged for what it holds is tried again after this long.
_REFUSED_SECONDS = 30.0

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_END = b"# EOF\n"

log = logging.getLogger("velodrome.operator")


@dataclass(frozen=True, slots=True)
class RaceReport:
    """What there is to tell of races: of each, by board how long trials took, and when all of them were last listed."""

    races: tuple[RaceFacts, ...] = ()
    durations: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    swept_at: datetime | None = None


class _Families(Collector):
    """Families that are made elsewhere."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def describe(self) -> Iterator[Metric]:
        return iter(())


class Exporter:
    """What /metrics answers.

    `judged_at` is when the results that are exposed were last known to be up to date, and `swept_at` when all was last
    listed that is exposed of races. Alerts hold on to what they know until both are there, so neither is told
    before what it is about can be scraped.

    `races` and `operator` tell what there is to tell, and are called in the event loop; `marked` is called with a board
    whose marks changed since it was last called for it, and how often they did.
    """

    def __init__(
        self,
        store: Store,
        races: Callable[[], RaceReport],
        operator: Callable[[Exposed], OperatorFacts],
        marked: Callable[[str, int], None],
        limit: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.judged_at: datetime | None = None
        self._store = store
        self._races = races
        self._marked = marked
        self._limit = limit
        self._clock = clock
        self._changes: dict[str, Changes] = {}
        self._marks: dict[str, int] = {}
        self._results: dict[str, tuple[Latest, ...]] = {}
        self._resting: dict[str, float] = {}
        self._told = RaceReport()
        self._stale = True
        self._built_at = 0.0
        self._build_rest = 0.0
        self._exposed = exposed((), (), {}, clock(), limit)
        self._written: dict[str, bytes] = {}
        self._big, self._own = CollectorRegistry(), CollectorRegistry()
        self._big.register(_Families(lambda: self._exposed.families))
        self._own.register(_Families(lambda: operator_families(operator(self._exposed))))
        ProcessCollector(registry=self._own)

    async def work(self) -> None:
        """Rounds for ever."""
        pause = ROUND_SECONDS
        while True:
            pause = ROUND_SECONDS if await self.round() else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def round(self) -> bool:
        """Judges what changed, and makes anew what is exposed where something did; whether Redis answered."""
        try:
            read_at = await self._judge_changed()
        except VelodromeError as error:
            log.info("results are exposed as they were: %s", error)
            await self._build()
            return False
        await self._build()
        if read_at is not None and not self._stale:
            self.judged_at = read_at
        return True

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The answer and its content type: OpenMetrics where that is asked for, else the text format."""
        wanted = _OPENMETRICS if _OPENMETRICS.partition(";")[0] in accept else ""
        encode, content_type = choose_encoder(wanted)
        body = self._written.get(wanted)
        own = encode(self._own)  # first: its times must not be later than what they are of
        if body is None:  # the first time: from then on it lies ready
            families = self._exposed
            body = await asyncio.to_thread(encode, self._big)
            if families is self._exposed:
                self._written[wanted] = body
        return body.removesuffix(_END) + own, content_type

    @property
    def swept_at(self) -> datetime | None:
        return self._told.swept_at if self._built_at else None

    async def _judge_changed(self) -> datetime | None:
        """Judges the boards that changed; when they were as they are now known to be, None where some are to come."""
        read_at = self._clock()
        changes = await asyncio.to_thread(self._store.changes)
        for board in self._results.keys() - changes.keys():
            del self._results[board], self._changes[board]
            self._stale = True
        now, left = time.monotonic(), False
        for board, change in changes.items():
            if self._changes.get(board) == change:
                continue
            if self._resting.get(board, 0.0) > now or not await self._judge(board, change):
                left = True
        return None if left else read_at

    async def _judge(self, board: str, change: Changes) -> bool:
        await asyncio.to_thread(_load)
        began = time.monotonic()
        try:
            self._results[board] = await asyncio.to_thread(_latest, self._store, board)
        except TryAgain:
            raise
        except Exception as error:  # whatever is wrong with one board holds up no other
            log.warning("the results of board %s can't be judged: %r", board, error)
            self._resting[board] = time.monotonic() + _REFUSED_SECONDS
            return False
        self._changes[board], self._stale = change, True
        ended = time.monotonic()
        self._resting[board] = ended + _REST_SHARE * (ended - began)
        if self._marks.get(board, 0) != change.marks:
            self._marks[board] = change.marks
            self._marked(board, change.marks)
        return True

    async def _build(self) -> None:
        """Makes and writes out the families, unless nothing changed or they were just made."""
        now = time.monotonic()
        told = self._races()
        changed = self._stale or told != self._told or now - self._built_at > _REBUILD_SECONDS
        if not changed or now < self._build_rest:
            return
        self._stale = False
        results = [one for found in self._results.values() for one in found]
        formats = tuple(self._written)
        found, written = await asyncio.to_thread(self._made, results, told, formats)
        self._exposed, self._written, self._told = found, written, told
        self._built_at = time.monotonic()
        self._build_rest = self._built_at + _REST_SHARE * (self._built_at - now)

    def _made(
        self, results: Sequence[Latest], told: RaceReport, formats: Sequence[str]
    ) -> tuple[Exposed, dict[str, bytes]]:
        found = exposed(results, told.races, told.durations, self._clock(), self._limit)
        registry = CollectorRegistry()
        registry.register(_Families(lambda: found.families))
        return found, {wanted: choose_encoder(wanted)[0](registry) for wanted in formats}


def _load() -> None:
    """Imports what judges, when there is something to judge: an operator without results is small.

    Before judging is timed: SciPy takes a second, and the first board would rest for ten times as long.
    """
    import velodrome.board.kept  # noqa: F401


def _latest(store: Store, board: str) -> tuple[Latest, ...]:
    """What each entry has now; the board as it was read for that is kept for those who look at it."""
    from velodrome.board.kept import keep

    return keep(store, board)
