"""What the operator writes into Redis of a race by itself. Pure."""

from __future__ import annotations

from datetime import datetime

from velodrome.plan import Plan
from velodrome.results.records import JobInfo, Observed, TrialRecord, TrialResult
from velodrome_operator.missing_results import MissingResult
from velodrome_operator.races import Race

_UNSEEN = Observed(executor="kubernetes")


def job_info(race: Race, planned: Plan) -> JobInfo:
    """The job as its results remember it, after the object is gone."""
    document = planned.job.model_dump(mode="json", by_alias=True, exclude_none=True)
    return JobInfo(
        uid=race.uid,
        name=race.name,
        namespace=race.namespace,
        board=planned.job.board,
        created_at=race.parent.created_at,
        trials=len(planned),
        repeats=planned.job.spec.trials.repeats,
        entries=tuple(planned.configs),
        document=document,
    )


def missing_record(race: Race, planned: Plan, lost: MissingResult, now: datetime) -> TrialRecord:
    """The record of a trial that ended without a result."""
    trial, pod = planned.trial(lost.index), lost.pod
    result = TrialResult(
        job_uid=race.uid,
        index=trial.index,
        entry=trial.entry,
        repeat=trial.repeat,
        seed=trial.seed,
        trial_id=trial.id,
        attempt=pod.uid if pod else "none",
        outcome="Failed",
        reason=lost.reason,
        message=lost.message,
        started_at=(pod.started_at if pod else None) or now,
        finished_at=(pod.finished_at if pod else None) or now,
    )
    observed = race.observed(trial.index, pod.uid) if pod else None
    return TrialRecord(result=result, config=trial.config, observed=observed or _UNSEEN, accepted_at=now)
