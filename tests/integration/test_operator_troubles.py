"""Errors that nobody expected: what they cost, and whom, with a real Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.apiserver import ApiServer
from tests.integration.test_operator_collection import Pods, Writable, collection, job_name, parent, pod, round_of
from tests.integration.test_operator_service import reach, running, until
from tests.monitors import unused_port
from tests.owned import owned_job
from velodrome.results.records import ResultReport
from velodrome.store import Store
from velodrome_operator import decision, reconciler
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Refused
from velodrome_operator.controller import Controller
from velodrome_operator.exporter import Exporter
from velodrome_operator.service import Options
from velodrome_operator.status_writer import STATUS_SECONDS

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer


class Named(Writable):
    """An API server that has a Job already, under the name of one that is to be made."""

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, Any] | None = None
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def later(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)

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
    return Controller(cluster, store, Access(redis_server.client(), "secret", "redis:6379"), settings, cluster.now)


def passes(controller: Controller, *uids: str) -> None:
    async def work() -> None:
        for uid in uids:
            await controller.pass_over(uid)

    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        thread.submit(asyncio.run, work()).result()


def condition(controller: Controller, uid: str, kind: str) -> tuple[str, str, str]:
    race = controller.races.get(uid)
    assert race is not None
    found = next(one for one in race.parent.status["conditions"] if one["type"] == kind)
    return found["status"], found["reason"], found["message"]


def test_a_bug_that_one_object_meets_costs_its_own_race_a_condition(
    controller: Controller,
    cluster: Named,
    make_race: type[Race],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd, bystander = make_race(uid="odd"), make_race(uid="bystander")
    for race in (odd, bystander):
        controller.races.saw_parent(parent(race))
    decide = decision.decide

    def bug(seen: Any, *rest: Any) -> Any:
        if seen.uid == "odd":
            raise KeyError("secret of somebody")
        return decide(seen, *rest)

    monkeypatch.setattr(reconciler, "decide", bug)
    with caplog.at_level(logging.ERROR):
        passes(controller, "odd", "bystander", "odd", "bystander")
    assert (controller.passes["Unexpected"], controller.passes["Succeeded"]) == (2, 2)
    assert "Traceback" in caplog.text
    status, reason, message = condition(controller, "odd", "Stalled")
    assert (status, reason, "KeyError" in message) == ("True", "UnexpectedError", True)
    assert "secret" not in message
    assert condition(controller, "bystander", "Stalled")[0] == "False"
    monkeypatch.setattr(reconciler, "decide", decide)
    cluster.later(STATUS_SECONDS)  # it is not too early to write the status again
    passes(controller, "odd", "odd")  # the first makes the Job, the second writes the status
    assert condition(controller, "odd", "Stalled")[0] == "False"


def test_that_a_bug_can_not_be_reported_stops_nothing(
    controller: Controller,
    cluster: Named,
    race: Race,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    controller.races.saw_parent(parent(race))

    async def refuses(*_: Any) -> None:
        raise TypeError("an object that can't be written")

    monkeypatch.setattr(cluster, "write_status", refuses)
    passes(controller, race.uid, race.uid, race.uid)  # the first makes the Job, and writes no status
    assert controller.passes["Unexpected"] == 2
    assert "the status can't be written" in caplog.text


def test_a_job_of_somebody_else_under_the_races_name_is_reported_and_not_taken(
    controller: Controller, cluster: Named, race: Race
) -> None:
    controller.races.saw_parent(parent(race))
    known = controller.races.get(race.uid)
    assert known is not None
    cluster.there = owned_job("another", job_name(race))
    passes(controller, race.uid)
    status, reason, message = condition(controller, race.uid, "Stalled")
    assert (status, reason, job_name(race) in message) == ("True", "NameTaken", True)
    assert known.workload.jobs == {}
    cluster.there = owned_job(race.uid, job_name(race))  # its own, whose event has not come
    cluster.later(STATUS_SECONDS)
    passes(controller, race.uid, race.uid)
    assert condition(controller, race.uid, "Stalled")[0] == "False"
    assert known.workload.jobs.keys() == {job_name(race)}


def test_a_child_that_the_api_server_refuses_is_reported_in_a_condition(
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
    cluster.later(STATUS_SECONDS)
    passes(controller, race.uid, race.uid)
    assert condition(controller, race.uid, "Stalled")[0] == "False"


class Faulty(Store):
    """A store with a bug that one inbox meets."""

    def read_inbox(self, uid: str, *rest: Any, **named: Any) -> Any:
        if uid == "a-odd":
            raise ZeroDivisionError
        return super().read_inbox(uid, *rest, **named)


def test_an_error_at_one_inbox_holds_up_no_other(
    redis_server: RedisServer, make_race: type[Race], caplog: pytest.LogCaptureFixture
) -> None:
    client = redis_server.client()
    store, odd, bystander = Faulty(client), make_race(uid="a-odd"), make_race(uid="bystander")
    found, races, _ = collection(store, Pods(), client, odd, bystander)
    for each in (odd, bystander):
        store.register(each.info)
        races.saw_pod(pod(each, 0, f"{each.uid}-p0"))
        store.append(each.uid, ResultReport(result=each.result(0, attempt=f"{each.uid}-p0")))
    assert not round_of(found)
    assert store.trials("bystander").keys() == {0}
    assert {race.uid: race.logbook.trouble for race in races}["bystander"] == ""
    assert "ZeroDivisionError" in {race.uid: race.logbook.trouble for race in races}["a-odd"]
    assert "Traceback" in caplog.text


def test_a_task_that_keeps_ending_is_counted_and_fails_liveness_while_the_others_work(
    redis_server: RedisServer, race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = unused_port()
    reach(monkeypatch, ApiServer(parent(race)))

    async def bug(_: Exporter) -> bool:
        raise KeyError("race-0")

    monkeypatch.setattr(Exporter, "round", bug)

    async def work() -> tuple[int, dict[str, Any], Any]:
        async with running(Options(redis_server.url, listen=("127.0.0.1", port))) as service:
            failures = "velodrome_operator_task_failures_total"
            series = await until(port, lambda found: found.get((failures, ("exporter",)), 0) >= 3)
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                reported = answer.status, await answer.json()
            await happens(lambda: service.controller.passes["Succeeded"] > 0)
            return *reported, series

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
