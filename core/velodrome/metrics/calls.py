"""Times calls one by one: the protocol of latency and throughput, for any framework. Uses only the standard library."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

# A quantile is reported if at least this many calls lie beyond it: p99 needs 100 calls, p90 ten, p50 two.
BEYOND = 1
CALLS = 100
# Slow models stop before that many calls, once they have taken this many times the least run time.
_PATIENCE = 10
# So many larger batches in a row that are no faster show that throughput has reached its limit.
_LEVEL = 2


def call_times(call: Callable[[], object], seconds: float, clock: Callable[[], float]) -> list[float]:
    """Seconds of each call: at least 100 calls over at least `seconds`, or fewer calls that took ten times as long."""
    times: list[float] = []
    collects = gc.isenabled()
    gc.disable()  # as in timeit: garbage collection is work of the measuring program, and not of the model
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


def fastest_batch(
    predict: Callable[[int], object], sizes: Iterable[int], seconds: float, clock: Callable[[], float]
) -> tuple[float, int]:
    """The highest number of samples a second that `predict(size)` reaches in consecutive calls, and the batch size.

    Sizes are tried in their order; without one, both are 0. Once `_LEVEL` sizes in a row were no faster than the best,
    larger ones are left out.
    """
    rate, best, since = 0.0, 0, 0
    for tried, size in enumerate(sizes):
        predict(size)
        times = call_times(lambda size=size: predict(size), seconds, clock)  # type: ignore[misc]
        found = size * len(times) / sum(times)
        if found > rate:
            rate, best, since = found, size, tried
        elif tried - since >= _LEVEL:
            break
    return rate, best


def too_few(times: list[float], percent: int) -> str | None:
    """Why this many calls are too few for a percentile; None if they are enough."""
    if len(times) * (100 - percent) / 100 >= BEYOND:
        return None
    return f"only {len(times)} calls could be timed in {sum(times):.1f} s, too few for p{percent}"
