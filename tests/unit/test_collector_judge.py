"""Which reports become results: table by table, without any Redis."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.collector import Accept, ProgressOf, Reject, judge
from velodrome.keys import REPORT_BYTES
from velodrome.plan import plan
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
    TrialResult,
)
from velodrome.spec import BenchmarkJob

AT = datetime(2026, 1, 1, tzinfo=UTC)
SEEN = Observed(executor="local", node="here", run_seconds=3.0)
PLAN = plan(
    BenchmarkJob.model_validate(
        {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": "race"},
            "spec": {
                "dataset": {"name": "digits"},
                "entries": [
                    {"name": "cnn", "model": {"name": "velodrome/cnn"}},
                    {"name": "mlp", "model": {"name": "velodrome/mlp"}},
                ],
                "trials": {"repeats": 2, "baseSeed": 7},
            },
        }
    )
)


def observe(index: int, attempt: str) -> Observed | None:
    """The executor started one attempt at each trial, and two at trial 1."""
    return SEEN if attempt == f"attempt-{index}" or (index, attempt) == (1, "again") else None


def result(index: int = 2, **change: Any) -> TrialResult:
    trial = PLAN.trial(index)
    fields: dict[str, Any] = {
        "job_uid": "uid",
        "index": index,
        "entry": trial.entry,
        "repeat": trial.repeat,
        "seed": trial.seed,
        "trial_id": trial.id,
        "attempt": f"attempt-{index}",
        "outcome": "Succeeded",
        "metrics": {"accuracy": 0.1 + 0.2, "latency_p50_seconds{batch_size=1}": 1e-3},
        "curves": [
            EpochPoint(
                epoch=1, seconds=1, train_loss=0.5, learning_rate=0.1, samples_per_second=1e3, validation={"loss": 0.4}
            )
        ],
        "dataset": DatasetFacts(
            name="digits", digest="sha256:" + "0" * 64, train_samples=10, validation_samples=2, test_samples=3,
            shape=(1, 8, 8), classes=("0", "1"),
        ),
        "environment": Environment(
            hardware=Hardware(cpu_model="Ryzen", cpu_count=2),
            software=Software(velodrome="0.1.0", python="3.11.7", framework="torch 2.15.0"),
            resources=GrantedResources(cpus=2),
        ),
        "started_at": AT,
        "finished_at": AT,
        **change,
    }  # fmt: skip
    return TrialResult.model_validate(fields)


def report(**change: Any) -> bytes:
    """A valid result report, and then `change` put into its JSON unchecked."""
    document = json.loads(ResultReport(result=result()).model_dump_json())
    document["result"].update(change)
    return json.dumps(document).encode()


def progress(**change: Any) -> bytes:
    news = Progress(job_uid="uid", index=1, attempt="attempt-1", phase="Training", epoch=3, epochs=10, at=AT)
    document = json.loads(ProgressReport(progress=news).model_dump_json())
    document["progress"].update(change)
    return json.dumps(document).encode()


def judged(text: bytes) -> Accept | ProgressOf | Reject:
    return judge(text, PLAN, "uid", observe, AT)


def test_a_result_becomes_a_record_with_what_was_seen_and_planned() -> None:
    accepted = judged(report())

    assert isinstance(accepted, Accept)
    assert accepted.record.result == result()
    assert accepted.record.config == PLAN.trial(2).config
    assert accepted.record.observed == SEEN
    assert accepted.record.accepted_at == AT


@pytest.mark.parametrize(
    ("seen", "alone"),
    [
        (SEEN, True),
        (Observed(executor="kubernetes", concurrent_trials=1, shared=False), True),
        (Observed(executor="kubernetes", concurrent_trials=2, shared=True), False),
        (Observed(executor="kubernetes", concurrent_trials=1, shared=True), False),
        (Observed(executor="local", concurrent_trials=2), False),
    ],
)
def test_energy_of_a_trial_with_neighbours_is_not_its_own(seen: Observed, *, alone: bool) -> None:
    measured = result(metrics={"accuracy": 0.5, "energy_joules": 12.0}, unavailable={"train_seconds": "tested"})
    text = ResultReport(result=measured).model_dump_json().encode()
    found = judge(text, PLAN, "uid", lambda _, __: seen, AT)
    assert isinstance(found, Accept)
    assert ("energy_joules" in found.record.result.metrics) is alone
    assert ("energy_joules" not in found.record.result.unavailable) is alone
    assert found.record.result.metrics["accuracy"] == 0.5
    assert found.record.result.unavailable["train_seconds"] == "tested"


def test_any_attempt_that_was_started_at_the_trial_counts() -> None:
    for attempt in ("attempt-1", "again"):
        text = ResultReport(result=result(1, attempt=attempt)).model_dump_json().encode()
        assert isinstance(judged(text), Accept)


def test_a_failure_needs_no_conditions() -> None:
    failed = result(outcome="Failed", reason="OutOfMemory", metrics={}, dataset=None, environment=None)

    accepted = judged(ResultReport(result=failed).model_dump_json().encode())

    assert isinstance(accepted, Accept)
    assert accepted.record.result == failed


def test_progress_is_told_apart() -> None:
    reported = judged(progress())

    assert isinstance(reported, ProgressOf)
    assert reported.progress.epoch == 3


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        (b"", "InvalidReport", "EOF"),
        (b"\xff\xfe", "InvalidReport", ""),
        (b"null", "InvalidReport", "the report is not valid"),
        (b"[]", "InvalidReport", "the report is not valid"),
        (b'{"type": "trophy"}', "InvalidReport", "trophy"),
        (b'{"type": "result"}', "InvalidReport", "the result is not a JSON object"),
        (b'{"type": "progress"}', "InvalidReport", "progress.progress: Field required"),
        (report()[:-20], "InvalidReport", ""),
        (report(metrics={"accuracy": "high"}), "InvalidReport", "metrics.accuracy"),
        (report(metrics={"accuracy": float("nan")}), "InvalidReport", ""),
        (report(metrics={"accuracy": float("inf")}), "InvalidReport", ""),
        (report(metrics={"acuracy": 0.5}), "InvalidReport", "'acuracy' names no metric of the catalogue"),
        (report(metrics={"accuracy{batch_size=1}": 0.5}), "InvalidReport", "takes no batch_size=1"),
        (report(index=-1), "InvalidReport", "index"),
        (report(outcome="Won"), "InvalidReport", "outcome"),
        (report(outcome="Failed"), "InvalidReport", "a failed trial has a reason"),
        (report(schema_version=2), "SchemaUnsupported", "schema version 2, this Velodrome reads up to 1: update it"),
        (report(schema_version=2, outcome="Won"), "SchemaUnsupported", "schema version 2"),
        (report(schema_version=0), "InvalidReport", "no schema_version"),
        (report(job_uid="other"), "WrongJob", "of job 'other', in the inbox of uid"),
        (report(index=4), "UnplannedTrial", "the plan has no trial 4, but 4 trials"),
        (report(index=3), "UnplannedTrial", "trial 3 was planned with entry 'mlp', not 'cnn'"),
        (report(entry="gru"), "UnplannedTrial", "planned with entry 'cnn', not 'gru'"),
        (report(repeat=0), "UnplannedTrial", "planned with repeat 1, not 0"),
        (report(seed=7), "UnplannedTrial", "planned with seed 8, not 7"),
        (report(trial_id="0" * 16), "UnplannedTrial", "planned with trial_id"),
        (report(attempt="forged"), "UnknownAttempt", "no attempt 'forged' at trial 2 was started here"),
        (report(attempt="attempt-1"), "UnknownAttempt", "no attempt 'attempt-1' at trial 2"),
        (report(dataset=None), "ConditionsMissing", "does not say in which dataset"),
        (report(environment=None), "ConditionsMissing", "does not say in which environment"),
        (report(message="x" * REPORT_BYTES), "TooLarge", f"more than {REPORT_BYTES}"),
        (progress(job_uid="other"), "WrongJob", "of job 'other'"),
        (progress(index=4), "UnplannedTrial", "no trial 4"),
        (progress(attempt="attempt-2"), "UnknownAttempt", "at trial 1"),
        (progress(fraction=1.5), "InvalidReport", "fraction"),
        (progress(loss=float("nan")), "InvalidReport", "loss"),
    ],
)  # fmt: skip
def test_what_is_no_result_of_this_race_is_rejected_with_the_reason(text: bytes, reason: str, says: str) -> None:
    rejected = judged(text)

    assert isinstance(rejected, Reject)
    assert rejected.reason == reason
    assert says in rejected.message


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_nothing_that_anybody_writes_is_more_than_rejected(text: bytes) -> None:
    assert isinstance(judged(text), Reject)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(TrialResult.model_fields)), value=json_values)
def test_a_report_with_any_field_replaced_is_judged(field: str, value: Any) -> None:
    verdict = judged(report(**{field: value}))

    if isinstance(verdict, Accept):
        assert verdict.record.result.trial_id == PLAN.trial(2).id
        assert verdict.record.result.attempt == "attempt-2"
    else:
        assert isinstance(verdict, Reject)


def test_reports_nest_no_deeper_than_the_parser_bears() -> None:
    assert isinstance(judged(b'{"type":"result","result":' + b"[" * 100_000), Reject)


def key_of(index: int, attempt: str) -> str | None:
    """The attempt `again` at trial 1 is of an executor that gives no keys."""
    return None if attempt == "again" else f"key-{index}"


@pytest.mark.parametrize("proof", [None, "", "key-1", "key-22", "Schlüssel", "\ud83d"])
def test_a_report_without_its_trials_key_is_rejected(proof: str | None) -> None:
    for text in (report(), progress(index=1)):
        document = json.loads(text) | ({} if proof is None else {"proof": proof})
        if document["type"] == "progress" and proof == "key-1":
            continue
        found = judge(json.dumps(document).encode("utf-8", "surrogatepass"), PLAN, "uid", observe, AT, key_of)
        assert isinstance(found, Reject)
        assert found.reason in ("UnprovenReport", "InvalidReport")
        assert (found.reason == "InvalidReport") == (proof == "\ud83d")
        assert (found.index, found.attempt) == (None, None), "nothing is said of the trial that it names"


def test_a_report_with_its_trials_key_counts() -> None:
    accepted = judge(json.dumps(json.loads(report()) | {"proof": "key-2"}).encode(), PLAN, "uid", observe, AT, key_of)
    assert isinstance(accepted, Accept)
    assert accepted.record.result == result()
    assert "key-2" not in accepted.record.model_dump_json(), "it is kept nowhere"
    seen = judge(json.dumps(json.loads(progress()) | {"proof": "key-1"}).encode(), PLAN, "uid", observe, AT, key_of)
    assert isinstance(seen, ProgressOf)


def test_attempts_without_a_key_need_none() -> None:
    text = ResultReport(result=result(1, attempt="again")).model_dump_json().encode()
    assert b"proof" not in text, "readers of version 0.1.0 know no such field"
    assert isinstance(judge(text, PLAN, "uid", observe, AT, key_of), Accept)


def test_a_forgery_with_an_impossible_value_says_nothing_of_the_trial() -> None:
    text = report(metrics={"accuracy": 1.7})
    assert judge(text, PLAN, "uid", observe, AT, key_of) == Reject(
        "UnprovenReport",
        "the report of trial 2 shows no key: its runner is older than the operator, so build the image with the "
        "operator's version",
    )
    known = judge(json.dumps(json.loads(text) | {"proof": "key-2"}).encode(), PLAN, "uid", observe, AT, key_of)
    assert isinstance(known, Reject)
    assert (known.reason, known.index) == ("ImpossibleValue", 2)


def test_a_result_of_an_older_schema_or_with_too_many_keys_shows_its_key_too() -> None:
    many = {f'f1{{label="{number}"}}': 0.5 for number in range(5000)}
    for change in ({"schema_version": 0}, {"metrics": many}):
        text = report(**change)
        found = judge(text, PLAN, "uid", observe, AT, key_of)
        assert isinstance(found, Reject)
        with_key = judge(json.dumps(json.loads(text) | {"proof": "key-2"}).encode(), PLAN, "uid", observe, AT, key_of)
        assert not isinstance(with_key, Reject) or with_key.reason != "UnprovenReport"
