"""Results of different code are never one mean; and which results of another job a job takes over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from velodrome.board.takeover import Takeover, named_job, take_over
from velodrome.ranking.places import rank_objective
from velodrome.results.records import TrialRecord
from velodrome.store import Store, export_lines, import_lines
from velodrome.store.deletion import DeletionTarget, open_deleter
from velodrome.trends.regressions import judge
from velodrome.trends.timeline import timeline

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

OLD, NEW = "a" * 16, "b" * 16
SPEC = {"regression": {"minSamples": 2}}
ASKED: dict[str, Any] = {"spec": {"evaluation": {"metrics": ["accuracy"]}}}


def records(race: Race, codes: Sequence[str | None], **facts: Any) -> list[TrialRecord]:
    """The results of a job's trials, by index, each of that code."""
    found = []
    for index, code in enumerate(codes):
        record = race.record(index, **facts)
        found.append(record.model_copy(update={"result": record.result.model_copy(update={"code": code})}))
    return found


def unranked(store: Store, board: str = "digits") -> dict[str, tuple[str, str]]:
    (cohort,) = store.cohorts(board, "accuracy")
    rows = store.ranking_rows(board, "accuracy", cohort.cohort_id)
    ranking = rank_objective("accuracy", rows, store.board_entries(board))
    return {row.entry: (row.why, row.reason) for row in ranking.unranked}


@pytest.mark.parametrize("batches", [1, 4])
def test_an_entry_whose_trials_ran_different_code_is_unranked(
    store: Store, make_race: type[Race], batches: int
) -> None:
    race = make_race(entries=("own", "mlp"), repeats=2)
    store.register(race.info)
    sent = records(race, (OLD, None, NEW, None))
    size = len(sent) // batches
    for start in range(0, len(sent), size):
        store.accept(race.uid, 0, sent[start : start + size])
    assert unranked(store) == {"own": ("DifferentCode", "its trials ran different code")}
    assert store.entries(race.uid)["own"].mixed_code
    assert store.entries(race.uid)["own"].code == OLD
    assert not store.entries(race.uid)["mlp"].mixed_code


def test_one_code_for_all_trials_ranks_and_a_conflict_or_a_failure_of_other_code_changes_nothing(
    store: Store, make_race: type[Race]
) -> None:
    race = make_race(entries=("own",), repeats=2)
    store.register(race.info)
    store.accept(race.uid, 0, records(race, (NEW,), failed="OutOfMemory"))
    store.accept(race.uid, 0, records(race, (OLD, OLD), attempt="a2"))
    assert store.accept(race.uid, 0, records(race, (NEW,), attempt="a3")) == ["conflict"]
    assert unranked(store) == {}
    assert store.entries(race.uid)["own"].code == OLD


def test_what_falls_back_on_a_job_of_different_code_is_unranked_too(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    mixed = make_race(uid="mixed", entries=("own",), repeats=2)
    newer = make_race(uid="newer", entries=("own",), repeats=2, created=9)
    for race, codes in ((mixed, (OLD, NEW)), (newer, (NEW, NEW))):
        store.register(race.info)
        store.accept(race.uid, 0, records(race, codes))
    assert unranked(store) == {}
    with open_deleter(redis_server.url) as deleter:
        deleter.delete(DeletionTarget("digits", uid="newer"))
    assert unranked(store) == {"own": ("DifferentCode", "its trials ran different code")}


def test_the_history_marks_where_the_code_changed_and_a_mixture_is_no_baseline(
    store: Store, make_race: type[Race]
) -> None:
    for number, codes in enumerate([(OLD, OLD), (OLD, OLD), (NEW, NEW), (NEW, OLD), (NEW, NEW)]):
        race = make_race(uid=f"job-{number}", name="night", entries=("own",), repeats=2, created=number, spec=SPEC)
        store.register(race.info)
        store.accept(race.uid, 0, records(race, codes))
    found = timeline(store, "digits", "own", "accuracy")
    assert found.new_code == {"job-2"}
    assert [moment.reason for moment in found.moments][3] == "Incomplete"
    assert found.moments[4].baseline_uid == "job-2"
    (mixed,) = judge(store, "job-3")
    assert mixed.sentence == "own, accuracy: its trials ran different code, so they have no mean."


def taken(store: Store, giver: Race, taker: Race, code: dict[str, str | None]) -> Takeover:
    store.register(taker.info)
    return take_over(store, taker.plan, taker.uid, giver.info, code, taker.info.created_at + timedelta(seconds=1))


def test_more_repeats_take_over_what_there_is(store: Store, make_race: type[Race]) -> None:
    few = make_race(uid="few", entries=("own", "mlp"), repeats=2, **ASKED)
    many = make_race(uid="many", entries=("own", "mlp"), repeats=4, created=200, **ASKED)
    store.register(few.info)
    store.accept(few.uid, 0, records(few, (OLD, None, OLD, None)))
    code = {"own": OLD, "mlp": None}
    assert taken(store, few, many, code).sentence == "4 trials were taken over from job race (few)"
    assert set(store.trials("many")) == {0, 1, 2, 3}
    record = store.trial("many", 2)
    assert record is not None
    assert record.taken_from is not None
    assert (record.taken_from.job_uid, record.taken_from.job_name, record.taken_from.index) == ("few", "race", 2)
    assert len(store.curves("many", 2)) == 2
    assert taken(store, few, many, code).sentence == "", "again it is a no-op"
    more = make_race(uid="more", entries=("own", "mlp"), repeats=5, created=300, **ASKED)
    assert taken(store, many, more, code).taken == 4
    again = store.trial("more", 2)
    assert again is not None
    assert again.taken_from == record.taken_from, "where it was measured"
    assert unranked(store)["own"] == ("Incomplete", "2 of 5 trials done")


def test_a_trial_that_does_not_fit_is_left_with_the_reason(store: Store, make_race: type[Race]) -> None:
    giver = make_race(uid="giver", entries=("own", "mlp", "gru"), repeats=2, **ASKED)
    taker = make_race(uid="taker", entries=("own", "mlp"), repeats=3, created=9, **ASKED)
    store.register(giver.info)
    sent = records(giver, (OLD, None, None, NEW, None, None))
    sent[1] = giver.record(1, failed="OutOfMemory")
    sent[4] = giver.record(4, values={"parameters": 5.0})
    store.accept("giver", 0, sent)
    found = taken(store, giver, taker, {"own": NEW, "mlp": None})
    assert found.sentence == (
        "1 trial was taken over from job race (giver); not taken over: 1 ran other code, 1 failed, "
        "2 of other entries, conditions or seeds, 1 lack a metric that is asked for"
    )
    assert set(store.trials("taker")) == {2}


def test_without_the_code_at_hand_one_code_is_taken_as_it_is_and_a_mixture_is_not(
    store: Store, make_race: type[Race]
) -> None:
    giver = make_race(uid="giver", entries=("own", "mixed"), repeats=2, **ASKED)
    taker = make_race(uid="taker", entries=("own", "mixed"), repeats=3, created=9, **ASKED)
    store.register(giver.info)
    store.accept("giver", 0, records(giver, (OLD, OLD, OLD, NEW)))
    assert taken(store, giver, taker, {}).left == {"ran other code": 2}
    assert set(store.trials("taker")) == {0, 2}


def test_a_job_is_named_by_uid_or_by_the_newest_of_its_name_and_never_of_another_namespace(
    store: Store, make_race: type[Race]
) -> None:
    for number, (uid, namespace) in enumerate([("u1", "default"), ("u2", "default"), ("u3", "others")]):
        store.register(
            make_race(uid=uid, name="night", created=number).info.model_copy(update={"namespace": namespace})
        )

    def found(name: str, uid: str = "own") -> str | None:
        taker = make_race(uid=uid, name="day", created=9, spec={"trials": {"repeats": 2, "from": name}})
        job = named_job(store, taker.plan, uid)
        return None if job is None else job.uid

    assert found("night") == "u2"
    assert found("night", uid="u2") == "u1", "never itself"
    assert found("u1") == "u1"
    assert found("u3") is None
    assert found("nosuch") is None
    taker = make_race(uid="own", spec={"trials": {"repeats": 2, "from": "nosuch"}})
    store.register(taker.info)
    words = take_over(store, taker.plan, "own", None, {}, taker.info.created_at).sentence
    assert words == "trials.from: board digits has no other job nosuch: every trial is measured anew"


def test_code_and_provenance_travel_with_an_export(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    few = make_race(uid="few", entries=("own",), **ASKED)
    many = make_race(uid="many", entries=("own",), repeats=3, created=9, **ASKED)
    store.register(few.info)
    store.accept("few", 0, records(few, (OLD, NEW)))
    store.register(many.info)
    take_over(store, many.plan, "many", few.info, {"own": OLD}, many.info.created_at)
    lines = list(export_lines(store))
    kept = store.records("many"), store.entry_facts(["few", "many"])
    redis_server.client().flushdb()
    assert import_lines(store, lines).rejected == ()
    assert (store.records("many"), store.entry_facts(["few", "many"])) == kept
