"""The processes below a process: found in /proc, and ended. Uses only the standard library.

A process that ends leaves its children to the next process above it that *adopts* orphans, and without such a process
to the machine's first one. So a process that adopts has everything below it that was ever started below it, also a
daemon: a process that left its session and whose parent ended. Only Linux can do that. Elsewhere nothing is found.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
# Processes in these states have ended, and only wait for their parent to ask how.
_ENDED = frozenset("ZX")
_LOOK_SECONDS = 0.01
# A killed process ends at once, unless it waits for a device that does not answer.
_KILLED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """A process that runs. `name` is the first word of its command without its folder, as the kernel cuts it."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def adopt() -> None:
    """Makes this process the parent of all orphans below it, from now on and also after an exec. Not its forks."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int, without: Iterable[int] = (), proc: Path = Path("/proc")) -> list[Found]:
    """The processes below `pid` that run now. Those of `without`, and what is below them, are left out."""
    below: dict[int, list[tuple[Found, str]]] = {}
    for stat in proc.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            head, _, tail = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")
            number, _, name = head.partition(" (")
            state, parent = tail.split()[:2]
            below.setdefault(int(parent), []).append((Found(int(number), name), state))
    left_out, found, waiting = frozenset(without), [], [pid]
    while waiting:
        for process, state in below.get(waiting.pop(), ()):
            if process.pid not in left_out:
                waiting.append(process.pid)
                found += [] if state in _ENDED else [process]
    return found


def end_below(
    pid: int,
    *,
    grace_seconds: float,
    without: Iterable[int] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> list[Found]:
    """Ends what runs below `pid`: asks first (SIGTERM), and kills after `grace_seconds`. Returns what it has ended.

    Those of `without`, and what is below them, are left alone. Returns at once if nothing runs. If `pid` is this
    process, it must adopt orphans, and is asked how its children ended.
    """
    without = frozenset(without)
    asked: dict[int, Found] = {}
    killed_at = time.monotonic() + grace_seconds
    while found := descendants(pid, without):
        now = time.monotonic()
        if now > killed_at + _KILLED_SECONDS:
            break
        for process in found:
            if now >= killed_at or process.pid not in asked:
                _send(process.pid, signal.SIGKILL if now >= killed_at else signal.SIGTERM)
            asked[process.pid] = process
        sleep(_LOOK_SECONDS)
        if pid == os.getpid():
            _reap(asked)
    return list(asked.values())


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reap(pids: Iterable[int]) -> None:
    """Forgets those that have ended, so that their numbers are free again."""
    for pid in pids:
        with suppress(ChildProcessError):  # it is no child of this process, or was asked already
            os.waitpid(pid, os.WNOHANG)
