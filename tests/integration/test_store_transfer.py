"""Export and import: everything comes across, twice changes nothing, and a bad line is named and left out."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from velodrome.store import ImportReport, Store, export_lines, import_lines, open_store, transfer

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer


@pytest.fixture
def other(redis_server: RedisServer) -> Iterator[Store]:
    """Another empty store."""
    with open_store(f"{redis_server.url}?db=1") as opened:
        yield opened


def fill(store: Store, make_race: type[Race]) -> list[Race]:
    """Two boards, three jobs, with everything that an export can hold."""
    races = [
        make_race(uid="one"),
        make_race(uid="two", created=5),
        make_race(uid="three", board="other", created=3, entries=("cnn", "lstm")),
    ]
    for race in races:
        store.register(race.info)
        store.accept(
            race.uid,
            1,
            [
                race.record(0, attempt="a1", failed="OutOfMemory", finished=1),
                race.record(0, attempt="a2", finished=2),
                race.record(0, attempt="a3", finished=3),
                race.record(1, failed="LossNotFinite"),
                race.record(1, failed="OutOfDisk"),
                race.record(3, epochs=20),
                race.record(2, failed="LossNotFinite"),
                race.record(2, failed="OutOfDisk"),
                race.record(2, attempt="a2"),
            ],
            [race.progress(2)],
        )
    return races


def state(store: Store, races: list[Race]) -> dict[str, Any]:
    """All that readers see, but for progress and rejections, which are of the moment."""
    return {
        "boards": store.boards(),
        "jobs": store.jobs(),
        "cohorts": [store.cohorts(board, "accuracy") for board in ("digits", "other")],
        "rows": [
            store.ranking_rows(board, "accuracy", cohort.cohort_id)
            for board in ("digits", "other")
            for cohort in store.cohorts(board, "accuracy")
        ],
        **{
            race.uid: (
                store.records(race.uid),
                store.trials(race.uid),
                store.conflicts(race.uid),
                store.counts(race.uid),
            )
            for race in races
        },
    }


def test_an_export_brings_everything_across(store: Store, other: Store, make_race: type[Race]) -> None:
    races = fill(store, make_race)

    report = import_lines(other, export_lines(store))

    # Three jobs of four results and three conflicts each, one of them with a failure that a success then replaced.
    assert report == ImportReport(imported=15, duplicates=0, conflicts=9, superseded=0, rejected=(), rejected_count=0)
    assert state(other, races) == state(store, races)
    assert list(export_lines(other)) == list(export_lines(store))


def test_an_import_may_be_repeated(
    store: Store, other: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    fill(store, make_race)
    lines = list(export_lines(store))
    import_lines(other, lines)
    before = redis_server.contents(database=1)

    report = import_lines(other, lines)

    assert report == ImportReport(imported=0, duplicates=24, conflicts=0, superseded=0, rejected=(), rejected_count=0)
    assert redis_server.contents(database=1) == before


def test_an_export_may_be_of_a_board_or_a_job(store: Store, make_race: type[Race]) -> None:
    fill(store, make_race)

    def uids(**which: str) -> set[str]:
        lines = [json.loads(line) for line in export_lines(store, **which)]
        return {line["job"]["uid"] if line["type"] == "job" else line["record"]["result"]["job_uid"] for line in lines}

    assert uids() == {"one", "two", "three"}
    assert uids(board="digits") == {"one", "two"}
    assert uids(uid="three") == {"three"}
    assert uids(board="digits", uid="three") == set()
    assert uids(uid="unknown") == set()


def test_lines_are_strict_json_each_on_one_line(store: Store, make_race: type[Race]) -> None:
    fill(store, make_race)
    for line in export_lines(store):
        assert len(line.splitlines()) == 1
        json.loads(line, parse_constant=pytest.fail)


def test_two_stores_that_disagree_keep_their_own_and_note_the_conflict(
    store: Store, other: Store, make_race: type[Race]
) -> None:
    race = make_race()
    here, there = race.record(0), race.record(0, attempt="a2", values={"accuracy": 0.1})
    for each, record in ((store, here), (other, there)):
        each.register(race.info)
        each.accept(race.uid, 0, [record])

    report = import_lines(other, export_lines(store))

    assert (report.imported, report.conflicts) == (0, 1)
    assert other.records(race.uid) == [there]
    assert other.conflicts(race.uid) == [here]
    assert import_lines(store, export_lines(other)).conflicts == 1
    assert store.records(race.uid) == [here]


def test_a_job_that_is_known_differently_is_a_conflict(store: Store, other: Store, make_race: type[Race]) -> None:
    store.register(make_race().info)
    other.register(make_race(created=9).info)

    report = import_lines(other, export_lines(store))

    assert (report.imported, report.conflicts) == (0, 1)
    assert other.job("race-1") == make_race(created=9).info


def test_bad_lines_are_named_and_the_good_ones_taken(store: Store, other: Store, make_race: type[Race]) -> None:
    race = make_race()
    store.register(race.info)
    store.accept(race.uid, 0, [race.record(0), race.record(1)])
    job, first, second = export_lines(store)
    newer = json.loads(second)
    newer["record"]["schema_version"] = 2
    strange = json.loads(first)
    strange["record"]["result"]["index"] = 99
    unknown = json.loads(first)
    unknown["record"]["result"]["job_uid"] = "elsewhere"
    lines = [
        job,
        "{not json",
        "",
        json.dumps(newer),
        '{"type": "trophy"}',
        '["job"]',
        first,
        json.dumps(strange),
        json.dumps(unknown),
        first[: len(first) // 2],
        '{"type": "record", "retries": -1, "record": ' + json.dumps(json.loads(first)["record"]) + "}",
        '{"type": "job", "job": {"schema_version": 1}}',
        '{"type": "job"}',
        '{"type": "record"}',
        json.dumps({"type": "job", "job": {**json.loads(job)["job"], "schema_version": 7}}),
        json.dumps({"type": "job", "job": {**json.loads(job)["job"], "uid": "a:b"}}),
        second,
    ]

    report = import_lines(other, lines)

    assert (report.imported, report.rejected_count) == (3, 13)
    assert other.records(race.uid) == store.records(race.uid)
    why = {rejection.line: rejection.why for rejection in report.rejected}
    assert sorted(why) == [2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    assert "SchemaUnsupported: the record has schema version 2, this Velodrome reads up to 1: update it" in why[4]
    assert "not 'trophy'" in why[5]
    assert "has trials 0 to 5, not 99" in why[8]
    assert "the job 'elsewhere' of this result is neither in an earlier line nor in the store" in why[9]
    assert "retries is -1, not a count" in why[11]
    assert "uid" in why[12]
    assert "SchemaUnsupported: the job has schema version 7" in why[15]
    assert "the job's uid 'a:b'" in why[16]


def test_a_file_of_rubbish_gives_a_short_report(other: Store) -> None:
    report = import_lines(other, ("rubbish" for _ in range(5000)))

    assert report.rejected_count == 5000
    assert len(report.rejected) == 1000


def test_a_job_whose_line_is_bad_takes_its_results_with_it(store: Store, other: Store, make_race: type[Race]) -> None:
    fill(store, make_race)
    lines = list(export_lines(store, uid="one"))

    report = import_lines(other, ["{}", *lines[1:]])

    assert (report.imported, report.rejected_count) == (0, 8)
    assert other.boards() == []


def test_memory_does_not_grow_with_the_number_of_results(
    store: Store, other: Store, make_race: type[Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_PAGE", 20)
    monkeypatch.setattr(transfer, "_BATCH", 50)
    peaks = []
    for trials in (150, 1200):
        race = make_race(uid=f"of-{trials}", repeats=trials // 3)
        store.register(race.info)
        for first in range(0, trials, 50):
            store.accept(race.uid, 0, [race.record(index, epochs=10) for index in range(first, first + 50)])
        tracemalloc.start()
        import_lines(other, export_lines(store, uid=race.uid))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert len(other.trials("of-1200")) == 1200
    assert peaks[1] < 1.5 * peaks[0]


def test_a_line_whose_values_no_trial_can_have_is_not_taken(store: Store, other: Store, make_race: type[Race]) -> None:
    race = make_race()
    store.register(race.info)
    odd = {"accuracy": 1.7}, {"accuracy": 1.0000001}, {"accuracy": 97.3}, {"parameters": -1.0}
    store.accept(race.uid, 0, [race.record(index, values=values) for index, values in enumerate(odd)])
    lines = list(export_lines(store))
    report = import_lines(other, lines)
    assert (report.imported, report.rejected_count) == (2, 3)
    assert [rejected.why.partition(":")[0] for rejected in report.rejected] == ["ImpossibleValue"] * 3
    assert "metrics.accuracy: 97.3" in report.rejected[1].why
    assert [trial.index for trial in other.trials(race.uid).values()] == [1]


def test_what_is_of_the_future_is_taken_as_of_now(store: Store, other: Store, make_race: type[Race]) -> None:
    race = make_race()
    late = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    store.register(race.info.model_copy(update={"created_at": late}))
    record = race.record(0)
    result = record.result.model_copy(update={"finished_at": late})
    store.accept(race.uid, 0, [record.model_copy(update={"result": result, "accepted_at": late})])
    lines = list(export_lines(store))
    assert import_lines(other, lines).imported == 2
    taken, job = other.trial(race.uid, 0), other.job(race.uid)
    assert taken is not None
    assert job is not None
    assert taken.observed.claimed is not None
    assert taken.observed.claimed.finished_at == late
    now = datetime.now(UTC)
    assert taken.result.finished_at <= now
    assert taken.accepted_at <= now
    assert job.created_at <= now
    again = import_lines(other, lines)
    assert (again.duplicates, again.conflicts) == (2, 0)
