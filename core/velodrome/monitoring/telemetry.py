"""Every Prometheus series of Velodrome: its name, help, type and labels. Pure.

The operator exposes `RESULTS`, `BOARDS`, `RACES` and `OPERATOR`. A runner pushes `LIVE` to a Pushgateway while it
trains. Alert rules and dashboards use only these names. Labels have few values: no label names a pod, a seed or a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["gauge", "counter", "histogram", "info", "stateset"]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family. As in prometheus-client, `name` has no `_total` for a counter, and no `_info` for an info."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: Type = "gauge"

    @property
    def exposed(self) -> str:
        """The name in a query. For a histogram, _bucket, _sum or _count follows it."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.type, "")


# Results: for each entry and objective, the newest complete job, in the cohort of its values.
RESULT_LABELS = ("board", "entry", "objective", "cohort")
_VALUE_LABELS = (*RESULT_LABELS, "metric", "unit")

MEAN = Family("velodrome_result_mean", "Mean over the newest job's trials, in the unit of the label.", _VALUE_LABELS)
LOW = Family("velodrome_result_low", "Lower end of the mean's 95 % interval.", _VALUE_LABELS)
HIGH = Family("velodrome_result_high", "Upper end of the mean's 95 % interval.", _VALUE_LABELS)
SAMPLES = Family("velodrome_result_samples", "Trials that the mean is of.", RESULT_LABELS)
RESULT_TIME = Family(
    "velodrome_result_timestamp_seconds", "When the job was created that the newest result is of.", RESULT_LABELS
)
LAST_SUCCESS = Family(
    "velodrome_result_last_success_timestamp_seconds", "When a trial of it last succeeded.", RESULT_LABELS
)
BASELINE_MEAN = Family("velodrome_result_baseline_mean", "Mean of the jobs that it is compared with.", _VALUE_LABELS)
BASELINE_SAMPLES = Family("velodrome_result_baseline_samples", "Trials that the baseline's mean is of.", RESULT_LABELS)
CHANGE = Family(
    "velodrome_result_change_ratio",
    "Change from the baseline, relative to it; of a share above a half, to its errors; its good sign is the metric's.",
    RESULT_LABELS,
)
CHANGE_LOW = Family(
    "velodrome_result_change_low_ratio",
    "Lower bound of the change, at 1 - alpha, corrected as its verdict is.",
    RESULT_LABELS,
)
CHANGE_HIGH = Family(
    "velodrome_result_change_high_ratio",
    "Upper bound of the change, at 1 - alpha, corrected as its verdict is.",
    RESULT_LABELS,
)
VISIBLE = Family(
    "velodrome_result_visible_change_ratio",
    "The smallest change for the worse that would have been called with a probability of 80 %, relative like a change.",
    RESULT_LABELS,
)
VERDICTS = ("Regressed", "MovedTogether", "Accepted", "Improved", "Unchanged", "Unknown")
VERDICT = Family(
    "velodrome_result_verdict",
    "1 for the verdict of the newest job. Accepted: a regression that a person accepted. MovedTogether: one that all"
    " entries of the job have in common.",
    (*RESULT_LABELS, "verdict"),
    "stateset",
)
RESULTS = (
    MEAN, LOW, HIGH, SAMPLES, RESULT_TIME, LAST_SUCCESS, BASELINE_MEAN, BASELINE_SAMPLES, CHANGE, CHANGE_LOW,
    CHANGE_HIGH, VISIBLE, VERDICT,
)  # fmt: skip

# What entries have in common: one series for each objective of a board whose entries became worse together.
MOVED = Family(
    "velodrome_board_moved_together_ratio",
    "How much the entries of the newest job became worse together, as a share; `why` says what else is new.",
    ("board", "objective", "cohort", "entries", "why"),
)
BOARDS = (MOVED,)

# BenchmarkJobs that exist in the cluster, and their trials.
RACE_LABELS = ("namespace", "benchmarkjob")
RACE_STATES = ("Running", "Suspended", "Complete", "Failed")
RACE_STATE = Family(
    "velodrome_benchmarkjob_state", "1 for the state of a BenchmarkJob.", (*RACE_LABELS, "state"), "stateset"
)
RACE_PROGRESS = Family(
    "velodrome_benchmarkjob_progress_timestamp_seconds",
    "When a trial of this running BenchmarkJob last started, reported or ended.",
    RACE_LABELS,
)
RESULTS_WAITING = Family(
    "velodrome_benchmarkjob_results_waiting_since_timestamp_seconds",
    "Since when results of this BenchmarkJob can't be collected; absent where they can.",
    RACE_LABELS,
)
TRIAL_STATES = ("Pending", "Running", "Succeeded", "Failed")
TRIALS = Family(
    "velodrome_trials", "Trials of the BenchmarkJobs that exist, by state.", ("namespace", "board", "state")
)
QUEUE_SECONDS = Family(
    "velodrome_trial_queue_seconds",
    "Time from a pod's creation to its start, of trials whose result was accepted.",
    ("board",),
    "histogram",
)
RUN_SECONDS = Family(
    "velodrome_trial_run_seconds",
    "Time that trials ran whose result was accepted: their pod, or what they say of themselves where it still runs.",
    ("board",),
    "histogram",
)
RACES = (RACE_STATE, RACE_PROGRESS, RESULTS_WAITING, TRIALS, QUEUE_SECONDS, RUN_SECONDS)

# The operator itself. The times are absent until they are known. An exporter without JUDGED_AT exposes no results yet,
# and one without SWEPT_AT no BenchmarkJobs, so that alerts stay as they were. While the operator works, the times
# advance at least once a minute, even if nothing changed.
BUILD = Family("velodrome_operator", "What runs, and where its leaderboard is.", ("version", "leaderboard"), "info")
PASS_OUTCOMES = (
    "Succeeded", "ApiConflict", "ApiUnavailable", "ApiRefused", "StoreUnavailable", "StoreRefused", "NameTaken",
    "Unexpected",
)  # fmt: skip
PASSES = Family("velodrome_operator_passes", "Passes over BenchmarkJobs.", ("outcome",), "counter")
PASS_SECONDS = Family("velodrome_operator_pass_duration_seconds", "How long passes took.", (), "histogram")
API_WRITES = Family("velodrome_operator_api_writes", "Writes to the Kubernetes API.", ("verb",), "counter")
ACCEPTED = Family("velodrome_operator_results", "Results taken from inboxes, by what became of them.", ("verdict",),
                  "counter")  # fmt: skip
SUGGESTED = Family("velodrome_operator_search_suggestions", "Trials that searches suggested.", (), "counter")
SEARCH_SECONDS = Family(
    "velodrome_operator_search_cpu_seconds",
    "CPU time that looking at searches and choosing trials took.",
    (),
    "counter",
)
REJECTED = Family("velodrome_operator_reports_rejected", "Reports that were rejected.", ("reason",), "counter")
TASKS = ("passes", "collection", "sweep", "exporter", "cleaner", "retention", "endpoint")
TASK_FAILURES = Family(
    "velodrome_operator_task_failures",
    "How often a task of the operator ended, which none should, and was started again.",
    ("task",),
    "counter",
)
UNREADABLE = Family(
    "velodrome_operator_objects_unreadable",
    "Objects of the API that could not be read and count for nothing, each time that one was seen.",
    ("kind",),
    "counter",
)
INBOX = Family("velodrome_operator_inboxes_waiting", "Inboxes that held reports when they were last looked into.")
REMOVED = Family(
    "velodrome_operator_jobs_removed",
    "Jobs whose results were deleted, as they were past the retention.",
    (),
    "counter",
)
COLLECTED_AT = Family(
    "velodrome_operator_collected_timestamp_seconds", "When Redis last answered a round of collecting."
)
SWEPT_AT = Family("velodrome_operator_swept_timestamp_seconds", "When a look at everything last came to its end.")
REDIS_UP = Family("velodrome_redis_up", "1 while Redis answers and takes writes, else 0.")
JUDGED_AT = Family(
    "velodrome_exporter_judged_timestamp_seconds", "When the exported results were last brought up to date."
)
SERIES = Family("velodrome_exporter_series", "Series of results and BenchmarkJobs that are exposed.")
SERIES_LIMIT = Family("velodrome_exporter_series_limit", "How many of these are exposed at most.")
SERIES_DROPPED = Family("velodrome_exporter_series_dropped", "How many were left out, for the limit.")
OPERATOR = (
    BUILD, PASSES, PASS_SECONDS, API_WRITES, ACCEPTED, REJECTED, TASK_FAILURES, UNREADABLE, INBOX, REMOVED, SUGGESTED,
    SEARCH_SECONDS,
    COLLECTED_AT, SWEPT_AT, REDIS_UP, JUDGED_AT, SERIES, SERIES_LIMIT, SERIES_DROPPED,
)  # fmt: skip

# Live metrics, which a runner pushes while it trains. Each trial has its own grouping key, so that a later trial does
# not overwrite them.
PUSH_JOB = "velodrome_trial"
GROUPING = ("namespace", "benchmarkjob", "entry", "repeat")
TRIAL_FRACTION = Family("velodrome_trial_progress_ratio", "Share of the trial's training that is done.")
TRIAL_EPOCH = Family("velodrome_trial_epoch", "The epoch that the trial is in.")
TRIAL_LOSS = Family("velodrome_trial_loss", "Training loss now.")
TRIAL_THROUGHPUT = Family("velodrome_trial_samples_per_second", "Training samples per second.")
TRIAL_MEMORY = Family(
    "velodrome_trial_memory_bytes",
    "Memory in use now: resident in the trial's processes (cpu), or on a GPU.",
    ("device",),
)
TRIAL_GPU = Family("velodrome_trial_gpu_utilization_ratio", "Share of time in which the GPU computed.", ("device",))
LIVE = (TRIAL_FRACTION, TRIAL_EPOCH, TRIAL_LOSS, TRIAL_THROUGHPUT, TRIAL_MEMORY, TRIAL_GPU)

FAMILIES = (*RESULTS, *BOARDS, *RACES, *OPERATOR, *LIVE)
