"""The records that the operator itself writes into Redis. Pure."""

from __future__ import annotations

from datetime import datetime

from velodrome.plan import Plan
from velodrome.results.records import Observed, TrialRecord
from velodrome.results.registration import failed_result
from velodrome_operator.missing_results import MissingResult
from velodrome_operator.races import Race

_UNSEEN = Observed(executor="kubernetes")


def missing_record(race: Race, planned: Plan, lost: MissingResult, now: datetime) -> TrialRecord:
    """The record of a trial that ended without a result."""
    trial, pod = planned.trial(lost.index), lost.pod
    started_at = (pod.started_at if pod else None) or now
    finished_at = (pod.finished_at if pod else None) or now
    attempt = pod.uid if pod else "none"
    result = failed_result(race.trials_uid, trial, attempt, lost.reason, lost.message, started_at, finished_at)
    observed = race.observed(trial.index, pod.uid) if pod else None
    return TrialRecord(result=result, config=trial.config, observed=observed or _UNSEEN, accepted_at=now)
