"""Stopwatches: for work on a device, which may finish later than the process that queued it, and for waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import torch

Item = TypeVar("Item")


class Meter(Protocol):
    """A counter that runs while the stopwatch runs, such as an energy counter."""

    def start(self) -> None:
        """Called when the stopwatch starts."""

    def stop(self) -> None:
        """Called when it stops."""


class Stopwatch:
    """Seconds of work between `start` and `stop`, summed. The device is idle at each of these moments.

    `before` are seconds that another one counted. `clock` gives monotonic seconds. `meter` runs exactly while the
    stopwatch does.
    """

    def __init__(
        self, clock: Callable[[], float], device: torch.device, meter: Meter | None = None, *, before: float = 0.0
    ) -> None:
        self._clock = clock
        self._synchronize = torch.cuda.synchronize if device.type == "cuda" else _nothing
        self._meter = meter
        self._before = before
        self._started: float | None = None

    def start(self) -> None:
        """Waits until the device has done its queued work, then starts counting."""
        self._synchronize()
        if self._meter is not None:
            self._meter.start()
        self._started = self._clock()

    def stop(self) -> float:
        """Waits until the device has done its queued work, stops counting, and returns all seconds so far."""
        self._synchronize()
        self._before = self.seconds
        self._started = None
        if self._meter is not None:
            self._meter.stop()
        return self._before

    @property
    def seconds(self) -> float:
        """All seconds so far. While it runs, queued work of the device is not included."""
        return self._before + (0.0 if self._started is None else self._clock() - self._started)


class Loading:
    """Seconds in which a loop waited for its next item, summed over loops."""

    def __init__(self, before: float = 0.0) -> None:
        self.seconds = before

    def timed(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items. The time until each of them is there is counted."""
        iterator = iter(items)
        while True:
            begin = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - begin
            yield item


def _nothing() -> None:
    """Nothing to wait for: a CPU has done its work when a call returns."""
