"""Where the files are that a trial kept. Pure."""

from __future__ import annotations

from velodrome import keys
from velodrome.results.records import JobInfo, TrialRecord


def place_of(job: JobInfo, record: TrialRecord) -> str:
    """The folder of a trial's files, in words: in a claim, or in the data folder of the machine that ran the trial.

    `job` is the job that has the record. A trial that it took over keeps its files where they were made.
    """
    source = record.taken_from
    uid, index = (job.uid, record.result.index) if source is None else (source.job_uid, source.index)
    inside = f"{keys.KEPT_TRIALS}/{index}"
    if record.observed.executor == "local":
        return f"jobs/{uid}/{keys.ARTIFACTS}/{inside}"
    artifacts = job.document.get("spec", {}).get("artifacts") or {}
    claim = artifacts.get("claimName") if source is None else None
    return f"velodrome/{uid}/{inside}" + (f" of the claim {claim}" if claim else "")
