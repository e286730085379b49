"""A trial whose process was requested: how long it may run, and how it is ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from velodrome.machine.race.attempts import Attempt
from velodrome.plan import Trial

# A trial that was asked to end has this many seconds before it is killed.
GRACE_SECONDS = 10.0

Ending = Literal["deadline", "halt"]


@dataclass(slots=True)
class RunningTrial:
    """A trial that runs or is about to. `pid` is known once its process has started.

    `checkpoint` is the step of the checkpoint from which it goes on; 0 without one.
    `ending` says why it was asked to end, if it was. `asked` is when its process was requested, by the monotonic clock.
    """

    trial: Trial
    attempt: Attempt
    checkpoint: int = 0
    pid: int | None = None
    ending: Ending | None = None
    asked: float = field(default_factory=time.monotonic)
    _deadline: float = float("inf")
    _kill_at: float = float("inf")

    @property
    def seconds(self) -> float:
        """The seconds since its process was requested. Changes of the wall clock don't matter."""
        return time.monotonic() - self.asked

    def started(self, pid: int, deadline_seconds: float) -> None:
        """Notes that its process runs, and that it may run for `deadline_seconds`."""
        self.pid = pid
        self._deadline = time.monotonic() + deadline_seconds

    def end(self, why: Ending) -> None:
        """Asks the process to end. If it has not started yet, call this again when it has."""
        self.ending = self.ending or why
        if self.pid is not None:
            self._send(self.pid, signal.SIGTERM)
            self._kill_at = time.monotonic() + GRACE_SECONDS

    def end_if_overdue(self) -> None:
        """Asks the process to end if its time is up. Kills it if it was asked to end and did not."""
        now = time.monotonic()
        if now > self._deadline and self.ending is None:
            self.end("deadline")
        if now > self._kill_at and self.pid is not None:
            self._send(self.pid, signal.SIGKILL)

    @staticmethod
    def _send(pid: int, number: int) -> None:
        with suppress(ProcessLookupError):  # it ended by itself, and the starter will report it
            os.kill(pid, number)
