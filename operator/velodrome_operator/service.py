"""One running operator: its parts, and the tasks that keep it running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from velodrome import __version__, keys
from velodrome.board.retention import Retention
from velodrome.board.tenancy import BoardPolicy
from velodrome.connections.clients import RedisLogin
from velodrome.errors import StoreRefused
from velodrome.monitoring import telemetry
from velodrome.store import Store
from velodrome.store.deletion import Deleter
from velodrome.store.edge import connect
from velodrome.store.roles import JOB_KEY
from velodrome_operator import shapes
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster
from velodrome_operator.collection import Collection
from velodrome_operator.controller import Controller
from velodrome_operator.endpoint import endpoint
from velodrome_operator.exporter import Exporter
from velodrome_operator.families import Exposed
from velodrome_operator.health import Health
from velodrome_operator.observation import version_of
from velodrome_operator.operator_facts import OperatorFacts
from velodrome_operator.page import RaceReport
from velodrome_operator.pushgateway import Cleaner, Gateway, ends, running
from velodrome_operator.race_facts import Facts
from velodrome_operator.ranker import Ranker
from velodrome_operator.retention import Pruner
from velodrome_operator.supervision import Supervision
from velodrome_operator.sweep import RESYNC_SECONDS, Sweep
from velodrome_operator.watches import Watches

SERIES_LIMIT = 20_000
_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """The operator's settings. `redis_address` is host:port as pods reach Redis, or None for the address in the URL.

    `job_key_file` has what the passwords of races' users derive from. Without it, that is the file `job-key` beside the
    password's file, or the password in the URL. `namespaces` are those that it watches; none means all. `listen` is
    where /healthz, /readyz and /metrics answer. `leaderboard_url` is where people find the leaderboard.
    `boards` says which namespaces may write to which board.
    """

    redis_url: str
    login: RedisLogin = field(default_factory=RedisLogin)
    job_key_file: Path | None = None
    redis_address: str | None = None
    namespaces: frozenset[str] = frozenset()
    settings: ChildSettings = field(default_factory=ChildSettings)
    dry_run: bool = False
    listen: tuple[str, int] = ("0.0.0.0", 8080)  # noqa: S104 - the kubelet and Prometheus ask from outside of the pod # nosec B104
    leaderboard_url: str = ""
    series_limit: int = SERIES_LIMIT
    retention: Retention = field(default_factory=Retention)
    boards: BoardPolicy = field(default_factory=BoardPolicy)


@asynccontextmanager
async def connected(options: Options) -> AsyncIterator[Service]:
    """An operator with connections of its own. It sends nothing yet, so the other sides may start later.

    Raises:
        StoreRefused: the URL or a file of the login can't be used.
    """
    client = connect(options.redis_url, options.login)
    where = client.connection_pool.connection_kwargs
    address = options.redis_address or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
    encrypted = options.redis_url.startswith("rediss://")
    store = Store(client)
    access = Access(client, _job_key(options, where), address, store.began_with_a_stream, encrypted=encrypted)
    with store:
        async with Cluster.connected(dry_run=options.dry_run) as cluster:
            service = Service(options, store, cluster, access, Deleter(client))
            try:
                yield service
            finally:
                for ranker in service.rankers:
                    ranker.end()


def _job_key(options: Options, where: Mapping[str, Any]) -> str:
    """What the passwords of races' users derive from. In version 0.1.0 it was the password in the URL.

    Raises:
        StoreRefused: the file that has it can't be read.
    """
    path = options.job_key_file
    if path is None and options.login.password_file is not None:
        path = options.login.password_file.with_name(JOB_KEY)
    if path is None:
        return str(where.get("password") or options.redis_url)
    try:
        found = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StoreRefused(
            f"{keys.ENV_JOB_KEY_FILE}: {path} can't be read ({error.strerror}): mount the key {JOB_KEY} of the Secret "
            "there"
        ) from None
    if not found:
        raise StoreRefused(f"{keys.ENV_JOB_KEY_FILE}: {path} is empty: it must have the key {JOB_KEY} of the Secret")
    return found


class Service:
    """One operator. Make it inside the event loop in which it then works."""

    def __init__(self, options: Options, store: Store, cluster: Cluster, access: Access, deleter: Deleter) -> None:
        namespaces = options.namespaces
        self._options = options
        self._cluster = cluster
        self._watches = Watches()
        self._tasks = Supervision(telemetry.TASKS)
        self._facts = Facts()
        # Several, so that the end of a race waits for no large board, and a trial of a search for neither.
        self.rankers = Ranker(options.redis_url), Ranker(options.redis_url), Ranker(options.redis_url)
        of_races, of_boards, of_searches = self.rankers
        self.controller = Controller(
            cluster, store, access, options.settings, cluster.now, options.boards, of_races, of_searches
        )
        races = self.controller.races
        self.sweep = Sweep(cluster, store, access, self.controller, self._watches, namespaces)
        self.collection = Collection(
            races,
            store,
            cluster,
            self.controller.wakeups.wake,
            access.probe,
            cluster.now,
            seal=access.remove,
            report_key=access.report_key,
        )
        self.health = Health(self.sweep, self._watches, self._tasks, self.collection, self.controller, cluster)
        self.exporter = Exporter(
            store,
            self._race_report,
            self._operator_facts,
            self._marked,
            options.series_limit,
            cluster.now,
            ranker=of_boards,
        )
        self.pruner = Pruner(deleter, races, cluster, options.retention, namespaces, cluster.now)
        gateway = options.settings.pushgateway
        self.cleaner: Cleaner | None = None
        if gateway:
            self.cleaner = Cleaner(Gateway(gateway), lambda: running(races), namespaces, RESYNC_SECONDS)

    def workers(self) -> Iterator[Coroutine[Any, Any, None]]:
        """The tasks that run until they are cancelled, no matter what happens in them."""
        for _ in range(_WORKERS):
            yield self._tasks.keep("passes", self._work)
        yield self._tasks.keep("collection", self.collection.work)
        yield self._tasks.keep("sweep", self.sweep.work)
        yield self._tasks.keep("exporter", self.exporter.work)
        if self.cleaner:
            yield self._tasks.keep("cleaner", self._clean)
        if self._options.retention != Retention() and not self._options.dry_run:
            yield self._tasks.keep("retention", self._retain)
        yield self._tasks.keep("endpoint", self.answer)

    def saw(self, kind: Literal["parent", "job", "pod"], raw: dict[str, Any], *, gone: bool) -> None:
        """Notes an event and wakes the pass that it concerns."""
        shown = shapes.text(shapes.at(raw, "metadata", "uid"))
        if gone:
            self._watches.gone(shown)
        else:
            self._watches.reported(shown, version_of(raw))
        races = self.controller.races
        see = {"parent": races.saw_parent, "job": races.saw_job, "pod": races.saw_pod}[kind]
        uid = see(raw, gone=gone)
        if uid is not None:
            self.controller.wakeups.wake(uid)
        if kind == "parent" and gone and uid is not None:
            self.controller.forget(uid)
        if self.cleaner and (gone if kind == "parent" else kind == "pod" and ends(raw, gone=gone)):
            self.cleaner.wake()

    async def answer(self) -> None:
        """Answers probes and scrapes until it is cancelled."""
        host, port = self._options.listen
        probes = {"healthz": self.health.liveness, "readyz": self.health.readiness}
        async with endpoint(host, port, **probes, scrape=self.exporter.scrape):
            await asyncio.Event().wait()

    def _race_report(self) -> RaceReport:
        """What is exposed about races."""
        return RaceReport(
            self._facts.of(self.controller.races), self.collection.durations.series(), self.sweep.swept_at
        )

    def _operator_facts(self, shown: Exposed) -> OperatorFacts:
        """What is exposed about the operator itself."""
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
            removed=self.pruner.removed,
            suggested=self.controller.searches.made,
            search_seconds=self.controller.searches.seconds,
        )

    def _marked(self, board: str, times: int) -> None:
        """Wakes the races that ended on the board: marks may change their condition Regressed."""
        self.controller.judgement.marks[board] = times
        for race in self.controller.races:
            if race.parent.ended and race.parent.board == board:
                self.controller.wakeups.wake(race.uid)

    async def _work(self) -> None:
        """Makes passes, but only after a full listing: a pass that has not seen a race's Jobs would make them again."""
        await self.sweep.listed()
        await self.controller.work()

    async def _clean(self) -> None:
        """Deletes live metrics of trials that run no more, once it is known which trials run."""
        if self.cleaner:
            await self.sweep.listed()
            await self.cleaner.work()

    async def _retain(self) -> None:
        """Deletes results that are past the retention, once it is known which races go on."""
        await self.sweep.listed()
        await self.pruner.work()
