"""From a job's inbox to accepted results: `judge` decides about one report, `Collector` carries the decisions out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from velodrome.plan import Plan
from velodrome.results import Observed, Progress, TrialRecord
from velodrome.store import Rejection, Store, Verdict

# What the executor saw of an attempt at a trial (index, attempt); None where it started no such attempt at that trial.
Observe = Callable[[int, str], Observed | None]


@dataclass(frozen=True, slots=True)
class Accept:
    """The report is a result to accept."""

    record: TrialRecord


@dataclass(frozen=True, slots=True)
class ProgressOf:
    """The report tells of progress."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Reject:
    """The report is of no use; `reason` is CamelCase."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What one round did. `last` says that the inbox had nothing more."""

    verdicts: tuple[tuple[TrialRecord, Verdict], ...] = ()
    progress: tuple[Progress, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    last: bool = True


def judge(report: bytes, plan: Plan, job_uid: str, observe: Observe, at: datetime) -> Accept | ProgressOf | Reject:
    """Decides about one report. Pure but for what `observe` looks up."""
    raise NotImplementedError


class Collector:
    """Collects one job's inbox. Several at once on one inbox do no harm."""

    def __init__(
        self, store: Store, plan: Plan, uid: str, observe: Observe, clock: Callable[[], float], count: int = 500
    ) -> None:
        self._store = store
        self._plan = plan
        self._uid = uid
        self._observe = observe
        self._clock = clock
        self._count = count

    def collect_once(self, block_ms: int | None = None) -> Collected:
        """Takes what the inbox holds, up to `count` reports; waits up to `block_ms` for the first."""
        raise NotImplementedError
