"""What every executor records of a race, on one machine and on a cluster. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from velodrome.plan import Plan, Trial
from velodrome.results.records import JobInfo, Rounds, TrialResult
from velodrome.spec import BenchmarkJob

# The annotation in which kubectl keeps a copy of the file that it applied.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_ORDINARY_NAMESPACE = "default"


def job_info(plan: Plan, uid: str, created_at: datetime) -> JobInfo:
    """The job as it is stored with its results."""
    job = plan.job
    return JobInfo(
        uid=uid,
        name=job.metadata.name,
        namespace=job.namespace,
        board=job.board,
        created_at=created_at,
        trials=len(plan),
        repeats=job.spec.trials.most,
        entries=tuple(plan.configs),
        document=stored_document(job),
        rounds=first_round(plan),
    )


def first_round(plan: Plan) -> Rounds | None:
    """What a race until decided asks for before anything is known: the first repeats of each entry. None for others."""
    trials = plan.job.spec.trials
    return None if trials.until is None else Rounds(looks=0, repeats=dict.fromkeys(plan.configs, trials.repeats))


def stored_document(job: BenchmarkJob) -> dict[str, Any]:
    """The job in its shortest form: only what differs from the defaults of its API version. Reading it gives the same
    job.

    An API server adds defaults, a uid and annotations of clients to an object. They are left out here, so a file has
    the same document wherever its race runs.
    """
    document = job.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    metadata = document["metadata"]
    metadata.pop("uid", None)
    if metadata.get("namespace") == _ORDINARY_NAMESPACE:
        del metadata["namespace"]
    if "annotations" in metadata:
        metadata["annotations"].pop(_LAST_APPLIED, None)
        if not metadata["annotations"]:
            del metadata["annotations"]
    return document


def failed_result(
    uid: str,
    trial: Trial,
    attempt: str,
    reason: str,
    message: str,
    started_at: datetime,
    finished_at: datetime,
    *,
    log_tail: str | None = None,
) -> TrialResult:
    """The result of a failed trial whose process could not report the failure. `uid` is the job's."""
    return TrialResult(
        job_uid=uid,
        index=trial.index,
        entry=trial.entry,
        repeat=trial.repeat,
        seed=trial.seed,
        trial_id=trial.id,
        attempt=attempt,
        outcome="Failed",
        reason=reason,
        message=message,
        log_tail=log_tail,
        started_at=started_at,
        finished_at=finished_at,
    )
