"""Deleting: what is left answers as if what went had never been there, and its export brings all of it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.results.records import ResultReport, TrialRecord
from velodrome.store import Reader, Store, export_lines, import_lines, open_store, removal
from velodrome.store.deletion import Deleter, DeletionTarget, Pinned, open_deleter

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

METRIC_KEYS = ("accuracy", "latency_p50_seconds{batch_size=1}", "parameters")
BOARDS = ("digits", "other")
ENTRIES = ("cnn", "mlp", "gru")


def seen(store: Reader) -> dict[str, Any]:
    """All that readers see, but when a board last got anything: it did, whatever went since."""
    jobs = store.jobs(limit=1000)
    uids = [job.uid for job in jobs]
    return {
        "boards": sorted((board.name, board.jobs, board.entries) for board in store.boards()),
        "jobs": jobs,
        "of jobs": {
            uid: [store.records(uid), store.trials(uid), store.conflicts(uid), store.counts(uid), store.entries(uid)]
            for uid in uids
        },
        "samples": store.samples(uids),
        "entries": [store.board_entries(board) for board in BOARDS],
        "cohorts": {
            (board, key): sorted(store.cohorts(board, key), key=lambda cohort: cohort.cohort_id)
            for board in BOARDS
            for key in METRIC_KEYS
        },
        "rows": {
            (board, key, cohort.cohort_id): store.ranking_rows(board, key, cohort.cohort_id)
            for board in BOARDS
            for key in METRIC_KEYS
            for cohort in store.cohorts(board, key)
        },
        "marks": [(store.baselines(board), store.acknowledgements(board)) for board in BOARDS],
    }


@dataclass(frozen=True)
class Raced:
    """A job, what was accepted of it, and what people said of it."""

    race: Race
    records: tuple[TrialRecord, ...]
    marks: tuple[Baseline | Acknowledgement, ...]

    def into(self, store: Store, without: str | None = None) -> None:
        store.register(self.race.info)
        store.accept(self.race.uid, 0, [record for record in self.records if record.result.entry != without])
        for mark in self.marks:
            if mark.entry != without:
                store.mark(mark)


def jobs_of(make_race: type[Race]) -> st.SearchStrategy[list[Raced]]:
    """Jobs of two boards, some of one moment, each with whatever came of its trials."""

    @st.composite
    def jobs(draw: st.DrawFn) -> list[Raced]:
        made = []
        moments = sorted(draw(st.lists(st.integers(0, 5), min_size=1, max_size=5)))
        for number, created in enumerate(moments):
            names = draw(st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=3, unique=True))
            board = draw(st.sampled_from(BOARDS))
            race = make_race(uid=f"job-{number}", name=f"night-{number}", board=board, created=created,
                             entries=tuple(names))  # fmt: skip
            records: list[TrialRecord] = []
            for index in range(race.info.trials):
                # Later jobs are accepted later, as they are where nobody imports.
                at = 100.0 * (number + 1) + index
                for attempt in draw(st.sampled_from([(), ("a1",), ("a1", "a2")])):
                    failed = draw(st.sampled_from([None, None, "OutOfMemory"]))
                    cpu = draw(st.sampled_from(["Ryzen", "Xeon"]))
                    finished = 1.0 + len(records)
                    made_by: dict[str, Any] = {"attempt": attempt, "failed": failed, "cpu": cpu, "finished": finished}
                    values = {key: (index + 1 + number) / (50 + place) for place, key in enumerate(METRIC_KEYS)}
                    values["parameters"] = 52 + index + number  # a count
                    records.append(race.record(index, accepted=at, values=values, **made_by))
            marks = draw(st.lists(st.sampled_from(marks_of(race)), max_size=2, unique_by=lambda mark: mark.field))
            made.append(Raced(race, tuple(records), tuple(marks)))
        pinned: set[tuple[str, str]] = set()
        for place, one in enumerate(made):  # one pin for each entry and metric: a second would replace the first
            kept = tuple(mark for mark in one.marks if (one.race.board, mark.field) not in pinned)
            pinned |= {(one.race.board, mark.field) for mark in kept}
            made[place] = Raced(one.race, one.records, kept)
        return made

    return jobs()


def marks_of(race: Race) -> list[Baseline | Acknowledgement]:
    entry, at = race.entries[0], race.info.created_at
    return [
        Baseline(board=race.board, entry=entry, job_uid=race.uid, at=at),
        Acknowledgement(board=race.board, entry=entry, metric_key="accuracy", job_uid=race.uid, at=at),
    ]


@pytest.fixture
def stores(redis_server: RedisServer) -> Iterator[Callable[[], tuple[Store, Store, Deleter]]]:
    """Two empty stores that remember nothing, and a deleter of the first."""
    with closing(redis_server.client()) as client, closing(redis_server.client(1)) as another:

        def emptied() -> tuple[Store, Store, Deleter]:
            client.flushall()
            return Store(client), Store(another), Deleter(client)

        yield emptied


def test_what_is_left_answers_as_if_it_had_never_been_there(
    stores: Callable[[], tuple[Store, Store, Deleter]], make_race: type[Race], redis_server: RedisServer
) -> None:
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        made = data.draw(jobs_of(make_race))
        one = data.draw(st.sampled_from(made))
        target = data.draw(
            st.sampled_from(
                [
                    DeletionTarget(one.race.board, uid=one.race.uid),
                    DeletionTarget(one.race.board, entry=one.race.entries[0]),
                    DeletionTarget(one.race.board),
                ]
            )
        )
        store, model, deleter = stores()
        for raced in made:
            raced.into(store)
        before = seen(store)
        lines = list(export_lines(deleter, target.board, target.uid, target.entry))
        footprint = deleter.footprint(target)

        deleter.delete(target, with_baselines=True)

        for raced in made:
            concerned = raced.race.board == target.board and target.uid in (None, raced.race.uid)
            if concerned and (target.entry is None or raced.race.entries == (target.entry,)):
                continue
            raced.into(model, without=target.entry if concerned else None)
        if target.entry is not None:
            with closing(redis_server.client(1)) as client:
                client.hdel(keys.board_entries(target.board), target.entry)
        after = seen(store)
        assert after == seen(model)
        assert footprint.trials == sum(len(one[1]) for one in before["of jobs"].values()) - sum(
            len(one[1]) for one in after["of jobs"].values()
        )

        assert import_lines(store, lines).rejected == ()
        assert seen(store) == before

    check()


@pytest.fixture
def deleter(store: Store, redis_server: RedisServer) -> Iterator[Deleter]:
    with open_deleter(redis_server.url) as opened:
        yield opened


def test_nothing_of_a_job_stays(store: Store, deleter: Deleter, race: Race, redis_server: RedisServer) -> None:
    store.accept(race.uid, 1, [race.record(0), race.record(1, failed="OutOfMemory")], [race.progress(2)])
    store.append(race.uid, ResultReport(result=race.result(3)))
    client = redis_server.client()
    client.hset(keys.instructions(race.uid), "0", "Succeeded")

    assert deleter.delete(DeletionTarget(race.board, uid=race.uid)) == 1

    assert sorted(redis_server.contents()) == [keys.CHANGES.encode(), keys.COHORTS.encode()]
    client.close()


def test_who_watches_sees_that_a_board_changed(store: Store, deleter: Deleter, race: Race) -> None:
    store.accept(race.uid, 0, [race.record(0)])
    before = store.changes()[race.board]

    deleter.delete(DeletionTarget(race.board))

    assert store.changes()[race.board].results > before.results
    assert store.boards() == []


def test_a_pinned_baseline_stays_unless_it_is_named(store: Store, deleter: Deleter, race: Race) -> None:
    store.accept(race.uid, 0, [race.record(0)])
    store.mark(marks_of(race)[0])
    before = seen(store)

    for target in (
        DeletionTarget(race.board, uid=race.uid),
        DeletionTarget(race.board, entry="cnn"),
        DeletionTarget(race.board),
    ):
        with pytest.raises(Pinned, match=r"is pinned on board digits as the baseline of cnn .*--with-baselines"):
            deleter.delete(target)
    assert seen(store) == before

    deleter.delete(DeletionTarget(race.board, uid=race.uid), with_baselines=True)
    assert store.jobs() == []
    assert store.baselines(race.board) == []


def test_a_result_that_came_while_it_was_decided_is_not_lost(
    store: Store, deleter: Deleter, make_race: type[Race], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_race(uid="old"), make_race(uid="new", created=10)
    for race in (old, new):
        store.register(race.info)
    store.accept(old.uid, 0, [old.record(0)])
    store.accept(new.uid, 0, [new.record(0)])
    commands, late = removal.commands, [old.record(3)]

    def interrupted(decided: removal.Removal) -> Any:
        if late:
            store.accept(old.uid, 0, [late.pop()])
        return commands(decided)

    monkeypatch.setattr(removal, "commands", interrupted)
    deleter.delete(DeletionTarget(new.board, uid=new.uid))

    [cohort] = store.cohorts("digits", "accuracy")
    [row] = store.ranking_rows("digits", "accuracy", cohort.cohort_id)
    assert (row.job_uid, len(row.samples)) == (old.uid, 2)


class Cut(Exception):
    """The process ended here."""


def test_a_deletion_that_was_cut_off_is_carried_on(
    store: Store, deleter: Deleter, make_race: type[Race], redis_server: RedisServer
) -> None:
    races = [make_race(uid=f"job-{number}", created=number) for number in range(3)]
    for race in races:
        store.register(race.info)
        store.accept(race.uid, 0, [race.record(index) for index in range(6)])

    def cut(job: Any) -> None:
        if job.uid == "job-1":
            raise Cut

    with pytest.raises(Cut):
        deleter.delete(DeletionTarget("digits"), each=cut)
    assert [job.uid for job in store.jobs()] == ["job-2", "job-1"]
    assert {row.job_uid for row in rows(store)} == {"job-2"}

    assert deleter.delete(DeletionTarget("digits")) == 2
    assert sorted(redis_server.contents()) == [keys.CHANGES.encode(), keys.COHORTS.encode()]


def rows(store: Store) -> list[Any]:
    return [row for cohort in store.cohorts("digits", "accuracy") for row in
            store.ranking_rows("digits", "accuracy", cohort.cohort_id)]  # fmt: skip


@pytest.mark.parametrize(
    "target",
    [DeletionTarget("digits", uid="new"), DeletionTarget("digits", entry="cnn"), DeletionTarget("digits")],
    ids=str,
)
def test_a_full_redis_lets_go_and_then_takes_results_again(
    start_redis: Callable[..., RedisServer], make_race: type[Race], target: DeletionTarget
) -> None:
    server = start_redis("--maxmemory-policy", "noeviction")
    old, new = make_race(uid="old", repeats=50), make_race(uid="new", repeats=50, created=10)
    with open_store(server.url) as store, open_deleter(server.url) as deleter, closing(server.client()) as client:
        for race in (old, new):
            store.register(race.info)
            store.accept(race.uid, 0, [race.record(index) for index in range(race.info.trials)])
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 100_000)
        with pytest.raises(StoreRefused, match="is full"):
            store.append(new.uid, ResultReport(result=new.result(0)))
        assert len(list(export_lines(deleter, "digits"))) == 302
        assert deleter.footprint(target).bytes > 100_000

        deleter.delete(target)

        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
        other = make_race(uid="other", board="other")
        store.register(other.info)
        assert store.accept(other.uid, 0, [other.record(0)]) == ["accepted"]
        if target.uid is not None:
            assert {(row.job_uid, len(row.samples)) for row in rows(store)} == {("old", 50)}


def test_a_collector_that_knew_a_deleted_job_brings_nothing_back(store: Store, deleter: Deleter, race: Race) -> None:
    store.accept(race.uid, 0, [race.record(0)])
    deleter.delete(DeletionTarget(race.board, uid=race.uid))

    with pytest.raises(StoreRefused, match="knows no job"):
        store.accept(race.uid, 0, [race.record(1)])
    assert store.jobs() == []
    assert store.boards() == []


def test_an_entry_that_was_deleted_takes_its_place_again_when_it_is_raced_again(
    store: Store, deleter: Deleter, race: Race
) -> None:
    store.accept(race.uid, 0, [race.record(index) for index in range(6)])
    before = seen(store)
    deleter.delete(DeletionTarget(race.board, entry="cnn"))
    assert [state.entry for _, state in store.board_entries("digits")] == ["gru", "mlp"]

    store.register(race.info)
    store.accept(race.uid, 0, [race.record(index) for index in range(6) if race.plan.trial(index).entry == "cnn"])

    assert seen(store) == before


def test_redis_forgets_the_script_without_harm(
    store: Store, deleter: Deleter, race: Race, redis_server: RedisServer
) -> None:
    redis_server.client().script_flush()
    assert deleter.delete(DeletionTarget(race.board)) == 1
