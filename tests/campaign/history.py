"""A campaign's history, as JSON lines in a file. Several threads write it; it is read as a whole."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from tests.campaign.model import Event


class History:
    """Appends events to a file, each with the seconds since the file was opened. `events` has all so far."""

    def __init__(self, file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock, self._began = file, clock, clock()
        self._lock = threading.Lock()
        self.events: list[dict[str, Any]] = []

    def note(self, kind: str, **facts: Any) -> None:
        """Writes an event, which is in the file when this returns."""
        with self._lock:
            event = {"at": round(self._clock() - self._began, 3), "kind": kind, **facts}
            self.events.append(event)
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()


def read(path: Path) -> list[Event]:
    """The events of a file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
