"""Signals that ask a trial to end, and can't get lost in the code that it runs. Does not import torch.

A signal becomes an exception in the main thread, wherever that is at the time. The code there may swallow it or turn it
into another error: an import does, and a model's factory may. Then a trial that was only interrupted would be recorded
as failed. So the signal is also noted, and the note decides. `check` raises it again at points in this project's own
code. `guarded` ends the process by the signal, whatever happened to the exception. A process that reaches neither is
ended.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

_ASKING = (signal.SIGTERM, signal.SIGINT)
# A pod has 30 s between SIGTERM and SIGKILL, and a command of your own has 15 of them to end.
_PATIENCE_SECONDS = 25.0


class Interrupted(BaseException):
    """A signal asks this process to end. Not a `SystemExit`, because a model's factory might raise that itself."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def guarded(
    run: Callable[[], int],
    *,
    patience: float = _PATIENCE_SECONDS,
    last: Callable[[], None] = lambda: None,
) -> int:
    """The value of `run`. After a SIGTERM or SIGINT: 128 plus its number, whatever `run` returned or raised.

    Only the first signal raises `Interrupted` in `run`, so that a second one does not disturb the cleaning up. If the
    process still exists `patience` seconds later, another thread calls `last` and ends it. Main thread only.
    """
    global _noted  # noqa: PLW0603 - a process has one set of signal handlers, and this is what they note
    noted = _noted = _Noted(last)
    threading.Thread(target=noted.end_process, args=(patience,), name="velodrome-interruption", daemon=True).start()
    for number in _ASKING:
        signal.signal(number, noted.on_signal)
    try:
        code = run()
        noted.raises = False
    except BaseException:
        noted.raises = False
        if noted.number is None:
            raise
        code = 0
    return code if noted.number is None else 128 + noted.number


def check() -> None:
    """Call this after each step of a trial's work, and before its result is reported.

    Raises:
        Interrupted: a signal came, and its exception was lost.
    """
    if _noted is not None and _noted.number is not None:
        raise Interrupted(_noted.number)


@dataclass(slots=True)
class _Noted:
    """The signal that the handler noted. Uses only a lock: the handler may interrupt any code of this thread."""

    last: Callable[[], None]
    number: int | None = None
    raises: bool = True
    _unasked: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._unasked.acquire()

    def on_signal(self, number: int, _: FrameType | None) -> None:
        if self.number is not None:
            return
        self.number = number
        self._unasked.release()
        if self.raises:
            raise Interrupted(number)

    def end_process(self, patience: float) -> None:
        """Body of the thread: waits for a signal, and then for the process to end by itself."""
        with self._unasked:
            time.sleep(patience)
        self.last()
        os._exit(128 + (self.number or signal.SIGTERM))


_noted: _Noted | None = None
