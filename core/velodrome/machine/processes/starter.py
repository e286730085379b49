"""The client of the runner's warm starter: a process that has imported everything and forks a child for each trial.

A `StarterProcess` is one such process. A `Starter` starts it when a trial first wants it, and again, within bounds,
when it died.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from velodrome.errors import LocalError
from velodrome.machine.files import tail
from velodrome.machine.home import cannot_write

# Importing torch and its relatives from a cold, slow disk takes a while; more than this means that it hangs.
READY_SECONDS = 600.0
# A starter that dies this often without one trial finished in between is not started again.
MOST_DEATHS = 3


@dataclass(frozen=True, slots=True)
class Ready:
    """It has imported everything; trials start at once from now on."""


@dataclass(frozen=True, slots=True)
class Started:
    """A trial's process runs."""

    id: str
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A trial's process is gone: it ended with `code`, or `signal` ended it."""

    id: str
    code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class StartRefused:
    """It could not start a trial's process: the machine is at fault, and `message` says how."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The starter itself is gone, and every trial's process with it. `returncode` is as subprocess tells it."""

    returncode: int


Event = Ready | Started | Exited | StartRefused | Gone


class StarterProcess:
    """One starter process. Make it in the main thread: it ends with the thread that made it.

    It has a session of its own, so that Ctrl-C in the terminal reaches this process alone, which then decides.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._log = log
        try:
            with log.open("wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=dict(environ),
                    start_new_session=True,
                )
        except OSError as error:
            raise cannot_write(log, error) from error
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def launch(self, name: str, environ: Mapping[str, str], log: Path) -> None:
        """Asks for a trial's process; `Started` or `Gone` follows."""
        line = json.dumps({"id": name, "env": dict(environ), "log": str(log)})
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone, and `Gone` says so
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def next_event(self, seconds: float) -> Event | None:
        """The next event, or None if none comes in that time."""
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    def last_words(self) -> str:
        """The end of what it wrote to its standard error."""
        return tail(self._log)

    def terminate(self) -> None:
        """Tells it to end, and its trials with it."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Ends it and its trials at once."""
        with suppress(ProcessLookupError, PermissionError):
            # Its session's only process group, whose number stays taken while a trial is left of it.
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self, grace_seconds: float = 10.0) -> None:
        """Ends it: asks, waits, then kills. Afterwards none of its processes is left."""
        self.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        self.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            event = parse_event(line)
            if event is not None:
                self._events.put(event)
        self._events.put(Gone(self._process.wait()))


def parse_event(line: bytes) -> Event | None:
    """One line of the starter's standard output; None where it is none of its words (a library's print)."""
    try:
        words = json.loads(line)
        match words["event"]:
            case "ready":
                return Ready()
            case "started":
                return Started(str(words["id"]), int(words["pid"]))
            case "exited":
                code, by = words.get("code"), words.get("signal")
                return Exited(str(words["id"]), None if code is None else int(code), None if by is None else int(by))
            case "refused":
                return StartRefused(str(words["id"]), str(words["message"]))
            case _:
                return None
    except (ValueError, KeyError, TypeError):
        return None


class Starter:
    """The starter of one race, whichever process it is at the moment."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._environ = environ
        self._log = log
        self._starter: StarterProcess | None = None
        self._ready = False
        self._ready_by = float("inf")
        self._deaths = 0
        self._fatal: LocalError | None = None

    def ready(self) -> bool:
        """Whether a trial can be launched now; if not, it will be soon.

        Raises:
            LocalError: the starter can't work on this machine, or died again and again, or hangs.
        """
        if self._fatal is not None:
            raise self._fatal
        if self._starter is None:
            self._starter = StarterProcess(self._command, self._environ, self._log)
            self._ready_by = time.monotonic() + READY_SECONDS
        if not self._ready and time.monotonic() > self._ready_by:
            raise LocalError(f"the runner is not ready after {READY_SECONDS:g} s:\n{self._starter.last_words()}")
        return self._ready

    def launch(self, name: str, environ: Mapping[str, str], log: Path) -> None:
        """Asks for a trial's process. Only where it is ready."""
        assert self._starter is not None, "ask `ready` first"
        self._starter.launch(name, environ, log)

    def finished_a_trial(self) -> None:
        """The starter has proven itself: deaths are counted anew."""
        self._deaths = 0

    def events(self, seconds: float) -> list[Event]:
        """What has happened, waiting up to `seconds` for the first of it. `Gone` is the last of its process."""
        if self._starter is None:
            time.sleep(seconds)
            return []
        found: list[Event] = []
        event = self._starter.next_event(seconds)
        while event is not None:
            found.append(event)
            if isinstance(event, Ready):
                self._ready = True
            if isinstance(event, Gone):
                self._lose(self._starter, event)
                break
            event = self._starter.next_event(0)
        return found

    def kill(self) -> None:
        """Ends the starter and every trial at once."""
        if self._starter is not None:
            self._starter.kill()

    def close(self, grace_seconds: float) -> None:
        """Ends the starter and every trial; kills what has not ended by then."""
        if self._starter is not None:
            self._starter.close(grace_seconds)
            self._starter = None

    def _lose(self, starter: StarterProcess, gone: Gone) -> None:
        starter.close(0)
        # It ended by itself before it was ready: the next one would do the same.
        hopeless = not self._ready and gone.returncode >= 0
        self._deaths += 1
        if hopeless or self._deaths >= MOST_DEATHS:
            self._fatal = cannot_start(gone, starter.last_words())
        self._starter, self._ready = None, False


def cannot_start(gone: Gone, words: str) -> LocalError:
    """Why a starter that died can't work here."""
    if "No module named" in words:
        fix = "install what it needs: pip install 'velodrome[runner]'"
    else:
        fix = "`velodrome doctor` shows what is missing"
    return LocalError(f"the runner can't start (it ended with {gone.returncode}): {fix}. Its last words:\n{words}")
