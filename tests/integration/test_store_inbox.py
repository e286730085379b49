"""The inbox of a job: what waits in it, what runners of version 0.1.0 put elsewhere, and a Redis that it fills."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import redis

from velodrome import keys
from velodrome.collector import Collector
from velodrome.errors import StoreRefused
from velodrome.results.records import Observed, ProgressReport, ResultReport
from velodrome.store import Counts, InboxSize, Store, open_store
from velodrome.store.store import INBOX_REPORTS

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

LAST_ID = "18446744073709551615-18446744073709551615"


def collector(store: Store, race: Race) -> Collector:
    return Collector(store, race.plan, race.uid, lambda *_: Observed(executor="local"), lambda: 1.8e9)


def written(race: Race, index: int) -> str:
    return ResultReport(result=race.result(index)).model_dump_json()


def of_version_0_1_0(client: redis.Redis, race: Race) -> None:
    """Makes the job one that version 0.1.0 registered: it kept no position before there was something to keep."""
    client.delete(keys.job(race.uid, "position"))


def test_what_waits_is_counted_and_weighed(store: Store, race: Race, redis_server: RedisServer) -> None:
    client, junk = redis_server.client(), b"x" * 100_000
    client.rpush(keys.inbox("small"), b"x")
    client.rpush(keys.inbox("large"), b"x", b"y", *[junk] * 50)
    client.xadd(keys.inbox_stream("old"), {keys.STREAM_FIELD: junk})
    client.set(keys.inbox("broken"), "x")

    found = store.waiting(["small", "large", "old", "broken", "empty"])

    assert {uid: size.reports for uid, size in found.items()} == {"small": 1, "large": 52, "old": 1, "broken": None}
    assert 0 < (found["small"].size or 0) < 10_000
    assert 5_000_000 < (found["large"].size or 0) < 10_000_000, "what lies at its end is weighed too"
    assert 100_000 < (found["old"].size or 0) < 200_000
    assert store.waiting(["large"], too_many=50) == {"large": InboxSize(52, None)}
    assert INBOX_REPORTS > keys.INBOX_MAXIMUM + 10_000, "progress alone never fills an inbox"


def test_what_runners_of_0_1_0_report_is_collected_once(store: Store, race: Race, redis_server: RedisServer) -> None:
    of_version_0_1_0(redis_server.client(), race)
    client: Any = redis_server.client()
    stream = keys.inbox_stream(race.uid)
    ids = [client.xadd(stream, {keys.STREAM_FIELD: written(race, index)}).decode() for index in range(3)]
    client.set(keys.job(race.uid, "position"), ids[0])  # its collector took the first, and kept the entry
    store.accept(race.uid, 0, [race.record(0)])
    assert store.began_with_a_stream(race.uid)
    store.append(race.uid, ProgressReport(progress=race.progress(4)))

    collected = collector(store, race).collect_once()

    assert [record.result.index for record, _ in collected.verdicts] == [1, 2]
    assert [progress.index for progress in collected.progress] == [4]
    assert client.exists(stream, keys.inbox(race.uid)) == 0
    assert store.position(race.uid) == 3
    client.xadd(stream, {"other": "field"})  # a late one, while newer runners use the list
    client.xadd(stream, {keys.STREAM_FIELD: written(race, 5)})
    assert store.waiting([race.uid])[race.uid].reports == 2
    collected = collector(store, race).collect_once()
    assert [record.result.index for record, _ in collected.verdicts] == [5]
    assert [rejection.id for rejection in collected.rejected] == ["4"]
    assert store.counts(race.uid) == Counts(4, 0, 0, {"InvalidReport": 1})


def test_no_id_in_a_stream_of_0_1_0_blocks_it(store: Store, race: Race, redis_server: RedisServer) -> None:
    of_version_0_1_0(redis_server.client(), race)
    client: Any = redis_server.client()
    stream = keys.inbox_stream(race.uid)
    client.xadd(stream, {keys.STREAM_FIELD: written(race, 0)})
    client.xadd(stream, {keys.STREAM_FIELD: "poison"}, id=LAST_ID)

    collected = collector(store, race).collect_once()

    assert [record.result.index for record, _ in collected.verdicts] == [0]
    assert [rejection.reason for rejection in collected.rejected] == ["InvalidReport"]
    client.xadd(stream, {keys.STREAM_FIELD: written(race, 1)})
    assert [record.result.index for record, _ in collector(store, race).collect_once().verdicts] == [1]


def test_a_large_stream_of_0_1_0_is_moved_in_steps(store: Store, race: Race, redis_server: RedisServer) -> None:
    of_version_0_1_0(redis_server.client(), race)
    client: Any = redis_server.client()
    for _ in range(5):
        client.xadd(keys.inbox_stream(race.uid), {keys.STREAM_FIELD: b"x" * (2 * keys.REPORT_BYTES)})

    moved = [store.take_over(race.uid) for _ in range(7)]

    assert (sum(moved), moved[-1]) == (5, 0)
    assert max(moved) < 3
    assert {len(report) for report in client.lrange(keys.inbox(race.uid), 0, -1)} == {keys.REPORT_BYTES + 1}


def test_a_job_of_this_version_has_no_stream(store: Store, race: Race) -> None:
    assert not store.began_with_a_stream(race.uid)
    assert store.began_with_a_stream("unknown")


def test_a_full_redis_says_what_fills_it(start_redis: Callable[..., RedisServer], make_race: type[Race]) -> None:
    server, race = start_redis("--maxmemory-policy", "noeviction"), make_race()
    with open_store(server.url) as store, server.client() as client:
        store.register(race.info)
        store.accept(race.uid, 0, [race.record(0)])
        client.rpush(keys.inbox("loud"), *[b"x" * 100_000] * 50)
        client.hset(keys.job(race.uid, "records"), "9", b"x" * 2_000_000)
        client.config_set("maxmemory", 1)
        words = (
            r"most of it is taken by the inbox of job loud \([45]\.\d MiB\), the results of job race-1 \([12]\.\d MiB\)"
        )
        with pytest.raises(StoreRefused, match=f"is full .*{words}"):
            store.append(race.uid, ResultReport(result=race.result(1)))
        client.execute_command("ACL", "SETUSER", "runner", "on", ">secret", "~*", "+rpush")
    with (
        open_store(server.url.replace("unix://", "unix://runner:secret@")) as store,
        pytest.raises(StoreRefused, match=r"is full \(maxmemory") as caught,
    ):
        store.append(race.uid, ResultReport(result=race.result(1)))
    assert "most of it" not in str(caught.value), "who may not look learns all the same that it is full"
