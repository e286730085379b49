"""Keeps one warm starter at hand: starts it when a trial first wants it, and again when it died, within bounds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from velodrome.errors import LocalError
from velodrome.machine.processes.starter import Event, Gone, Ready, Starter

# Importing torch and its relatives from a cold, slow disk takes a while; more than this means that it hangs.
READY_SECONDS = 600.0
# A starter that dies this often without one trial finished in between is not started again.
MOST_DEATHS = 3


class Keeper:
    """The starter of one race, whichever process it is at the moment."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._environ = environ
        self._log = log
        self._starter: Starter | None = None
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
            self._starter = Starter(self._command, self._environ, self._log)
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

    def _lose(self, starter: Starter, gone: Gone) -> None:
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
