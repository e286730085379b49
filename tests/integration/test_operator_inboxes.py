"""What an entry's code can do with the Redis user of its race: report, and harm no other race."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.apiserver import ApiServer
from tests.integration.test_operator_collection import job_name, parent, pod
from tests.owned import owned_job
from velodrome import keys
from velodrome.results.records import ProgressReport, ResultReport
from velodrome.store import InboxSize, Room, Store
from velodrome.store.store import INBOX_REPORTS
from velodrome_operator.access import Access, password, user_name
from velodrome_operator.children import ChildSettings, children
from velodrome_operator.cluster import Cluster, Unavailable
from velodrome_operator.collection import Collection
from velodrome_operator.controller import Controller
from velodrome_operator.decision import decide
from velodrome_operator.pass_input import Observation
from velodrome_operator.poison import UNLIMITED_BYTES, Poison, poison
from velodrome_operator.races import Races
from velodrome_operator.sweep import Sweep
from velodrome_operator.watches import Watches

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

SECRET = "secret"
MIB = 2**20
# What a job's user may do. The last four everybody may: they say who somebody is.
ALLOWED = {"rpush", "llen", "hget", "ping", "client|setname"} | {"auth", "hello", "quit", "reset"}


class Pods(Cluster):
    """An API server that knows pods, and is silent about some races: what it does on demand, the real one does not."""

    def __init__(self, *found: dict[str, Any], silent: frozenset[str] = frozenset()) -> None:
        self.found = list(found)
        self.silent = silent
        self.asked = 0

    async def jobs(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        for raw in self.found[:0]:  # that of each race is known from its making
            yield raw

    async def pods(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        self.asked += 1
        if uid in self.silent:
            await asyncio.Event().wait()
        for raw in self.found:
            yield raw

    async def started_pods(self, namespace: str) -> AsyncIterator[dict[str, Any]]:
        for raw in self.found[:0]:
            yield raw


def collection(store: Store, cluster: Cluster, client: redis.Redis, *seen: Race) -> tuple[Collection, Races, list[str]]:
    """Rounds over these races, each of which has a pod `UID-p` at its trial 0."""
    races, woken = Races(), list[str]()
    access = Access(client, SECRET, "redis:6379")
    for race in seen:
        store.register(race.info)
        races.saw_parent(parent(race))
        known = races.get(race.uid)
        assert known is not None
        known.lay_out(race.plan, 1)
        races.saw_job(owned_job(race.uid, job_name(race)))
        races.saw_pod(pod(race, 0, f"{race.uid}-p"))
    return Collection(races, store, cluster, woken.append, access.probe, seal=access.remove), races, woken


def in_a_loop(work: Callable[[], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await work()

    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        return thread.submit(asyncio.run, run()).result()


def round_of(found: Collection) -> None:
    async def one() -> None:
        await found.round()
        await found.settled()

    in_a_loop(one)


def report(store: Store, race: Race) -> None:
    store.append(race.uid, ResultReport(result=race.result(0, attempt=f"{race.uid}-p")))


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


def needs_redis_7(client: redis.Redis) -> bool:
    """Whether this one is older: it has no users who may only read, or only write, a key, and gets none."""
    return int(client.info("server")["redis_version"].split(".")[0]) < 7


@contextlib.contextmanager
def as_job(server: RedisServer, uid: str) -> Iterator[redis.Redis]:
    path = server.client().get_connection_kwargs()["path"]
    with redis.Redis(
        unix_socket_path=path, username=user_name(uid), password=password(SECRET, uid), retry=Retry(NoBackoff(), 0)
    ) as client:
        yield client


def commands(client: redis.Redis) -> Iterator[tuple[str, list[str]]]:
    """Every command and subcommand that this Redis knows, as a user would write it with as few words as it may have."""

    def each(reported: list[Any]) -> Iterator[tuple[str, list[str]]]:
        for name, arity, *_, subcommands in reported:
            if subcommands:
                yield from each(subcommands)
            else:
                words = name.decode().split("|")
                yield name.decode(), [*words, *["1"] * (abs(arity) - len(words))]

    with client.client() as connection:  # as given, not as the client library sees fit
        connection.response_callbacks.clear()
        yield from each(connection.execute_command("COMMAND"))


def permitted(client: redis.Redis, known: Mapping[str, list[str]], untried: AbstractSet[str]) -> set[str]:
    """The commands that the client's user may run, of those that are not among `untried`."""
    found = set()
    for name, words in known.items():
        if name in untried:
            continue
        try:
            client.execute_command(*words)
        except redis.RedisError as error:
            # Some are refused to everybody, and EXEC wraps what it is refused for.
            if "no permissions to run" in str(error) or "command not allowed" in str(error):
                continue
        found.add(name)
    return found


def test_a_jobs_user_may_report_and_do_nothing_else(redis_server: RedisServer, admin: redis.Redis) -> None:
    if needs_redis_7(admin):
        return
    Access(admin, SECRET, "redis:6379").grant("mine")
    known = dict(commands(admin))
    assert len(known) > 300
    assert known.keys() >= ALLOWED
    with as_job(redis_server, "mine") as client:
        client.ping()
        assert permitted(client, known, ALLOWED) == set()


def test_no_argument_of_what_a_jobs_user_may_do_reads_or_harms_anything(
    redis_server: RedisServer, admin: redis.Redis
) -> None:
    if needs_redis_7(admin):
        return
    access = Access(admin, SECRET, "redis:6379")
    for uid in ("mine", "other"):
        access.grant(uid)
        access.instruct(uid, {0: True})
        admin.rpush(keys.inbox(uid), "first")
    admin.set("secret", "of others")
    mine, other = keys.inbox("mine"), keys.inbox("other")
    refused = [
        ("RPUSH", other, "x"), ("RPUSH", "secret", "x"), ("RPUSH", keys.instructions("mine"), "x"), ("LLEN", other),
        ("RPUSH", keys.job("mine", "info"), "x"), ("RPUSH", keys.inbox_stream("mine"), "x"), ("HGET", mine, "0"),
        ("HGET", keys.instructions("other"), "0"), ("HGET", keys.job("mine", "records"), "0"), ("LRANGE", mine, 0, -1),
        ("LPUSH", mine, "x"), ("LPOP", mine), ("LTRIM", mine, 1, 0), ("DEL", mine), ("EXPIRE", mine, 1),
        ("XADD", mine, "MAXLEN", 0, "*", "x", "y"), ("XADD", keys.inbox_stream("mine"), "*", "x", "y"),
        ("SORT", mine, "BY", "nosort", "GET", "secret"), ("EVAL", "return 1", 0), ("SUBSCRIBE", "x"), ("MONITOR",),
        ("CLIENT", "LIST"), ("ACL", "WHOAMI"), ("INFO",), ("KEYS", "*"), ("SCAN", 0), ("PUBSUB", "CHANNELS"),
        ("MULTI",), ("CLIENT", "PAUSE", 100_000), ("CLIENT", "KILL", "TYPE", "normal"),
        ("WAIT", 1, 0),
    ]  # fmt: skip
    with as_job(redis_server, "mine") as client:
        assert client.execute_command("RPUSH", mine, "MAXLEN", "0", "*", b"\xff\x00", "") == 6
        assert client.execute_command("LLEN", mine) == 6
        assert client.execute_command("HGET", keys.instructions("mine"), "0") == b"Succeeded"
        for command in refused:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
    assert admin.lrange(mine, 0, -1) == [b"first", b"MAXLEN", b"0", b"*", b"\xff\x00", b""]
    assert admin.lrange(other, 0, -1) == [b"first"]


def test_nothing_that_other_pods_may_read_names_an_attempt(
    store: Store, redis_server: RedisServer, admin: redis.Redis, race: Race
) -> None:
    """A report counts as that of the pod whose uid it names, and only that pod knows its uid."""
    attempt = "0b5f7a52-3b0e-4f39-9a6e-1f0e6b0f7a11"
    store.append(race.uid, ProgressReport(progress=race.progress(1, attempt=attempt)))
    store.accept(race.uid, 1, [race.record(0, attempt=attempt)], [race.progress(1, attempt=attempt)])
    made = children(race.plan.job, race.plan, race.uid, "redis://x", ChildSettings(runner_image="image"))
    containers = [
        container
        for child in made
        if child["kind"] == "Job"
        for container in child["spec"]["template"]["spec"]["containers"]
    ]
    assert containers
    for container in containers:
        (reported,) = [item for item in container["env"] if item["name"] == keys.ENV_ATTEMPT]
        assert reported == {"name": keys.ENV_ATTEMPT, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    if needs_redis_7(admin):
        return
    access = Access(admin, SECRET, "redis:6379")
    access.grant(race.uid)
    access.instruct(race.uid, {0: True})
    with as_job(redis_server, race.uid) as client:
        answers = [client.hget(keys.instructions(race.uid), str(index)) for index in range(race.info.trials)]
        assert answers == [b"Succeeded", *[None] * 5]
        for name in sorted(admin.keys()):
            for command in ("GET", "LRANGE", "HGETALL", "TYPE", "DUMP", "OBJECT"):
                words = {"LRANGE": (name, 0, -1), "OBJECT": ("ENCODING", name)}.get(command, (name,))
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(command, *words)
    assert attempt not in access.url(race.uid)


def test_runners_of_0_1_0_keep_their_stream_until_their_race_ends(
    store: Store, redis_server: RedisServer, admin: redis.Redis, race: Race
) -> None:
    if needs_redis_7(admin):
        return
    access = Access(admin, SECRET, "redis:6379", store.began_with_a_stream)
    admin.delete(keys.job(race.uid, "position"))  # as version 0.1.0 registered it
    access.grant(race.uid)
    with as_job(redis_server, race.uid) as client:
        client.xadd(keys.inbox_stream(race.uid), {keys.STREAM_FIELD: "report"})
        client.rpush(keys.inbox(race.uid), "report")
    assert access.holders() == {race.uid}
    access.revoke(race.uid)
    assert admin.exists(keys.inbox_stream(race.uid), keys.inbox(race.uid)) == 0


def size(reports: int | None = 1, mebibytes: float = 0.0) -> InboxSize:
    return InboxSize(reports, int(mebibytes * MIB))


@pytest.mark.parametrize(
    ("found", "room", "reason"),
    [
        (size(1), Room(0, None), None),
        (size(None), Room(0, None), "InboxUnreadable"),
        (size(INBOX_REPORTS - 1), Room(0, None), None),
        (InboxSize(INBOX_REPORTS, None), Room(0, None), "InboxOverflow"),
        (size(1, 256), Room(2**40, None), None),
        (size(1, 257), Room(0, None), "InboxOverflow"),
        (size(1, 230), Room(600 * MIB, 921 * MIB), None),
        (size(1, 231), Room(600 * MIB, 921 * MIB), "InboxOverflow"),
        (size(1, 28), Room(700 * MIB, 921 * MIB), None),
        (size(1, 29), Room(700 * MIB, 921 * MIB), "InboxOverflow"),
    ],
)
def test_an_inbox_past_its_quota_ends_its_race(found: InboxSize, room: Room, reason: str | None) -> None:
    assert UNLIMITED_BYTES == 256 * MIB
    verdict = poison(found, room)
    assert (verdict.reason if verdict else None) == reason


def test_what_ended_a_race_is_its_condition(race: Race) -> None:
    now = datetime.now(UTC)
    seen = Observation(
        plan=race.plan, uid=race.uid, generation=1, suspended=False, jobs={}, pods=(), finished={}, status={}, now=now,
        poison=Poison("InboxOverflow", "too much"),
    )  # fmt: skip
    verdict = decide(seen, (), {}).ending
    assert verdict is not None
    assert (verdict.type, verdict.reason, verdict.message) == ("Failed", "InboxOverflow", "too much")


def overflow_by_number(client: redis.Redis, uid: str) -> None:
    for _ in range(INBOX_REPORTS // 1000):
        client.rpush(keys.inbox(uid), *["x"] * 1000)


def overflow_by_size(client: redis.Redis, uid: str) -> None:
    client.config_set("maxmemory", 64 * MIB)
    client.rpush(keys.inbox(uid), "small", *["x" * MIB] * 20)


def overflow_until_full(client: redis.Redis, uid: str) -> None:
    client.config_set("maxmemory", 64 * MIB)
    taken = 0
    with contextlib.suppress(redis.exceptions.OutOfMemoryError):
        for _ in range(70):
            taken += client.rpush(keys.inbox(uid), "x" * MIB) > 0
    assert taken < 70, "it is full"


def unreadable(client: redis.Redis, uid: str) -> None:
    client.set(keys.inbox(uid), "no list")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (overflow_by_number, "InboxOverflow"),
        (overflow_by_size, "InboxOverflow"),
        (overflow_until_full, "InboxOverflow"),
        (unreadable, "InboxUnreadable"),
    ],
)
def test_a_poisoned_inbox_ends_its_race_and_no_other_notices(
    start_redis: Any, make_race: type[Race], spoil: Callable[[redis.Redis, str], None], reason: str
) -> None:
    bad, good = make_race(uid="bad"), make_race(uid="good")
    server = start_redis("--maxmemory-policy", "noeviction")
    with server.client() as client, Store(client) as store:
        found, races, woken = collection(store, Pods(), client, bad, good)
        report(store, good)
        spoil(client, bad.uid)

        round_of(found)

        assert client.exists(keys.inbox("bad")) == 0
        known = {race.uid: race for race in races}
        assert known["bad"].logbook.poison is not None
        assert known["bad"].logbook.poison.reason == reason
        assert known["bad"].logbook.trouble.startswith(f"{reason}: ")
        assert known["good"].logbook.trouble == ""
        assert store.trials("good").keys() == {0}
        assert found.redis_up
        assert set(woken) == {"bad", "good"}


def test_a_pass_makes_no_new_user_for_a_race_whose_inbox_was_sealed(
    store: Store, admin: redis.Redis, race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted: list[str] = []
    monkeypatch.setattr(Access, "grant", lambda _, uid: granted.append(uid))  # making one needs Redis 7
    cluster = ApiServer()
    controller = Controller(cluster, store, Access(admin, SECRET, "redis:6379"), ChildSettings())
    controller.races.saw_parent(parent(race))
    known = controller.races.get(race.uid)
    assert known is not None
    in_a_loop(partial(controller.pass_over, race.uid))
    assert granted == [race.uid]
    known.logbook.poison = Poison("InboxOverflow", "too much")
    in_a_loop(partial(controller.pass_over, race.uid))
    assert granted == [race.uid]
    assert controller.passes["Succeeded"] == 2
    assert known.parent.state == "Failed"


def test_a_race_that_the_api_server_is_silent_about_holds_up_no_other(
    store: Store, admin: redis.Redis, make_race: type[Race]
) -> None:
    slow, quick = make_race(uid="a-slow"), make_race(uid="b-quick")
    cluster = Pods(silent=frozenset({"a-slow"}))
    found, races, _ = collection(store, cluster, admin, slow, quick)
    store.append("a-slow", ResultReport(result=slow.result(1, attempt="nobody-knows")))

    async def rounds() -> None:
        end = time.monotonic() + 60
        working = asyncio.create_task(found.work())
        while not cluster.asked:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        report(store, quick)
        while not store.trials("b-quick"):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        working.cancel()

    in_a_loop(rounds)
    assert (cluster.asked, store.trials("a-slow")) == (1, {}), "it is still being asked about"
    known = races.get("b-quick")
    assert known is not None
    assert known.logbook.trouble == ""


def test_each_race_rests_for_its_own_trouble(store: Store, admin: redis.Redis, make_race: type[Race]) -> None:
    class Away(Pods):
        async def pods(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
            self.asked += 1
            if self.asked:
                raise Unavailable("GET pods: no answer")
            yield {}

    troubled, quick = make_race(uid="a-troubled"), make_race(uid="b-quick")
    cluster = Away()
    found, races, _ = collection(store, cluster, admin, troubled, quick)
    store.append("a-troubled", ResultReport(result=troubled.result(1, attempt="nobody-knows")))
    for index in range(3):
        races.saw_pod(pod(quick, index, f"p{index}"))
        store.append("b-quick", ResultReport(result=quick.result(index, attempt=f"p{index}")))
        round_of(found)
        assert len(store.trials("b-quick")) == index + 1
    assert cluster.asked == 1, "it rests meanwhile"
    assert {race.uid: "can't be attributed" in race.logbook.trouble for race in races} == {
        "a-troubled": True,
        "b-quick": False,
    }


def test_a_large_inbox_is_taken_in_slices_while_others_come_first(
    store: Store, admin: redis.Redis, make_race: type[Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = make_race(uid="a-large"), make_race(uid="b-small")
    found, races, _ = collection(store, Pods(), admin, large, small)
    order: list[str] = []
    taken = store.accept_items

    def noted(uid: str, *given: Any) -> Any:
        order.append(uid)
        return taken(uid, *given)

    monkeypatch.setattr(store, "accept_items", noted)
    for _ in range(120):
        store.append("a-large", ProgressReport(progress=large.progress(0, attempt="a-large-p")))
    report(store, small)

    round_of(found)

    assert order.count("a-large") == 3
    assert order.index("b-small") < 2
    assert store.waiting(["a-large", "b-small"]) == {}
    assert all(race.logbook.collected_at is not None for race in races)


def test_a_late_report_leaves_no_key_behind(redis_server: RedisServer, admin: redis.Redis) -> None:
    if needs_redis_7(admin):
        return
    access = Access(admin, SECRET, "redis:6379")
    access.grant("ended")
    with as_job(redis_server, "ended") as client:
        client.rpush(keys.inbox("ended"), "x")
        access.revoke("ended")
        for _ in range(3):
            with pytest.raises(redis.RedisError):
                client.rpush(keys.inbox("ended"), "late")
    assert admin.keys() == []


def sweeping(
    store: Store, admin: redis.Redis, *parents: dict[str, Any], namespaces: frozenset[str] = frozenset()
) -> tuple[Sweep, Races]:
    """A sweep over these BenchmarkJobs."""
    cluster, access = ApiServer(*parents), Access(admin, SECRET, "redis:6379")
    controller = Controller(cluster, store, access, ChildSettings())
    return Sweep(cluster, store, access, controller, Watches(), namespaces), controller.races


def test_a_sweep_finds_what_races_left_in_redis_though_it_was_started_again(
    store: Store, admin: redis.Redis, make_race: type[Race]
) -> None:
    """Users are gone with a restart, the keys are not."""
    going, ended = make_race(uid="going"), make_race(uid="ended")
    sweep, races = sweeping(store, admin, parent(going), parent(ended))
    for race in (going, ended):
        store.register(race.info)
        races.saw_parent(parent(race))
    cleared = races.get("ended")
    assert cleared is not None
    cleared.logbook.cleared = True
    for uid in ("going", "ended", "deleted", "local-0123"):
        admin.rpush(keys.inbox(uid), "x")
        admin.hset(keys.instructions(uid), "0", "Succeeded")
        admin.xadd(keys.inbox_stream(uid), {"x": "y"})
    store.accept("ended", 0, [ended.record(0)])

    in_a_loop(sweep.once)

    for uid, kept in (("going", 3), ("ended", 0), ("deleted", 0), ("local-0123", 3)):
        assert admin.exists(keys.inbox(uid), keys.inbox_stream(uid), keys.instructions(uid)) == kept, uid
    assert store.trials("ended").keys() == {0}, "results stay"


def test_a_sweep_of_one_namespace_leaves_what_is_of_others(
    store: Store, admin: redis.Redis, make_race: type[Race]
) -> None:
    sweep, _ = sweeping(store, admin, namespaces=frozenset({"elsewhere"}))
    of_another = make_race(uid="of-default")
    mine = of_another.info.model_copy(update={"uid": "mine", "namespace": "elsewhere"})
    store.register(of_another.info)
    store.register(mine)
    for uid in ("of-default", "unknown", "mine"):
        admin.rpush(keys.inbox(uid), "x")

    in_a_loop(sweep.once)

    assert [bool(admin.exists(keys.inbox(uid))) for uid in ("of-default", "unknown", "mine")] == [True, True, False]


def test_a_sweep_looks_at_a_part_of_a_large_redis_and_at_the_next_part_next_time(
    admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("velodrome_operator.access._SCANS", 1)
    monkeypatch.setattr("velodrome_operator.access._SCANNED_AT_ONCE", 10)
    wanted = {f"uid-{number}" for number in range(200)}
    for uid in wanted:
        admin.rpush(keys.inbox(uid), "x")
    access, found = Access(admin, SECRET, "redis:6379"), set[str]()
    looks = [access.holders() for _ in range(100)]
    for look in looks:
        found |= look
    assert found == wanted
    assert max(map(len, looks)) < 60


def test_an_entry_reports_for_its_own_trial_alone(
    store: Store, redis_server: RedisServer, admin: redis.Redis, race: Race
) -> None:
    """It has the Redis user of its race, knows the uids of all pods, and has the key of its own trial."""
    if needs_redis_7(admin):
        return
    access = Access(admin, SECRET, "redis:6379")
    access.grant(race.uid)
    made = children(
        race.plan.job, race.plan, race.uid, access.url(race.uid), ChildSettings(runner_image="image"),
        key_of=partial(access.report_key, race.uid),
    )  # fmt: skip
    (job,) = (child for child in made if child["kind"] == "Job")
    shown = next(child["stringData"] for child in made if child["metadata"]["name"].endswith("-keys"))
    keys_of = [shown[f"report-key-0-{index}"] for index in range(len(race.plan))]
    assert len(set(keys_of)) == len(race.plan)
    other = [access.report_key("another", index) for index in range(len(race.plan))]
    assert not set(keys_of) & set(other)

    races = Races()
    races.saw_parent(parent(race))
    known = races.get(race.uid)
    assert known is not None
    known.lay_out(race.plan, 1)
    races.saw_job(owned_job(race.uid, job_name(race), spec=job["spec"]))
    pods = [pod(race, index, f"p{index}") for index in range(len(race.plan))]
    found = Collection(
        races, store, Pods(*pods), lambda _: None, access.probe, seal=access.remove, report_key=access.report_key
    )

    def told(index: int, proof: str | None, failed: str | None = None) -> str:
        result = race.result(index, attempt=f"p{index}", failed=failed)
        return ResultReport(result=result, proof=proof).model_dump_json()

    forger, victim = 1, 2
    with as_job(redis_server, race.uid) as client:
        for proof in (None, keys_of[forger], other[victim], keys_of[victim][:-1], ""):
            client.rpush(keys.inbox(race.uid), told(victim, proof))
            client.rpush(keys.inbox(race.uid), told(victim, proof, failed="LossNotFinite"))
        client.rpush(keys.inbox(race.uid), told(forger, keys_of[forger]))
        news = ProgressReport(progress=race.progress(victim, attempt=f"p{victim}"), proof=keys_of[forger])
        client.rpush(keys.inbox(race.uid), news.model_dump_json())
    round_of(found)
    assert {reason: count for reason, count in found.rejected.items() if count} == {"UnprovenReport": 11}
    assert store.trials(race.uid).keys() == {forger}
    assert store.progress(race.uid) == {}

    with as_job(redis_server, race.uid) as client:  # the runner of the trial itself is as free as before
        client.rpush(keys.inbox(race.uid), told(victim, keys_of[victim]))
    round_of(found)
    assert store.trials(race.uid).keys() == {forger, victim}


def test_pods_of_an_operator_without_report_keys_report_as_before(store: Store, admin: redis.Redis, race: Race) -> None:
    access = Access(admin, SECRET, "redis:6379")
    races = Races()
    races.saw_parent(parent(race))
    known = races.get(race.uid)
    assert known is not None
    known.lay_out(race.plan, 1)
    races.saw_job(owned_job(race.uid, job_name(race)))  # a Job of version 0.1.0 mounts no keys
    cluster = Pods(pod(race, 0, "p0"))
    found = Collection(
        races, store, cluster, lambda _: None, access.probe, seal=access.remove, report_key=access.report_key
    )
    store.append(race.uid, ResultReport(result=race.result(0, attempt="p0")))
    round_of(found)
    assert store.trials(race.uid).keys() == {0}
