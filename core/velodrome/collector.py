"""From a job's inbox to accepted results: `judge` decides about one report, `Collector` carries the decisions out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from pydantic_core import from_json

from velodrome.errors import SchemaUnsupported
from velodrome.keys import REPORT_BYTES, SCHEMA_VERSION
from velodrome.neighbours import of_this_trial_alone
from velodrome.plan import Plan
from velodrome.results import (
    REPORT,
    Observed,
    Progress,
    ProgressReport,
    ResultReport,
    TrialRecord,
    TrialResult,
    parse_result,
    utc,
)
from velodrome.store import Item, Rejection, Store, Verdict
from velodrome.store.store import ENOUGH_BYTES

# What the executor saw of an attempt at a trial (index, attempt); None where it started no such attempt at that trial.
Observe = Callable[[int, str], Observed | None]

# Why a report is rejected.
REASONS = (
    "TooLarge", "InvalidReport", "SchemaUnsupported", "WrongJob", "UnplannedTrial", "UnknownAttempt",
    "ConditionsMissing",
)  # fmt: skip

_MESSAGE_LIMIT = 1000  # it may quote what the report says


@dataclass(frozen=True, slots=True)
class Accept:
    """The report is a result to accept."""

    record: TrialRecord


@dataclass(frozen=True, slots=True)
class ProgressOf:
    """The report tells of progress."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Reject:
    """The report is of no use. `reason` is one of a few CamelCase words, `message` says what is wrong with this one."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What one round did, in the order of the inbox; records are without their curves.

    `last` says that the inbox held no more when it was read.
    """

    verdicts: tuple[tuple[TrialRecord, Verdict], ...] = ()
    progress: tuple[Progress, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    last: bool = True


def judge(report: bytes, plan: Plan, job_uid: str, observe: Observe, at: datetime) -> Accept | ProgressOf | Reject:
    """Decides about one report, which anybody may have written. Pure, but for what `observe` looks up.

    A result is accepted if it is valid, of this job, of a trial exactly as it was planned, from an attempt that the
    executor started at that trial, and, where it succeeded, tells under which conditions. Reasons to reject a report
    are `REASONS`.
    """
    if len(report) > REPORT_BYTES:
        return Reject("TooLarge", f"the report has more than {REPORT_BYTES} bytes")
    try:
        message = _read(report)
    except SchemaUnsupported as error:
        return Reject(error.reason, str(error))
    except ValueError as error:
        return Reject("InvalidReport", str(error))
    if isinstance(message, Progress):
        return _judge_progress(message, plan, job_uid, observe)
    return _judge_result(message, plan, job_uid, observe, at)


def _read(report: bytes) -> Progress | TrialResult:
    """What the report says, by the present schema.

    Raises:
        SchemaUnsupported: a newer Velodrome wrote it.
        ValueError: it is no report; the message says why.
    """
    try:
        match REPORT.validate_json(report):
            case ProgressReport(progress=progress):
                return progress
            case ResultReport(result=result) if result.schema_version == SCHEMA_VERSION:
                return result
    except ValidationError as error:
        problem = f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
    else:
        problem = "schema_version"
    document = from_json(report)
    if isinstance(document, dict) and document.get("type") == "result":
        return parse_result(json.dumps(document.get("result")))
    raise ValueError(f"the report is not valid: {problem}")


def _judge_progress(progress: Progress, plan: Plan, job_uid: str, observe: Observe) -> ProgressOf | Reject:
    if progress.job_uid != job_uid:
        return _wrong_job(progress.job_uid, job_uid)
    if progress.index >= len(plan):
        return Reject("UnplannedTrial", f"the plan has no trial {progress.index}, but {len(plan)} trials")
    if observe(progress.index, progress.attempt) is None:
        return _unknown_attempt(progress.index, progress.attempt)
    return ProgressOf(progress)


def _judge_result(result: TrialResult, plan: Plan, job_uid: str, observe: Observe, at: datetime) -> Accept | Reject:
    if result.job_uid != job_uid:
        return _wrong_job(result.job_uid, job_uid)
    if result.index >= len(plan):
        return Reject("UnplannedTrial", f"the plan has no trial {result.index}, but {len(plan)} trials")
    trial = plan.trial(result.index)
    for field, said, planned in (
        ("entry", result.entry, trial.entry),
        ("repeat", result.repeat, trial.repeat),
        ("seed", result.seed, trial.seed),
        ("trial_id", result.trial_id, trial.id),
    ):
        if said != planned:
            return Reject("UnplannedTrial", f"trial {trial.index} was planned with {field} {planned!r}, not {said!r}")
    observed = observe(result.index, result.attempt)
    if observed is None:
        return _unknown_attempt(result.index, result.attempt)
    if result.outcome == "Succeeded" and (result.dataset is None or result.environment is None):
        missing = "dataset" if result.dataset is None else "environment"
        return Reject("ConditionsMissing", f"trial {trial.index} succeeded, but does not say in which {missing}")
    measured = of_this_trial_alone(result, observed)
    return Accept(TrialRecord(result=measured, config=trial.config, observed=observed, accepted_at=at))


def _wrong_job(said: str, job_uid: str) -> Reject:
    return Reject("WrongJob", f"the report is of job {said!r}, in the inbox of {job_uid}")


def _unknown_attempt(index: int, attempt: str) -> Reject:
    return Reject("UnknownAttempt", f"no attempt {attempt!r} at trial {index} was started here")


class Collector:
    """Collects one job's inbox. Several at once on one inbox do no harm: each report counts once.

    Between reading and accepting nothing is removed, so a collector that dies is followed by one that does the same
    again. The job must be registered.
    """

    def __init__(
        self, store: Store, plan: Plan, uid: str, observe: Observe, clock: Callable[[], float], count: int = 500
    ) -> None:
        self._store = store
        self._plan = plan
        self._uid = uid
        self._observe = observe
        self._clock = clock
        self._count = count

    def collect_once(self, block_ms: int | None = None) -> Collected:
        """Takes what the inbox holds, up to `count` reports; waits up to `block_ms` for the first.

        Raises as the store does; nothing was taken then, unless the answer alone was lost, which the next round finds.
        """
        entries = self._store.read_inbox(self._uid, self._store.position(self._uid), self._count, block_ms)
        if not entries:
            return Collected()
        at = utc(self._clock())
        items: list[Item] = []
        progress: list[Progress] = []
        rejected: list[Rejection] = []
        for id_, report in entries:
            match judge(report, self._plan, self._uid, self._observe, at):
                case Accept(record):
                    items.append(Item.of(record))
                case ProgressOf(news):
                    progress.append(news)
                case Reject(reason, message):
                    rejected.append(Rejection(id_, reason, message[:_MESSAGE_LIMIT]))
        verdicts = self._store.accept_items(self._uid, entries[-1][0], items, progress, rejected)
        records = (item.record for item in items)
        accepted = tuple(zip(records, verdicts, strict=True))
        read = sum(len(report) for _, report in entries)
        last = len(entries) < self._count and read < ENOUGH_BYTES
        return Collected(accepted, tuple(progress), tuple(rejected), last)
