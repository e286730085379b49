"""What trials kept of their test samples, in a real Redis: stored once, read, exported, deleted with its record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.conftest import START, Race, any_redis
from tests.scored import scored
from velodrome import keys
from velodrome.board.takeover import take_over
from velodrome.results.records import TrialRecord
from velodrome.store import Store, export_lines, import_lines, open_store
from velodrome.store.deletion import DeletionTarget, open_deleter

RedisServer = Any
SAMPLES = 397


@pytest.fixture(scope="session")
def redis_binary() -> str:
    return any_redis()


def right(index: int) -> list[bool]:
    return [(place + index) % (7 + index) != 0 for place in range(SAMPLES)]


def of(race: Race, index: int, **change: Any) -> TrialRecord:
    return scored(race.record(index, **change), right(index))


def fill(store: Store, race: Race, without: frozenset[int] = frozenset()) -> list[TrialRecord]:
    records = [race.record(index) if index in without else of(race, index) for index in range(len(race.plan))]
    store.accept(race.uid, len(records), records)
    return records


def test_scores_are_read_with_their_record_and_alone(store: Store, race: Race) -> None:
    records = fill(store, race, without=frozenset({2}))
    whole = [one.result.scores for one in records]
    assert [one.result.scores for one in store.records(race.uid)] == whole
    assert store.scores(race.uid, range(9)) == {at: one for at, one in enumerate(whole) if one is not None}
    assert store.scores(race.uid, []) == store.scores("no-such-job", [0]) == {}
    alone = store.trial(race.uid, 0)
    assert alone is not None
    assert alone.result.scores is None


def test_the_test_split_of_a_job_is_stored_once(store: Store, race: Race, redis_server: RedisServer) -> None:
    fill(store, race)
    with redis_server.client() as client:
        fields = client.hkeys(keys.job(race.uid, "scores"))
        record = client.hget(keys.job(race.uid, "records"), "0")
    assert sum(field.startswith(b"set:") for field in fields) == 1
    assert len(fields) == len(race.plan) + 1
    assert "scores" not in json.loads(record)["result"]


def test_the_same_report_again_is_a_duplicate_and_other_scores_are_a_conflict(store: Store, race: Race) -> None:
    fill(store, race)
    assert store.accept(race.uid, 7, [of(race, 0)]) == ["duplicate"]
    moved = scored(race.record(0), right(0)[::-1])
    assert store.accept(race.uid, 8, [moved]) == ["conflict"]
    assert store.scores(race.uid, [0])[0] == of(race, 0).result.scores
    (conflict,) = store.conflicts(race.uid)
    assert conflict.result.scores == moved.result.scores


def test_a_success_brings_scores_in_place_of_a_failure(store: Store, race: Race) -> None:
    store.accept(race.uid, 1, [race.record(0, failed="LossNotFinite", attempt="a0")])
    assert store.scores(race.uid, [0]) == {}
    assert store.accept(race.uid, 2, [of(race, 0)]) == ["accepted"]
    assert list(store.scores(race.uid, [0])) == [0]


def test_an_export_has_all_of_it_and_an_import_brings_it_back(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    fill(store, race, without=frozenset({3}))
    store.accept(race.uid, 7, [scored(race.record(0), right(0)[::-1])])
    lines = list(export_lines(store))
    before = redis_server.contents()
    with redis_server.client() as client:
        client.flushall()
    with open_store(redis_server.url) as empty:
        report = import_lines(empty, lines)
        again = import_lines(empty, lines)
    assert report.rejected_count == again.rejected_count == again.imported == again.conflicts == 0
    key = keys.job(race.uid, "scores").encode()
    assert redis_server.contents()[key] == before[key]
    with open_store(redis_server.url) as back:
        assert list(export_lines(back)) == lines


def test_an_import_refuses_what_no_trial_can_have(store: Store, race: Race) -> None:
    fill(store, race)
    job, first, *_ = export_lines(store)
    document = json.loads(first)
    document["record"]["result"]["scores"]["right"] = "AAAA"
    report = import_lines(store, [job, json.dumps(document)])
    (rejected,) = report.rejected
    assert rejected.why.startswith("ImpossibleValue: scores.right: it can't be unpacked")


def test_lines_of_a_version_without_scores_come_in(store: Store, race: Race) -> None:
    fill(store, race, without=frozenset(range(len(race.plan))))
    lines = list(export_lines(store))
    assert not any("scores" in line for line in lines)
    assert import_lines(store, lines).duplicates == len(lines)
    assert store.scores(race.uid, range(9)) == {}


def test_a_job_that_takes_results_over_has_their_scores(store: Store, race: Race, make_race: type[Race]) -> None:
    values = dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0.5)
    store.accept(race.uid, 6, [of(race, index, values=values) for index in range(6)])
    more = make_race(uid="more", name="more", repeats=3, created=9)
    store.register(more.info)
    assert take_over(store, more.plan, "more", race.info, {}, START).taken == len(race.plan)
    assert len(store.scores(race.uid, range(9))) == 6
    assert store.scores("more", range(9)) == store.scores(race.uid, range(9))


def test_an_entrys_scores_are_deleted_with_it_and_a_jobs_all(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    fill(store, race)
    with open_deleter(redis_server.url) as deleter:
        before = deleter.footprint(DeletionTarget("digits", race.uid)).bytes
        deleter.delete(DeletionTarget("digits", entry="cnn"))
        assert sorted(store.scores(race.uid, range(9))) == [1, 2, 4, 5]
        deleter.delete(DeletionTarget("digits", race.uid))
    assert before > 0
    with redis_server.client() as client:
        assert not client.exists(keys.job(race.uid, "scores"))


@pytest.mark.parametrize("garbage", [b"no JSON", b"7", b'{"of": "unknown"}', b'{"of": 7}', b"\xff", b'{"right": "AA"}'])
def test_what_can_not_be_read_is_left_out_and_named(
    store: Store, race: Race, redis_server: RedisServer, garbage: bytes
) -> None:
    fill(store, race)
    with redis_server.client() as client:
        client.hset(keys.job(race.uid, "scores"), "1", garbage)
    assert sorted(store.scores(race.uid, range(9))) == [0, 2, 3, 4, 5]
    assert len(store.records(race.uid)) == 5
    assert any("scores" in one or "records" in one for one in store.left_out)


def test_a_thousand_trials_take_little_memory(store: Store, make_race: type[Race], redis_server: RedisServer) -> None:
    race = make_race(uid="many", entries=tuple(f"e{at}" for at in range(40)), repeats=5)
    store.register(race.info)
    fill(store, race)
    with redis_server.client() as client:
        size = client.memory_usage(keys.job("many", "scores"), samples=0)
    assert size < 200 * 500
