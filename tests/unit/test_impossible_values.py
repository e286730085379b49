"""What no trial can have measured is rejected by its field, and what one can have is not."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from velodrome.collector import Accept, ProgressOf, Reject, judge
from velodrome.metrics.catalogue import CATALOGUE, LONGEST_SECONDS, MeasuredKeys, MetricKey
from velodrome.plan import plan
from velodrome.results import bounds, clocks
from velodrome.results.records import (
    DatasetFacts,
    Environment,
    EpochPoint,
    GrantedResources,
    Hardware,
    Observed,
    Progress,
    ProgressReport,
    ResultReport,
    Software,
    TrialRecord,
    TrialResult,
)
from velodrome.spec import BenchmarkJob
from velodrome.store.encoding import Item

AT = datetime(2026, 1, 1, tzinfo=UTC)
BEGAN = AT - timedelta(seconds=90)
SEEN = Observed(executor="kubernetes", started_at=BEGAN, run_seconds=80.0)
PLAN = plan(
    BenchmarkJob.model_validate(
        {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": "race"},
            "spec": {
                "dataset": {"name": "digits"},
                "budget": {"maxEpochs": 5},
                "evaluation": {"inference": {"batchSizes": [1, 64]}},
                "entries": [{"name": "cnn", "model": {"name": "velodrome/cnn"}}],
            },
        }
    )
)
KEYS = sorted(MeasuredKeys(10, (1, 64)).ranges)


def point(epoch: int = 1, **change: Any) -> dict[str, Any]:
    made = EpochPoint(
        epoch=epoch, seconds=float(epoch), train_loss=0.5, learning_rate=0.1, samples_per_second=1e3,
        validation={"accuracy": 0.4, "validation_loss": 1.5},
    )  # fmt: skip
    return {**made.model_dump(mode="json"), **change}


def document(**change: Any) -> dict[str, Any]:
    """A valid result; then `change` is put into its JSON unchecked, at paths such as `dataset.test_samples`."""
    trial = PLAN.trial(0)
    result = TrialResult(
        job_uid="uid", index=0, entry=trial.entry, repeat=0, seed=trial.seed, trial_id=trial.id, attempt="a",
        outcome="Succeeded", metrics={"accuracy": 0.9}, curves=(EpochPoint(**point(1)), EpochPoint(**point(2))),
        dataset=DatasetFacts(
            name="digits", digest="sha256:" + "0" * 64, train_samples=10, validation_samples=2, test_samples=3,
            shape=(1, 8, 8), classes=tuple("0123456789"),
        ),
        environment=Environment(
            hardware=Hardware(cpu_model="Ryzen", cpu_count=2),
            software=Software(velodrome="0.1.0", python="3.11.7", framework="torch 2.15.0"),
            resources=GrantedResources(cpus=2),
        ),
        epochs=2, best_epoch=1, started_at=BEGAN, finished_at=AT,
    )  # fmt: skip
    made: dict[str, Any] = json.loads(result.model_dump_json())
    for path, value in change.items():
        *parts, last = path.split(".")
        place = made
        for part in parts:
            place = place[part]
        place[last] = value
    return made


def judged(change: dict[str, Any], seen: Observed = SEEN) -> Accept | ProgressOf | Reject:
    report = json.dumps({"type": "result", "result": document(**change)}).encode()
    return judge(report, PLAN, "uid", lambda index, attempt: seen if attempt == "a" else None, AT)


def progress(**change: Any) -> Accept | ProgressOf | Reject:
    news = Progress(job_uid="uid", index=0, attempt="a", phase="Training", epoch=3, epochs=5, at=AT)
    made = json.loads(ProgressReport(progress=news).model_dump_json())
    made["progress"].update(change)
    return judge(json.dumps(made).encode(), PLAN, "uid", lambda index, attempt: SEEN, AT)


LOST = {"attempt": "a", "step": 9, "repeated_steps": 3, "lost_seconds": 0.5}
FILE = {"name": "weights.pt", "sha256": "0" * 64, "bytes": 9}


def test_what_was_lost_and_kept_is_accepted() -> None:
    saved = {"saved": 2, "seconds": 0.1, "resumed": [LOST], "problem": None}
    assert isinstance(judged({"checkpoints": saved, "artifacts": [FILE]}), Accept)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"checkpoints": {"saved": 2**64, "seconds": 1}}, "checkpoints.saved: "),
        ({"checkpoints": {"saved": 1, "seconds": 1e300}}, "checkpoints.seconds: "),
        ({"checkpoints": {"saved": 1, "seconds": 1, "resumed": [{**LOST, "step": 2**70}]}}, "resumed.0.step: "),
        ({"checkpoints": {"saved": 1, "seconds": 1, "resumed": [{**LOST, "lost_seconds": -1}]}}, "lost_seconds"),
        ({"artifacts": [{**FILE, "bytes": 2**70}]}, "artifacts.0.bytes: "),
        ({"artifacts": [{**FILE, "name": "../weights.pt"}]}, "artifacts.0.name"),
        ({"artifacts": [{**FILE, "sha256": "<b>"}]}, "artifacts.0.sha256"),
        ({"artifacts": [FILE] * 101}, "artifacts"),
    ],
)
def test_what_can_not_be_lost_or_kept_is_rejected(change: dict[str, Any], says: str) -> None:
    verdict = judged(change)
    assert isinstance(verdict, Reject)
    assert says in verdict.message


def test_an_honest_report_is_accepted() -> None:
    assert isinstance(judged({}), Accept)
    assert isinstance(progress(), ProgressOf)


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ({"accuracy": 1.7}, "metrics.accuracy: 1.7 is not between 0 and 1"),
        ({"accuracy": 97.3}, "metrics.accuracy: 97.3 is not between 0 and 1: write 0.973 for 97.3 %"),
        ({"f1{label=3}": 100}, "write 1 for 100 %"),
        ({"accuracy": 1e308}, "metrics.accuracy: 1e+308 is not between 0 and 1"),
        ({"accuracy": 1.0000000000000002}, "not between 0 and 1"),
        ({"recall": -0.01}, "metrics.recall: -0.01 is not between 0 and 1"),
        ({"loss": -0.5}, "metrics.loss: -0.5 is below 0 nats"),
        ({"latency_p50_seconds{batch_size=1}": -5}, "metrics.latency_p50_seconds{batch_size=1}: -5.0 is below 1e-09"),
        ({"latency_p50_seconds{batch_size=1}": 0}, "below 1e-09 seconds"),
        ({"latency_p50_seconds{batch_size=1}": 1e-300}, "below 1e-09 seconds"),
        ({"train_seconds": 1e12}, "metrics.train_seconds: 1000000000000.0 is above"),
        ({"train_samples_per_second": -1}, "below 0 samples_per_second"),
        ({"parameters": -1}, "metrics.parameters: -1.0 is below 0 count"),
        ({"parameters": 1.5}, "metrics.parameters: 1.5 is no whole number of count"),
        ({"peak_memory_bytes": 1e30}, "metrics.peak_memory_bytes: 1e+30 is above"),
        ({"energy_joules": -1e-9}, "below 0 joules"),
        ({"f1{label=10}": 0.5}, "metrics.f1{label=10}: there is no class 10: classes are 0 to 9"),
        ({"f1{label=30000}": 0.5}, "there is no class 30000"),
        ({"latency_p50_seconds{batch_size=2}": 0.5}, "batch size 2 is none of evaluation.inference.batchSizes: 1, 64"),
    ],
)
def test_a_value_or_key_that_no_trial_has_is_rejected_by_name(metrics: dict[str, float], says: str) -> None:
    rejected = judged({"metrics": {"precision": 0.5, **metrics}})
    assert isinstance(rejected, Reject)
    assert rejected.reason == "ImpossibleValue"
    assert says in rejected.message
    assert (rejected.index, rejected.attempt) == (0, "a")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset.test_samples": -3}, "dataset.test_samples"),
        ({"dataset.train_samples": 0}, "dataset.train_samples"),
        ({"dataset.validation_samples": -1}, "dataset.validation_samples"),
        ({"dataset.test_samples": 10**30}, "dataset.test_samples"),
        ({"dataset.shared_samples": 0}, "dataset.shared_samples"),
        ({"dataset.shared_samples": 10**30}, "dataset.shared_samples"),
        ({"dataset.fitted_samples": 0}, "dataset.fitted_samples"),
        ({"dataset.fitted_samples": 10**30}, "dataset.fitted_samples"),
        ({"dataset.shape": [1] * 100}, "dataset.shape"),
        ({"dataset.shape": [-8]}, "dataset.shape"),
        ({"dataset.classes": []}, "dataset.classes"),
        ({"dataset.classes": ["x"] * 20_000}, "dataset.classes"),
        ({"dataset.name": "x" * 2000}, "dataset.name"),
        ({"environment.hardware.cpu_model": "x" * 2000}, "environment.hardware.cpu_model"),
        ({"environment.hardware.cpu_count": 10**30}, "environment.hardware.cpu_count"),
        ({"environment.hardware.accelerator_memory_bytes": -1}, "environment.hardware.accelerator_memory_bytes"),
        ({"environment.resources.nodes": -2}, "environment.resources.nodes"),
        ({"environment.precision": "x" * 2000}, "environment.precision"),
        ({"environment.software.libraries": {f"l{n}": "1" for n in range(500)}}, "environment.software.libraries"),
        ({"environment.software.libraries": {"numpy": "1" * 2000}}, "environment.software.libraries.numpy"),
        ({"epochs": 6}, "epochs"),
        ({"epochs": -1}, "epochs"),
        ({"best_epoch": 0}, "best_epoch"),
        ({"best_epoch": 10**20}, "best_epoch"),
        ({"message": "x" * 20_000}, "message"),
        ({"unavailable": {f"key{n}": "" for n in range(400)}}, "unavailable"),
        ({"unavailable": {"flops": "x" * 2000}}, "unavailable.flops"),
        ({"curves": [point(1), point(1)]}, "curves.1.epoch"),
        ({"curves": [point(2), point(1)]}, "curves.1.epoch"),
        ({"curves": [point(6)]}, "curves.0.epoch"),
        ({"curves": [point(1, seconds=-1)]}, "curves.0.seconds"),
        ({"curves": [point(1, seconds=3), point(2)]}, "curves.1.seconds"),
        ({"curves": [point(1, seconds=1e12)]}, "curves.0.seconds"),
        ({"curves": [point(1, train_loss=1e300)]}, "curves.0.train_loss"),
        ({"curves": [point(1, learning_rate=-1)]}, "curves.0.learning_rate"),
        ({"curves": [point(1, samples_per_second=-1)]}, "curves.0.samples_per_second"),
        ({"curves": [point(1), point(2, validation={"accuracy": 1.7})]}, "curves.1.validation.accuracy"),
        ({"curves": [point(1, validation={"train_seconds": 1.0})]}, "curves.0.validation.train_seconds"),
        ({"curves": [point(1, validation={"acuracy": 0.5})]}, "curves.0.validation.acuracy"),
        ({"curves": [point(1, validation={"f1{label=77}": 0.5})]}, "curves.0.validation.f1{label=77}"),
    ],
)
def test_anything_else_that_can_not_be_is_rejected_by_its_field(change: dict[str, Any], field: str) -> None:
    rejected = judged(change)
    assert isinstance(rejected, Reject)
    assert rejected.reason == "ImpossibleValue"
    assert rejected.message.startswith(f"{field}:"), rejected.message


def test_more_points_than_any_result_has_are_rejected() -> None:
    result = TrialResult.model_validate(document())
    many = result.model_copy(update={"curves": (EpochPoint(**point(1)),) * (bounds.MOST_POINTS + 1)})
    wrong = bounds.impossible_result(many, PLAN.trial(0).config)
    assert wrong is not None
    assert wrong.startswith("curves: ")


def test_keys_by_the_ten_thousand_are_counted_and_not_parsed() -> None:
    """None of them is looked at: a thousand more are not remembered as keys that were parsed."""
    from velodrome.metrics.catalogue import _parse

    before = _parse.cache_info().misses
    rejected = judged({"metrics": {f"f1{{label={label}}}": 0.5 for label in range(20_000, 40_000)}})
    assert isinstance(rejected, Reject)
    assert (rejected.reason, rejected.attempt) == ("ImpossibleValue", "a")
    assert rejected.message.startswith("metrics: 20000 keys")
    assert _parse.cache_info().misses - before < 100


@given(st.sampled_from(KEYS), st.floats(allow_nan=False, allow_infinity=False))
@example("accuracy", -0.0)
@example("loss", 1e100)
@example("parameters", 2.0**53)
def test_a_value_counts_just_where_it_is_in_the_range_of_its_metric(key: str, value: float) -> None:
    metric = MetricKey.parse(key).metric
    least, most = metric.range
    possible = least <= value <= most and (not metric.whole or value == math.floor(value))
    verdict = judged({"metrics": {key: value}})
    assert isinstance(verdict, Accept if possible else Reject)
    assert (metric.impossible(value) is None) == possible


def test_every_metric_has_a_range_in_which_squares_are_held() -> None:
    for metric in CATALOGUE.values():
        least, most = metric.range
        assert -1e100 <= least < most <= 1e100


@given(st.dictionaries(st.sampled_from(["accuracy", "f1", "loss", "validation_loss", "f1{label=2}"]),
                       st.floats(0, 1), max_size=5))  # fmt: skip
def test_quality_in_its_range_is_possible_on_the_validation_split(validation: dict[str, float]) -> None:
    assert isinstance(judged({"curves": [point(1, validation=validation)]}), Accept)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epoch": 6}, "progress.epoch"),
        ({"epoch": -1}, "progress.epoch"),
        ({"epochs": 10**9}, "progress.epochs"),
        ({"loss": 1e200}, "progress.loss"),
        ({"samples_per_second": -4}, "progress.samples_per_second"),
        ({"point": point(1, validation={"accuracy": 17})}, "progress.point.validation.accuracy"),
        ({"point": point(9)}, "progress.point.epoch"),
    ],
)
def test_progress_that_can_not_be_is_rejected_too(change: dict[str, Any], field: str) -> None:
    rejected = progress(**change)
    assert isinstance(rejected, Reject)
    assert rejected.reason == "ImpossibleValue"
    assert rejected.message.startswith(f"{field}:"), rejected.message


# Clocks


def times(started: str, finished: str, seen: Observed = SEEN) -> TrialRecord:
    verdict = judged({"started_at": started, "finished_at": finished}, seen)
    assert isinstance(verdict, Accept)
    return verdict.record


@pytest.mark.parametrize(
    ("started", "finished"),
    [
        ("2025-12-31T23:58:30Z", "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2025-12-31T23:59:00Z"),
        ("2025-12-31T20:00:00Z", "2025-12-31T20:01:00Z"),
        ("2026-01-01T02:00:00Z", "2026-01-01T02:01:00Z"),
    ],
)
@pytest.mark.parametrize("seen", [SEEN, Observed(executor="local", run_seconds=80.0), Observed(executor="local")])
def test_times_that_can_not_be_are_marked_and_replaced(started: str, finished: str, seen: Observed) -> None:
    if seen.started_at is None and started.startswith("2025-12-31T20"):
        return  # hours ago, as far as anybody knows: a report may wait for its collector
    record = times(started, finished, seen)
    claimed = record.observed.claimed
    assert claimed is not None
    assert claimed.model_dump(mode="json") == {"started_at": started, "finished_at": finished}
    assert BEGAN <= record.result.started_at <= record.result.finished_at <= AT
    assert (
        Item.of(record).content
        == TrialResult.model_validate(document(started_at=started, finished_at=finished)).content
    )


def test_times_that_fit_are_left_as_they_are() -> None:
    for shift in (-200, 0, 200):
        started, finished = BEGAN + timedelta(seconds=shift), AT + timedelta(seconds=shift)
        record = times(started.isoformat(), finished.isoformat())
        assert record.observed == SEEN
        assert (record.result.started_at, record.result.finished_at) == (started, finished)


def test_a_copy_that_is_judged_later_is_the_same_result() -> None:
    report = json.dumps({"type": "result", "result": document(finished_at="9999-01-01T00:00:00Z")}).encode()
    first, later = (judge(report, PLAN, "uid", lambda *_: SEEN, at) for at in (AT, AT + timedelta(hours=1)))
    assert isinstance(first, Accept)
    assert isinstance(later, Accept)
    assert first.record.result.finished_at != later.record.result.finished_at
    assert Item.of(first.record).content == Item.of(later.record).content


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_no_time_is_a_reason_to_reject(started: datetime, finished: datetime) -> None:
    record = times(started.isoformat(), finished.isoformat())
    ran = record.result.finished_at - record.result.started_at
    assert timedelta(0) <= ran <= timedelta(seconds=LONGEST_SECONDS)
    assert record.result.finished_at <= AT + clocks.MARGIN
    assert record.reported.finished_at == finished


@given(st.datetimes(timezones=st.just(UTC)))
def test_progress_is_of_a_moment_that_can_be(at: datetime) -> None:
    said = progress(at=at.isoformat())
    assert isinstance(said, ProgressOf)
    assert BEGAN - clocks.MARGIN <= said.progress.at <= AT + clocks.MARGIN


def test_a_record_keeps_its_mark_through_json() -> None:
    record = times("9999-01-01T00:00:00Z", "9999-01-02T00:00:00Z")
    again = TrialRecord.model_validate_json(record.model_dump_json())
    assert again == record
    assert Item.of(again).content == Item.of(record).content
    assert isinstance(ResultReport(result=again.reported).result, TrialResult)


@pytest.mark.parametrize(
    ("confusion", "says"),
    [
        ([[1, 0], [0, 1]], "a row and a column for each of 10 classes"),
        ([[0] * 10] * 9 + [[0] * 9], "a row and a column for each of 10 classes"),
        ([], "0 rows"),
        ([[-1] + [0] * 9] + [[0] * 10] * 9, "below 0"),
        ([[10**6] + [0] * 9] + [[0] * 10] * 9, "it holds 1000000 samples"),
    ],
)
def test_a_confusion_matrix_that_no_test_split_has_is_rejected(confusion: list[list[int]], says: str) -> None:
    rejected = judged({"confusion": confusion})
    assert isinstance(rejected, Reject)
    assert f"confusion: {says}" in rejected.message or says in rejected.message


def test_a_confusion_matrix_of_all_test_samples_is_accepted() -> None:
    samples = document()["dataset"]["test_samples"]
    rows = [[samples, *[0] * 9], *[[0] * 10] * 9]
    assert isinstance(judged({"confusion": rows}), Accept)


def test_a_former_name_of_a_metric_is_accepted_and_recorded_as_the_present_one() -> None:
    accepted = judged({"metrics": {"mean_average_precision": 0.5}, "unavailable": {}})
    assert isinstance(accepted, Accept)
    assert accepted.record.result.metrics == {"average_precision": 0.5}
