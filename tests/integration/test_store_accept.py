"""What accepting promises: a trial's result is written once, a batch counts once, and all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.results.records import ProgressReport, ResultReport
from velodrome.store import Counts, Rejection, Store, TrialSummary, open_store

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer


def test_a_result_is_accepted_and_read_back_as_it_was(store: Store, race: Race) -> None:
    record = race.record(1)

    assert store.accept(race.uid, 7, [record]) == ["accepted"]

    assert store.records(race.uid) == [record]
    assert store.curves(race.uid, 1) == record.result.curves
    summary = TrialSummary(1, "mlp", 0, "Succeeded", None, 12.5, 0)
    assert store.trials(race.uid) == {1: summary}
    assert store.counts(race.uid) == Counts(succeeded=1, failed=0)
    assert store.position(race.uid) == 7


def test_a_list_of_trials_says_how_many_test_samples_train(store: Store, race: Race) -> None:
    record = race.record(1)
    assert record.result.dataset is not None
    facts = record.result.dataset.model_copy(update={"shared_samples": 3})
    record = record.model_copy(update={"result": record.result.model_copy(update={"dataset": facts})})

    store.accept(race.uid, 7, [record])

    assert store.records(race.uid) == [record]
    assert store.trials(race.uid) == {1: TrialSummary(1, "mlp", 0, "Succeeded", None, 12.5, 0, shared_samples=3)}


def test_a_trial_is_read_without_its_curves(store: Store, race: Race) -> None:
    store.accept(race.uid, 0, [race.record(0, epochs=50)])

    trial = store.trial(race.uid, 0)

    assert trial is not None
    assert trial.result.curves == ()
    assert trial.result.metrics == race.record(0).result.metrics
    assert store.trial(race.uid, 1) is None


def test_the_same_result_again_is_a_duplicate(store: Store, race: Race, redis_server: RedisServer) -> None:
    store.accept(race.uid, 1, [race.record(0)])
    before = redis_server.contents()

    assert store.accept(race.uid, 1, [race.record(0, accepted=500.0)]) == ["duplicate"]

    assert redis_server.contents() == before


def test_another_result_of_a_trial_is_kept_beside_the_first(store: Store, race: Race) -> None:
    first, second = race.record(0), race.record(0, attempt="a2", values={"accuracy": 0.99})

    assert store.accept(race.uid, 0, [first, second]) == ["accepted", "conflict"]

    assert store.records(race.uid) == [first]
    assert store.conflicts(race.uid) == [second]
    assert store.counts(race.uid) == Counts(succeeded=1, failed=0, conflicts=1)
    [cohort] = store.cohorts(race.board, "accuracy")
    [row] = store.ranking_rows(race.board, "accuracy", cohort.cohort_id)
    assert row.samples == {0: first.result.metrics["accuracy"]}


def test_results_that_differ_in_their_curves_alone_differ(store: Store, race: Race) -> None:
    assert store.accept(race.uid, 0, [race.record(0, epochs=2), race.record(0, epochs=3)]) == ["accepted", "conflict"]


def test_of_a_batch_only_what_is_new_is_ranked(store: Store, race: Race) -> None:
    """Trials 0 and 3 are of one entry: of its two values in the second batch, one is there already."""
    store.accept(race.uid, 0, [race.record(0)])

    assert store.accept(race.uid, 0, [race.record(0), race.record(3)]) == ["duplicate", "accepted"]

    [cohort] = store.cohorts(race.board, "accuracy")
    [row] = store.ranking_rows(race.board, "accuracy", cohort.cohort_id)
    assert row.samples == {seed: race.record(3 * seed).result.metrics["accuracy"] for seed in (0, 1)}
    assert cohort.samples == 2


def test_a_conflict_counts_once_however_often_it_comes(store: Store, race: Race) -> None:
    other = race.record(0, attempt="a2")
    store.accept(race.uid, 0, [race.record(0), other])

    assert store.accept(race.uid, 0, [other, other]) == ["duplicate", "duplicate"]

    assert len(store.conflicts(race.uid)) == 1


def test_a_success_takes_the_place_of_a_failure(store: Store, race: Race) -> None:
    store.accept(race.uid, 0, [race.record(0, failed="LossNotFinite")])
    assert store.entries(race.uid)["cnn"].reasons == {"LossNotFinite": 1}

    assert store.accept(race.uid, 0, [race.record(0, attempt="a2")]) == ["accepted"]

    assert store.counts(race.uid) == Counts(succeeded=1, failed=0)
    assert store.entries(race.uid)["cnn"].reasons == {}
    assert store.trials(race.uid)[0].retries == 1


def test_a_failure_after_a_success_changes_nothing(store: Store, race: Race, redis_server: RedisServer) -> None:
    store.accept(race.uid, 0, [race.record(0)])
    before = redis_server.contents()

    assert store.accept(race.uid, 0, [race.record(0, attempt="a2", failed="OutOfMemory")]) == ["superseded"]

    assert redis_server.contents() == before


def test_of_two_attempts_failures_the_one_that_finished_last_stands(store: Store, race: Race) -> None:
    early = race.record(0, attempt="a1", failed="OutOfMemory", finished=10)
    late = race.record(0, attempt="a2", failed="LossNotFinite", finished=20)

    assert store.accept(race.uid, 0, [late]) == ["accepted"]
    assert store.accept(race.uid, 0, [early]) == ["superseded"]
    assert store.records(race.uid) == [late]
    assert store.trials(race.uid)[0].retries == 1

    latest = race.record(0, attempt="a3", failed="OutOfMemory", finished=30)
    assert store.accept(race.uid, 0, [latest]) == ["accepted"]
    assert store.records(race.uid) == [latest]
    assert store.trials(race.uid)[0].retries == 2
    assert store.entries(race.uid)["cnn"].reasons == {"OutOfMemory": 1}
    assert store.counts(race.uid) == Counts(succeeded=0, failed=1)


def test_failures_that_come_again_are_duplicates(store: Store, race: Race, redis_server: RedisServer) -> None:
    failures = [race.record(0, attempt=f"a{number}", failed="OutOfMemory", finished=number) for number in range(3)]
    store.accept(race.uid, 0, failures)
    before = redis_server.contents()

    assert store.accept(race.uid, 0, failures) == ["duplicate"] * 3

    assert redis_server.contents() == before


def test_one_attempt_with_two_failures_is_a_conflict(store: Store, race: Race) -> None:
    first, second = race.record(0, failed="OutOfMemory"), race.record(0, failed="LossNotFinite")

    assert store.accept(race.uid, 0, [first, second]) == ["accepted", "conflict"]

    assert store.records(race.uid) == [first]
    assert store.conflicts(race.uid) == [second]


def test_all_of_a_story_in_one_batch_ends_as_in_many(store: Store, race: Race) -> None:
    story = [
        race.record(0, attempt="a1", failed="OutOfMemory", finished=1),
        race.record(0, attempt="a2", failed="LossNotFinite", finished=2),
        race.record(0, attempt="a3", finished=3),
        race.record(0, attempt="a3", finished=3),
        race.record(0, attempt="a4", finished=4),
        race.record(0, attempt="a5", failed="OutOfMemory", finished=5),
    ]
    expected = ["accepted", "accepted", "accepted", "duplicate", "conflict", "superseded"]

    assert store.accept(race.uid, 0, story) == expected

    assert store.counts(race.uid) == Counts(succeeded=1, failed=0, conflicts=1)
    assert store.trials(race.uid)[0].retries == 2
    again = ["superseded", "superseded", "duplicate", "duplicate", "duplicate", "superseded"]
    assert store.accept(race.uid, 0, story) == again


def test_a_batch_with_a_foreign_record_is_taken_not_at_all(store: Store, race: Race, make_race: type[Race]) -> None:
    foreign = make_race(uid="race-2").record(1)

    with pytest.raises(ValueError, match="of job 'race-2', not of 'race-1'"):
        store.accept(race.uid, 9, [race.record(0), foreign])

    assert store.trials(race.uid) == {}
    assert store.position(race.uid) == 0


def test_records_that_no_trial_of_the_job_could_have_made_are_refused(store: Store, race: Race) -> None:
    record = race.record(0)
    for change, message in (
        ({"index": 6}, "has trials 0 to 5, not 6"),
        ({"entry": "lstm"}, "has no entry 'lstm'"),
        ({"seed": 2**63}, "the seed 9223372036854775808 is larger"),
    ):
        wrong = record.model_copy(update={"result": record.result.model_copy(update=change)})
        with pytest.raises(ValueError, match=message):
            store.accept(race.uid, 0, [wrong])


def test_a_job_must_be_registered_first(store: Store, make_race: type[Race], redis_server: RedisServer) -> None:
    race = make_race(uid="unknown")
    with pytest.raises(StoreRefused, match="no job 'unknown': register it"):
        store.accept(race.uid, 0, [race.record(0)])

    store.register(race.info)
    store.accept(race.uid, 0, [race.record(0)])
    redis_server.client().flushall()
    with pytest.raises(StoreRefused, match="no job 'unknown': register it"):
        store.accept(race.uid, 0, [race.record(1)])
    assert redis_server.contents() == {}


def test_the_position_never_goes_back(store: Store, race: Race) -> None:
    for given, expected in (
        (5, 5),
        (4, 5),
        (0, 5),
        (6, 6),
        (10, 10),
        (9, 10),
        (10**15 - 1, 10**15 - 1),
        (2, 10**15 - 1),
    ):
        store.accept(race.uid, given, [])
        assert store.position(race.uid) == expected


@pytest.mark.parametrize("position", [-1, 10**15])
def test_a_position_that_is_no_count_of_reports_is_refused(store: Store, race: Race, position: int) -> None:
    with pytest.raises(ValueError, match=f"{position} is no count of reports"):
        store.accept(race.uid, position, [])


def test_what_was_collected_leaves_the_inbox(store: Store, race: Race, redis_server: RedisServer) -> None:
    for epoch in range(1, 6):
        assert store.append(race.uid, ProgressReport(progress=race.progress(0, epoch))) == epoch

    store.accept(race.uid, 3, [])

    assert [number for number, _ in store.read_inbox(race.uid)] == [4, 5]
    assert [number for number, _ in store.read_inbox(race.uid, 4)] == [5]
    assert redis_server.client().llen(keys.inbox(race.uid)) == 2
    assert store.append(race.uid, ProgressReport(progress=race.progress(0, 6))) == 3
    assert [number for number, _ in store.read_inbox(race.uid)] == [4, 5, 6], "no report gets another number"


def test_a_collector_that_is_behind_takes_nothing_out_of_the_inbox(store: Store, race: Race) -> None:
    """One read two reports, the other those and a third: whichever comes second, what it did not read stays."""
    for index in range(6):
        store.append(race.uid, ResultReport(result=race.result(index)))

    assert store.accept(race.uid, 3, [race.record(index) for index in range(3)]) == ["accepted"] * 3
    assert store.accept(race.uid, 2, [race.record(index) for index in range(2)]) == ["duplicate"] * 2
    assert [number for number, _ in store.read_inbox(race.uid)] == [4, 5, 6]
    assert store.accept(race.uid, 4, [race.record(2), race.record(3)]) == ["duplicate", "accepted"]
    assert [number for number, _ in store.read_inbox(race.uid)] == [5, 6]


def test_rejections_count_once_though_batches_overlap(store: Store, race: Race) -> None:
    early = [Rejection(f"{number}", "InvalidReport", f"number {number}") for number in range(1, 4)]
    late = [Rejection(f"{number}", "UnknownAttempt", f"number {number}") for number in range(4, 6)]

    store.accept(race.uid, 3, [], rejected=early)
    store.accept(race.uid, 5, [], rejected=[*early, *late])
    store.accept(race.uid, 3, [], rejected=early)

    assert store.counts(race.uid).rejected == {"InvalidReport": 3, "UnknownAttempt": 2}
    assert store.rejections(race.uid) == [*reversed(late), *reversed(early)]


def test_samples_of_rejections_are_few(store: Store, race: Race) -> None:
    many = [Rejection(f"{number}", "InvalidReport", "") for number in range(1, 251)]

    store.accept(race.uid, 250, [], rejected=many)

    assert store.counts(race.uid).rejected == {"InvalidReport": 250}
    assert [rejection.id for rejection in store.rejections(race.uid)] == [f"{number}" for number in range(250, 150, -1)]


def test_progress_is_the_newest_and_makes_a_live_curve(store: Store, race: Race) -> None:
    store.accept(race.uid, 3, [], [race.progress(0, epoch) for epoch in (1, 2, 3)])
    store.accept(race.uid, 4, [], [race.progress(0, 4, point=False), race.progress(1, 1)])

    news = store.progress(race.uid)
    assert {index: progress.epoch for index, progress in news.items()} == {0: 4, 1: 1}
    assert store.curves(race.uid, 0) == tuple(race.point(epoch) for epoch in (1, 2, 3))
    assert store.entries(race.uid)["cnn"].running == 1
    assert store.entries(race.uid)["gru"].running == 0


def test_progress_of_a_collector_that_is_behind_is_dropped(store: Store, race: Race) -> None:
    store.accept(race.uid, 9, [], [race.progress(0, 9)])

    store.accept(race.uid, 5, [], [race.progress(0, 5)])

    assert store.progress(race.uid)[0].epoch == 9


def test_overlapping_batches_leave_each_epoch_once(store: Store, race: Race) -> None:
    store.accept(race.uid, 2, [], [race.progress(0, epoch) for epoch in (1, 2)])
    store.accept(race.uid, 3, [], [race.progress(0, epoch) for epoch in (1, 2, 3)])

    assert [point.epoch for point in store.curves(race.uid, 0)] == [1, 2, 3]


def test_another_attempt_starts_a_new_live_curve(store: Store, race: Race) -> None:
    store.accept(race.uid, 2, [], [race.progress(0, epoch) for epoch in (1, 2)])
    store.accept(race.uid, 3, [], [race.progress(0, 1, attempt="a2")])

    assert [point.epoch for point in store.curves(race.uid, 0)] == [1]


def test_live_curves_stay_within_bounds_and_keep_the_newest(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    for first in range(1, 5001, 500):
        batch = [race.progress(0, epoch) for epoch in range(first, first + 500)]
        store.accept(race.uid, first, [], batch)

    epochs = [point.epoch for point in store.curves(race.uid, 0)]
    assert epochs == list(range(epochs[0], 5001))
    assert 200 < len(epochs) < 5000
    assert redis_server.client().hstrlen(keys.job(race.uid, "live"), "0") <= 128 * 1024


@pytest.mark.parametrize("failed", [None, "OutOfMemory"])
def test_a_result_ends_progress_and_late_progress_stays_out(store: Store, race: Race, failed: str | None) -> None:
    store.accept(race.uid, 1, [], [race.progress(0)])

    store.accept(race.uid, 2, [race.record(0, failed=failed)], [race.progress(0, 2)])
    store.accept(race.uid, 3, [], [race.progress(0, 3)])

    assert store.progress(race.uid) == {}
    assert store.curves(race.uid, 0) == race.record(0).result.curves


def test_a_retry_shows_progress_beside_the_failure(store: Store, race: Race) -> None:
    store.accept(race.uid, 1, [race.record(0, failed="OutOfMemory")], [race.progress(0, 1, attempt="a2")])

    assert store.progress(race.uid)[0].attempt == "a2"
    assert store.curves(race.uid, 0) == (race.point(1),)
    assert store.entries(race.uid)["cnn"].failed == 1
    assert store.entries(race.uid)["cnn"].running == 1


def test_an_inbox_that_nobody_collects_takes_results_but_no_more_progress(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    client = redis_server.client()
    with client.pipeline(transaction=False) as pipe:
        for _ in range(keys.INBOX_MAXIMUM):
            pipe.rpush(keys.inbox(race.uid), b"")
        pipe.execute()

    assert store.append(race.uid, ProgressReport(progress=race.progress(0))) == 0
    assert store.append(race.uid, ResultReport(result=race.result(0))) == keys.INBOX_MAXIMUM + 1


def test_reports_are_read_in_order_by_number(store: Store, race: Race) -> None:
    assert store.read_inbox(race.uid) == []
    report = ProgressReport(progress=race.progress(0))
    for _ in range(2):
        store.append(race.uid, report)

    assert store.read_inbox(race.uid) == [(number, report.model_dump_json().encode()) for number in (1, 2)]
    assert [number for number, _ in store.read_inbox(race.uid, 1, count=1)] == [2]


def test_scripts_that_the_server_forgot_are_sent_again(store: Store, race: Race, redis_server: RedisServer) -> None:
    store.accept(race.uid, 0, [race.record(0)])
    redis_server.client().script_flush()

    assert store.accept(race.uid, 0, [race.record(1)]) == ["accepted"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_wire_protocols_give_the_same(redis_server: RedisServer, make_race: type[Race], protocol: int) -> None:
    race = make_race()
    with open_store(f"{redis_server.url}?protocol={protocol}") as store:
        store.register(race.info)
        assert store.append(race.uid, ResultReport(result=race.result(0))) == 1
        assert [number for number, _ in store.read_inbox(race.uid)] == [1]
        assert store.waiting([race.uid])[race.uid].reports == 1
        assert store.room().used > 0
        store.accept(race.uid, 1, [race.record(0)], [race.progress(1)])
        assert store.boards()[0].entries == 3
        assert store.boards()[0].last_at == race.record(0).accepted_at
        assert store.entries(race.uid)["mlp"].running == 1
        [cohort] = store.cohorts(race.board, "parameters")
        assert len(store.ranking_rows(race.board, "parameters", cohort.cohort_id)) == 1


def test_reports_of_any_size_are_read_in_answers_of_bounded_size(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    """Anybody who may append may append anything: what reads it must hold neither 500 of them nor one of 64 MB."""
    inbox, junk = keys.inbox(race.uid), b"x" * keys.REPORT_BYTES
    with redis_server.client() as client:
        client.rpush(inbox, b"y" * (64 * keys.REPORT_BYTES), *[junk] * 40, b"report", b"")

    found: list[tuple[int, bytes]] = []
    while answer := store.read_inbox(race.uid, len(found)):
        assert sum(len(report) for _, report in answer) <= 17 * 1024 * 1024
        found += answer

    assert [number for number, _ in found] == list(range(1, 44))
    assert len(found[0][1]) == keys.REPORT_BYTES + 1
    assert {report for _, report in found[1:41]} == {junk}
    assert [report for _, report in found[41:]] == [b"report", b""]
    assert len(store.read_inbox(race.uid, 1, enough=1)) == 1, "one is read at least"
