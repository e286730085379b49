"""Every name that crosses a process boundary, once: the API group, environment variables, Redis keys, exit codes."""

from __future__ import annotations

from typing import Literal, get_args

GROUP = "velodrome.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "BenchmarkJob"

# The instructions of a runner process, as environment variables.
ENV_SPEC = "VELODROME_SPEC"  # path of the canonical BenchmarkJob, JSON
ENV_INDEX = "JOB_COMPLETION_INDEX"  # set by Kubernetes for Indexed Jobs
ENV_ENTRIES = "VELODROME_ENTRIES"  # positions of the entries whose trials the index counts; without it, all entries
ENV_REPEATS = "VELODROME_REPEATS"  # repeats whose trials the index counts: 5-6; without it, all repeats
ENV_TAKEN_OVER = "VELODROME_TAKEN_OVER"  # trials that another job measured, which the index leaves out: 0-3,7
ENV_JOB_UID = "VELODROME_JOB_UID"
ENV_SEARCH = "VELODROME_SEARCH"  # 1: the index counts search trials, whose parameters are in the instructions
ENV_LANE = "VELODROME_LANE"  # name of a row of search trials: then the index counts its turns, and each turn is a trial
ENV_NODES = (
    "VELODROME_NODES"  # number of pods that train one trial together; that many consecutive indexes are one trial
)
ENV_HOSTS = "VELODROME_HOSTS"  # name of the pod of a completion index, with {index} in it
ENV_ATTEMPT = "VELODROME_ATTEMPT"  # unique for each attempt at a trial: the pod's name, or pid and start time
ENV_REDIS_URL = "VELODROME_REDIS_URL"  # may be absent: then reports go only to the spool folder
ENV_REDIS_USERNAME = "VELODROME_REDIS_USERNAME"  # user of a URL that names none; without it, Redis' default user
# File with that user's password, read at each connection.
ENV_REDIS_PASSWORD_FILE = "VELODROME_REDIS_PASSWORD_FILE"  # noqa: S105 - the name of a variable # nosec B105
ENV_REDIS_CA_FILE = "VELODROME_REDIS_CA_FILE"  # certificates that a rediss:// server's must come from, PEM
ENV_JOB_KEY_FILE = "VELODROME_JOB_KEY_FILE"  # file with what the passwords of races' Redis users derive from
# File with what reports of this trial must show; without it, they show nothing.
ENV_REPORT_KEY_FILE = "VELODROME_REPORT_KEY_FILE"
ENV_DATA = "VELODROME_DATA"  # folder to which dataset.source paths are relative
ENV_SCRATCH = "VELODROME_SCRATCH"  # folder for the spooled report and other files of this trial
ENV_ARTIFACTS = "VELODROME_ARTIFACTS"  # folder in which the job's trials keep files, each in one named by its index
ENV_CPUS = "VELODROME_CPUS"  # threads for this trial; without it, the cgroup's CPU limit
ENV_CONCURRENT = "VELODROME_CONCURRENT_TRIALS"  # number of trials that share this machine, this one included
ENV_DEADLINE = "VELODROME_REPORT_DEADLINE_SECONDS"  # how long the runner tries to deliver its result

# Path of a file: then the process rehearses these entries, writes there what it found, and runs no trial.
ENV_REHEARSAL = "VELODROME_REHEARSAL"

ENV_BOARDS = "VELODROME_BOARDS"  # patterns of the boards that a leaderboard shows, with commas; without it, all boards
ENV_SIGN_IN = "VELODROME_SIGN_IN"  # path of the file that says how people sign in; without it, everybody may look
# The Redis user of a leaderboard whose admins set marks, and the file with its password.
ENV_MARKS_USERNAME = "VELODROME_MARKS_USERNAME"
ENV_MARKS_PASSWORD_FILE = "VELODROME_MARKS_PASSWORD_FILE"  # noqa: S105 - the name of a variable # nosec B105

ENV_PUSHGATEWAY = "VELODROME_PUSHGATEWAY"  # URL of the Pushgateway for live metrics; without it, none are pushed

# What the runner passes to a command of your own in addition (`velodrome.report` reads it).
ENV_TRIAL = "VELODROME_TRIAL"  # path of the trial, JSON
ENV_REPORT = "VELODROME_REPORT"  # path of the file to append reports to, one JSON document a line

# Exit codes of a runner process. Kubernetes' podFailurePolicy and the local executor both use them.
EXIT_OK = 0
# Not 1: any program may end with 1, and a container runtime reports 1 for a program that it never started.
EXIT_FAILED = 70  # sysexits' EX_SOFTWARE: the trial failed; its record was delivered
EXIT_CONFIGURATION = 78  # sysexits' EX_CONFIG: another attempt can't help; its record was delivered
EXIT_PEER_LOST = 76  # sysexits' EX_PROTOCOL: another pod of this trial is gone, and all must start again; no record
EXIT_INTERRUPTED = 143  # 128 + SIGTERM: the trial was asked to end, which is no fault of its own; no record
EXIT_UNDELIVERED = 75  # sysexits' EX_TEMPFAIL: a record waits in the spool folder

ARTIFACTS = "artifacts"  # the folder of a job's files, in its own folder on one machine, and in a pod's scratch folder
# In the folder of a job's files: those of its trials, and of its search trials, each in a folder named by the index.
KEPT_TRIALS, KEPT_SEARCH = "trials", "search"
# In the folder of a trial's files: what its last checkpoint is of, and at which step of the optimizer it was made.
CHECKPOINT_FILE = "checkpoint.json"
CHECKPOINT_STEPS = "steps"

# Lines on the runner's standard error that begin so tell how much of a file has arrived.
DOWNLOADING = "downloading "

# Redis keys, with one prefix. `{uid}` is the BenchmarkJob's uid.
PREFIX = "velodrome"
SCHEMA_VERSION = 1


def inbox(uid: str) -> str:
    """The list that a job's runners append their reports to: each element is a `results.records.Report`, JSON."""
    return f"{PREFIX}:reports:{uid}"


def inbox_stream(uid: str) -> str:
    """The stream that version 0.1.0 used as the inbox. Reports that still arrive there are moved to the inbox."""
    return f"{PREFIX}:inbox:{uid}"


def instructions(uid: str) -> str:
    """Hash: trial index -> `results.records.Outcome`, once accepted. Runners read it, executors write it.

    Of a search trial, `parameters:INDEX` has its parameters, and `stop:INDEX:ATTEMPT` why this attempt is to end early.
    `turn:LANE:NUMBER` has the index of the trial whose turn it is there. Of a trial that confirms a winner,
    `winner:ENTRY` has the parameters of its entry. All JSON, except the reason.
    """
    return f"{PREFIX}:instructions:{uid}"


def run_uid(uid: str, number: int) -> str:
    """The uid under which the results of a BenchmarkJob's run are kept: its own one, for its first run. It gets a
    further run when its search goes on after the winners were stored.
    """
    return uid if number == 1 else f"{uid}.{number}"


def object_uid(uid: str) -> str:
    """The uid of the BenchmarkJob whose results have that uid."""
    return uid.partition(".")[0]


def run_of(uid: str) -> int:
    """The number of the run whose results have that uid."""
    number = uid.partition(".")[2]
    return int(number) if number.isascii() and number.isdecimal() else 1


_OF_SEARCH = ".search"


def search_uid(uid: str) -> str:
    """The uid under which the search trials of a race are kept, apart from those that rank."""
    return f"{uid}{_OF_SEARCH}"


def race_uid(uid: str) -> str:
    """The uid of the race whose trials, or whose search trials, have that uid."""
    return uid.removesuffix(_OF_SEARCH)


# Fields of `instructions`.
PARAMETERS = "parameters:"
WINNER = "winner:"
STOP = "stop:"
TURN = "turn:"


# Field of an entry of `inbox_stream` that holds the report.
STREAM_FIELD = "report"
# A longer report is refused, and read only up to this length.
REPORT_BYTES = 1024 * 1024
# An inbox with this many reports accepts no more progress until it is collected. It always accepts results.
INBOX_MAXIMUM = 20_000

# What the collector keeps, in one Redis database (no Redis Cluster: a batch is accepted by one script over many keys).
# Times are whole microseconds since 1970.
# A place is a number that orders: what was registered or accepted later has a larger one, whatever clocks said. It is a
# time as long as clocks only go forward, and was always one in version 0.1.0: docs/decisions/0025.
JOBS = f"{PREFIX}:jobs"  # sorted set of uids by place
BOARDS = f"{PREFIX}:boards"  # sorted set of names by the place of their newest job or result
BOARD_TIMES = f"{PREFIX}:boards:times"  # hash: board -> when it last got a job or a result
BOARD_OWNERS = f"{PREFIX}:boards:owners"  # hash: board -> the namespace whose job came first
CHANGES = f"{PREFIX}:changes"  # hash: results:BOARD and marks:BOARD -> how often they changed
COHORTS = f"{PREFIX}:cohorts"  # hash: cohort id -> its conditions, JSON

JobPart = Literal[
    "info",  # string: the JobInfo, JSON
    "position",  # string: how many reports of the inbox were collected; in a job of 0.1.0, the stream id of the last
    "trials",  # hash: index -> what decides about later results, and a summary of the trial
    "records",  # hash: index -> the accepted TrialRecord without curves, JSON
    "curves",  # hash: index -> its curves, JSON
    "scores",  # hash: index -> what its model did on each test sample, JSON; and set:ID -> a test split, JSON
    "hidden",  # hash: index -> the Hiding of that trial, JSON
    "conflicts",  # hash: index:digest -> a TrialRecord that differs from the accepted one, JSON
    "failures",  # hash: index:attempt -> digest of the failure that this attempt reported
    "progress",  # hash: index -> the newest Progress, JSON
    "live",  # hash: index -> attempt, then a line for each epoch reported so far, JSON
    "entries",  # hash of counters by entry: succeeded:E, failed:E, reason:R:E; and of each entry id:E, code:E, mixed:E
    "samples",  # hash: metric key, cohort and entry, each on a line -> seeds and values of this job, packed
    "rejected",  # hash: reason -> how many reports were rejected for it
    "rejections",  # list: the newest rejections, JSON
    "suggestions",  # hash: index -> the Suggestion of a search trial, JSON
    "turns",  # hash: index -> LANE:NUMBER of its turn; and next:LANE -> how many turns that lane has
]


def job(uid: str, part: JobPart) -> str:
    """The key of one part of what is kept about a job."""
    return f"{PREFIX}:job:{uid}:{part}"


def of_job(uid: str) -> tuple[str, ...]:
    """Every key that a job may have, including its uncollected reports and its search trials."""
    names = (name for one in (uid, search_uid(uid)) for name in _of_one(one))
    return tuple(dict.fromkeys(names))


def _of_one(uid: str) -> tuple[str, ...]:
    waiting = (inbox(uid), f"{PREFIX}:inbox:{uid}", f"{PREFIX}:reports:{uid}")
    return (*(job(uid, part) for part in get_args(JobPart)), *waiting, instructions(uid))


def board_jobs(board: str) -> str:
    """Sorted set of the uids of a board's jobs by place."""
    return f"{PREFIX}:board:{board}:jobs"


def board_entries(board: str) -> str:
    """Hash: entry name -> age (place and uid, hexadecimal) and uid of the newest job that has it."""
    return f"{PREFIX}:board:{board}:entries"


def board_cohorts(board: str, key: str) -> str:
    """Hash of a metric key's cohorts: samples:ID counts values that rank, last:ID is when the newest was accepted, and
    order:ID is the place of the newest job that has any, hexadecimal; version 0.1.0 wrote none.
    """
    return f"{PREFIX}:board:{board}:cohorts:{key}"


def board_rows(board: str, key: str, cohort_id: str) -> str:
    """Hash: entry name -> the values that rank it in this cohort."""
    return f"{PREFIX}:board:{board}:rows:{cohort_id}:{key}"


def board_baselines(board: str) -> str:
    """Hash: entry and metric key (empty: all of them), each on a line -> the Baseline that was pinned, JSON."""
    return f"{PREFIX}:board:{board}:baselines"


def board_acknowledgements(board: str) -> str:
    """Hash: entry, metric key and job uid, each on a line -> the Acknowledgement of that change, JSON."""
    return f"{PREFIX}:board:{board}:acknowledgements"


def board_log(board: str) -> str:
    """Hash: the newest `LOG_MOST` things that people did to the board's marks, JSON, by a field that sorts by time."""
    return f"{PREFIX}:board:{board}:log"


def board_reading(board: str) -> str:
    """Hash: the board as it was last read, in parts, and `version`: what of the board that is of."""
    return f"{PREFIX}:board:{board}:reading"


LOG_MOST = 1000

# Labels of the objects that the operator makes. The label with a job's uid selects its children.
LABEL_JOB_UID = f"{GROUP}/job-uid"
LABEL_JOB_NAME = f"{GROUP}/job-name"
LABEL_ROLE = f"{GROUP}/role"
ROLE_RUNNER = "runner"
VOLUME_REPORT_KEYS = "report-keys"  # the volume of runner pods whose reports must show a key
VOLUME_ARTIFACTS = "velodrome-artifacts"  # the volume of runner pods whose job keeps files in a claim
ANNOTATION_CONFIRMS = f"{GROUP}/confirms"  # uid of the BenchmarkJob whose regression this one confirms
