"""Turns the reports in a job's inbox into accepted results. `judge` decides about one report. `Collector` reads the
inbox and stores the decisions.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from pydantic_core import from_json

from velodrome.errors import SchemaUnsupported
from velodrome.keys import REPORT_BYTES, SCHEMA_VERSION
from velodrome.plan import Plan
from velodrome.results.bounds import impossible_progress, impossible_result
from velodrome.results.clocks import believed, believed_progress
from velodrome.results.neighbours import of_this_trial_alone
from velodrome.results.records import (
    REPORT,
    REPORTED,
    TOO_MANY,
    Observed,
    Progress,
    ProgressReport,
    ResultReport,
    TrialRecord,
    TrialResult,
    parse_result,
    utc,
)
from velodrome.store import Acceptance, Item, Rejection, Store
from velodrome.store.store import ENOUGH_BYTES

# What the executor saw of an attempt at a trial (index, attempt). None if it started no such attempt at that trial.
Observe = Callable[[int, str], Observed | None]
# The report key that reports of an attempt at a trial (index, attempt) must show. None if they need not show any.
KeyOf = Callable[[int, str], str | None]

# Why a report is rejected.
REASONS = (
    "TooLarge", "InvalidReport", "SchemaUnsupported", "WrongJob", "UnplannedTrial", "UnknownAttempt", "UnprovenReport",
    "ConditionsMissing", "ImpossibleValue",
)  # fmt: skip

_MESSAGE_LIMIT = 1000  # characters; the message may quote the report


@dataclass(frozen=True, slots=True)
class Accept:
    """The report is a result, and is accepted."""

    record: TrialRecord


@dataclass(frozen=True, slots=True)
class ProgressOf:
    """The report is progress."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Reject:
    """The report is rejected. `reason` is one of `REASONS`; `message` says what is wrong with this report.

    `index` and `attempt` are set if the executor started this attempt at this trial. So the trial's page can show why
    it has no result.
    """

    reason: str
    message: str
    index: int | None = None
    attempt: str | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """Reports that were read from an inbox, with their numbers. `last` says that it had no more reports then."""

    reports: tuple[tuple[int, bytes], ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """The decisions about a slice, in the order of the inbox."""

    read: Slice
    items: tuple[Item, ...]
    progress: tuple[Progress, ...]
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """What one round collected, in the order of the inbox. Records are without their curves.

    `last` says that the inbox had no more reports when it was read.
    """

    verdicts: tuple[tuple[TrialRecord, Acceptance], ...] = ()
    progress: tuple[Progress, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    last: bool = True


def _needs_no_key(_index: int, _attempt: str) -> str | None:
    return None


def judge(
    report: bytes, plan: Plan, job_uid: str, observe: Observe, at: datetime, key_of: KeyOf = _needs_no_key
) -> Accept | ProgressOf | Reject:
    """Decides about one report, which anybody may have written. Pure, except for what `observe` looks up.

    A result is accepted if all of this is true:

    - It is valid, and of this job.
    - Its trial is exactly as planned.
    - The executor started its attempt at this trial, and the report shows the key that only this trial's runner has,
      where runners have one.
    - All its values are possible for a trial of this job.
    - If it succeeded, it says under which conditions.

    `REASONS` has the reasons to reject a report. Wall times are no reason: see `velodrome.results.clocks`.
    """
    if len(report) > REPORT_BYTES:
        return Reject("TooLarge", f"the report has more than {REPORT_BYTES} bytes")
    try:
        message, proof = _read(report)
    except SchemaUnsupported as error:
        return Reject(error.reason, str(error))
    except ValueError as error:
        return Reject("InvalidReport", str(error))
    if isinstance(message, Progress):
        judged: Accept | ProgressOf | Reject = _judge_progress(message, plan, job_uid, observe, at)
        index, attempt = message.index, message.attempt
    else:
        judged = _judge_result(message, plan, job_uid, observe, at)
        result = message if isinstance(message, TrialResult) else message.result
        index, attempt = result.index, result.attempt
    if isinstance(judged, Reject) and judged.index is None:
        return judged
    return _unproven(index, key_of(index, attempt), proof) or judged


@dataclass(frozen=True, slots=True)
class _TooMany:
    """A result with more metric keys than any job has. They were left out and not parsed; `message` says how many."""

    result: TrialResult
    message: str


def _read(report: bytes) -> tuple[Progress | TrialResult | _TooMany, str | None]:
    """The content of the report, in the present schema, and its proof.

    Raises:
        SchemaUnsupported: a newer Velodrome wrote it.
        ValueError: it is no report; the message says why.
    """
    try:
        match REPORT.validate_json(report, context=REPORTED):
            case ProgressReport(progress=progress, proof=proof):
                return progress, proof
            case ResultReport(result=result, proof=proof) if result.schema_version == SCHEMA_VERSION:
                return result, proof
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == TOO_MANY:
            document = from_json(report)
            bare = {**document["result"], "metrics": {}}
            return _TooMany(parse_result(json.dumps(bare)), f"metrics: {first['msg']}"), _proof(document)
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    else:
        problem = "schema_version"
    document = from_json(report)
    if isinstance(document, dict) and document.get("type") == "result":
        return parse_result(json.dumps(document.get("result"))), _proof(document)
    raise ValueError(f"the report is not valid: {problem}")


def _proof(document: Mapping[str, object]) -> str | None:
    proof = document.get("proof")
    return proof if isinstance(proof, str) else None


def _unproven(index: int, wanted: str | None, proof: str | None) -> Reject | None:
    """Why the report does not count as one of this trial's runner; None if it does."""
    if wanted is None or (proof is not None and hmac.compare_digest(proof.encode(), wanted.encode())):
        return None
    if proof is None:
        why = "shows no key: its runner is older than the operator, so build the image with the operator's version"
    else:
        why = "shows the key of another trial"
    return Reject("UnprovenReport", f"the report of trial {index} {why}")


def _judge_progress(
    progress: Progress, plan: Plan, job_uid: str, observe: Observe, at: datetime
) -> ProgressOf | Reject:
    if progress.job_uid != job_uid:
        return _wrong_job(progress.job_uid, job_uid)
    if not plan.has(progress.index):
        return _unplanned(progress.index, plan)
    observed = observe(progress.index, progress.attempt)
    if observed is None:
        return _unknown_attempt(progress.index, progress.attempt)
    wrong = impossible_progress(progress, plan.trial(progress.index).config)
    if wrong is not None:
        return Reject("ImpossibleValue", f"progress.{wrong}")
    return ProgressOf(believed_progress(progress, observed, at))


def _judge_result(
    message: TrialResult | _TooMany, plan: Plan, job_uid: str, observe: Observe, at: datetime
) -> Accept | Reject:
    result = message if isinstance(message, TrialResult) else message.result
    if result.job_uid != job_uid:
        return _wrong_job(result.job_uid, job_uid)
    if not plan.has(result.index):
        return _unplanned(result.index, plan)
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
        why = f"trial {trial.index} succeeded, but does not say in which {missing}"
        return Reject("ConditionsMissing", why, result.index, result.attempt)
    wrong = impossible_result(result, trial.config) if isinstance(message, TrialResult) else message.message
    if wrong is not None:
        return Reject("ImpossibleValue", wrong, result.index, result.attempt)
    result, observed = believed(result, observed, at)
    measured = of_this_trial_alone(result, observed)
    return Accept(TrialRecord(result=measured, config=trial.config, observed=observed, accepted_at=at))


def _unplanned(index: int, plan: Plan) -> Reject:
    return Reject("UnplannedTrial", f"the plan has no trial {index}, but {len(plan)} trials")


def _wrong_job(said: str, job_uid: str) -> Reject:
    return Reject("WrongJob", f"the report is of job {said!r}, in the inbox of {job_uid}")


def _unknown_attempt(index: int, attempt: str) -> Reject:
    return Reject("UnknownAttempt", f"no attempt {attempt!r} at trial {index} was started here")


class Collector:
    """Collects one job's inbox. Several collectors may work on one inbox at once: each report counts once.

    Nothing is removed between reading and accepting. If a collector dies, the next one does the same work again. The
    job must be registered.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        uid: str,
        observe: Observe,
        clock: Callable[[], float],
        count: int = 500,
        enough: int = ENOUGH_BYTES,
        key_of: KeyOf = _needs_no_key,
    ) -> None:
        self._key_of = key_of
        self._store = store
        self._plan = plan
        self._uid = uid
        self._observe = observe
        self._clock = clock
        self._count = count
        self._enough = enough

    def collect_once(self) -> Collected:
        """Takes the reports of the inbox, up to `count`.

        Raises as the store does. Then nothing was taken, or only the store's answer was lost. The next round is right
        in both cases.
        """
        return self.take(self.judged(self.read()))

    def read(self) -> Slice:
        """The oldest reports of the inbox, up to `count` and up to `enough` bytes."""
        while self._store.take_over(self._uid):
            pass
        reports = self._store.read_inbox(self._uid, 0, self._count, self._enough)
        size = sum(len(report) for _, report in reports)
        return Slice(tuple(reports), last=len(reports) < self._count and size < self._enough)

    def judged(self, read: Slice) -> Judged:
        """Decides about what was read. Nothing is taken yet, so that it may be judged again."""
        at = utc(self._clock())
        items: list[Item] = []
        progress: list[Progress] = []
        rejected: list[Rejection] = []
        for number, report in read.reports:
            match judge(report, self._plan, self._uid, self._observe, at, self._key_of):
                case Accept(record):
                    items.append(Item.of(record))
                case ProgressOf(news):
                    progress.append(news)
                case Reject(reason, message, index, attempt):
                    rejected.append(Rejection(str(number), reason, message[:_MESSAGE_LIMIT], index, attempt))
        return Judged(read, tuple(items), tuple(progress), tuple(rejected))

    def take(self, judged: Judged) -> Collected:
        """Stores the decisions."""
        if not judged.read.reports:
            return Collected()
        position, _ = judged.read.reports[-1]
        verdicts = self._store.accept_items(self._uid, position, judged.items, judged.progress, judged.rejected)
        records = (item.record for item in judged.items)
        accepted = tuple(zip(records, verdicts, strict=True))
        return Collected(accepted, judged.progress, judged.rejected, judged.read.last)
