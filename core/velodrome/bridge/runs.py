"""What MLflow is to have of a job and of its trials. Pure: nothing here knows MLflow's library.

A board is an experiment. A job is a run, and each of its trials with a result is a run below that. What a name may
contain follows MLflow's rules for params, metrics and tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from velodrome.canonical import digest
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.cohorts import cohort_of
from velodrome.results.confusion import confusion_of
from velodrome.results.objectives import board_objectives
from velodrome.results.records import DatasetFacts, EpochPoint, JobInfo, TrialRecord

# Tags by which a later export finds what an earlier one wrote.
JOB_UID, INDEX, RESULT = "velodrome.job_uid", "velodrome.index", "velodrome.result"
# The tag that is written last: all that has this digest is there.
DIGEST = "velodrome.digest"
SUPERSEDED = "velodrome.superseded"
PARENT = "mlflow.parentRunId"
_NOTE = "mlflow.note.content"

_MOST_IN_NAME, _MOST_IN_PARAM, _MOST_IN_TAG = 250, 6000, 5000
_MOST_IN_DIGEST = 36
_NOT_IN_NAMES = re.compile(r"[^\w. -]", re.ASCII)

Status = Literal["RUNNING", "FINISHED", "FAILED"]


@dataclass(frozen=True, slots=True, order=True)
class LoggedPoint:
    """One value of a metric. `at` is in milliseconds since 1970."""

    key: str
    value: float
    at: int
    step: int = 0


@dataclass(frozen=True, slots=True)
class LoggedData:
    """A data set as MLflow notes it: `profile` is JSON about its size."""

    name: str
    digest: str
    source: str
    profile: str


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """A run. `digest` is of everything that the run says. `documents` are files of JSON. Times are in milliseconds."""

    name: str
    digest: str
    status: Status
    started: int
    finished: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: tuple[LoggedPoint, ...] = ()
    data: LoggedData | None = None
    documents: Mapping[str, Any] = field(default_factory=dict)


def experiment_name(board: str) -> str:
    """The experiment of a board."""
    return f"velodrome/{board}"


def job_run(job: JobInfo, results: int) -> LoggedRun:
    """The run of a job that has so many results: the conditions that its trials share, and how far it is."""
    spec = {name: value for name, value in job.document.get("spec", {}).items() if name != "entries"}
    over = job.is_over(results)
    tags = _job_tags(job) | {"velodrome.kind": "job", "velodrome.results": f"{results} of {job.asked}"}
    return LoggedRun(
        name=job.name,
        digest=digest({"job": job.uid, "results": results, "over": over}),
        status="FINISHED" if over else "RUNNING",
        started=_milliseconds(job.created_at),
        params={"entries": ", ".join(job.entries)[:_MOST_IN_PARAM], **_params(spec)},
        tags=tags,
        documents={"job.json": dict(job.document)},
    )


def trial_run(job: JobInfo, record: TrialRecord) -> LoggedRun:
    """The run of a trial: its configuration, what was measured, and its curves by epoch."""
    result = record.result
    started, finished = _milliseconds(result.started_at), _milliseconds(result.finished_at)
    config = record.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    named = {"entry": result.entry, "seed": str(result.seed), "repeat": str(result.repeat)}
    documents: dict[str, Any] = {
        "record.json": record.model_dump(mode="json", exclude={"result": {"curves", "scores"}})
    }
    confusion = confusion_of([record])
    if confusion is not None:
        documents["confusion.json"] = {"classes": confusion.classes, "rightByPredicted": confusion.counts}
    values = tuple(LoggedPoint(metric_name(key), value, finished) for key, value in sorted(result.metrics.items()))
    return LoggedRun(
        name=f"{result.entry}/{result.repeat}",
        digest=result.content,
        status="FINISHED" if result.outcome == "Succeeded" else "FAILED",
        started=started,
        finished=finished,
        params=named | _params(config),
        tags=_trial_tags(job, record),
        points=(*values, *(point for epoch in result.curves for point in _curve_points(epoch, started))),
        data=None if result.dataset is None else _data(result.dataset),
        documents=documents,
    )


def metric_name(key: str) -> str:
    """A metric key as MLflow allows it: `f1{label=3}` is `f1.label-3`."""
    return _name(key.replace("}", "").replace("{", ".").replace(",", ".").replace("=", "-"))


def _job_tags(job: JobInfo) -> dict[str, str]:
    return {
        "velodrome.board": job.board,
        "velodrome.job": job.name,
        JOB_UID: job.uid,
        "velodrome.namespace": job.namespace,
    }


def _trial_tags(job: JobInfo, record: TrialRecord) -> dict[str, str]:
    result = record.result
    given = {
        "velodrome.kind": "trial",
        "velodrome.entry": result.entry,
        "velodrome.repeat": str(result.repeat),
        "velodrome.seed": str(result.seed),
        "velodrome.trial": result.trial_id,
        INDEX: str(result.index),
        RESULT: result.content,
        "velodrome.code": result.code,
        "velodrome.dataset_digest": None if result.dataset is None else result.dataset.digest,
        "velodrome.stopped_by": result.stopped_by,
        "velodrome.reason": result.reason,
        "velodrome.disturbed": (result.held.disturbed or None) if result.held is not None else None,
        "velodrome.taken_from": None if record.taken_from is None else record.taken_from.job_name,
        _NOTE: result.message,
    }
    tags = _job_tags(job) | {name: value[:_MOST_IN_TAG] for name, value in given.items() if value is not None}
    return tags | dict(_cohort_tags(job, record))


def _cohort_tags(job: JobInfo, record: TrialRecord) -> Iterator[tuple[str, str]]:
    """For each objective whose value the trial has, the cohort that this value belongs to."""
    for objective in board_objectives([job]):
        if str(objective.key) in record.result.metrics:
            cohort = cohort_of(record, MetricKey.parse(str(objective.key)))
            if cohort is not None:
                yield f"velodrome.cohort.{metric_name(str(objective.key))}"[:_MOST_IN_NAME], cohort.id


def _curve_points(epoch: EpochPoint, started: int) -> Iterator[LoggedPoint]:
    """An epoch's values, at the time of training when it ended. The validation split's are called so."""
    at = started + round(1000 * epoch.seconds)
    values = {
        "train_loss": epoch.train_loss,
        "learning_rate": epoch.learning_rate,
        "samples_per_second": epoch.samples_per_second,
        **{f"validation_{name.removeprefix('validation_')}": value for name, value in epoch.validation.items()},
    }
    for name, value in values.items():
        yield LoggedPoint(f"epoch/{metric_name(name)}", value, at, epoch.epoch)


def _data(facts: DatasetFacts) -> LoggedData:
    numbers = facts.model_dump(include={"train_samples", "validation_samples", "test_samples", "shape"})
    digits = facts.digest.removeprefix("sha256:")
    source = json.dumps({"name": facts.name, "digest": facts.digest})
    return LoggedData(facts.name, digits[:_MOST_IN_DIGEST], source, json.dumps(numbers))


def _params(document: Mapping[str, Any]) -> dict[str, str]:
    """A document's values by path: `training.optimizer.learningRate`. Lists are JSON; nulls are left out."""
    return {_name(path): _text(value)[:_MOST_IN_PARAM] for path, value in _leaves(document, "")}


def _leaves(document: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        elif value is not None:
            yield path, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _name(text: str) -> str:
    """A name that every store of MLflow's takes: in its alphabet, and no path."""
    return re.sub(r"^\.", "_", _NOT_IN_NAMES.sub("_", text))[:_MOST_IN_NAME]


def _milliseconds(at: datetime) -> int:
    return round(1000 * at.timestamp())
