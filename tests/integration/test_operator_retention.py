"""The operator's retention: what is past it goes a few at a time and is logged, and nothing brings it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.apiserver import ApiServer, parent
from tests.integration.conftest import START
from tests.integration.test_operator_service import reach, running
from tests.monitors import unused_port
from velodrome.board.retention import Retention
from velodrome.results.marks import Baseline
from velodrome.store import Store
from velodrome.store.deletion import Deleter, DeletionTarget, open_deleter
from velodrome_operator import retention
from velodrome_operator.__main__ import main
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.controller import Controller
from velodrome_operator.races import Races
from velodrome_operator.retention import Pruner
from velodrome_operator.service import Options

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

Run = Callable[..., "Race"]
LEVELS = {"cnn": (0.97, 0.004)}
NOW = START + timedelta(days=100)


def awaited(work: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: the tests' may have a loop already, that of a browser."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


@pytest.fixture
def deleter(store: Store, redis_server: RedisServer) -> Iterator[Deleter]:
    with open_deleter(redis_server.url) as opened:
        yield opened


def uids(store: Store) -> list[str]:
    return [job.uid for job in reversed(store.jobs(limit=1000))]


def test_jobs_past_the_number_go_and_what_they_were_is_logged(store: Store, deleter: Deleter, run: Run) -> None:
    made = [run(LEVELS) for _ in range(4)]
    cluster, races = ApiServer(), Races()
    races.saw_parent(parent(made[0], "Complete"))
    pruner = Pruner(deleter, races, cluster, Retention(jobs=2), clock=lambda: NOW)

    awaited(pruner.round())

    assert uids(store) == ["job-3", "job-4"]
    assert pruner.removed == 2
    assert [(uid, reason) for uid, reason, _ in cluster.events] == [("job-1", "ResultsRemoved")]
    assert "night-1 (job-1) left board digits" in cluster.events[0][2]


def test_what_goes_on_is_pinned_or_holds_an_entry_stays(store: Store, deleter: Deleter, run: Run) -> None:
    alone = run({"cnn": (0.9, 0.004), "gru": (0.9, 0.004)})  # no later job has gru
    pinned, going, over = (run(LEVELS) for _ in range(3))
    run(LEVELS, baseline="night-5")  # its own name: it is no older job
    named = run(LEVELS)
    valued = run(LEVELS, baseline=named.info.name)
    failed = run(LEVELS, done=0)
    store.mark(Baseline(board="digits", entry="cnn", job_uid=pinned.uid, at=NOW))
    races = Races()
    races.saw_parent(parent(going))
    races.saw_parent(parent(over, "Failed"))

    awaited(Pruner(deleter, races, ApiServer(), Retention(age=timedelta(days=1)), clock=lambda: NOW).round())

    assert uids(store) == [one.uid for one in (alone, pinned, going, named, valued, failed)]


def test_a_round_is_bounded_and_the_next_goes_on(
    store: Store, deleter: Deleter, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "JOBS_A_ROUND", 2)
    for board in ("digits", "other"):
        for _ in range(3):
            run(LEVELS, board=board)
    pruner = Pruner(deleter, Races(), ApiServer(), Retention(jobs=1), clock=lambda: NOW)

    left = []
    for _ in range(3):
        awaited(pruner.round())
        left.append(len(uids(store)))

    assert left == [4, 2, 2]


def test_a_later_job_is_found_past_the_limit_after_a_quiet_round(store: Store, deleter: Deleter, run: Run) -> None:
    run(LEVELS)
    now = [START + timedelta(days=1)]
    pruner = Pruner(deleter, Races(), ApiServer(), Retention(2, timedelta(days=30)), clock=lambda: now[0])
    awaited(pruner.round())
    assert uids(store) == ["job-1"]

    run(LEVELS)
    run(LEVELS)
    awaited(pruner.round())
    assert uids(store) == ["job-2", "job-3"]

    now[0] += timedelta(days=60)
    awaited(pruner.round())
    assert uids(store) == ["job-3"]


def test_a_namespaced_operator_leaves_the_jobs_of_others(store: Store, deleter: Deleter, run: Run) -> None:
    run(LEVELS)
    run(LEVELS)  # of namespace default

    awaited(Pruner(deleter, Races(), ApiServer(), Retention(jobs=1), {"team"}, lambda: NOW).round())
    assert uids(store) == ["job-1", "job-2"]
    awaited(Pruner(deleter, Races(), ApiServer(), Retention(jobs=1), {"default"}, lambda: NOW).round())
    assert uids(store) == ["job-2"]


def test_an_api_server_or_a_redis_that_is_away_ends_nothing(
    store: Store, deleter: Deleter, run: Run, redis_server: RedisServer
) -> None:
    made = [run(LEVELS) for _ in range(2)]
    cluster, races = ApiServer(), Races()
    races.saw_parent(parent(made[0], "Complete"))
    cluster.away = True
    with open_deleter("redis://127.0.0.1:1") as nowhere:
        awaited(Pruner(nowhere, races, cluster, Retention(jobs=1), clock=lambda: NOW).round())
    assert uids(store) == ["job-1", "job-2"]

    awaited(Pruner(deleter, races, cluster, Retention(jobs=1), clock=lambda: NOW).round())
    assert uids(store) == ["job-2"]


def test_an_ended_race_whose_results_are_gone_says_what_it_said(
    store: Store, deleter: Deleter, run: Run, redis_server: RedisServer
) -> None:
    race = run(LEVELS)

    cluster = ApiServer()

    async def passed() -> None:
        with redis_server.client() as client:
            access = Access(client, "secret", "redis:6379")
            controller = Controller(cluster, store, access, ChildSettings(), lambda: NOW)
            controller.races.saw_parent(parent(race, "Complete"))
            controller.judgement.marks["digits"] = 7
            await controller.pass_over(race.uid)
            assert controller.passes["Succeeded"] == 1

    awaited(passed())
    assert cluster.statuses == [race.uid], "it says what is to be said of regressions now"
    deleter.delete(DeletionTarget("digits"))
    awaited(passed())
    assert cluster.statuses == [race.uid]
    assert store.jobs() == []


def test_an_operator_keeps_its_retention_and_brings_nothing_back(
    redis_server: RedisServer, store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, going, newest = run(LEVELS), run(LEVELS, done=2), run(LEVELS)
    cluster = ApiServer(parent(ended, "Complete"), parent(going, "Reconciling"), parent(newest, "Complete"))
    reach(monkeypatch, cluster)
    options = Options(redis_server.url, listen=("127.0.0.1", unused_port()), retention=Retention(jobs=1))

    async def work() -> None:
        async with running(options) as service:

            def passed() -> set[str]:
                return {race.uid for race in service.controller.races if race.logbook.passed}

            deadline = time.monotonic() + 60
            while not service.pruner.removed or ended.uid not in passed():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            await service.sweep.once()
            service.controller.judgement.marks["digits"] = 5
            await service.controller.pass_over(ended.uid)
            assert "velodrome_operator_jobs_removed_total 1.0" in (await service.exporter.scrape(""))[0].decode()

    awaited(work())

    assert uids(store) == [going.uid, newest.uid]
    assert [(uid, reason) for uid, reason, _ in cluster.events if reason == "ResultsRemoved"] == [
        (ended.uid, "ResultsRemoved")
    ]
    assert ended.uid not in cluster.statuses


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--retain-jobs", "0"], "--retain-jobs: 0 is less than 1"),
        (["--retain-days", "0"], "--retain-days: 0.0 is not between 0 and 36500"),
        (["--retain-days", "nan"], "--retain-days: nan is not between 0 and 36500"),
    ],
)
def test_a_retention_that_cannot_be_is_refused(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VELODROME_REDIS_URL", "redis://redis")
    with pytest.raises(SystemExit):
        main(arguments)
    assert says in capsys.readouterr().err
