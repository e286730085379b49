"""The client of the runner's warm starter: a process that has imported everything and forks a child for each trial."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from velodrome.machine.files import tail
from velodrome.machine.home import cannot_write


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
class Refused:
    """It could not start a trial's process: the machine is at fault, and `message` says how."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The starter itself is gone, and every trial's process with it. `returncode` is as subprocess tells it."""

    returncode: int


Event = Ready | Started | Exited | Refused | Gone


class Starter:
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
                return Refused(str(words["id"]), str(words["message"]))
            case _:
                return None
    except (ValueError, KeyError, TypeError):
        return None
