"""Timing calls one by one: the protocol of every latency, whatever framework is called. The standard library alone."""

from __future__ import annotations

import gc
from collections.abc import Callable

# A quantile of n calls is told from this many calls beyond it on: p99 needs 100 calls, p90 ten, p50 two.
BEYOND = 1
CALLS = 100
# Slow models stop short of that many calls when they have taken this many times the least run time.
_PATIENCE = 10


def call_times(call: Callable[[], object], seconds: float, clock: Callable[[], float]) -> list[float]:
    """Seconds of each of at least 100 calls over at least `seconds`, or of fewer that took ten times that."""
    times: list[float] = []
    collects = gc.isenabled()
    gc.disable()  # as timeit does: a collection is the measuring program's work, not the model's
    try:
        begin = clock()
        while True:
            before = clock()
            call()
            after = clock()
            times.append(after - before)
            enough = len(times) >= CALLS and after - begin >= seconds
            if enough or (after - begin >= _PATIENCE * seconds and len(times) >= 2 * BEYOND):
                return times
    finally:
        if collects:
            gc.enable()


def too_few(times: list[float], percent: int) -> str | None:
    """Why so few calls can't show a percentile; None where they can."""
    if len(times) * (100 - percent) / 100 >= BEYOND:
        return None
    return f"only {len(times)} calls could be timed in {sum(times):.1f} s, too few for p{percent}"
