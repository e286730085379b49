"""The signals that ask a trial to end, kept from being lost in the code that it runs. Imports no torch.

A signal becomes an exception in the main thread, wherever that is at the time. The code there may swallow it, or make
another error of it: an import does, and a model's factory may. A trial that was only interrupted would then be recorded
as failed. So the signal is noted as well, and the note decides: `check` raises it again where this project's own code
comes by, `guarded` ends the process by it whatever came of the exception, and a process that gets to neither is ended.
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
# A pod has 30 s between SIGTERM and SIGKILL, and a command of one's own has 15 of them to end.
_PATIENCE_SECONDS = 25.0


class Interrupted(BaseException):
    """A signal asks this process to end. It is no `SystemExit`, which a model's factory might raise by itself."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def guarded(run: Callable[[], int], *, patience: float = _PATIENCE_SECONDS) -> int:
    """What `run` returns; where SIGTERM or SIGINT came meanwhile, 128 and its number, whatever `run` made of it.

    The first signal raises `Interrupted` in `run`, once: what cleans up after it is not disturbed by a second. A
    process that is still there so many seconds later ends at once. Main thread only.
    """
    global _noted  # noqa: PLW0603 - a process has one set of signal handlers, and this is what they note
    noted = _noted = _Noted()
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
    """To be called where a trial's work has come a step further, and before its result is told.

    Raises:
        Interrupted: a signal came, and the exception that it became is lost.
    """
    if _noted is not None and _noted.number is not None:
        raise Interrupted(_noted.number)


@dataclass(slots=True)
class _Noted:
    """What the handler noted. A lock is all that it touches: it may run in the middle of anything in this thread."""

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
        """The thread's: waits for a signal, then for the process to end by itself."""
        with self._unasked:
            time.sleep(patience)
        os._exit(128 + (self.number or signal.SIGTERM))


_noted: _Noted | None = None
