"""The answer to a scrape of /metrics: bytes that are ready, and the operator's own few series."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from velodrome.monitoring.series import Series
from velodrome_operator.families import Exposed, exposed
from velodrome_operator.operator_facts import OperatorFacts, operator_families
from velodrome_operator.race_facts import RaceFacts

if TYPE_CHECKING:
    from velodrome.board.latest import Latest

# Slow work is done less often: the rest is so many times as long as the work took.
_REST_SHARE = 10.0
# Results leave when they are old, and no event shows when.
_REBUILD_SECONDS = 60.0

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_END = b"# EOF\n"


@dataclass(frozen=True, slots=True)
class RaceReport:
    """What is exposed about races: their facts, how long trials took by board, and when everything was last listed."""

    races: tuple[RaceFacts, ...] = ()
    durations: Mapping[str, tuple[Series, ...]] = field(default_factory=dict)
    swept_at: datetime | None = None


class _Families(Collector):
    """Exposes families that are made elsewhere."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def describe(self) -> Iterator[Metric]:
        return iter(())


class MetricsPage:
    """Makes and writes out families in threads, with rests in between, so that a scrape only fetches them."""

    def __init__(
        self,
        operator: Callable[[Exposed], OperatorFacts],
        limit: int,
        clock: Callable[[], datetime],
        timer: Callable[[], float],
    ) -> None:
        self._timer = timer
        self._limit = limit
        self._clock = clock
        self._report = RaceReport()
        self._built_at: float | None = None
        self._rests_until = 0.0
        self._exposed = exposed((), (), {}, clock(), limit)
        self._written: dict[str, bytes] = {}
        self._big, self._own = CollectorRegistry(), CollectorRegistry()
        self._big.register(_Families(lambda: self._exposed.families))
        self._own.register(_Families(lambda: operator_families(operator(self._exposed))))
        ProcessCollector(registry=self._own)

    @property
    def swept_at(self) -> datetime | None:
        """When everything that the page shows about races was last listed."""
        return self._report.swept_at

    async def build(self, results: Callable[[], Sequence[Latest]], report: RaceReport, *, stale: bool) -> None:
        """Makes and writes out the families, unless nothing changed or they were just made.

        `stale` says that results changed since the last time. `results` is called only if it is needed.
        """
        now = self._timer()
        old = self._built_at is None or now - self._built_at > _REBUILD_SECONDS
        if not (stale or old or report != self._report) or (self._built_at is not None and now < self._rests_until):
            return
        found, written = await asyncio.to_thread(self._made, results(), report, tuple(self._written))
        self._exposed, self._written, self._report = found, written, report
        self._built_at = self._timer()
        self._rests_until = self._built_at + _REST_SHARE * (self._built_at - now)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The answer and its content type: OpenMetrics if the Accept header asks for it, else the text format."""
        wanted = _OPENMETRICS if _OPENMETRICS.partition(";")[0] in accept else ""
        encode, content_type = choose_encoder(wanted)
        body = self._written.get(wanted)
        own = encode(self._own)  # first: its times must not be later than what they describe
        if body is None:  # only the first time: later ones find it ready
            families = self._exposed
            body = await asyncio.to_thread(encode, self._big)
            if families is self._exposed:
                self._written[wanted] = body
        return body.removesuffix(_END) + own, content_type

    def _made(
        self, results: Sequence[Latest], report: RaceReport, formats: Sequence[str]
    ) -> tuple[Exposed, dict[str, bytes]]:
        found = exposed(results, report.races, report.durations, self._clock(), self._limit)
        registry = CollectorRegistry()
        registry.register(_Families(lambda: found.families))
        return found, {wanted: choose_encoder(wanted)[0](registry) for wanted in formats}
