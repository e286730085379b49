"""What readers see: jobs and boards, how entries stand, and the values that rankings are made of."""

from __future__ import annotations

import struct
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velodrome import keys
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import entry_id
from velodrome.results.cohorts import cohort_of
from velodrome.store import Store, export_lines

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

ACCURACY = "accuracy"
LATENCY = "latency_p50_seconds{batch_size=1}"


def samples(store: Store, board: str, key: str) -> dict[str, dict[str, dict[int, float]]]:
    """Cohort -> entry -> values by seed."""
    return {
        cohort.cohort_id: {row.entry: dict(row.samples) for row in store.ranking_rows(board, key, cohort.cohort_id)}
        for cohort in store.cohorts(board, key)
    }


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.boards() == []
    assert store.jobs() == []
    assert store.job("x") is None
    assert store.trials("x") == {}
    assert store.entries("x") == {}
    assert store.board_entries("x") == []
    assert store.cohorts("x", ACCURACY) == []
    assert store.ranking_rows("x", ACCURACY, "0") == []
    assert store.curves("x", 0) == ()
    assert store.conflicts("x") == []
    assert store.counts("x").rejected == {}
    assert list(export_lines(store)) == []


def test_the_first_registration_wins(store: Store, make_race: type[Race], redis_server: RedisServer) -> None:
    first, second = make_race(created=1), make_race(created=2, entries=("other",))
    store.register(first.info)
    before = redis_server.contents()

    store.register(second.info)

    assert store.job(first.uid) == first.info
    assert redis_server.contents() == before


def test_jobs_are_listed_newest_first_page_by_page(store: Store, make_race: type[Race]) -> None:
    races = [make_race(uid=f"job-{number}", board=f"board-{number % 2}", created=number % 5) for number in range(10)]
    for race in races:
        store.register(race.info)
    newest_first = [race.info for race in reversed(races)]  # as they were registered, whatever clocks said

    assert store.jobs() == newest_first
    assert store.jobs(limit=3, offset=4) == newest_first[4:7]
    assert store.jobs("board-1") == [job for job in newest_first if job.board == "board-1"]
    assert store.jobs(offset=10) == []
    assert store.jobs(limit=0) == []


def test_boards_show_jobs_entries_and_the_last_news(store: Store, make_race: type[Race]) -> None:
    old, new = make_race(uid="a", board="one"), make_race(uid="b", board="two", created=50)
    again = make_race(uid="c", board="one", created=10, entries=("cnn", "lstm"))
    for race in (old, new, again):
        store.register(race.info)
    assert [(board.name, board.jobs, board.entries) for board in store.boards()] == [("one", 2, 4), ("two", 1, 3)]

    record = new.record(0, accepted=70)
    store.accept(new.uid, 0, [record])

    assert [(board.name, board.last_at) for board in store.boards()] == [
        ("two", record.accepted_at),
        ("one", again.info.created_at),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uid": "a:b"}, "the job's uid 'a:b' must be letters"),
        ({"board": ""}, "the job's board can't be called ''"),
        ({"board": "x" * 254}, "the job's board"),
        ({"entries": ()}, "must have entries"),
        ({"entries": ("a", "a")}, "each with a name of its own"),
        ({"trials": 7}, "has 7 trials, but 3 entries x 2"),
    ],
)
def test_a_job_that_contradicts_itself_is_refused(
    store: Store, make_race: type[Race], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        store.register(make_race().info.model_copy(update=change))
    assert store.jobs() == []


def test_a_job_that_was_read_before_is_read_as_it_is_now(
    store: Store, make_race: type[Race], redis_server: RedisServer
) -> None:
    """Equal bytes are not parsed again; others are, whatever their job was when it was read last."""
    race = make_race()
    store.register(race.info)
    client, where = redis_server.client(), keys.job(race.uid, "info")
    for name in ("first", "other", "n" * 9000):
        written = race.info.model_copy(update={"name": name})
        client.set(where, written.model_dump_json())
        assert store.job(race.uid) == written
        assert store.job(race.uid) == written


def test_entries_stand_in_the_order_of_the_job(store: Store, race: Race) -> None:
    failures = [race.record(0, failed="OutOfMemory"), race.record(3, failed="LossNotFinite")]
    store.accept(race.uid, 1, [*failures, race.record(1)], [race.progress(4)])

    states = store.entries(race.uid)

    assert list(states) == ["cnn", "mlp", "gru"]
    assert (states["cnn"].planned, states["cnn"].succeeded, states["cnn"].failed) == (2, 0, 2)
    assert states["cnn"].reasons == {"LossNotFinite": 1, "OutOfMemory": 1}
    assert (states["mlp"].succeeded, states["mlp"].running) == (1, 1)
    assert states["mlp"].entry_id == entry_id(race.plan.trial(1).config)
    assert (states["gru"].entry_id, states["gru"].succeeded, states["gru"].reasons) == (None, 0, {})


def test_a_board_shows_each_entry_as_in_its_newest_job(store: Store, make_race: type[Race]) -> None:
    old = make_race(uid="old", entries=("cnn", "mlp"))
    new = make_race(uid="new", entries=("mlp", "gru"), created=5)
    store.register(old.info)
    store.register(new.info)
    store.accept(old.uid, 0, [old.record(0), old.record(1)])

    shown = [(state.entry, job.uid, state.succeeded) for job, state in store.board_entries("digits")]

    assert shown == [("cnn", "old", 1), ("gru", "new", 0), ("mlp", "new", 0)]


def test_cohorts_part_what_must_not_be_compared(store: Store, race: Race) -> None:
    ryzen = [race.record(index, accepted=100 + index) for index in range(3)]
    xeon = [race.record(index, cpu="Xeon", accepted=200 + index) for index in range(3, 5)]
    store.accept(race.uid, 0, [*ryzen, *xeon])

    [quality] = store.cohorts(race.board, ACCURACY)
    assert (quality.entries, quality.samples) == (3, 5)
    assert "digits 00000000" in quality.words
    assert "hardware" not in quality.conditions
    assert quality.last_at == xeon[-1].accepted_at
    newest, oldest = store.cohorts(race.board, LATENCY)
    assert ("Xeon" in newest.words, newest.entries, newest.samples) == (True, 2, 2)
    assert ("Ryzen" in oldest.words, oldest.entries, oldest.samples) == (True, 3, 3)
    assert oldest.conditions["hardware"]["cpu_model"] == "Ryzen"
    assert oldest.last_at == ryzen[-1].accepted_at


@pytest.mark.parametrize(
    ("spec", "cohorts"),
    [
        ({"training": {"batchSize": 7, "optimizer": {"name": "Adam"}}}, 1),
        ({"entries": [{"name": "cnn", "model": {"name": "velodrome/cnn"}}]}, 1),
        ({"budget": {"maxEpochs": 11}}, 2),
        ({"budget": {"maxEpochs": 10, "maxSeconds": 60}}, 2),
        ({"preprocessing": {"normalize": False}}, 2),
        ({"dataset": {"name": "digits", "validationFraction": 0.2}}, 2),
        ({"evaluation": {"inference": {"minRunSeconds": 2}}}, 2),
    ],
    ids=str,
)
def test_every_key_goes_to_the_cohort_of_its_record(
    store: Store, make_race: type[Race], spec: dict[str, Any], cohorts: int
) -> None:
    """In one batch after another of one store, which remembers where values of equal conditions go."""
    races = [make_race(uid="a", entries=("cnn",)), make_race(uid="b", entries=("cnn",), created=1, spec=spec)]
    for race in races:
        store.register(race.info)
        store.accept(race.uid, 0, [race.record(0)])

    for key in (ACCURACY, LATENCY, "parameters"):
        expected = [cohort_of(race.record(0), MetricKey.parse(key)) for race in races]
        assert {cohort.cohort_id for cohort in store.cohorts("digits", key)} == {c.id for c in expected if c}
    assert len(store.cohorts("digits", LATENCY)) == cohorts


def test_a_ranking_row_says_where_its_values_are_from(store: Store, race: Race) -> None:
    records = [race.record(index, accepted=index) for index in (4, 1)]
    store.accept(race.uid, 0, records)

    [cohort] = store.cohorts(race.board, ACCURACY)
    [row] = store.ranking_rows(race.board, ACCURACY, cohort.cohort_id)

    assert (row.entry, row.job_uid, row.job_name, row.planned) == ("mlp", "race-1", "race", 2)
    assert row.entry_id == entry_id(race.plan.trial(1).config)
    assert row.samples == {0: records[1].result.metrics[ACCURACY], 1: records[0].result.metrics[ACCURACY]}
    assert row.last_at == records[0].accepted_at


def test_failed_results_have_no_place_in_rankings(store: Store, race: Race) -> None:
    failed = race.record(0, failed="OutOfMemory")
    with_values = failed.model_copy(update={"result": failed.result.model_copy(update={"metrics": {ACCURACY: 0.5}})})

    store.accept(race.uid, 0, [with_values])

    assert store.cohorts(race.board, ACCURACY) == []


def test_results_without_conditions_have_no_place_in_rankings(store: Store, race: Race) -> None:
    record = race.record(0)
    blind = record.model_copy(update={"result": record.result.model_copy(update={"environment": None})})

    assert store.accept(race.uid, 0, [blind]) == ["accepted"]

    assert store.cohorts(race.board, ACCURACY) == []


def test_a_newer_job_takes_an_entrys_row_with_its_first_value(store: Store, make_race: type[Race]) -> None:
    old, new = make_race(uid="old"), make_race(uid="new", created=1)
    for race in (old, new):
        store.register(race.info)
    store.accept(old.uid, 0, [old.record(index) for index in range(6)])
    store.accept(new.uid, 0, [new.record(1, values={ACCURACY: 0.25})])

    [cohort] = samples(store, "digits", ACCURACY).values()

    assert cohort["mlp"] == {0: 0.25}
    assert set(cohort["cnn"]) == {0, 1}
    assert store.cohorts("digits", ACCURACY)[0].samples == 5


def test_a_late_result_of_an_older_job_replaces_nothing(store: Store, make_race: type[Race]) -> None:
    old, new = make_race(uid="old"), make_race(uid="new", created=1)
    for race in (old, new):
        store.register(race.info)
    store.accept(new.uid, 0, [new.record(0, values={ACCURACY: 0.25})])
    assert store.accept(old.uid, 0, [old.record(0), old.record(1)]) == ["accepted", "accepted"]

    [cohort] = samples(store, "digits", ACCURACY).values()

    assert cohort["cnn"] == {0: 0.25}
    assert cohort["mlp"] == {0: old.record(1).result.metrics[ACCURACY]}
    assert store.cohorts("digits", ACCURACY)[0].samples == 2


def test_of_jobs_of_one_place_the_greater_uid_is_the_newer(store: Store, make_race: type[Race]) -> None:
    races = [make_race(uid=uid) for uid in ("b", "B", "a", "a-1", "10", "9")]
    for race in races:
        store.register(race.info, 7)
        store.accept(race.uid, 0, [race.record(0)])

    [cohort] = store.cohorts("digits", ACCURACY)
    [row] = store.ranking_rows("digits", ACCURACY, cohort.cohort_id)

    assert row.job_uid == "b"
    assert {job.uid for job, _ in store.board_entries("digits")} == {"b"}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_come_back_to_the_last_bit(store: Store, make_race: type[Race], redis_server: RedisServer,
                                           values: list[float]) -> None:  # fmt: skip
    redis_server.client().flushall()
    race = make_race()
    store.register(race.info)
    records = [race.record(index, values={"loss": value}, run_seconds=abs(value)) for index, value in enumerate(values)]
    store.accept(race.uid, 0, records)

    [cohort] = samples(store, race.board, "loss").values()
    ranked = [cohort[race.plan.trial(index).entry][race.plan.trial(index).seed] for index in range(6)]
    read = [record.result.metrics["loss"] for record in store.records(race.uid)]
    listed = [summary.run_seconds for summary in store.trials(race.uid).values()]

    assert struct.pack("<6d", *ranked) == struct.pack("<6d", *values)
    assert struct.pack("<6d", *read) == struct.pack("<6d", *values)
    assert listed == [abs(value) for value in values]


def test_numbers_of_numpy_are_numbers(store: Store, race: Race) -> None:
    values = {ACCURACY: np.float64(1 / 3), "parameters": np.float32(0.1), "flops": np.int64(2**53)}
    record = race.record(0, values=values)
    progress = race.progress(1).model_copy(update={"loss": np.float64(0.1)})

    store.accept(race.uid, 1, [record], [progress])

    [trial] = store.records(race.uid)
    assert trial.result.metrics == {ACCURACY: 1 / 3, "parameters": float(np.float32(0.1)), "flops": float(2**53)}
    assert samples(store, race.board, ACCURACY).popitem()[1] == {"cnn": {0: 1 / 3}}
    assert store.progress(race.uid)[1].loss == 0.1


def test_large_seeds_and_odd_names_come_back(store: Store, make_race: type[Race]) -> None:
    race = make_race(entries=("a.b-c_d", "reason"))
    store.register(race.info)
    record = race.record(1)
    huge = record.model_copy(update={"result": record.result.model_copy(update={"seed": 2**63 - 1})})
    store.accept(race.uid, 0, [race.record(0, failed="OutOfMemory"), huge])

    assert samples(store, race.board, ACCURACY).popitem()[1] == {"reason": {2**63 - 1: huge.result.metrics[ACCURACY]}}
    assert store.trials(race.uid)[1].seed == 2**63 - 1
    assert store.entries(race.uid)["a.b-c_d"].reasons == {"OutOfMemory": 1}


def test_logs_and_messages_keep_every_character(store: Store, race: Race) -> None:
    text = 'Zeile\n\0\x1b[31mü 🙂 "quoted" \\ %s \u2028'
    record = race.record(0, failed="OutOfMemory")
    changed = record.model_copy(update={"result": record.result.model_copy(update={"log_tail": text, "message": text})})

    store.accept(race.uid, 0, [changed])

    assert store.records(race.uid) == [changed]


def test_run_time_without_an_observer_is_the_runners(store: Store, race: Race) -> None:
    store.accept(race.uid, 0, [race.record(0, run_seconds=None, finished=61.5)])

    assert store.trials(race.uid)[0].run_seconds == 61.5


def test_times_keep_their_microsecond(store: Store, race: Race) -> None:
    moment = race.record(0).accepted_at + timedelta(days=10_000, microseconds=1)
    store.accept(race.uid, 0, [race.record(0).model_copy(update={"accepted_at": moment})])

    assert store.boards()[0].last_at == moment
    assert store.cohorts(race.board, ACCURACY)[0].last_at == moment
    assert store.records(race.uid)[0].accepted_at == moment


def test_records_come_in_pages(store: Store, make_race: type[Race]) -> None:
    race = make_race(repeats=50)
    store.register(race.info)
    records = [race.record(index) for index in range(0, 150, 2)]
    store.accept(race.uid, 0, records)

    assert store.records(race.uid, 0, 100) == records[:50]
    assert store.records(race.uid, 100, 100) == records[50:]
    assert list(store.trials(race.uid)) == list(range(0, 150, 2))


# Samples of each job


def job_samples(store: Store, uid: str) -> dict[tuple[str, str], dict[int, float]]:
    (found,) = store.samples([uid])
    return {(one.entry, one.metric_key): dict(one.values) for one in found}


def test_a_jobs_samples_gather_over_batches_and_count_each_trial_once(store: Store, make_race: type[Race]) -> None:
    race = make_race(entries=("cnn",), repeats=4)
    store.register(race.info)
    store.accept(race.uid, 1, [race.record(0), race.record(1)])
    store.accept(race.uid, 2, [race.record(1), race.record(2, failed="LossNotFinite")])
    store.accept(race.uid, 3, [race.record(2, attempt="a2"), race.record(3)])
    store.accept(race.uid, 3, [race.record(2, attempt="a2"), race.record(3)])
    assert job_samples(store, race.uid)["cnn", ACCURACY] == {
        race.plan.trial(index).seed: (index + 1) / 10_007 for index in range(4)
    }


def test_a_jobs_samples_stay_whatever_other_jobs_come(store: Store, make_race: type[Race]) -> None:
    old, new = make_race(uid="old", created=1), make_race(uid="new", created=2)
    for race in (new, old):  # the older one's results come last, and rank nowhere
        store.register(race.info)
        store.accept(race.uid, 1, [race.record(index) for index in range(race.info.trials)])
    assert job_samples(store, "old") == job_samples(store, "new")
    assert len(job_samples(store, "old")) == 9
    assert store.samples(["nowhere"]) == [()]
    assert set(store.entry_facts(["old"])[0].ids) == {"cnn", "mlp", "gru"}


def test_a_jobs_samples_keep_conditions_apart(store: Store, make_race: type[Race]) -> None:
    race = make_race(entries=("cnn",), repeats=2)
    store.register(race.info)
    store.accept(race.uid, 1, [race.record(0, cpu="Ryzen"), race.record(1, cpu="Xeon")])
    (found,) = store.samples([race.uid])
    assert [len(one.values) for one in found if one.metric_key == LATENCY] == [1, 1]
    assert [len(one.values) for one in found if one.metric_key == ACCURACY] == [2]
