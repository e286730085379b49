"""Records of every version keep parsing, those of a newer one are refused, and no value that is none gets in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from velodrome.errors import SchemaUnsupported
from velodrome.keys import SCHEMA_VERSION
from velodrome.results import records
from velodrome.results.records import (
    REPORT,
    JobInfo,
    ProgressReport,
    ResultReport,
    TrialRecord,
    TrialResult,
    parse_job,
    parse_record,
    parse_result,
    utc,
)
from velodrome.spec import validate

# What was written by each version, never written again: that these parse is the promise.
RECORDS = Path(__file__).parent / "records"
PARSERS: dict[str, Callable[[str], TrialRecord | TrialResult | JobInfo]] = {
    "record-succeeded": parse_record,
    "record-failed": parse_record,
    "result": parse_result,
    "job": parse_job,
}


def text(name: str) -> str:
    return (RECORDS / name).read_text(encoding="utf-8")


def document(name: str = "v1-result.json", **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text(name))
    return found | changes


def written(value: Any) -> str:
    return json.dumps(value, allow_nan=True)


# Versions


def test_every_version_has_its_files() -> None:
    for version in range(1, SCHEMA_VERSION + 1):
        assert {path.stem for path in RECORDS.glob(f"v{version}-*.json")} >= {f"v{version}-{name}" for name in PARSERS}


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
@pytest.mark.parametrize("name", PARSERS)
def test_what_every_version_wrote_is_read(name: str, version: int) -> None:
    parsed = PARSERS[name](text(f"v{version}-{name}.json"))
    assert parsed.schema_version == SCHEMA_VERSION  # brought up to date
    assert type(parsed).model_validate_json(parsed.model_dump_json()) == parsed


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def test_nothing_of_a_record_is_lost() -> None:
    record = parse_record(text("v1-record-succeeded.json"))
    written = json.loads(record.model_dump_json())
    # A later version's fields are null where they were not written.
    assert without_nulls(written) == without_nulls(document("v1-record-succeeded.json"))
    assert record.result.metrics["accuracy"] == 0.9527777777777777
    assert record.result.curves[1].validation == {"validation_loss": 0.25, "accuracy": 0.94}
    assert record.config.model is not None
    assert record.config.model.args == {"width": 16}
    assert record.result.dataset is not None
    assert record.result.dataset.shape == (1, 8, 8)


def test_a_failure_says_why() -> None:
    record = parse_record(text("v1-record-failed.json"))
    assert record.result.reason == "LossNotFinite"
    assert record.result.log_tail == "epoch 1/2: loss nan\n"


def test_a_job_can_be_run_again_from_its_results() -> None:
    job = parse_job(text("v1-job.json"))
    assert validate(job.document).metadata.name == job.name


@pytest.mark.parametrize("name", PARSERS)
def test_what_a_newer_version_wrote_is_refused(name: str) -> None:
    newer = document(f"v1-{name}.json", schema_version=SCHEMA_VERSION + 1)
    message = f"schema version {SCHEMA_VERSION + 1}, this Velodrome reads up to {SCHEMA_VERSION}: update it"
    with pytest.raises(SchemaUnsupported, match=message):
        PARSERS[name](written(newer))


@pytest.mark.parametrize("version", [None, 0, -1, "1", 1.5, True, []], ids=repr)
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    with pytest.raises(ValueError, match="has no schema_version that is a number from 1 on"):
        parse_result(written(document(schema_version=version)))


def test_an_old_document_is_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def second(found: dict[str, Any]) -> dict[str, Any]:
        assert found["schema_version"] == 1
        return found | {"entry": found["entry"] + "-2"}

    def third(found: dict[str, Any]) -> dict[str, Any]:
        assert found["schema_version"] == 2
        return found | {"entry": found["entry"] + "-3"}

    monkeypatch.setattr(records, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(records, "MIGRATIONS", {"result": {1: second, 2: third}})
    parsed = parse_result(text("v1-result.json"))
    assert (parsed.entry, parsed.schema_version) == ("cnn-2-3", 3)
    later = parse_result(written(document(schema_version=2)))
    assert (later.entry, later.schema_version) == ("cnn-3", 3)


def test_every_step_between_versions_has_a_migration() -> None:
    for what in ("record", "job", "result"):
        assert set(records.MIGRATIONS[what]) == set(range(1, SCHEMA_VERSION))


def test_what_a_newer_writer_adds_is_dropped() -> None:
    assert parse_result(written(document(colour="red"))) == parse_result(text("v1-result.json"))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("", "the record is not JSON"),
        ("{", "the record is not JSON"),
        ("\xff", "the record is not JSON"),
        ("[1]", "the record is not a JSON object"),
        ("null", "the record is not a JSON object"),
        ("{}", "the record has no schema_version"),
        ('{"schema_version": 1}', "the record is not valid: result: Field required"),
        ('{"schema_version": 1, "result": NaN}', "the record is not JSON"),
    ],
)
def test_what_is_no_record_is_refused_with_a_reason(broken: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_record(broken)


# Values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"accuracy": float("nan")}}, "finite"),
        ({"metrics": {"accuracy": float("inf")}}, "finite"),
        ({"metrics": {"acuracy": 1.0}}, "names no metric of the catalogue"),
        ({"metrics": {"latency_p50_seconds": 1.0}}, "needs a batch_size"),
        ({"outcome": "Done"}, "Succeeded"),
        ({"outcome": "Failed"}, "a failed trial has a reason"),
        ({"reason": "OutOfMemory"}, "a succeeded one has none"),
        ({"outcome": "Failed", "reason": "out of memory"}, "pattern"),
        ({"index": -1}, "greater than or equal to 0"),
        ({"started_at": "2026-01-01T00:00:00"}, "timezone"),
        ({"log_tail": "x" * 40_000}, "at most 32768 characters"),
        ({"dataset": {"name": "digits"}}, "Field required"),
    ],
)
def test_a_result_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrialResult.model_validate(document(**changes))


def test_reports_are_told_apart_by_their_type() -> None:
    progress = REPORT.validate_json(text("v1-progress.json"))
    assert isinstance(progress, ProgressReport)
    assert progress.progress.point is not None
    assert progress.progress.point.validation["accuracy"] == 0.81
    result = REPORT.validate_json(written({"type": "result", "result": document()}))
    assert isinstance(result, ResultReport)
    with pytest.raises(ValidationError):
        REPORT.validate_json(written({"type": "gossip", "result": document()}))


def test_two_copies_of_a_report_have_one_content() -> None:
    result = parse_result(text("v1-result.json"))
    assert TrialResult.model_validate_json(result.model_dump_json()).content == result.content


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"accuracy": 0.9527777777777778}},
        {"attempt": "1-0-0000"},
        {"epochs": 1},
        {"curves": []},
        {"finished_at": "2026-01-01T00:00:12.250001Z"},
        {"unavailable": {}},
    ],
    ids=str,
)
def test_another_result_has_another_content(changes: dict[str, Any]) -> None:
    result = parse_result(text("v1-result.json"))
    assert TrialResult.model_validate(document(**changes)).content != result.content


def test_contents_are_the_same_in_every_version(golden: Callable[[str, str], None]) -> None:
    contents = {
        name: parse_record(text(f"v1-{name}.json")).result.content for name in ("record-succeeded", "record-failed")
    }
    golden("contents.json", json.dumps(contents, indent=2) + "\n")


def test_a_record_cannot_be_changed() -> None:
    record: TrialRecord = parse_record(text("v1-record-succeeded.json"))
    with pytest.raises(ValidationError, match="frozen"):
        record.result.entry = "other"


def test_times_are_utc() -> None:
    assert utc(0).isoformat() == "1970-01-01T00:00:00+00:00"
    assert utc(1767225612.25).isoformat() == "2026-01-01T00:00:12.250000+00:00"
