"""What the store answers with. Frozen values, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from velodrome.results.records import Outcome

# accepted    it is now the trial's result
# duplicate   this very content is already held: nothing changed
# conflict    the trial has another result: kept beside it, shown, never ranked
# superseded  a failure that a success or a newer failure of the same trial outweighs
Acceptance = Literal["accepted", "duplicate", "conflict", "superseded"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A report that is of no use. `id` is its number in the inbox, so that two collectors count it once.

    `index` and `attempt` are there where it is known which attempt at which trial sent it.
    """

    id: str
    reason: str
    message: str
    index: int | None = None
    attempt: str | None = None


class InboxSize(NamedTuple):
    """What waits in an inbox. `reports` is None where it can't be read; `size` is in bytes of Redis' memory, and None
    where there are too many reports to weigh them.
    """

    reports: int | None
    size: int | None


class Room(NamedTuple):
    """Redis' memory in bytes: what is used, and how much may be; None where nothing limits it."""

    used: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard. `last_at` is when it last got a job or a result."""

    name: str
    jobs: int
    entries: int
    last_at: datetime


class Changes(NamedTuple):
    """How often a board's results and its marks changed. Numbers that differ from earlier ones say that they did."""

    results: int
    marks: int


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """One line of a list of trials. `retries` counts the failed attempts before the result that stands; `taken_over`
    says that another job measured it.
    """

    index: int
    entry: str
    seed: int
    outcome: Outcome
    reason: str | None
    run_seconds: float
    retries: int
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How a job's trials stand. `rejected` is by reason; conflicts are results that were kept beside the accepted."""

    succeeded: int
    failed: int
    conflicts: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EntryState:
    """How an entry's trials stand in one job.

    `reasons` counts failed trials by reason; `running` counts trials that reported progress and have no success yet;
    `entry_id` (`velodrome.plan.entry_id`) is None until the entry's first record; `code` is the digest of the code that
    its first success ran, None where it has no code of its own; `mixed_code` says that another success ran other code.
    """

    entry: str
    entry_id: str | None
    planned: int
    succeeded: int
    failed: int
    running: int
    reasons: Mapping[str, int]
    code: str | None = None
    mixed_code: bool = False


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """What is known of a job's entries that have any result: by entry name, the identity (`velodrome.plan.entry_id`),
    and the digest of the code of its own that it ran; `mixed_code` are those whose trials ran different code.
    """

    ids: Mapping[str, str]
    codes: Mapping[str, str]
    mixed_code: frozenset[str]


@dataclass(frozen=True, slots=True)
class CohortSummary:
    """One set of conditions under which a board's entries have values of a metric key."""

    cohort_id: str
    conditions: Mapping[str, Any]
    words: str
    entries: int
    samples: int
    last_at: datetime


class Row(NamedTuple):
    """An entry's values of one metric key in one cohort, from the newest job that has any. `samples` is by seed.

    A tuple, as boards have thousands of rows and a tuple is made in a third of a dataclass's time. Rows are shared by
    all who read them: nothing in them may be changed. `mixed_code` says that the entry's trials ran different code.
    """

    entry: str
    entry_id: str
    job_uid: str
    job_name: str
    planned: int
    samples: Mapping[int, float]
    last_at: datetime
    mixed_code: bool = False


@dataclass(frozen=True, slots=True)
class JobSamples:
    """An entry's values of one metric key in one job and cohort, by seed."""

    entry: str
    metric_key: str
    cohort_id: str
    values: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that was not imported; lines count from 1."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. `rejected` has the first thousand lines that were refused, `rejected_count` their number.

    `known_lines` counts the lines that are of an export, taken or not: a file without any is something else.
    """

    imported: int
    duplicates: int
    conflicts: int
    superseded: int
    rejected: tuple[RejectedLine, ...]
    rejected_count: int
    known_lines: int = field(default=0, compare=False)
