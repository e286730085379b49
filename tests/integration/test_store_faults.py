"""What goes wrong around a store: each fault is one of two errors with the fix in it, and no batch is taken in part."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from velodrome import keys
from velodrome.errors import SchemaUnsupported, StoreRefused, StoreUnavailable, VelodromeError
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.cohorts import cohort_of
from velodrome.results.records import ResultReport, TrialRecord
from velodrome.store import Rejection, Store, export_lines, open_store
from velodrome.store.edge import translate, translated

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

StartRedis = Callable[..., "RedisServer"]


def accept_in_batches(store: Store, race: Race, size: int, acknowledged: list[int]) -> None:
    """Accepts trial after trial; `acknowledged` grows with what was answered. Batch k leaves the position at k."""
    for number, first in enumerate(range(0, race.info.trials, size), start=1):
        batch = range(first, first + size)
        store.accept(race.uid, number, [race.record(index) for index in batch])
        acknowledged += batch


def whole_batches(store: Store, race: Race, size: int) -> int:
    """How many trials are kept, after checking that everything kept agrees on it."""
    kept = len(store.trials(race.uid))
    assert kept % size == 0
    assert store.position(race.uid) == kept // size
    assert store.counts(race.uid).succeeded == kept
    assert len(store.records(race.uid, 0, race.info.trials)) == kept
    for key in ("accuracy", "parameters"):
        [cohort] = store.cohorts(race.board, key)
        rows = store.ranking_rows(race.board, key, cohort.cohort_id)
        assert cohort.samples == sum(len(row.samples) for row in rows) == kept
    return kept


def test_a_full_redis_takes_a_batch_whole_or_not_at_all(start_redis: StartRedis, make_race: type[Race]) -> None:
    server = start_redis("--maxmemory-policy", "noeviction")
    race = make_race(repeats=1000)
    acknowledged: list[int] = []
    with open_store(server.url) as store:
        store.register(race.info)
        server.client().config_set("maxmemory", server.client().info("memory")["used_memory"] + 500_000)
        with pytest.raises(StoreRefused, match=r"is full .* raise its maxmemory"):
            accept_in_batches(store, race, 10, acknowledged)
        assert 0 < len(acknowledged) < 3000
        assert whole_batches(store, race, 10) == len(acknowledged)
        server.client().config_set("maxmemory", 1)
        with pytest.raises(StoreRefused, match="is full"):
            store.append(race.uid, ResultReport(result=race.result(0)))

        server.client().config_set("maxmemory", 0)
        assert store.accept(race.uid, 1, [race.record(2999)]) == ["accepted"]


def test_a_replica_refuses_and_says_where_to_go(start_redis: StartRedis, make_race: type[Race]) -> None:
    server = start_redis()
    race = make_race()
    with open_store(server.url) as store:
        store.register(race.info)
        store.accept(race.uid, 0, [race.record(0)])
        server.client().replicaof("127.0.0.1", "1")
        before = server.contents()

        for write in (
            lambda: store.accept(race.uid, 1, [race.record(1)]),
            lambda: store.register(make_race(uid="other").info),
            lambda: store.append(race.uid, ResultReport(result=race.result(0))),
        ):
            with pytest.raises(StoreRefused, match="read-only replica: give the URL of its primary"):
                write()

        assert server.contents() == before
        assert store.records(race.uid) == [race.record(0)]


def test_a_redis_that_cannot_save_refuses(start_redis: StartRedis, make_race: type[Race], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    server = start_redis("--dir", str(gone))
    race = make_race()
    with open_store(server.url) as store, contextlib.closing(server.client()) as client:
        store.register(race.info)
        client.config_set("save", "3600 1")
        gone.rmdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")

        with pytest.raises(StoreRefused, match=r"can't write to its disk .* free space"):
            store.accept(race.uid, 0, [race.record(0)])
        assert store.trials(race.uid) == {}
        client.config_set("save", "")  # or it would not end


def test_a_user_without_rights_gets_an_error_that_says_so(start_redis: StartRedis, make_race: type[Race]) -> None:
    server = start_redis()
    race = make_race()
    client = server.client()
    may_read = ["+@read", "+@connection"]
    client.acl_setuser("reader", enabled=True, passwords=["+secret"], keys=["*"], categories=may_read)
    client.acl_setuser("half", enabled=True, passwords=["+secret"], keys=["velodrome:job:*"], categories=["+@all"])
    url = server.url.replace("unix://", "unix://{}@") + "?password=secret"
    with open_store(server.url) as store:
        store.register(race.info)
    with open_store(url.format("reader")) as store:
        assert store.job(race.uid) == race.info
        assert store.boards()[0].jobs == 1
        with pytest.raises(StoreRefused, match="does not let this user do it"):
            store.accept(race.uid, 0, [race.record(0)])
    before = server.contents()
    with open_store(url.format("half")) as store, pytest.raises(StoreRefused, match="does not let this user do it"):
        store.accept(race.uid, 0, [race.record(0)])
    assert server.contents() == before


def test_passwords_that_are_missing_or_wrong_are_told_apart(start_redis: StartRedis) -> None:
    server = start_redis("--requirepass", "secret")
    with open_store(server.url) as store, pytest.raises(StoreRefused, match="wants a password: put it into the URL"):
        store.ping()
    with open_store(f"{server.url}?password=wrong-one") as store:
        with pytest.raises(StoreRefused, match="refuses the user name or the password") as caught:
            store.ping()
        assert "wrong-one" not in str(caught.value)
    with open_store(f"{server.url}?password=secret") as store:
        store.ping()


def test_a_server_that_is_away_is_unavailable_and_comes_back(start_redis: StartRedis, make_race: type[Race]) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    race = make_race()
    with open_store(server.url) as store:
        store.register(race.info)
        server.stop()
        for call in (
            store.ping,
            store.boards,
            lambda: store.accept(race.uid, 0, [race.record(0)]),
            lambda: store.cohorts("digits", "accuracy"),
            lambda: list(export_lines(store)),
        ):
            with pytest.raises(StoreUnavailable, match=r"redis\.sock does not answer: is it running\?"):
                call()

        server.start()
        assert store.accept(race.uid, 0, [race.record(0)]) == ["accepted"]


def test_a_server_that_hangs_is_unavailable(start_redis: StartRedis) -> None:
    server = start_redis()
    assert server.process is not None
    client = redis.Redis.from_url(server.url, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
    with Store(client) as store:
        store.ping()
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="does not answer"):
                store.jobs()
        finally:
            server.process.send_signal(signal.SIGCONT)


def test_a_server_that_loads_is_unavailable(start_redis: StartRedis) -> None:
    server = start_redis("--appendonly", "yes")
    client = server.client()
    client.mset({f"key-{number}": os.urandom(100_000) for number in range(200)})  # it compresses others
    client.bgrewriteaof()
    wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)
    server.kill()
    server.options = (*server.options, "--key-load-delay", "10000")  # microseconds
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        with Store(redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))) as store:
            heard: list[str] = []
            while starting.is_alive():
                try:
                    store.ping()
                except StoreUnavailable as error:
                    heard.append(str(error))
    finally:
        starting.join()
    assert any("is still loading its data: try again" in text for text in heard), set(heard)


def test_something_else_at_the_address_is_reported() -> None:
    with (
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port,
        open_store(f"redis://127.0.0.1:{port}") as store,
        pytest.raises(StoreRefused, match=f"what answers at 127.0.0.1:{port} is no Redis"),
    ):
        store.ping()


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://localhost:6379", "redis://:hush@localhost:port", "redis://localhost?db=first"]
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreRefused, match="write redis://:PASSWORD@HOST:PORT/DATABASE") as caught:
        open_store(url)
    assert "hush" not in str(caught.value)


def test_addresses_in_messages_have_no_password() -> None:
    with open_store("redis://user:hush@127.0.0.1:1/2") as store, pytest.raises(StoreUnavailable) as caught:
        store.ping()
    assert "127.0.0.1:1 database 2" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_client_that_decodes_is_refused() -> None:
    with pytest.raises(ValueError, match="without decode_responses"):
        Store(redis.Redis(decode_responses=True))


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("LOADING Redis is loading the dataset in memory", StoreUnavailable, "still loading"),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", StoreUnavailable, "busy with a script"),
        ("MASTERDOWN Link with MASTER is down", StoreUnavailable, "lost its primary"),
        ("NOREPLICAS Not enough good replicas to write.", StoreUnavailable, "too few replicas"),
        ("MISCONF Redis is configured to save RDB snapshots", StoreRefused, "can't write to its disk"),
        (
            "Error running script (call to f_00): @user_script:1: -OOM command not allowed when used memory",
            StoreRefused,
            "is full",
        ),
        ("MOVED 3999 127.0.0.1:6381", StoreRefused, "is a Redis Cluster"),
        ("ERR unknown command `XRANGE`", StoreRefused, "must be Redis 6.2 or newer"),
    ],
)
def test_what_redis_says_becomes_one_of_two_errors(text: str, kind: type[VelodromeError], said: str) -> None:
    translated = translate(redis.ResponseError(text), "here")

    assert type(translated) is kind
    assert said in str(translated)
    assert "here" in str(translated)


def test_a_newer_schema_in_the_store_is_refused_by_name(store: Store, race: Race, redis_server: RedisServer) -> None:
    store.accept(race.uid, 0, [race.record(0)])
    client = redis_server.client()
    newer = race.info.model_copy(update={"schema_version": 99}).model_dump_json()
    client.set(keys.job(race.uid, "info"), newer)
    client.hset(
        keys.job(race.uid, "records"), "0", race.record(0).model_copy(update={"schema_version": 99}).model_dump_json()
    )

    with pytest.raises(SchemaUnsupported, match="the job has schema version 99"):
        store.job(race.uid)
    with pytest.raises(SchemaUnsupported, match="the record has schema version 99"):
        store.trial(race.uid, 0)


def fill(store: Store, race: Race) -> None:
    """Something in every key that a job and a board have."""
    store.register(race.info)
    store.append(race.uid, ResultReport(result=race.result(0)))
    store.accept(
        race.uid,
        1,
        [race.record(0), race.record(1, failed="OutOfMemory"), race.record(0, attempt="a2")],
        [race.progress(2)],
    )
    store.append(race.uid, ResultReport(result=race.result(3)))


def reads(store: Store, race: Race) -> list[Callable[[], object]]:
    """Every way to read."""
    cohort = cohort_of(race.record(0), MetricKey.parse("accuracy"))
    assert cohort is not None
    return [
        store.jobs,
        store.boards,
        lambda: store.read_inbox(race.uid),
        lambda: store.position(race.uid),
        lambda: store.trial(race.uid, 0),
        lambda: store.records(race.uid),
        lambda: store.trials(race.uid),
        lambda: [store.curves(race.uid, index) for index in range(3)],
        lambda: store.progress(race.uid),
        lambda: store.conflicts(race.uid),
        lambda: store.counts(race.uid),
        lambda: store.rejections(race.uid),
        lambda: store.entries(race.uid),
        lambda: store.board_entries(race.board),
        lambda: store.cohorts(race.board, "accuracy"),
        lambda: store.ranking_rows(race.board, "accuracy", cohort.id),
        lambda: list(export_lines(store)),
    ]


GARBAGE = (b"\xff\x00 no JSON", b"{}", b"[]", b"17", b"", b'["a","b","c"]')


def spoil(client: Any, key: bytes) -> Iterator[str]:
    """Puts garbage into a key, again and again, each time another; restores it after each."""
    kind, dump = client.type(key), client.dump(key)

    def restored(what: str) -> str:
        return f"{key.decode()}: {what}"

    for other in (b"string", b"list"):
        if kind != other:
            client.delete(key)
            client.set(key, "x") if other == b"string" else client.rpush(key, "x")
            yield restored(f"a {other.decode()}")
            client.restore(key, 0, dump, replace=True)
    for garbage in GARBAGE:
        if kind == b"hash":
            for field in client.hkeys(key):
                client.hset(key, field, garbage)
                yield restored(f"{field!r} = {garbage!r}")
                client.restore(key, 0, dump, replace=True)
            client.hset(key, garbage, garbage)
        elif kind == b"zset":
            client.zadd(key, {garbage: 1})
        elif kind == b"list":
            client.rpush(key, garbage)
        elif kind == b"stream":
            client.xadd(key, {b"other": garbage})
        else:
            client.set(key, garbage)
        yield restored(repr(garbage))
        client.restore(key, 0, dump, replace=True)


def test_garbage_in_any_key_is_named_and_never_made_worse(store: Store, race: Race, redis_server: RedisServer) -> None:
    fill(store, race)
    client = redis_server.client()
    batch = [race.record(1, attempt="a2"), race.record(2), race.record(5, attempt="a3"), race.record(0, attempt="a4")]
    found: list[Any] = sorted(client.keys())
    refused: dict[bytes, str] = {}

    for key in found:
        for what in spoil(client, key):
            for read in reads(store, race):
                with contextlib.suppress(StoreRefused):
                    read()
            before = redis_server.contents()
            error = refusal(redis_server.url, race, batch)
            if error is None:
                client.flushdb()
                fill(store, race)
            else:
                assert redis_server.contents() == before, what
                refused[key] = error

    harmless = {keys.JOBS, keys.board_jobs(race.board), keys.board_entries(race.board)}
    harmless |= {keys.BOARD_TIMES, keys.BOARD_OWNERS}
    assert {key.decode() for key in set(found) - set(refused)} <= harmless
    for key, error in refused.items():
        assert key.decode() in error
        assert "Velodrome did not write that" in error


def refusal(url: str, race: Race, batch: list[TrialRecord]) -> str | None:
    """Why the batch is refused, None if it is not."""
    with open_store(url) as fresh:
        try:
            fresh.accept(race.uid, 999, batch, [race.progress(3)])
        except StoreRefused as error:
            return str(error)
    return None


@pytest.mark.parametrize("garbage", [b"\xff\x00", b"{}", b"seventeen"])
def test_a_batch_that_builds_on_garbage_is_refused_whole(
    store: Store, race: Race, redis_server: RedisServer, garbage: bytes
) -> None:
    fill(store, race)
    client: Any = redis_server.client()
    cohort = cohort_of(race.record(0), MetricKey.parse("accuracy"))
    assert cohort is not None
    batch = [race.record(3), race.record(1, attempt="a2"), race.record(4), race.record(2, failed="OutOfMemory")]
    for key, field in (
        (keys.job(race.uid, "trials"), "1"),
        (keys.job(race.uid, "entries"), "succeeded:mlp"),
        (keys.job(race.uid, "entries"), "reason:OutOfMemory:gru"),
        (keys.job(race.uid, "rejected"), "InvalidReport"),
        (keys.board_rows(race.board, "accuracy", cohort.id), "cnn"),
        (keys.board_cohorts(race.board, "accuracy"), f"samples:{cohort.id}"),
    ):
        stored = client.hget(key, field)
        client.hset(key, field, garbage)
        before = redis_server.contents()

        with pytest.raises(StoreRefused, match=re.escape(f"{key} field {field} holds no")):
            store.accept(
                race.uid,
                999,
                batch,
                rejected=[Rejection("999", "InvalidReport", "")],
            )

        assert redis_server.contents() == before
        client.hdel(key, field) if stored is None else client.hset(key, field, stored)
    client.set(keys.job(race.uid, "position"), garbage)
    with pytest.raises(StoreRefused, match=re.escape(f"{keys.job(race.uid, 'position')} holds no count of reports")):
        store.accept(race.uid, 999, batch)


def test_a_wrong_type_is_refused_by_readers_too(store: Store, race: Race, redis_server: RedisServer) -> None:
    fill(store, race)
    redis_server.client().delete(keys.job(race.uid, "trials"))
    redis_server.client().set(keys.job(race.uid, "trials"), "x")

    with pytest.raises(StoreRefused, match="did not write: use another database"):
        store.trials(race.uid)


def test_what_cannot_be_read_is_named(store: Store, race: Race, redis_server: RedisServer) -> None:
    fill(store, race)
    redis_server.client().hset(keys.job(race.uid, "records"), "1", "{}")

    place = re.escape(f"{keys.job(race.uid, 'records')} field 1")
    with pytest.raises(StoreRefused, match=f"{place} holds what can't be read .*schema_version"):
        store.trial(race.uid, 1)


@pytest.mark.parametrize("milliseconds", [150, 250, 400])
def test_nothing_that_was_accepted_is_lost_when_redis_is_killed(
    start_redis: StartRedis, make_race: type[Race], milliseconds: int
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    assert server.process is not None
    race = make_race(repeats=4000)
    acknowledged: list[int] = []
    with open_store(server.url) as store:
        store.register(race.info)
        store.accept(race.uid, 0, [])
        killer = threading.Timer(milliseconds / 1000, os.kill, (server.process.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(StoreUnavailable):
            accept_in_batches(store, race, 20, acknowledged)
        killer.join()
        server.process.wait()
        server.start()

        assert len(acknowledged) > 0
        # The batch under way when it was killed is there as a whole, or not at all.
        assert whole_batches(store, race, 20) in (len(acknowledged), len(acknowledged) + 20)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a server that says the same to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()
        listener.settimeout(0.1)

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join()


def wait_until(happened: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_the_client_library_lets_through_of_a_broken_connection_is_an_error_to_try_again_after() -> None:
    with pytest.raises(StoreUnavailable, match=r"Redis at here does not answer: .*not connected"), translated("here"):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
