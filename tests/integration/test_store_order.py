"""Newer is what was registered later, whatever clocks said: a clock that was ahead once hides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import START
from velodrome import keys
from velodrome.board.latest import latest
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.cohorts import cohort_of
from velodrome.store import Store, export_lines, import_lines, open_store
from velodrome.store.deletion import DeletionTarget, open_deleter
from velodrome.trends.history import read_history

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

FORTY_DAYS = 40 * 86400
LATER = START.timestamp() + 3600  # a clock that is right again
YEARS_LATER = START.timestamp() + 10 * 365 * 86400


@pytest.fixture
def other(redis_server: RedisServer) -> Iterator[Store]:
    """Another empty store."""
    with open_store(f"{redis_server.url}?db=1") as opened:
        yield opened


def run(store: Store, race: Race, cpu: str = "Ryzen") -> None:
    """The race, by a clock that agrees with when the job was created."""
    store.register(race.info)
    store.accept(race.uid, 1, [race.record(index, accepted=race.created + 100, cpu=cpu) for index in range(6)])


@pytest.fixture
def ahead(make_race: type[Race]) -> Race:
    return make_race(uid="ahead", created=FORTY_DAYS)


@pytest.fixture
def normal(make_race: type[Race]) -> Race:
    return make_race(uid="normal", created=60)


def uids(store: Store, board: str | None = None) -> list[str]:
    return [job.uid for job in store.jobs(board)]


def ranked(store: Store, race: Race) -> dict[str, str]:
    """Which job ranks, by entry."""
    cohort = cohort_of(race.record(0), MetricKey.parse("accuracy"))
    assert cohort is not None
    return {row.entry: row.job_uid for row in store.ranking_rows("digits", "accuracy", cohort.id)}


def test_a_run_after_a_clock_was_ahead_is_the_newest_everywhere(store: Store, ahead: Race, normal: Race) -> None:
    run(store, ahead)
    run(store, normal)
    assert uids(store) == uids(store, "digits") == ["normal", "ahead"]
    assert set(ranked(store, normal).values()) == {"normal"}
    assert {job.uid for job, _ in store.board_entries("digits")} == {"normal"}
    assert [job.uid for job in read_history(store, "digits").jobs] == ["ahead", "normal"]
    assert {one.comparison.job_uid for one in latest(store, "digits")} == {"normal"}


def test_a_clock_that_was_behind_does_no_harm_either(store: Store, make_race: type[Race], normal: Race) -> None:
    run(store, normal)
    run(store, make_race(uid="behind", created=-FORTY_DAYS))
    run(store, make_race(uid="last", created=120))
    assert uids(store) == ["last", "behind", "normal"]
    assert set(ranked(store, normal).values()) == {"last"}


def test_the_newest_board_and_the_newest_conditions_are_those_of_the_later_run(
    store: Store, ahead: Race, make_race: type[Race], normal: Race
) -> None:
    elsewhere = make_race(uid="elsewhere", board="other", created=90)
    run(store, ahead, cpu="Old")
    run(store, normal, cpu="New")
    run(store, elsewhere)
    assert [board.name for board in store.boards()] == ["other", "digits"]
    assert store.boards()[1].last_at == START + timedelta(seconds=160)
    run(store, make_race(uid="again", created=95), cpu="New")
    assert [board.name for board in store.boards()] == ["digits", "other"]
    newest, oldest = store.cohorts("digits", "latency_p50_seconds{batch_size=1}")
    assert newest.last_at < oldest.last_at


def test_deleting_the_newest_falls_back_to_the_one_before_it(
    store: Store, ahead: Race, normal: Race, make_race: type[Race], redis_server: RedisServer
) -> None:
    run(store, ahead)
    run(store, normal)
    run(store, make_race(uid="last", created=120))
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", "last"))
    assert set(ranked(store, normal).values()) == {"normal"}
    run(store, make_race(uid="new", created=180))
    assert set(ranked(store, normal).values()) == {"new"}


@pytest.mark.parametrize("clock", [LATER, YEARS_LATER], ids=["at-once", "years-later"])
def test_an_import_keeps_the_order_of_its_source(
    store: Store, other: Store, ahead: Race, normal: Race, clock: float
) -> None:
    run(store, ahead)
    run(store, normal)
    lines = list(export_lines(store))
    for _ in range(2):  # a second time changes nothing
        assert import_lines(other, lines, lambda: clock).rejected_count == 0
        assert uids(other) == ["normal", "ahead"]
        assert set(ranked(other, normal).values()) == {"normal"}


def test_an_import_in_any_order_of_lines_keeps_the_order_of_its_source(
    store: Store, other: Store, ahead: Race, normal: Race
) -> None:
    run(store, ahead)
    run(store, normal)
    parts = [list(export_lines(store, uid=uid)) for uid in ("ahead", "normal")]
    import_lines(other, [line for part in parts for line in part], lambda: LATER)
    assert uids(other) == ["normal", "ahead"]


def test_two_stores_merge_by_when_jobs_were_registered(
    store: Store, other: Store, make_race: type[Race], ahead: Race, normal: Race
) -> None:
    """Both stores have a job whose clock was ahead, and jobs before and after it."""
    for race in (make_race(uid="first", created=10), ahead, normal):
        run(store, race)
    for race in (
        make_race(uid="other-ahead", created=FORTY_DAYS + 5),
        make_race(uid="other-30", created=30),
        make_race(uid="other-90", created=90),
    ):
        run(other, race)
    import_lines(other, export_lines(store), lambda: LATER)
    found = uids(other)
    assert [uid for uid in found if "other" in uid] == ["other-90", "other-30", "other-ahead"]
    assert [uid for uid in found if "other" not in uid] == ["normal", "ahead", "first"]
    assert found.index("other-90") < found.index("normal") < found.index("other-30")
    run(other, make_race(uid="last", created=200))
    assert uids(other)[0] == "last"
    assert set(ranked(other, normal).values()) == {"last"}


def test_what_was_run_here_after_the_source_stays_newer(
    store: Store, other: Store, ahead: Race, normal: Race, make_race: type[Race]
) -> None:
    run(store, ahead)
    run(store, normal)
    run(other, make_race(uid="here", created=120))
    import_lines(other, export_lines(store), lambda: LATER)
    assert uids(other) == ["here", "normal", "ahead"]
    assert set(ranked(other, normal).values()) == {"here"}


def test_an_export_without_places_keeps_its_order_by_time(store: Store, other: Store, make_race: type[Race]) -> None:
    for created in (30, 10, 20):
        run(store, make_race(uid=f"at-{created}", created=created))
    lines = []
    for line in export_lines(store):
        document = json.loads(line)
        document.pop("place", None)
        lines.append(json.dumps(document))
    assert import_lines(other, lines, lambda: LATER).rejected_count == 0
    assert uids(other) == ["at-30", "at-20", "at-10"]


def test_a_place_that_is_none_is_its_lines_error(store: Store, other: Store, normal: Race) -> None:
    run(store, normal)
    job, *rest = export_lines(store)
    for wrong in (-1, "first", 2**63, 1.5):
        report = import_lines(other, [json.dumps({**json.loads(job), "place": wrong}), *rest])
        assert report.rejected[0].why.startswith(f"place is {wrong!r}")
        assert uids(other) == []


def test_a_store_that_ordered_by_time_keeps_its_order(
    store: Store, make_race: type[Race], normal: Race, redis_server: RedisServer
) -> None:
    """What version 0.1.0 wrote: places are times, and neither boards nor cohorts have more than times."""
    for created in (10, 20, 30):
        run(store, make_race(uid=f"at-{created}", created=created), cpu=f"CPU {created}")
    client: Any = redis_server.client()
    client.delete(keys.BOARD_TIMES)
    for key in client.keys("velodrome:board:*:cohorts:*"):
        client.hdel(
            key, *(field for field in client.hkeys(key) if isinstance(field, bytes) and field.startswith(b"order:"))
        )
    last_at = START + timedelta(seconds=130)
    assert store.boards()[0].last_at == last_at
    assert store.cohorts("digits", "accuracy")[0].last_at == last_at
    run(store, normal)
    assert uids(store) == ["normal", "at-30", "at-20", "at-10"]
    assert set(ranked(store, normal).values()) == {"normal"}
