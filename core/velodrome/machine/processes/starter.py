"""The client of the runner's warm starter: a process that has imported everything and forks a child for each trial.

A `StarterProcess` is one such process. A `Starter` starts it for the first trial, and starts it again, a limited
number of times, after it died.
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
from velodrome.kernel.descendants import end_below
from velodrome.machine.files import tail
from velodrome.machine.home import cannot_write

# Importing torch and its dependencies from a slow disk takes a while. A starter that takes longer than this hangs.
READY_SECONDS = 600.0
# A starter that dies this often, with no trial finished in between, is not started again.
MOST_DEATHS = 3


@dataclass(frozen=True, slots=True)
class Ready:
    """The starter has imported everything. From now on trials start at once."""


@dataclass(frozen=True, slots=True)
class Started:
    """A trial's process runs."""

    id: str
    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A trial's process ended: it exited with `code`, or `signal` ended it."""

    id: str
    code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class StartRefused:
    """The starter could not start a trial's process. The cause is the machine, and `message` describes it."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The starter itself ended, and every trial's process with it. `returncode` is as in subprocess."""

    returncode: int


Event = Ready | Started | Exited | StartRefused | Gone


class StarterProcess:
    """One starter process. Create it in the main thread: it ends with the thread that created it.

    It has a session of its own, and so has each of its trials. So Ctrl-C in the terminal reaches only the executor,
    which decides what to do.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._log = log
        self._trials: dict[str, int] = {}
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
        """Asks for a trial's process. `Started` or `Gone` follows."""
        line = json.dumps({"id": name, "env": dict(environ), "log": str(log)})
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended, and `Gone` will report it
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def next_event(self, seconds: float) -> Event | None:
        """The next event, or None if no event comes within `seconds`."""
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    def last_words(self) -> str:
        """The end of what the starter wrote to its standard error."""
        return tail(self._log)

    def terminate(self) -> None:
        """Asks the starter to end, and its trials with it."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Kills the starter and its trials, with all that they started.

        If the starter died before, its trials were sent SIGTERM then, and end what they started. They are killed here,
        if they still run and are what they were: the first processes of their sessions.
        """
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGSTOP)  # it starts nothing while what is below it ends
            end_below(self._process.pid, grace_seconds=0.0)
            self._process.kill()
        for pid in tuple(self._trials.values()):
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)

    def close(self, grace_seconds: float = 10.0) -> None:
        """Asks the starter to end, waits, then kills it. Afterwards all of its processes are gone."""
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
            if isinstance(event, Started):
                self._trials[event.id] = event.pid
            elif isinstance(event, Exited):
                self._trials.pop(event.id, None)
            if event is not None:
                self._events.put(event)
        self._events.put(Gone(self._process.wait()))


def parse_event(line: bytes) -> Event | None:
    """Parses one line of the starter's standard output. None if it is not an event, such as a library's print."""
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
    """The starter of one race. Its process can change during the race."""

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
        """Whether a trial can be launched now. If not, call it again later.

        Raises:
            LocalError: the starter can't work on this machine, or it died too often, or it hangs.
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
        """Asks for a trial's process. Call it only when the starter is ready."""
        assert self._starter is not None, "ask `ready` first"
        self._starter.launch(name, environ, log)

    def finished_a_trial(self) -> None:
        """Notes that the starter works, and counts its deaths from 0 again."""
        self._deaths = 0

    def events(self, seconds: float) -> list[Event]:
        """The events so far; waits up to `seconds` for the first one. `Gone` is the last event of a process."""
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
        """Kills the starter and every trial."""
        if self._starter is not None:
            self._starter.kill()

    def close(self, grace_seconds: float) -> None:
        """Ends the starter and every trial, and kills what has not ended after `grace_seconds`."""
        if self._starter is not None:
            self._starter.close(grace_seconds)
            self._starter = None

    def _lose(self, starter: StarterProcess, gone: Gone) -> None:
        starter.close(0)
        # The process ended by itself before it was ready, and the next one would do the same.
        hopeless = not self._ready and gone.returncode >= 0
        self._deaths += 1
        if hopeless or self._deaths >= MOST_DEATHS:
            self._fatal = cannot_start(gone, starter.last_words())
        self._starter, self._ready = None, False


def cannot_start(gone: Gone, words: str) -> LocalError:
    """The error that says why a starter that died can't work on this machine."""
    if "No module named" in words:
        fix = "install what it needs: pip install 'velodrome[runner]'"
    else:
        fix = "`velodrome doctor` shows what is missing"
    return LocalError(f"the runner can't start (it ended with {gone.returncode}): {fix}. Its last words:\n{words}")
