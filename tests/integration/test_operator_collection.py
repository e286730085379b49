"""The operator's rounds over inboxes, and what it keeps in Redis for runners, with a real Redis."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.owned import owned_job, owned_pod
from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.monitoring import telemetry
from velodrome.results.records import ResultReport
from velodrome.store import Store
from velodrome_operator.access import Access, password, user_name
from velodrome_operator.children import ChildSettings, Names, groups
from velodrome_operator.cluster import Cluster, Unavailable
from velodrome_operator.collection import Collection
from velodrome_operator.controller import Controller
from velodrome_operator.races import Races
from velodrome_operator.sweep import Sweep
from velodrome_operator.watches import Watches

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer


class Pods(Cluster):
    """An API server that knows pods, or is away: what it does on demand, the real one does not."""

    def __init__(self, *found: dict[str, Any], away: bool = False, events: Sequence[dict[str, Any]] = ()) -> None:
        self.found = list(found)
        self.events = events
        self.looked_back = 0
        self.away = away
        self.asked = 0

    async def jobs(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        return
        yield  # that of each race is known from its making

    async def pods(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        self.asked += 1
        if self.away:
            raise Unavailable("GET pods: no answer")
        for raw in self.found:
            yield raw

    async def started_pods(self, namespace: str) -> AsyncIterator[dict[str, Any]]:
        self.looked_back += 1
        for event in self.events:
            yield event


def parent(race: Race) -> dict[str, Any]:
    document = json.loads(race.plan.job.model_dump_json(by_alias=True, exclude_none=True))
    document["metadata"] |= {"uid": race.uid, "namespace": "default", "resourceVersion": "1"}
    document["metadata"]["creationTimestamp"] = race.info.created_at.isoformat()
    return dict(document)


def pod(race: Race, index: int, uid: str) -> dict[str, Any]:
    return owned_pod(race.uid, job_name(race), index, uid, status={"phase": "Running"})


def job_name(race: Race) -> str:
    return Names.of(race.plan.job, race.uid).job(groups(race.plan.job)[0])


def collection(store: Store, cluster: Cluster, client: redis.Redis, *seen: Race) -> tuple[Collection, Races, list[str]]:
    races, woken = Races(), list[str]()
    for race in seen:
        races.saw_parent(parent(race))
        known = races.get(race.uid)
        assert known is not None
        known.lay_out(race.plan, 1)
        races.saw_job(owned_job(race.uid, job_name(race)))
    access = Access(client, "secret", "redis:6379")
    return Collection(races, store, cluster, woken.append, access.probe, seal=access.remove), races, woken


def round_of(found: Collection) -> bool:
    """One round and all turns that it began; whether it met no trouble."""

    async def one() -> bool:
        answered = await found.round()
        await found.settled()
        return answered and not any(race.logbook.trouble for race in found.races)

    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        return thread.submit(asyncio.run, one()).result()


def test_a_report_that_overtook_its_pods_event_is_attributed_by_asking_once(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    cluster = Pods(pod(race, 0, "p0"), pod(race, 1, "p1"))
    found, races, woken = collection(store, cluster, redis_server.client(), race)
    for index in (0, 1):
        store.append(race.uid, ResultReport(result=race.result(index, attempt=f"p{index}")))
    for _ in range(40):
        store.append(race.uid, ResultReport(result=race.result(2, attempt="forged")))
    before = datetime.now(UTC)

    assert round_of(found)

    assert store.trials(race.uid).keys() == {0, 1}
    assert (cluster.asked, cluster.looked_back) == (1, 1), "no number of forged reports makes a storm of questions"
    assert {reason: count for reason, count in found.rejected.items() if count} == {"UnknownAttempt": 40}
    assert woken == [race.uid]
    known = races.get(race.uid)
    assert known is not None
    assert known.logbook.collected_at is not None
    assert before <= known.logbook.collected_at <= datetime.now(UTC)


def start_event(race: Race, index: int, uid: str, job: str | None = None) -> dict[str, Any]:
    """The Event by which a kubelet reported that it started that pod's container."""
    job = job or Names.of(race.plan.job, race.uid).job(groups(race.plan.job)[0])
    return {
        "metadata": {"creationTimestamp": "2026-01-01T00:00:09Z"},
        "involvedObject": {"kind": "Pod", "name": f"{job}-{index}-x7k2p", "uid": uid},
        "firstTimestamp": "2026-01-01T00:00:07Z",
        "source": {"component": "kubelet", "host": "n1"},
    }


def test_a_report_of_a_pod_that_came_and_went_unseen_is_attributed_by_its_event(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    events = [start_event(race, 0, "p0"), start_event(race, 1, "p1"), start_event(race, 2, "p2", job="other-0")]
    cluster = Pods(events=events)
    found, races, _ = collection(store, cluster, redis_server.client(), race)
    for index, attempt in ((0, "p0"), (2, "p1"), (2, "p2"), (3, "never")):
        store.append(race.uid, ResultReport(result=race.result(index, attempt=attempt)))

    assert round_of(found)

    trials = store.trials(race.uid)
    assert trials.keys() == {0}, "that of another trial, of another race's pod and of none are not"
    record = store.trial(race.uid, 0)
    assert record is not None
    assert (record.observed.node, record.observed.pod) == ("n1", events[0]["involvedObject"]["name"])
    assert found.rejected["UnknownAttempt"] == 3
    assert (cluster.asked, cluster.looked_back) == (1, 1)
    known = races.get(race.uid)
    assert known is not None
    assert known.workload.gone.keys() == {"p0", "p1"}


def test_what_was_collected_is_counted_once(store: Store, race: Race, redis_server: RedisServer) -> None:
    def report(attempt: str) -> None:
        store.append(race.uid, ResultReport(result=race.result(0, attempt=attempt)))

    started = pod(race, 0, "p0")
    started["status"]["containerStatuses"] = [{"state": {"running": {"startedAt": "2026-01-01T00:00:07Z"}}}]
    found, _, _ = collection(store, Pods(started), redis_server.client(), race)
    report("p0")
    assert round_of(found)
    assert found.redis_up
    assert found.collected_at is not None
    report("p0")
    report("stranger")
    assert round_of(found)
    again, _, _ = collection(store, Pods(started), redis_server.client(), race)  # started anew, it counts from nothing
    assert round_of(again)

    assert found.results == {"accepted": 1, "duplicate": 1, "conflict": 0, "superseded": 0}
    assert again.results["accepted"] == 0
    rows = found.durations.series()["digits"]
    assert [(row.family, row.value) for row in rows if row.suffix in ("_sum", "_count")] == [
        (telemetry.QUEUE_SECONDS, 1), (telemetry.QUEUE_SECONDS, 7),
        (telemetry.RUN_SECONDS, 1), (telemetry.RUN_SECONDS, 60),
    ]  # fmt: skip


def test_a_report_to_a_race_at_rest_is_taken_too(store: Store, race: Race, redis_server: RedisServer) -> None:
    found, races, woken = collection(store, Pods(pod(race, 0, "p0")), redis_server.client(), race)
    known = races.get(race.uid)
    assert known is not None
    races.saw_job(owned_job(race.uid, job_name(race), spec={"suspend": True}))
    known.rest()
    assert known.plan is None
    store.append(race.uid, ResultReport(result=race.result(0, attempt="p0")))

    assert round_of(found)

    assert store.trials(race.uid).keys() == {0}
    assert woken == [race.uid]


def test_one_races_trouble_holds_up_no_other(
    store: Store, race: Race, make_race: type[Race], redis_server: RedisServer
) -> None:
    unregistered, unknown, honest = make_race(uid="a-lost"), make_race(uid="b-asked"), race
    store.register(unknown.info)
    found, races, woken = collection(store, Pods(away=True), redis_server.client(), unregistered, unknown, honest)
    for each in (unregistered, honest):
        races.saw_pod(pod(each, 0, f"{each.uid}-p0"))
    store.append(unregistered.uid, ResultReport(result=unregistered.result(0, attempt="a-lost-p0")))
    store.append(unknown.uid, ResultReport(result=unknown.result(0, attempt="unseen")))
    store.append(honest.uid, ResultReport(result=honest.result(0, attempt=f"{honest.uid}-p0")))

    assert not round_of(found)

    assert store.trials(honest.uid).keys() == {0}
    troubles = {known.uid: known.logbook.trouble for known in races}
    assert "register it before" in troubles["a-lost"]
    assert "can't be attributed" in troubles["b-asked"]
    assert troubles[honest.uid] == ""
    assert set(woken) == {"a-lost", "b-asked", honest.uid}
    assert [known.logbook.collected_at is None for known in races] == [True, True, False]


def test_every_race_says_that_redis_is_away_and_its_return_wakes_them(
    start_redis: Any, make_race: type[Race], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    first, second = make_race(uid="a"), make_race(uid="b")
    with Store(server.client()) as store, caplog.at_level(logging.WARNING):
        for race in (first, second):
            store.register(race.info)
        found, races, woken = collection(store, Pods(), server.client(), first, second)
        server.kill()

        assert not round_of(found)
        assert all("does not answer" in known.logbook.trouble for known in races)
        assert sorted(woken) == ["a", "b"]
        assert [found.redis_up] == [False]
        since = [known.logbook.troubled_at for known in races]
        assert None not in since
        for known in races:
            known.logbook.trouble = "it was reported otherwise before"
        assert not round_of(found)
        assert [known.logbook.troubled_at for known in races] == since, "it is trouble since then, by whatever name"
        woken.clear()

        server.start()
        assert round_of(found)
        assert [found.redis_up] == [True]
        assert [known.logbook.troubled_at for known in races] == [None, None]
        assert [known.logbook.trouble for known in races] == ["", ""]
        assert sorted(woken) == ["a", "b"]


def test_only_inboxes_that_hold_something_new_are_collected(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    quiet, loud = make_race(uid="quiet"), make_race(uid="loud")
    for race in (quiet, loud):
        store.register(race.info)
        store.append(race.uid, ResultReport(result=race.result(0, attempt="p0")))
        assert round_of(collection(store, Pods(pod(race, 0, "p0")), redis_server.client(), race)[0])
    store.append("loud", ResultReport(result=loud.result(1, attempt="p1")))
    redis_server.client().set(keys.inbox("broken"), "no list")
    waiting = store.waiting(["quiet", "loud", "broken", "unknown"])
    assert {uid: size.reports for uid, size in waiting.items()} == {"loud": 1, "broken": None}
    assert store.waiting([]) == {}
    assert store.result_counts(["quiet", "unknown"]) == [1, 0]


def test_a_sweep_wakes_what_differs_from_what_its_last_pass_saw_and_nothing_else(
    start_redis: Any, make_race: type[Race]
) -> None:
    race, server = make_race(uid="a"), start_redis("--appendonly", "yes", "--appendfsync", "always")
    with server.client() as client, Store(client) as store:
        store.register(race.info)
        access = Access(client, "secret", "redis:6379")
        controller = Controller(Pods(), store, access, ChildSettings())
        sweep = Sweep(Pods(), store, access, controller, Watches())
        races = controller.races
        races.saw_parent(parent(race))
        known = races.get("a")
        assert known is not None
        assert sweep.unpassed() == ["a"], "no pass has seen it"
        with suppress(StoreRefused):  # users who may only read some keys need Redis 7
            access.grant("a")
        known.logbook.passed = known.logbook.news
        assert sweep.unpassed() == []
        races.saw_job(owned_job(race.uid, job_name(race)))
        known.logbook.passed = known.logbook.news
        races.saw_pod(pod(race, 0, "p0"))
        assert sweep.unpassed() == ["a"], "a pod came"
        known.logbook.passed = known.logbook.news
        store.append("a", ResultReport(result=race.result(0, attempt="p0")))
        assert round_of(collection(store, Pods(pod(race, 0, "p0")), client, race)[0])
        assert sweep.unpassed() == ["a"], "another collector accepted a result"
        known.logbook.results = 1
        assert sweep.unpassed() == []
        server.kill()
        server.start()
        assert sweep.unpassed() == ["a"], "Redis was started again, and the job's user is gone"


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("maxmemory", "1", "is full"), ("min-replicas-to-write", "1", "too few replicas")],
)
def test_a_redis_that_takes_nothing_is_reported_though_there_is_nothing_to_collect(
    start_redis: Any, make_race: type[Race], setting: str, value: str, words: str
) -> None:
    race = make_race()
    with start_redis().client() as client, Store(client) as store:
        store.register(race.info)
        found, races, woken = collection(store, Pods(), client, race)
        client.config_set(setting, value)
        assert not round_of(found)
        assert [words in known.logbook.trouble for known in races] == [True]
        client.config_set(setting, "0")
        assert round_of(found)
        assert [known.logbook.trouble for known in races] == [""]
        assert woken == [race.uid, race.uid]


def as_job(server: RedisServer, uid: str) -> redis.Redis:
    arguments = server.client().get_connection_kwargs()
    return redis.Redis(unix_socket_path=arguments["path"], username=user_name(uid), password=password("secret", uid))


def test_a_jobs_runners_read_which_trials_have_a_result_until_the_job_ends(redis_server: RedisServer) -> None:
    server = redis_server
    with server.client() as admin:
        if int(admin.info("server")["redis_version"].split(".")[0]) < 7:
            with pytest.raises(StoreRefused):  # it has no users who may only read, or only write, a key
                Access(admin, "secret", "redis:6379").grant("uid-1")
            return
        access = Access(admin, "secret", "redis:6379")
        access.grant("uid-1")
        access.instruct("uid-1", {0: True, 3: False})
        admin.rpush(keys.inbox("uid-1"), "late")
        with as_job(server, "uid-1") as job:
            assert job.hget(keys.instructions("uid-1"), "0") == b"Succeeded"
            assert job.hget(keys.instructions("uid-1"), "3") == b"Failed"
            assert job.hget(keys.instructions("uid-1"), "1") is None
            with pytest.raises(redis.exceptions.NoPermissionError):
                job.hset(keys.instructions("uid-1"), "1", "Succeeded")
            with pytest.raises(redis.exceptions.NoPermissionError):
                job.hget(keys.instructions("uid-2"), "0")
        assert access.users() == {"uid-1"}
        for _ in range(2):
            access.revoke("uid-1")
        assert access.users() == frozenset()
        assert admin.keys("*") == []


class Writable(Pods):
    """An API server that takes what is written and keeps the statuses."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[dict[str, Any]] = []

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        made = {"uid": manifest["metadata"]["name"], "creationTimestamp": "2026-01-01T00:00:00Z"}
        return {**manifest, "metadata": {**manifest["metadata"], **made}}

    async def event(self, *_: Any, **__: Any) -> None:
        pass

    async def pod_refusals(self, *_: Any) -> dict[str, Any]:
        return {}

    async def write_status(self, parent: Any, status: Any) -> dict[str, Any] | None:
        self.statuses.append(status)
        version = str(int(parent["metadata"]["resourceVersion"]) + 1)
        return {**parent, "metadata": {**parent["metadata"], "resourceVersion": version}, "status": status}


def test_the_status_of_a_new_race_is_written_once_and_whole(
    redis_server: RedisServer, race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Access, "grant", lambda *_: None)  # users who may only read some keys need Redis 7
    client, cluster = redis_server.client(), Writable()
    with Store(client) as store:
        settings = ChildSettings(runner_image="registry.example/runner@sha256:" + "a" * 64)
        controller = Controller(cluster, store, Access(client, "secret", "redis:6379"), settings)
        controller.races.saw_parent(parent(race))

        async def passes() -> None:
            for _ in range(2):
                await controller.pass_over(race.uid)

        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, passes()).result()
    assert [status["startTime"] for status in cluster.statuses] == ["2026-01-01T00:00:00Z"]
