"""Every name that crosses a process boundary, once: the API group, environment variables, Redis keys, exit codes."""

from __future__ import annotations

GROUP = "velodrome.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "BenchmarkJob"

# What a runner process is told, by environment variable.
ENV_SPEC = "VELODROME_SPEC"  # path of the canonical BenchmarkJob, JSON
ENV_INDEX = "JOB_COMPLETION_INDEX"  # Kubernetes sets this one for Indexed Jobs
ENV_JOB_UID = "VELODROME_JOB_UID"
ENV_ATTEMPT = "VELODROME_ATTEMPT"  # unique for each process that tries a trial: the pod's name, or pid and start
ENV_REDIS_URL = "VELODROME_REDIS_URL"  # may be absent: reports then go to the spool folder alone
ENV_DATA = "VELODROME_DATA"  # folder below which dataset.source paths lie
ENV_SCRATCH = "VELODROME_SCRATCH"  # folder for the report spool and other files of this trial
ENV_CPUS = "VELODROME_CPUS"  # threads for this trial; without it, the cgroup's CPU limit
ENV_CONCURRENT = "VELODROME_CONCURRENT_TRIALS"  # trials that share this machine at once, this one included
ENV_DEADLINE = "VELODROME_REPORT_DEADLINE_SECONDS"  # how long the runner keeps trying to deliver its result

# How a runner process ends. Kubernetes' podFailurePolicy and the local executor read these alike.
EXIT_OK = 0
EXIT_FAILED = 1  # the trial failed; its record was delivered
EXIT_CONFIGURATION = 78  # sysexits' EX_CONFIG: running it again can't help; its record was delivered
EXIT_UNDELIVERED = 75  # sysexits' EX_TEMPFAIL: a record waits in the spool folder

# Redis. One prefix; `{uid}` is the BenchmarkJob's.
PREFIX = "velodrome"
SCHEMA_VERSION = 1


def inbox(uid: str) -> str:
    """The stream that a job's runners append their reports to."""
    return f"{PREFIX}:inbox:{uid}"


def instructions(uid: str) -> str:
    """What a job's runners may read and nobody but the operator writes."""
    return f"{PREFIX}:instructions:{uid}"


# Field of every inbox entry: one JSON document, a `velodrome.results.Report`.
REPORT_FIELD = "report"
# Progress reports are worth little once newer ones came: the stream is trimmed to about this many entries.
INBOX_MAXIMUM = 100_000
