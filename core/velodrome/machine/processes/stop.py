"""Requests to stop: Ctrl-C, or a signal of the system."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """What signals have asked for. `number` is the first signal, None until it comes. `urgent` says that a second
    signal came: stop at once.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.urgent = False

    @property
    def requested(self) -> bool:
        return self.number is not None

    def request(self, number: int = signal.SIGINT) -> None:
        """The first call asks to stop, the second one to stop at once.

        Raises:
            KeyboardInterrupt: this is the third call. The code that should have reacted is stuck, for example because
                it writes to a pipe that nobody reads.
        """
        if self.urgent:
            raise KeyboardInterrupt
        self.urgent = self.requested
        self.number = self.number or number


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """A `Stop` that SIGINT, SIGTERM and SIGHUP set until the context ends. Use it only in the main thread."""
    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.request(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
