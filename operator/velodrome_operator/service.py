"""One running operator: its connections, its workers, and whether they make progress."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from velodrome import __version__
from velodrome.board.retention import Retention
from velodrome.errors import VelodromeError
from velodrome.monitoring import telemetry
from velodrome.store import Store
from velodrome.store.deletion import Deleter
from velodrome.store.edge import connect
from velodrome_operator import shapes
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster
from velodrome_operator.collection import Collection
from velodrome_operator.controller import Controller
from velodrome_operator.endpoint import endpoint
from velodrome_operator.exporter import Exporter, Told
from velodrome_operator.families import Exposed, Facts, OperatorFacts
from velodrome_operator.listing import take_in
from velodrome_operator.observation import version_of
from velodrome_operator.pushgateway import Cleaner, Gateway, ends, running
from velodrome_operator.retention import Retaining
from velodrome_operator.supervision import Supervision
from velodrome_operator.watches import Watches

log = logging.getLogger("velodrome.operator")

SERIES_LIMIT = 20_000
_WORKERS = 8
RESYNC_SECONDS = 60.0
_LISTING_SECONDS = 2.0
# Redis is asked several times a second; an answer this old is none.
_REDIS_SECONDS = 15.0
# Without a finished sweep for this long, something hangs and a restart is the cure.
_STUCK_SECONDS = 5 * RESYNC_SECONDS


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator is started with. `redis_address` is host:port as pods reach Redis; None for the URL's own.

    `listen` is where /healthz, /readyz and /metrics are answered, `leaderboard_url` where people find the leaderboard.
    """

    redis_url: str
    redis_address: str | None = None
    namespace: str | None = None
    settings: ChildSettings = field(default_factory=ChildSettings)
    dry_run: bool = False
    listen: tuple[str, int] = ("0.0.0.0", 8080)  # noqa: S104 - the kubelet and Prometheus ask from outside of the pod
    leaderboard_url: str = ""
    series_limit: int = SERIES_LIMIT
    retention: Retention = field(default_factory=Retention)


class Service:
    """Opened once, inside the event loop that it then works in."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._attempted_at = time.monotonic()
        self._swept_at: datetime | None = None
        self._listed = asyncio.Event()
        self._watches = Watches()
        self._tasks = Supervision(telemetry.TASKS)
        self._cleaner: Cleaner | None = None
        self._facts = Facts()

    async def open(self) -> None:
        """Connects; nothing is asked of Redis or the API server yet, so that either may come later."""
        redis_client = connect(self._options.redis_url)
        store = self._store = Store(redis_client)
        where = redis_client.connection_pool.connection_kwargs
        address = self._options.redis_address or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        secret = str(where.get("password") or self._options.redis_url)
        self._access = Access(redis_client, secret, address, store.began_with_a_stream)
        self._connection = Cluster.connected(dry_run=self._options.dry_run)
        self._cluster = await self._connection.__aenter__()
        self.controller = Controller(self._cluster, store, self._access, self._options.settings, self._cluster.now)
        self.collection = Collection(
            self.controller.races,
            store,
            self._cluster,
            self.controller.wakeups.wake,
            self._access.probe,
            self._cluster.now,
            seal=self._access.remove,
        )
        self.exporter = Exporter(
            store, self._told, self._operator_facts, self._marked, self._options.series_limit, self._cluster.now
        )

        self.retaining = Retaining(
            Deleter(redis_client),
            self.controller.races,
            self._cluster,
            self._options.retention,
            self._options.namespace,
            self._cluster.now,
        )
        gateway = self._options.settings.pushgateway
        if gateway is not None:
            races, namespace = self.controller.races, self._options.namespace
            self._cleaner = Cleaner(Gateway(gateway), lambda: running(races), namespace, RESYNC_SECONDS)

    async def close(self) -> None:
        """Closes the connections."""
        await self._connection.__aexit__(None, None, None)

    async def answer(self) -> None:
        """Answers probes and scrapes until it is cancelled."""
        host, port = self._options.listen
        async with endpoint(host, port, healthz=self.health, readyz=self.readiness, scrape=self.exporter.scrape):
            await asyncio.Event().wait()

    def _told(self) -> Told:
        """What is exposed of races."""
        return Told(self._facts.of(self.controller.races), self.collection.durations.rows(), self._swept_at)

    def _operator_facts(self, shown: Exposed) -> OperatorFacts:
        """What is exposed of the operator itself."""
        return OperatorFacts(
            version=__version__,
            leaderboard=self._options.leaderboard_url,
            redis_up=self.collection.redis_up,
            series=shown.series,
            series_limit=self._options.series_limit,
            series_dropped=shown.dropped,
            passes=self.controller.passes,
            pass_seconds=self.controller.pass_seconds,
            writes=self._cluster.writes,
            results=self.collection.results,
            rejected=self.collection.rejected,
            inboxes=self.collection.waiting,
            collected_at=self.collection.collected_at,
            swept_at=self.exporter.swept_at,
            judged_at=self.exporter.judged_at,
            task_failures=self._tasks.failures,
            unreadable=self.controller.races.unreadable,
            removed=self.retaining.removed,
        )

    def _marked(self, board: str, times: int) -> None:
        """Wakes the races that ended on the board: what people said of results may change what is said of them."""
        self.controller.judging.marks[board] = times
        for race in self.controller.races:
            if race.ended and race.board == board:
                self.controller.wakeups.wake(race.uid)

    def workers(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What runs until it is cancelled, whatever happens in it."""
        for _ in range(_WORKERS):
            yield self._tasks.keep("passes", self._work)
        yield self._tasks.keep("collection", self.collection.work)
        yield self._tasks.keep("sweep", self._sweep)
        yield self._tasks.keep("exporter", self.exporter.work)
        if self._cleaner is not None:
            yield self._tasks.keep("cleaner", self._clean)
        if self._options.retention != Retention() and not self._options.dry_run:
            yield self._tasks.keep("retention", self._retain)
        yield self._tasks.keep("endpoint", self.answer)

    def saw(self, kind: Literal["parent", "job", "pod"], raw: dict[str, Any], *, gone: bool) -> None:
        """Notes an event and wakes the pass that it concerns."""
        told = shapes.text(shapes.at(raw, "metadata", "uid"))
        if gone:
            self._watches.gone(told)
        else:
            self._watches.told(told, version_of(raw))
        races = self.controller.races
        see = {"parent": races.saw_parent, "job": races.saw_job, "pod": races.saw_pod}[kind]
        uid = see(raw, gone=gone)
        if uid is not None:
            self.controller.wakeups.wake(uid)
        if kind == "parent" and gone and uid is not None:
            self.controller.forget(uid)
        if self._cleaner is not None and (gone if kind == "parent" else kind == "pod" and ends(raw, gone=gone)):
            self._cleaner.wake()

    def readiness(self) -> dict[str, Any]:
        """What the readiness probe tells.

        Raises:
            RuntimeError: it has not yet looked at everything, or Redis has not answered lately.
        """
        if not self._listed.is_set():
            raise RuntimeError("BenchmarkJobs have not been listed yet")
        collected = self.collection.last_round
        if collected is None or time.monotonic() - collected > _REDIS_SECONDS:
            raise RuntimeError("Redis does not answer")
        return self.health()

    def health(self) -> dict[str, Any]:
        """What the liveness probe tells.

        Raises:
            RuntimeError: no look at everything has come to its end for long, a watch tells nothing any more, or a task
            keeps ending.
        """
        now = time.monotonic()
        idle = now - self._attempted_at
        if idle > _STUCK_SECONDS:
            raise RuntimeError(f"no sweep has been tried for {idle:.0f} s")
        silent = self._watches.silent_for(now)
        if silent > _STUCK_SECONDS:
            raise RuntimeError(f"no event has told for {silent:.0f} s what the API server shows")
        problem = self._tasks.problem()
        if problem is not None:
            raise RuntimeError(problem)
        return {
            "benchmarkjobs": len(self.controller.races),
            "passes": sum(self.controller.passes.values()),
            "failures": sum(self.controller.passes.values()) - self.controller.passes["Succeeded"],
            "accepted": self.collection.results["accepted"],
            "writes": sum(self._cluster.writes.values()),
            "sweep_age_seconds": round(idle, 1),
        }

    async def _work(self) -> None:
        """Passes, but none before everything was listed: one that has not seen a race's Jobs would make them again."""
        await self._listed.wait()
        await self.controller.work()

    async def _clean(self) -> None:
        """Deletes live metrics of trials that run no more, once it is known which do."""
        if self._cleaner is not None:
            await self._listed.wait()
            await self._cleaner.work()

    async def _retain(self) -> None:
        """Deletes results that are past the retention, once it is known which races go on."""
        await self._listed.wait()
        await self.retaining.work()

    async def list_first(self) -> bool:
        """Takes in everything and lets passes begin; False where the API server does not answer, to be tried again.

        Done before kopf lists: it needs some milliseconds for each object, and this only tells apart what is new.
        """
        try:
            await self._list()
        except VelodromeError as error:
            log.warning("the first listing waits: %s", error)
            return False
        for race in self.controller.races:
            self.controller.wakeups.wake(race.uid)
        self._swept_at = self._cluster.now()
        self._listed.set()
        return True

    async def try_first(self) -> None:
        """`list_first`, before anything else runs; what goes wrong with it is the sweep's to try again, and to tell."""
        try:
            await self.list_first()
        except Exception:  # the sweep meets it again, where it is counted
            log.exception("the first listing ended by an error that nobody expected")

    async def listed(self) -> None:
        """Waits until everything has been taken in once."""
        await self._listed.wait()

    async def _sweep(self) -> None:
        """Looks at everything afresh now and then: what no event told is found here."""
        listed = self._listed.is_set()
        while not listed:
            await asyncio.sleep(_LISTING_SECONDS)
            listed = await self.list_first()
        while True:
            await asyncio.sleep(RESYNC_SECONDS)  # everything has just been listed
            try:
                await self._sweep_once()
            except VelodromeError as error:
                log.warning("the sweep waits: %s", error)
            self._attempted_at = time.monotonic()

    async def _sweep_once(self) -> None:
        # Before the listing: a job that comes to be meanwhile has its user after it, and must not lose that.
        held = await asyncio.to_thread(self._access.holders)
        present = await self._list()
        for uid in await asyncio.to_thread(self._unpassed):
            self.controller.wakeups.wake(uid)
        going = {race.uid for race in self.controller.races if not race.cleared}
        await asyncio.to_thread(self._remove_leftovers, held - (present & going))
        self._swept_at = self._cluster.now()

    async def _list(self) -> frozenset[str]:
        return await take_in(self._cluster, self.controller, self._watches, self._options.namespace)

    def _unpassed(self) -> list[str]:
        """The races that are not as their last successful pass saw them, in the cluster or in Redis.

        A pass over the same state would decide the same again; what only time changes has a timer of its own.
        """
        races = list(self.controller.races)
        going = [race for race in races if not race.ended]
        results = self._store.result_counts([race.uid for race in going])
        renewed = self._access.renewed()
        changed = {race.uid for race, count in zip(going, results, strict=True) if renewed or race.results != count}
        return [race.uid for race in races if race.passed != race.news or race.uid in changed]

    def _remove_leftovers(self, absent: AbstractSet[str]) -> None:
        """Users, inboxes and instructions of races that were deleted while nobody looked, or that ended: a runner may
        have reported while its race's were removed. Those of namespaces that others watch are theirs.
        """
        for uid in absent:
            job = self._store.job(uid)
            if self._options.namespace is None or (job is not None and job.namespace == self._options.namespace):
                self._access.remove(uid)
