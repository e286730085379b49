"""Errors that nobody expected: what they cost, and whom, with a real Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.integration.test_operator_collection import Pods, Writable, collection, job_name, parent, pod, round_of
from tests.integration.test_operator_service import Listed, until
from tests.monitors import unused_port
from tests.owned import owned_job
from velodrome.collector import Collector
from velodrome.results.records import ResultReport
from velodrome.store import Store
from velodrome_operator import controller as controllers
from velodrome_operator import decision
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster, Refused
from velodrome_operator.controller import Controller
from velodrome_operator.service import Options, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import Race, RedisServer


class Named(Writable):
    """An API server that has a Job already, under the name of one that is to be made."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, Any] | None = None

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        taken = self.there is not None and manifest["metadata"]["name"] == self.there["metadata"]["name"]
        return None if taken else await super().create(manifest)

    async def job(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self.there


@pytest.fixture
def cluster() -> Named:
    return Named()


@pytest.fixture
def controller(redis_server: RedisServer, store: Store, cluster: Named, monkeypatch: pytest.MonkeyPatch) -> Controller:
    monkeypatch.setattr(Access, "grant", lambda *_: None)  # users who may only read some keys need Redis 7
    settings = ChildSettings(runner_image="registry.example/runner@sha256:" + "a" * 64)
    return Controller(cluster, store, Access(redis_server.client(), "secret", "redis:6379"), settings)


def passes(controller: Controller, *uids: str) -> None:
    async def work() -> None:
        for uid in uids:
            await controller._guarded(uid)

    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        thread.submit(asyncio.run, work()).result()


def condition(controller: Controller, uid: str, kind: str) -> tuple[str, str, str]:
    race = controller.races.get(uid)
    assert race is not None
    found = next(one for one in race.status["conditions"] if one["type"] == kind)
    return found["status"], found["reason"], found["message"]


def test_a_bug_that_one_object_meets_costs_its_own_race_a_condition(
    controller: Controller, make_race: type[Race], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    odd, bystander = make_race(uid="odd"), make_race(uid="bystander")
    for race in (odd, bystander):
        controller.races.saw_parent(parent(race))
    decide = decision.decide

    def bug(seen: Any, *rest: Any) -> Any:
        if seen.uid == "odd":
            raise KeyError("secret of somebody")
        return decide(seen, *rest)

    monkeypatch.setattr(controllers, "decide", bug)
    with caplog.at_level(logging.ERROR):
        passes(controller, "odd", "bystander", "odd")
    assert (controller.passes["Unexpected"], controller.passes["Succeeded"]) == (2, 1)
    assert "Traceback" in caplog.text
    status, reason, message = condition(controller, "odd", "Stalled")
    assert (status, reason, "KeyError" in message) == ("True", "UnexpectedError", True)
    assert "secret" not in message
    assert condition(controller, "bystander", "Stalled")[0] == "False"
    monkeypatch.setattr(controllers, "decide", decide)
    controller._written.clear()  # it is not too early to write the status again
    passes(controller, "odd")
    assert condition(controller, "odd", "Stalled")[0] == "False"


def test_that_a_bug_can_not_be_told_stops_nothing(
    controller: Controller, race: Race, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    controller.races.saw_parent(parent(race))

    async def refuses(*_: Any) -> None:
        raise TypeError("an object that can't be written")

    monkeypatch.setattr(controller._cluster, "write_status", refuses)
    passes(controller, race.uid, race.uid)
    assert controller.passes["Unexpected"] == 2
    assert "the status can't be written" in caplog.text


def test_a_job_of_somebody_else_under_the_races_name_is_told_and_not_taken(
    controller: Controller, cluster: Named, race: Race
) -> None:
    controller.races.saw_parent(parent(race))
    known = controller.races.get(race.uid)
    assert known is not None
    cluster.there = owned_job("another", job_name(race))
    passes(controller, race.uid)
    status, reason, message = condition(controller, race.uid, "Stalled")
    assert (status, reason, job_name(race) in message) == ("True", "NameTaken", True)
    assert known.jobs == {}
    cluster.there = owned_job(race.uid, job_name(race))  # its own, whose event has not come
    controller._written.clear()
    passes(controller, race.uid)
    assert condition(controller, race.uid, "Stalled")[0] == "False"
    assert known.jobs.keys() == {job_name(race)}


def test_a_child_that_the_api_server_refuses_is_told_in_a_condition(
    controller: Controller, cluster: Named, race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.races.saw_parent(parent(race))

    async def refuses(manifest: dict[str, Any]) -> None:
        raise Refused("spec.template.spec.tolerations[0].operator: Invalid value")

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "create", refuses)
        passes(controller, race.uid)
    assert condition(controller, race.uid, "Stalled") == (
        "True", "ApiRefused", "spec.template.spec.tolerations[0].operator: Invalid value",
    )  # fmt: skip
    controller._written.clear()
    passes(controller, race.uid)
    assert condition(controller, race.uid, "Stalled")[0] == "False"


def test_an_error_at_one_inbox_holds_up_no_other(
    store: Store, make_race: type[Race], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    odd, bystander = make_race(uid="a-odd"), make_race(uid="bystander")
    found, races, _ = collection(store, Pods(), odd, bystander)
    for each in (odd, bystander):
        store.register(each.info)
        races.saw_pod(pod(each, 0, f"{each.uid}-p0"))
        store.append(each.uid, ResultReport(result=each.result(0, attempt=f"{each.uid}-p0")))
    read = Collector.read

    def bug(collector: Collector) -> Any:
        if collector._uid == "a-odd":
            raise ZeroDivisionError
        return read(collector)

    monkeypatch.setattr(Collector, "read", bug)
    assert not round_of(found)
    assert store.trials("bystander").keys() == {0}
    assert {race.uid: race.trouble for race in races}["bystander"] == ""
    assert "ZeroDivisionError" in {race.uid: race.trouble for race in races}["a-odd"]
    assert "Traceback" in caplog.text


def test_a_task_that_keeps_ending_is_counted_and_fails_liveness_while_the_others_work(
    redis_server: RedisServer, race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, cluster = unused_port(), Listed(parent(race))

    @asynccontextmanager
    async def connected(*, dry_run: bool = False) -> AsyncIterator[Cluster]:
        yield cluster

    monkeypatch.setattr(Cluster, "connected", connected)
    monkeypatch.setattr(Access, "grant", lambda *_: None)
    service = Service(Options(redis_server.url, listen=("127.0.0.1", port)))

    async def bug() -> bool:
        raise KeyError("race-0")

    async def work() -> tuple[int, dict[str, Any], Any]:
        await service.open()
        monkeypatch.setattr(service.exporter, "round", bug)
        await service.try_first()
        tasks = [asyncio.create_task(each) for each in service.workers()]
        try:
            failures = "velodrome_operator_task_failures_total"
            series = await until(port, lambda found: found.get((failures, ("exporter",)), 0) >= 3)
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                told = answer.status, await answer.json()
            await happens(lambda: service.controller.passes["Succeeded"] > 0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await service.close()
        return *told, series

    with ThreadPoolExecutor(1) as thread:
        status, body, series = thread.submit(asyncio.run, work()).result()
    assert status == 503
    assert "task exporter has ended" in body["problem"]
    assert series["velodrome_operator_task_failures_total", ("collection",)] == 0


async def happens(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
