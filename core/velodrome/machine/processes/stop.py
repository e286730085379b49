"""Being told to stop: Ctrl-C, or a signal of the system."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """What signals have asked for. `number` is the first signal, None while there was none; `urgent` says that there
    was another one: do not be gentle.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.urgent = False

    @property
    def requested(self) -> bool:
        return self.number is not None

    def request(self, number: int = signal.SIGINT) -> None:
        """Asks to stop; the second time, to hurry.

        Raises:
            KeyboardInterrupt: the third time: whoever should have listened is stuck, such as in writing to a pipe
                that nobody reads.
        """
        if self.urgent:
            raise KeyboardInterrupt
        self.urgent = self.requested
        self.number = self.number or number


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """A `Stop` that SIGINT, SIGTERM and SIGHUP set for as long as the context lasts. Main thread only."""
    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.request(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
