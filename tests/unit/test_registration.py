"""What is recorded of a race: the same for the same file, whoever races it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from velodrome.plan import local_uid, plan
from velodrome.results.records import parse_job
from velodrome.results.registration import failed_result, job_info, stored_document
from velodrome.spec import parse_jobs, validate

AT = datetime(2026, 5, 4, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
EXAMPLES = [*sorted((ROOT / "deploy/examples").glob("*.yaml")), Path(__file__).parent / "jobs/full.yaml"]
FIXTURES = ROOT / "tests/fixtures/release_0_1_0/export.jsonl"
TINY = {
    "apiVersion": "velodrome.dev/v1alpha1",
    "kind": "BenchmarkJob",
    "metadata": {"name": "tiny"},
    "spec": {
        "dataset": {"name": "digits"},
        "training": {"earlyStopping": {"patience": 2}},
        "entries": [
            {"name": "a", "model": {"name": "velodrome/mlp", "args": {"hidden": 8}}},
            {"name": "b", "model": {"name": "velodrome/mlp"}, "training": {"earlyStopping": None}},
        ],
    },
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_document_is_the_same_job(path: Path) -> None:
    for job in parse_jobs(path.read_text(encoding="utf-8")):
        again = validate(json.loads(json.dumps(stored_document(job))))
        assert plan(again).configs == plan(job).configs
        assert local_uid(plan(again)) == local_uid(plan(job))
        assert stored_document(again) == stored_document(job)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_document_of_a_file_is_the_same_on_one_machine_and_on_a_cluster(path: Path) -> None:
    for job in parse_jobs(path.read_text(encoding="utf-8")):
        applied = as_an_api_server_has_it(job.model_dump(mode="json", by_alias=True, exclude_unset=True))
        assert stored_document(validate(applied)) == stored_document(job)


def as_an_api_server_has_it(document: dict[str, Any]) -> dict[str, Any]:
    """The object with every default written out, and with what the API server and kubectl note in it."""
    job = validate(document)
    full = job.model_dump(mode="json", by_alias=True, exclude={"metadata"})
    metadata: dict[str, Any] = {
        "namespace": "default",
        **job.model_dump(mode="json", by_alias=True, exclude_unset=True)["metadata"],
        "uid": "5f0c7b7e-2f0e-4b60-9d4e-8f5a3c1d2e4f",
        "creationTimestamp": "2026-05-04T00:00:00Z",
        "generation": 1,
        "resourceVersion": "7",
    }
    noted = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(document)}
    metadata["annotations"] = {**metadata.get("annotations", {}), **noted}
    return {**full, "metadata": metadata, "status": {"conditions": []}}


def test_an_entry_that_turns_something_off_does_so_again() -> None:
    job = validate(TINY)
    document = stored_document(job)
    assert document["spec"]["entries"][1]["training"] == {"earlyStopping": None}
    assert plan(validate(document)).configs["b"].training.early_stopping is None


def test_the_job_says_where_it_belongs() -> None:
    planned = plan(validate(TINY))
    info = job_info(planned, "u", AT)
    assert (info.name, info.namespace, info.board) == ("tiny", "default", "digits")
    assert (info.trials, info.repeats, info.entries) == (10, 5, ("a", "b"))
    assert parse_job(info.model_dump_json()) == info


def test_documents_of_version_0_1_0_are_read_as_the_jobs_that_they_are() -> None:
    lines = [json.loads(line) for line in FIXTURES.read_text(encoding="utf-8").splitlines()]
    jobs = [parse_job(json.dumps(line["job"])) for line in lines if line["type"] == "job"]
    assert jobs
    for info in jobs:
        job = validate(info.document)
        assert plan(validate(stored_document(job))).configs == plan(job).configs


def test_a_trial_whose_process_said_nothing_is_recorded_as_it_was_planned() -> None:
    trial = plan(validate(TINY)).trial(3)
    result = failed_result("u", trial, "pod-1", "RunnerKilled", "it was killed", AT, AT, log_tail="last words")
    assert (result.job_uid, result.index, result.entry, result.repeat) == ("u", 3, "b", 1)
    assert (result.seed, result.trial_id) == (trial.seed, trial.id)
    assert (result.outcome, result.reason, result.log_tail) == ("Failed", "RunnerKilled", "last words")
