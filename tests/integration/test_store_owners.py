"""To which namespace a board belongs: noted with its first job in one step, kept, exported, and deleted with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from velodrome import keys
from velodrome.results.records import JobInfo
from velodrome.store import BoardTaken, Store, export_lines, import_lines, open_store
from velodrome.store.deletion import DeletionTarget, open_deleter

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer


@pytest.fixture
def other(redis_server: RedisServer) -> Iterator[Store]:
    """Another empty store."""
    with open_store(f"{redis_server.url}?db=1") as opened:
        yield opened


def of(make_race: type[Race], uid: str, namespace: str, created: int = 0) -> JobInfo:
    return make_race(uid=uid, created=created).info.model_copy(update={"namespace": namespace})


def test_the_first_job_decides_and_a_job_of_others_is_not_stored(store: Store, make_race: type[Race]) -> None:
    store.register(of(make_race, "first", "team-a"), exclusive=True)
    store.register(of(make_race, "second", "team-a"), exclusive=True)
    before = store.boards(), store.jobs()
    with pytest.raises(BoardTaken) as taken:
        store.register(of(make_race, "third", "team-b"), exclusive=True)
    assert (taken.value.board, taken.value.owner) == ("digits", "team-a")
    assert (store.boards(), store.jobs()) == before
    assert store.position("third") == 0
    assert store.owners() == {"digits": "team-a"}


def test_who_shares_writes_and_the_owner_stays(store: Store, make_race: type[Race]) -> None:
    store.register(of(make_race, "first", "team-a"))
    store.register(of(make_race, "second", "team-b"))
    assert store.owner("digits") == "team-a"
    store.register(of(make_race, "second", "team-b"), exclusive=True)  # it is known: a race under way goes on
    with pytest.raises(BoardTaken):
        store.register(of(make_race, "third", "team-b"), exclusive=True)


def test_a_board_of_an_older_version_belongs_to_the_namespace_of_its_oldest_job(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    store.register(of(make_race, "newer", "team-b", created=9))
    store.register(of(make_race, "older", "team-a", created=1), place=1)
    redis_server.client().delete(keys.BOARD_OWNERS)
    assert store.owner("digits") is None
    with pytest.raises(BoardTaken) as taken:
        store.register(of(make_race, "third", "team-b"), exclusive=True)
    assert taken.value.owner == "team-a"
    store.register(of(make_race, "fourth", "team-a"), exclusive=True)
    assert store.owner("digits") == "team-a"


def test_of_many_that_want_a_new_board_one_namespace_gets_it(
    redis_server: RedisServer, store: Store, make_race: type[Race]
) -> None:
    jobs = [of(make_race, f"race-{number}", f"team-{number % 4}") for number in range(24)]

    def register(job: JobInfo) -> str | None:
        with open_store(redis_server.url) as own:
            try:
                own.register(job, exclusive=True)
            except BoardTaken:
                return None
            return job.namespace

    with ThreadPoolExecutor(8) as threads:
        written = {namespace for namespace in threads.map(register, jobs) if namespace}
    assert written == {store.owner("digits")}
    assert {job.namespace for job in store.jobs()} == written


def test_an_export_has_the_owner_and_an_import_gives_the_board_back(
    store: Store, other: Store, make_race: type[Race]
) -> None:
    store.register(of(make_race, "first", "team-a", created=1))
    store.register(of(make_race, "second", "team-b", created=2))
    import_lines(other, export_lines(store))
    assert other.owners() == {"digits": "team-a"}, "the newest job comes first, and is team-b's"
    assert list(export_lines(other)) == list(export_lines(store))


def test_an_export_of_an_older_version_gives_the_board_to_its_oldest_job(
    store: Store, other: Store, make_race: type[Race]
) -> None:
    store.register(of(make_race, "first", "team-a", created=1))
    store.register(of(make_race, "second", "team-b", created=2))
    lines = [json.loads(line) for line in export_lines(store)]
    import_lines(other, [json.dumps({key: line[key] for key in line if key != "owner"}) for line in lines])
    assert other.owners() == {}
    with pytest.raises(BoardTaken) as taken:
        other.register(of(make_race, "third", "team-b"), exclusive=True)
    assert taken.value.owner == "team-a"


@pytest.mark.parametrize("owner", ["Team A", 7, ["team-a"], "a" * 64])
def test_an_owner_that_is_no_namespace_is_refused_with_its_line(
    store: Store, other: Store, make_race: type[Race], owner: object
) -> None:
    store.register(of(make_race, "first", "team-a"))
    (line,) = export_lines(store)
    report = import_lines(other, [json.dumps({**json.loads(line), "owner": owner})])
    assert "the owner of a board can't be called" in report.rejected[0].why
    assert other.jobs() == []


def test_a_deleted_board_belongs_to_nobody(store: Store, make_race: type[Race], redis_server: RedisServer) -> None:
    store.register(of(make_race, "first", "team-a"))
    store.register(of(make_race, "second", "team-a"))
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", uid="first"))
        assert store.owner("digits") == "team-a"
        deleter.delete(DeletionTarget("digits", uid="second"))
    assert store.owners() == {}
    store.register(of(make_race, "third", "team-b"), exclusive=True)
    assert store.owner("digits") == "team-b"
