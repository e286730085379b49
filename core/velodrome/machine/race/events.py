"""The events that a race reports. Plain values: a terminal draws them, a script reads them as JSON lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from velodrome.plan import Plan, Trial
from velodrome.results.records import Progress, Rounds, TrialResult
from velodrome.results.rounds import asked


@dataclass(frozen=True, slots=True)
class Opened:
    """The race is about to run the trials `pending`, by index. The other trials were finished before.

    A race until decided has `rounds`, and may ask for more trials later.
    """

    uid: str
    plan: Plan
    pending: tuple[int, ...]
    parallel: int
    cpus: int  # of each trial
    rounds: Rounds | None = None

    @property
    def total(self) -> int:
        """How many trials the race asks for so far."""
        return len(asked(self.plan, self.rounds))


@dataclass(frozen=True, slots=True)
class RoundBegun:
    """A race until decided has looked at its values, and asks for the trials `pending` too, of `total` trials so far.

    `stopped` are the entries that this look stopped. Without pending trials, the race has come to its end.
    """

    rounds: Rounds
    pending: tuple[int, ...]
    stopped: tuple[str, ...]
    total: int


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
    said: str = ""  # of a search trial: its values on validation data, and the best so far
    best: str = ""  # of a search trial: the best so far of its entry


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


Event = Opened | RoundBegun | TrialStarted | TrialProgressed | TrialFinished | TrialWithdrawn | Waiting | Resumed | Note
Watch = Callable[[Event], None]
