"""The values that the store returns. Frozen, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from velodrome.results.records import Outcome

# accepted    it is now the trial's result
# duplicate   the same result is already stored: nothing changed
# conflict    the trial has a different result: this one is stored and shown, and never ranked
# superseded  a failure of a trial that has a success or a newer failure
Acceptance = Literal["accepted", "duplicate", "conflict", "superseded"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected report. `id` is its number in the inbox, so that two collectors count it once.

    `index` and `attempt` say which attempt at which trial sent it, if that is known.
    """

    id: str
    reason: str
    message: str
    index: int | None = None
    attempt: str | None = None


class InboxSize(NamedTuple):
    """What waits in an inbox. `reports` is None if the inbox can't be read. `size` is in bytes of Redis' memory, and
    None if there are too many reports to measure it.
    """

    reports: int | None
    size: int | None


class Room(NamedTuple):
    """Redis' memory in bytes: how much it uses, and the most that it may use, or None without a limit."""

    used: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Board:
    """A board. `last_at` is when it last got a job or a result."""

    name: str
    jobs: int
    entries: int
    last_at: datetime


class Changes(NamedTuple):
    """How often a board's results and its marks changed. If a number differs from an earlier one, they changed."""

    results: int
    marks: int


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """One line of a list of trials.

    `retries` counts the failed attempts before the accepted result; `taken_over` says that another job measured the
    trial. `initial_weights` is the digest of the weights that it started from, and `pretrained` says that they were
    given; `trained_weights` is the digest after training. `disturbed` says in words what disturbed the trial's
    measuring; it is empty if nothing did. `shared_samples` counts the test samples that were found to train too.
    """

    index: int
    entry: str
    seed: int
    outcome: Outcome
    reason: str | None
    run_seconds: float
    retries: int
    taken_over: bool = False
    initial_weights: str | None = None
    pretrained: bool = False
    trained_weights: str | None = None
    disturbed: str = ""
    shared_samples: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of a job's trials by outcome, of its conflicts, and of its rejected reports by reason."""

    succeeded: int
    failed: int
    conflicts: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EntryState:
    """The state of an entry's trials in one job.

    - `reasons` counts failed trials by reason.
    - `running` counts trials that reported progress and have no success yet.
    - `entry_id` (`velodrome.plan.entry_id`) is None until the entry's first record.
    - `code` is the digest of the own code that the first success ran, or None if the entry has no own code.
    - `mixed_code` says that another success ran different code.
    - `hidden` says which of its runs people have hidden, and why; it is empty if none is. They are counted above.
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
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """Facts of a job's entries that have a result. By entry name: `ids` has the identity (`velodrome.plan.entry_id`),
    `codes` the digest of the own code that it ran. `mixed_code` has the entries whose trials ran different code.
    """

    ids: Mapping[str, str]
    codes: Mapping[str, str]
    mixed_code: frozenset[str]


@dataclass(frozen=True, slots=True)
class CohortSummary:
    """One cohort in which a board's entries have values of a metric key."""

    cohort_id: str
    conditions: Mapping[str, Any]
    words: str
    entries: int
    samples: int
    last_at: datetime


class Row(NamedTuple):
    """An entry's values of one metric key in one cohort, from the newest job that has some. `samples` is by seed.

    `mixed_code` says that the entry's trials ran different code. `hidden` says which of its runs people have hidden,
    and why: `samples` lacks their values. Don't change a row: all readers share it. It is a tuple because
    boards have thousands of rows, and making a tuple takes a third of a dataclass's time.
    """

    entry: str
    entry_id: str
    job_uid: str
    job_name: str
    planned: int
    samples: Mapping[int, float]
    last_at: datetime
    mixed_code: bool = False
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class JobSamples:
    """An entry's values of one metric key in one job and cohort, by seed."""

    entry: str
    metric_key: str
    cohort_id: str
    values: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that was not imported. Lines count from 1."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. `rejected` has the first thousand rejected lines; `rejected_count` counts all of them.

    `known_lines` counts the lines of an export, imported or not. A file without such lines is no export.
    """

    imported: int
    duplicates: int
    conflicts: int
    superseded: int
    rejected: tuple[RejectedLine, ...]
    rejected_count: int
    known_lines: int = field(default=0, compare=False)
