"""Names that no file may have stay out of the store, and what can't be read there costs itself alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from velodrome import keys
from velodrome.board.latest import latest
from velodrome.errors import SchemaUnsupported
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.cohorts import cohort_of
from velodrome.results.marks import Baseline
from velodrome.store import Store, export_lines, import_lines, open_store
from velodrome.store.deletion import DeletionTarget, open_deleter
from velodrome.trends.history import read_history

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

BAD = "line\nbreak"


@pytest.fixture
def other(redis_server: RedisServer) -> Iterator[Store]:
    """Another empty store."""
    with open_store(f"{redis_server.url}?db=1") as opened:
        yield opened


def renamed(line: str, was: str, name: str) -> str:
    """The line of an export with another name in it, wherever that stands."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [changed(item) for item in value]
        return name if value == was else value

    return json.dumps(changed(json.loads(line)))


@pytest.mark.parametrize("name", [BAD, "", "a/b", "x" * 64, "\x1b[2J", "naïve", "-dash"])
@pytest.mark.parametrize(
    ("was", "what"),
    [
        ("mlp", "an entry"),
        ("race", "the job's name"),
        ("ours", "the job's board"),
        ("default", "the job's namespace"),
        ("quick", "an objective of the job"),
    ],
)
def test_a_name_that_no_file_may_have_is_its_lines_error(
    store: Store, other: Store, make_race: type[Race], was: str, what: str, name: str
) -> None:
    race = make_race(board="ours", spec={"objectives": [{"name": "quick", "metric": "accuracy"}]})
    good = make_race(uid="good", name="good")
    for each in (race, good):
        store.register(each.info)
        store.accept(each.uid, 1, [each.record(index) for index in range(3)])
    lines = [renamed(line, was, name) if race.uid in line else line for line in export_lines(store)]

    report = import_lines(other, lines)

    said = {line.line: line.why for line in report.rejected}
    first = next(number for number, line in enumerate(lines, start=1) if race.uid in line)
    assert said.pop(first).startswith(f"{what} can't be called {name!r}: write up to 63")
    assert all("neither in an earlier line nor in the store" in why for why in said.values())
    assert [job.uid for job in other.jobs()] == ["good"]
    assert len(other.records("good")) == 3


def test_registering_and_accepting_hold_names_to_the_same_rules(store: Store, make_race: type[Race]) -> None:
    race = make_race()
    with pytest.raises(ValueError, match="an entry can't be called"):
        store.register(race.info.model_copy(update={"entries": ("cnn", "mlp", BAD)}))
    store.register(race.info)
    record = race.record(0)
    with pytest.raises(ValueError, match="has no entry"):
        store.accept(
            race.uid, 1, [record.model_copy(update={"result": record.result.model_copy(update={"entry": BAD})})]
        )
    assert store.trials(race.uid) == {}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"spec": 5},
        {"spec": {"objectives": [{"metric": "accuracy"}]}},
        {"spec": {"regression": {"alpha": "much"}}},
    ],
)
def test_a_document_that_boards_can_not_read_is_refused_and_costs_itself_where_it_is_stored(
    store: Store, other: Store, make_race: type[Race], redis_server: RedisServer, document: dict[str, Any]
) -> None:
    good, bad = make_race(uid="good"), make_race(uid="bad", created=5)
    for race in (good, bad):
        store.register(race.info)
        store.accept(race.uid, 1, [race.record(index) for index in range(6)])
    broken = bad.info.model_copy(update={"document": document})
    with pytest.raises(ValueError, match="is no BenchmarkJob"):
        other.register(broken)

    redis_server.client().set(keys.job("bad", "info"), broken.model_dump_json())

    assert [job.uid for job in store.jobs()] == ["good"]
    assert [job.uid for job in read_history(store, "digits").jobs] == ["good"]
    assert {one.comparison.job_uid for one in latest(store, "digits")} == {"good"}
    assert store.board_entries("digits") == []  # the broken job is the newest that has them
    assert any("velodrome:job:bad:info" in words for words in store.left_out)
    assert import_lines(other, export_lines(store)).rejected_count == 0


def test_an_entry_of_a_bad_name_that_is_stored_breaks_nothing_else(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    good, bad = make_race(uid="good"), make_race(uid="bad", created=5)
    store.register(good.info)
    store.accept("good", 1, [good.record(index) for index in range(6)])
    with patch("velodrome.store.encoding.check_names"):  # as version 0.1.0 did
        store.register(bad.info.model_copy(update={"entries": ("cnn", BAD, "gru")}))
    records = [bad.record(index) for index in range(6)]
    for record in records:
        entry = BAD if record.result.entry == "mlp" else record.result.entry
        result = record.result.model_copy(update={"entry": entry})
        store.accept("bad", 1, [record.model_copy(update={"result": result})])

    assert [job.uid for job in read_history(store, "digits").jobs] == ["good", "bad"]
    cohort = cohort_of(records[0], MetricKey.parse("accuracy"))
    assert cohort is not None
    assert {row.entry for row in store.ranking_rows("digits", "accuracy", cohort.id)} == {"cnn", "mlp", "gru", BAD}
    assert latest(store, "digits")
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", "bad"))
    assert {row.entry for row in store.ranking_rows("digits", "accuracy", cohort.id)} == {"cnn", "mlp", "gru"}


def test_garbage_costs_itself_alone(store: Store, make_race: type[Race], redis_server: RedisServer) -> None:
    race, newer = make_race(), make_race(uid="newer", created=5)
    for each in (race, newer):
        store.register(each.info)
        store.accept(each.uid, 1, [each.record(index) for index in range(6)])
    cohort = cohort_of(race.record(0), MetricKey.parse("accuracy"))
    assert cohort is not None
    client = redis_server.client()
    client.set(keys.job("newer", "info"), newer.info.model_copy(update={"schema_version": 99}).model_dump_json())
    client.hset(keys.job(race.uid, "records"), "2", "garbage")
    client.hset(keys.board_rows("digits", "accuracy", cohort.id), "cnn", b"\xff")
    client.hset(keys.job(race.uid, "samples"), f"accuracy\n{cohort.id}\ncnn", b"odd")

    assert [job.uid for job in store.jobs()] == [race.uid]
    assert [record.result.index for record in store.records(race.uid)] == [0, 1, 3, 4, 5]
    assert [row.entry for row in store.ranking_rows("digits", "accuracy", cohort.id)] == ["gru", "mlp"]
    assert {one.entry for one in store.samples([race.uid])[0]} >= {"gru", "mlp"}
    with pytest.raises(SchemaUnsupported):
        store.job("newer")
    for part in ("newer:info", "records field 2", "rows", "samples"):
        assert any(part in words for words in store.left_out), part


def test_a_job_with_garbage_among_its_facts_is_compared_without_them_and_deleted(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    odd, newer = make_race(uid="odd"), make_race(uid="newer", created=5)
    for race in (odd, newer):
        store.register(race.info)
        store.accept(race.uid, 1, [race.record(index) for index in range(6)])
    client = redis_server.client()
    client.hset(keys.job("odd", "entries"), "id:mlp", b"\x9f%*\xde")
    client.hset(keys.job("odd", "samples"), b"\x9f", b"odd")

    facts = store.entry_facts(["odd", "newer"])
    assert facts[0].ids == {}
    assert set(facts[1].ids) == {"cnn", "mlp", "gru"}
    assert len(read_history(store, "digits").jobs) == 2
    assert latest(store, "digits")
    assert any("odd:entries" in words for words in store.left_out)
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", "odd"))
    assert [job.uid for job in store.jobs()] == ["newer"]


def test_a_mark_of_another_board_is_its_lines_error(store: Store, other: Store, make_race: type[Race]) -> None:
    race = make_race()
    store.register(race.info)
    store.mark(Baseline(board="digits", entry="mlp", job_uid=race.uid, at=race.info.created_at))
    job, mark, _deed = export_lines(store)

    assert import_lines(other, [job, renamed(mark, "digits", "else")]).rejected[0].line == 2
    assert "can't be called" in import_lines(other, [job, renamed(mark, "mlp", "a b")]).rejected[0].why
    assert import_lines(other, [job, mark]).rejected_count == 0
