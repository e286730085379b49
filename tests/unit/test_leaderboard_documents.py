"""What people take away: a job that runs again, and a table that a spreadsheet reads."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from velodrome.plan import entry_id, plan
from velodrome.results.records import JobInfo, Observed, TrialRecord, TrialResult
from velodrome.results.registration import stored_document
from velodrome.spec import parse_jobs
from velodrome_leaderboard.documents import job_yaml, trials_csv

AT = datetime(2026, 5, 4, tzinfo=UTC)
JOB = """
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: tiny}
spec:
  dataset: {name: digits}
  training: {optimizer: {name: AdamW, learningRate: 1e-5}, earlyStopping: {patience: 2}}
  entries:
  - {name: plain, model: {name: velodrome/mlp}}
  - {name: "007", model: {name: velodrome/mlp, args: {hidden: 64}}, training: {batchSize: 32}}
  trials: {repeats: 2}
"""
(SPEC,) = parse_jobs(JOB)
INFO = JobInfo(
    uid="u", name="tiny", namespace="default", board="digits", created_at=AT, trials=4, repeats=2,
    entries=("plain", "007"), document=stored_document(SPEC),
)  # fmt: skip


def test_the_file_of_a_job_is_that_job() -> None:
    assert parse_jobs(job_yaml(INFO)) == (SPEC,)


def test_what_an_entry_turns_off_stays_off() -> None:
    (spec,) = parse_jobs(JOB.replace("training: {batchSize: 32}", "training: {earlyStopping: null}"))
    info = INFO.model_copy(update={"document": stored_document(spec)})
    assert plan(parse_jobs(job_yaml(info))[0]).configs == plan(spec).configs
    assert "earlyStopping: null" in job_yaml(info, "007")


@pytest.mark.parametrize("entry", ["plain", "007"])
def test_the_file_of_an_entry_is_that_entry_under_the_same_conditions(entry: str) -> None:
    (alone,) = parse_jobs(job_yaml(INFO, entry))
    assert [found.name for found in alone.spec.entries] == [entry]
    assert entry_id(plan(alone).configs[entry]) == entry_id(plan(SPEC).configs[entry])
    assert plan(alone).configs[entry] == plan(SPEC).configs[entry]


def record(index: int, reason: str | None = None, attempt: str = "a", **metrics: float) -> TrialRecord:
    trial = plan(SPEC).trial(index)
    result = TrialResult(
        job_uid="u", index=index, entry=trial.entry, repeat=trial.repeat, seed=trial.seed, trial_id=trial.id,
        attempt=attempt, outcome="Failed" if reason else "Succeeded", reason=reason, metrics=metrics,
        started_at=AT, finished_at=AT,
    )  # fmt: skip
    observed = Observed(executor="local", run_seconds=1.5)
    return TrialRecord(result=result, config=trial.config, observed=observed, accepted_at=AT)


def test_the_table_has_a_line_for_each_trial_and_exact_values() -> None:
    value = 0.1 + 0.2
    rows = list(csv.DictReader(io.StringIO(trials_csv([record(0, accuracy=value), record(1, reason="OutOfMemory")]))))
    assert [(row["entry"], row["outcome"], row["reason"]) for row in rows] == [
        ("plain", "Succeeded", ""),
        ("007", "Failed", "OutOfMemory"),
    ]
    assert float(rows[0]["accuracy"]) == value
    assert rows[1]["accuracy"] == ""
    assert rows[0]["run_seconds"] == "1.5"


def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    (row,) = csv.DictReader(io.StringIO(trials_csv([record(0, attempt="=HYPERLINK(1)", accuracy=-1.0)])))
    assert row["attempt"] == "'=HYPERLINK(1)"
    assert row["accuracy"] == "-1.0"


def test_no_trials_make_a_table_of_headings() -> None:
    assert trials_csv([]).startswith("index,entry,")
