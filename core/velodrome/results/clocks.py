"""Decides which wall times count: the runner's if they fit with what the executor saw, else the executor's. Pure.

Clocks may jump, and a report may contain any time. No report is rejected for its times. Durations that are ranked
come from monotonic clocks; this module does not touch them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from velodrome.metrics.catalogue import LONGEST_SECONDS
from velodrome.results.records import ClaimedTimes, JobInfo, Observed, Progress, TrialRecord, TrialResult

# Clocks that NTP sets differ by less. So do the start of a process and the time at which the executor sees it.
MARGIN = timedelta(minutes=5)
_LONGEST = timedelta(seconds=LONGEST_SECONDS)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)  # where clocks count from


def believed(result: TrialResult, observed: Observed, at: datetime) -> tuple[TrialResult, Observed]:
    """The result with possible times, and the observation. If the runner's times were replaced, the observation has
    them as `claimed`.

    `at` is when the result was read, by the reader's clock.
    """
    if _fits(result, observed, at):
        return result, observed
    claimed = ClaimedTimes(started_at=result.started_at, finished_at=result.finished_at)
    finished = observed.finished_at or at
    started = observed.started_at or finished - timedelta(seconds=observed.run_seconds or 0.0)
    times = {"started_at": min(started, finished), "finished_at": finished}
    return result.model_copy(update=times), observed.model_copy(update={"claimed": claimed})


def _fits(result: TrialResult, observed: Observed, at: datetime) -> bool:
    started, finished = result.started_at, result.finished_at
    first = _FIRST if observed.started_at is None else observed.started_at - MARGIN
    last = (observed.finished_at or at) + MARGIN
    return first <= started <= finished <= last and finished - started <= _LONGEST


def believed_progress(progress: Progress, observed: Observed, at: datetime) -> Progress:
    """The report with a possible time: not after `at`, when it was read, and not before the start of its process."""
    first = _FIRST if observed.started_at is None else observed.started_at - MARGIN
    if first <= progress.at <= at + MARGIN:
        return progress
    return progress.model_copy(update={"at": at})


def believed_job(job: JobInfo, now: datetime) -> JobInfo:
    """The job with a creation time that is not after now. A job of the future would stay the newest of its board."""
    return job if job.created_at <= now + MARGIN else job.model_copy(update={"created_at": now})


def believed_record(record: TrialRecord, now: datetime) -> TrialRecord:
    """An exported record with possible times, if it is imported at `now`."""
    result, observed = believed(record.result, record.observed, now)
    if result is record.result and record.accepted_at <= now + MARGIN:
        return record
    accepted = min(record.accepted_at, now)
    return record.model_copy(update={"result": result, "observed": observed, "accepted_at": accepted})
