"""Keeps the operator's tasks running. A task that ends is logged, counted and started again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

# How long a task that ended waits for its restart: the first time, doubled each time, and at most.
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
# A task that has run for this long is well, and its earlier ends no longer count. This is longer than the rest between
# two sweeps: a task that fails at each sweep is not well.
GOOD_SECONDS = 120.0
# After so many ends in a row, without being well in between, a restart of the whole process may be the cure.
MOST_ENDS = 3

log = logging.getLogger("velodrome.operator")


@dataclass(slots=True)
class _Run:
    """The state of a task: when its present run began, and how often it has ended since it was last well."""

    name: str
    began: float
    ends: int = 0
    last: str = ""


class Supervision:
    """Runs tasks without end. `failures` counts, by name, how often one of them ended.

    `names` are the names of all tasks to come. Several tasks may have the same name, and each is watched by itself.
    """

    def __init__(self, names: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = dict.fromkeys(names, 0)
        self._clock = clock
        self._runs: list[_Run] = []

    async def keep(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Runs `work` until this is cancelled. Starts it again whenever it ends, with an error or without one."""
        run = _Run(name, self._clock())
        self._runs.append(run)
        try:
            while True:
                try:
                    await work()
                    self._note(run, "it came to an end, which it never should", None)
                except Exception as error:  # any error: without the task the operator would be useless
                    self._note(run, f"{type(error).__name__}: {error}", error)
                await asyncio.sleep(_wait(run.ends))
                run.began = self._clock()
        finally:
            self._runs.remove(run)

    def problem(self) -> str | None:
        """What to say about a task that keeps ending. None if all tasks are well, or may be well again."""
        for run in self._runs:
            if run.ends >= MOST_ENDS and self._clock() - run.began < GOOD_SECONDS:
                return f"task {run.name} has ended {run.ends} times in a row: {run.last}"
        return None

    def _note(self, run: _Run, why: str, error: Exception | None) -> None:
        run.ends = 1 if self._clock() - run.began >= GOOD_SECONDS else run.ends + 1
        run.last = why
        self.failures[run.name] = self.failures.get(run.name, 0) + 1
        log.error("task %s ended: %s; again in %.1f s", run.name, why, _wait(run.ends), exc_info=error)


def _wait(ends: int) -> float:
    """Seconds to wait after so many ends in a row."""
    return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(ends - 1, 10))
