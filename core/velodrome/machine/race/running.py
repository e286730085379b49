"""A trial whose process was asked for: how long it may run, and how it is ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from velodrome.machine.race.attempts import Attempt
from velodrome.plan import Trial

# How long a trial that was told to end may take before it is killed.
GRACE_SECONDS = 10.0

Ending = Literal["deadline", "halt"]


@dataclass(slots=True)
class RunningTrial:
    """Its `pid` is known once the process has started. `ending` says why it was told to end, if it was.

    `asked` is when its process was asked for, by the monotonic clock.
    """

    trial: Trial
    attempt: Attempt
    pid: int | None = None
    ending: Ending | None = None
    asked: float = field(default_factory=time.monotonic)
    _deadline: float = float("inf")
    _kill_at: float = float("inf")

    @property
    def seconds(self) -> float:
        """How long ago its process was asked for, whatever became of the wall clock meanwhile."""
        return time.monotonic() - self.asked

    def started(self, pid: int, deadline_seconds: float) -> None:
        """Its process runs, and may do so for that long."""
        self.pid = pid
        self._deadline = time.monotonic() + deadline_seconds

    def end(self, why: Ending) -> None:
        """Tells it to end; a process that has not started yet is told when it has."""
        self.ending = self.ending or why
        if self.pid is not None:
            self._send(self.pid, signal.SIGTERM)
            self._kill_at = time.monotonic() + GRACE_SECONDS

    def end_if_overdue(self) -> None:
        """Ends it where its time is up, and kills it where it was told to end and did not."""
        now = time.monotonic()
        if now > self._deadline and self.ending is None:
            self.end("deadline")
        if now > self._kill_at and self.pid is not None:
            self._send(self.pid, signal.SIGKILL)

    @staticmethod
    def _send(pid: int, number: int) -> None:
        with suppress(ProcessLookupError):  # it ended by itself, and the starter will say so
            os.kill(pid, number)
