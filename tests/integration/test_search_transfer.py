"""A search in exports and backups: it goes on elsewhere as if nothing had happened."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.integration.test_operator_judgement import Operator
from tests.integration.test_operator_search import (
    OF,
    ONE_AT_A_TIME,
    UID,
    Cleared,
    confirmed,
    finish,
    made,
    more,
    plan_of,
    searched_on,
    turns,
)
from tests.integration.test_race_search import by_optuna_alone
from velodrome.backup import document
from velodrome.board.searches import read_search
from velodrome.keys import search_uid
from velodrome.store import Reader, Store, export_lines, import_lines

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer
    from velodrome.results.records import JobInfo


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velodrome_operator.status_writer.STATUS_SECONDS", 0.0)


@pytest.fixture
def client(redis_server: RedisServer) -> redis.Redis:
    return redis_server.client()


@pytest.fixture
def elsewhere(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Another empty Redis."""
    with redis.Redis.from_url(f"{redis_server.url}?db=1") as found:
        yield found


@pytest.fixture
def other(elsewhere: redis.Redis) -> Store:
    return Store(elsewhere)


def search_on(store: Store, client: redis.Redis, race: Race, trials: int) -> Operator:
    """An operator that has just started, after so many more search trials."""
    operator = Operator(store, client, Cleared())
    operator.sees(race)
    operator.passes(race)
    for _ in range(trials):
        finish(store, race, turns(store)[0])
        operator.passes(race)
    return operator


def values(store: Store, place: int) -> list[dict[str, Any]]:
    return [dict(store.suggestions(OF)[number * 3 + place].values) for number in range(5)]


def test_a_search_goes_on_from_an_export_and_its_end_counts(
    store: Store, other: Store, client: redis.Redis, elsewhere: redis.Redis, make_race: type[Race]
) -> None:
    race = made(make_race, spec=ONE_AT_A_TIME)
    search_on(store, client, race, trials=4)
    early = list(export_lines(store))
    report = import_lines(other, early)
    assert (report.rejected, report.conflicts, report.duplicates) == ((), 0, 0)
    assert list(export_lines(other)) == early
    assert import_lines(other, early).imported == 0

    operator = search_on(other, elsewhere, race, trials=6)
    wanted = by_optuna_alone(plan_of(race))
    assert values(other, 0) == values(other, 1) == wanted
    assert list(other.turns(OF)["0"]) == [number * 3 + place for number in range(5) for place in (0, 1)]
    for _ in range(2):
        operator.passes(race)
    confirmed(operator, other, race)

    late = list(export_lines(other))
    for lines in (late, early):
        assert import_lines(store, lines).rejected == ()
    assert list(export_lines(store)) == late
    info = store.job(UID)
    assert info is not None
    assert read_search(store, info) == read_search(other, info)


def test_a_backup_has_the_search_trials(store: Store, other: Store, client: redis.Redis, make_race: type[Race]) -> None:
    race = made(make_race, spec=ONE_AT_A_TIME)
    search_on(store, client, race, trials=3)
    stream = io.BytesIO()
    contents = document.write_backup(store, stream)
    assert (contents.jobs, contents.results) == (1, 3)
    stream.seek(0)
    import_lines(other, document.read_backup(stream, "b"))
    assert other.suggestions(OF) == store.suggestions(OF)
    assert other.turns(OF) == store.turns(OF)
    assert other.trials(OF).keys() == store.trials(OF).keys()


def test_an_entry_takes_its_own_search_trials_along(
    store: Store, other: Store, client: redis.Redis, make_race: type[Race]
) -> None:
    search_on(store, client, made(make_race, spec=ONE_AT_A_TIME), trials=3)
    assert import_lines(other, export_lines(store, entry="a")).rejected == ()
    assert {one.entry for one in other.suggestions(OF).values()} == {"a"}
    assert other.turns(OF) == {}


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("search", {"job": {"search_of": "nobody"}}, "is of no job in an earlier line"),
        ("search", {"job": {"uid": "another"}}, "is of no job in an earlier line"),
        ("search", {"job": {"entries": ["a", "b", "c"]}}, "is of no job in an earlier line"),
        ("suggestion", {"uid": UID}, "is neither in an earlier line nor in the store"),
        ("suggestion", {"uid": 7}, "is neither in an earlier line nor in the store"),
        ("suggestion", {"index": 15}, "has no trial 15"),
        ("suggestion", {"index": "1"}, "has no trial '1'"),
        ("suggestion", {"lane": 1}, "in a lane 1"),
        ("suggestion", {"index": 4}, "is number 1 of 'b'"),
        ("suggestion", {"suggestion": {"number": -1}}, "number"),
    ],
)
def test_a_line_that_fits_no_search_is_rejected_with_the_reason(
    store: Store, other: Store, client: redis.Redis, make_race: type[Race], kind: str, change: dict[str, Any], why: str
) -> None:
    search_on(store, client, made(make_race, spec=ONE_AT_A_TIME), trials=1)
    lines = [json.loads(line) for line in export_lines(store)]
    wrong = next(one for one in lines if one["type"] == kind)
    for field, value in change.items():
        wrong[field] = {**wrong[field], **value} if isinstance(value, dict) else value
    before = lines[: lines.index(wrong)]
    (rejected,) = import_lines(other, map(json.dumps, [*before, wrong])).rejected
    assert why in rejected.why


def test_jobs_without_a_search_ask_nothing_of_one(
    store: Store, make_race: type[Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    race = make_race()
    store.register(race.info)
    asked, job = list[str](), Reader.job

    def noted(self: Reader, uid: str) -> JobInfo | None:
        asked.append(uid)
        return job(self, uid)

    monkeypatch.setattr(Reader, "job", noted)
    assert len(list(export_lines(store))) == 1
    assert search_uid(race.uid) not in asked


def test_the_larger_number_of_search_trials_counts_whichever_export_comes_first(
    store: Store, other: Store, client: redis.Redis, make_race: type[Race]
) -> None:
    race = made(make_race, trials=3, spec=ONE_AT_A_TIME)
    operator = search_on(store, client, race, trials=4)
    before = list(export_lines(store))
    more(operator, race, 5)
    searched_on(operator, store, race)
    after = list(export_lines(store))
    assert after != before
    for order in ((before, after, before), (after, before)):
        for lines in order:
            report = import_lines(other, lines)
            assert (report.rejected, report.conflicts) == ((), 0)
        assert list(export_lines(other)) == after
    assert other.turns(OF) == store.turns(OF)
