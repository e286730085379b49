"""Where the files are that a trial kept. Pure."""

from __future__ import annotations

from velodrome import keys
from velodrome.results.records import JobInfo, TrialRecord


def place_of(job: JobInfo, record: TrialRecord) -> str:
    """The folder of a trial's files, in words: in a claim, or in the data folder of the machine that ran the trial.

    `job` is the job that has the record. A trial that it took over keeps its files where they were made.
    """
    local = folder_here(job, record)
    if local is not None:
        return local
    source = record.taken_from
    uid, index = _kept_by(job, record)
    inside = f"{keys.KEPT_TRIALS}/{index}"
    artifacts = job.document.get("spec", {}).get("artifacts") or {}
    claim = artifacts.get("claimName") if source is None else None
    return f"velodrome/{uid}/{inside}" + (f" of the claim {claim}" if claim else "")


def folder_here(job: JobInfo, record: TrialRecord) -> str | None:
    """The folder of a trial's files below the data folder of the machine that ran it; None for a trial of a cluster."""
    uid, index = _kept_by(job, record)
    return f"jobs/{uid}/{keys.ARTIFACTS}/{keys.KEPT_TRIALS}/{index}" if record.observed.executor == "local" else None


def _kept_by(job: JobInfo, record: TrialRecord) -> tuple[str, int]:
    """The uid of the job in whose folder the files are, and the number of the trial there."""
    source = record.taken_from
    return (job.uid, record.result.index) if source is None else (source.job_uid, source.index)
