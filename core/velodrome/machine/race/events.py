"""The events that a race reports. Plain values: a terminal draws them, a script reads them as JSON lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from velodrome.plan import Plan, Trial
from velodrome.results.records import Progress, TrialResult


@dataclass(frozen=True, slots=True)
class Opened:
    """The race is about to run the trials `pending`, by index. The other trials were finished before."""

    uid: str
    plan: Plan
    pending: tuple[int, ...]
    parallel: int
    cpus: int  # of each trial


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial's process has started."""

    trial: Trial
    log: str
    pid: int


@dataclass(frozen=True, slots=True)
class TrialProgressed:
    """A running trial reported its progress."""

    trial: Trial
    progress: Progress


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial's result was accepted. `done` of the race's `total` trials are finished now."""

    trial: Trial
    result: TrialResult
    log: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class TrialWithdrawn:
    """A trial's process ended, and the trial is not at fault. It has to run again."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class Waiting:
    """The race waits for something, and starts no trial until then."""

    why: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The wait is over."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the person at the terminal should know."""

    text: str


Event = Opened | TrialStarted | TrialProgressed | TrialFinished | TrialWithdrawn | Waiting | Resumed | Note
Watch = Callable[[Event], None]
