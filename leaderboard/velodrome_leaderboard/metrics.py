"""/metrics: what Prometheus gets where no operator runs: families of the cluster, and so the same rules alert.

A scrape judges the boards that changed since the last one, for some seconds at most: the next one goes on. What was
judged stays exposed while Redis is away, with the time of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from velodrome import __version__
from velodrome.board.exposing import of_results, within
from velodrome.board.latest import Latest, latest
from velodrome.errors import StoreUnavailable, VelodromeError
from velodrome.monitoring import telemetry
from velodrome.monitoring.series import Series, metrics
from velodrome.store import Changes, Reader
from velodrome_leaderboard.data import ResultSource, source
from velodrome_leaderboard.memory import store_of
from velodrome_leaderboard.viewer import now

PATH = "/metrics"
MOST_SERIES = 20_000
# Prometheus waits ten seconds for an answer.
_JUDGING_SECONDS = 5.0
_FAMILIES = (
    *telemetry.RESULTS, *telemetry.BOARDS, telemetry.BUILD, telemetry.REDIS_UP, telemetry.JUDGED_AT, telemetry.SERIES,
    telemetry.SERIES_LIMIT, telemetry.SERIES_DROPPED,
)  # fmt: skip


@dataclass(slots=True)
class JudgedBoards:
    """The newest results of each board, as they were last read. `judged_at` is when all of them were up to date."""

    judged_at: datetime | None = None
    answered: bool = False
    _changes: dict[str, Changes] = field(default_factory=dict)
    _results: dict[str, tuple[Latest, ...]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def look(self, store: Reader, clock: Callable[[], datetime], timer: Callable[[], float]) -> None:
        """Reads what changed, as far as there is time."""
        with self._lock:
            try:
                self._look(store, clock, timer() + _JUDGING_SECONDS, timer)
                self.answered = True
            except StoreUnavailable:
                self.answered = False

    def _look(self, store: Reader, clock: Callable[[], datetime], until: float, timer: Callable[[], float]) -> None:
        at, changes = clock(), store.changes()
        for gone in self._results.keys() - changes.keys():
            del self._results[gone], self._changes[gone]
        for board, change in changes.items():
            if self._changes.get(board) == change:
                continue
            if timer() > until:
                return
            try:
                self._results[board] = latest(store, board)
            except StoreUnavailable:
                raise
            except VelodromeError:  # the board's page says what is wrong with it; the others are judged all the same
                self._results[board] = ()
            self._changes[board] = change
        self.judged_at = at

    def of(self, shown: ResultSource) -> list[Latest]:
        """The results of the boards that are shown."""
        with self._lock:
            return [one for board, found in self._results.items() if board in shown.shown for one in found]


JUDGED = JudgedBoards()


async def scrape(request: Request) -> Response:
    """The answer to Prometheus, in the format that it asks for."""
    address = str(request.base_url).rstrip("/")
    accept = request.headers.get("accept", "")
    body, kind = await run_in_threadpool(_answer, source(), address, accept)
    return Response(body, media_type=None, headers={"Content-Type": kind})


def _answer(shown: ResultSource, address: str, accept: str) -> tuple[bytes, str]:
    JUDGED.look(store_of(shown.url), now, time.monotonic)
    kept, dropped = within(of_results(JUDGED.of(shown), now()), MOST_SERIES)
    facts = {
        telemetry.REDIS_UP: float(JUDGED.answered),
        telemetry.JUDGED_AT: None if JUDGED.judged_at is None else JUDGED.judged_at.timestamp(),
        telemetry.SERIES: len(kept),
        telemetry.SERIES_LIMIT: MOST_SERIES,
        telemetry.SERIES_DROPPED: dropped,
    }
    rows = [*kept, Series(telemetry.BUILD, {"version": __version__, "leaderboard": address}, 1)]
    rows += [Series(family, {}, float(value)) for family, value in facts.items() if value is not None]
    registry = CollectorRegistry()
    registry.register(_Made(tuple(metrics(Metric, _FAMILIES, rows))))
    ProcessCollector(registry=registry)
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


@dataclass(frozen=True, slots=True, eq=False)  # a registry goes by identity
class _Made(Collector):
    """Families that are made already."""

    families: tuple[Metric, ...]

    def collect(self) -> Iterator[Metric]:
        return iter(self.families)

    def describe(self) -> Iterator[Metric]:
        return iter(())
