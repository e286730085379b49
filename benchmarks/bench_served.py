"""Latency as served: how well the generator keeps its schedule, and what a stall does to each kind of loop.

    python benchmarks/bench_served.py --seconds 5

The peer of the schedule is a loop that sleeps until each arrival, in the same run. The stall is a real one: a call that
waits 200 ms, once in 300 calls of 1 ms.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from velodrome.metrics.calls import call_times
from velodrome.metrics.served import arrivals, percentiles, serve

RATE = 1000.0


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each schedule (default: 5)")
    arguments = parser.parse_args()
    schedule_kept(arguments.seconds)
    stalls(arguments.seconds)


def schedule_kept(seconds: float) -> None:
    """Delays of queries to a free model, at 1,000 a second, beside those of a loop that sleeps."""
    schedule = drawn(RATE, int(RATE * seconds))
    ours = serve(lambda *_: None, schedule, clock=time.perf_counter, sleep=time.sleep).late
    begin, theirs = time.perf_counter(), list[float]()
    for at in schedule:
        left = begin + at - time.perf_counter()
        if left > 0:
            time.sleep(left)
        theirs.append(time.perf_counter() - begin - at)
    table = Table("delay at 1,000 queries a second", "p50", "p90", "p99", "share below 0.1 ms")
    for name, delays in (("ours", ours), ("a loop that sleeps", theirs)):
        values = np.array(delays)
        texts = [f"{1e6 * float(np.percentile(values, percent)):,.1f} µs" for percent in (50, 90, 99)]
        table.add_row(name, *texts, f"{float(np.mean(values < 1e-4)):.1%}")
    Console().print(table)


def stalls(seconds: float) -> None:
    """The 99th percentile of a model that stalls, by both kinds of loop, at 100 queries a second."""
    closed = call_times(stalling(), seconds, time.perf_counter)
    schedule = drawn(100.0, max(700, int(100 * seconds)))
    model = stalling()
    found, missing = percentiles(
        serve(lambda *_: model(), schedule, clock=time.perf_counter, sleep=time.sleep), schedule, 100.0
    )
    table = Table("a stall of 200 ms in 1 of 300 calls", "p50", "p99")
    table.add_row("closed loop", *(f"{1e3 * float(np.percentile(closed, percent)):.1f} ms" for percent in (50, 99)))
    open_loop = [f"{1e3 * found[percent]:.1f} ms" if percent in found else missing[percent] for percent in (50, 99)]
    table.add_row("open loop, as served", *open_loop)
    Console().print(table)


def drawn(rate: float, queries: int) -> list[float]:
    """A schedule that is the same in every run."""
    return arrivals(rate, queries, random.Random(0).random)  # noqa: S311 - a schedule is no secret


def stalling() -> Callable[[], None]:
    """A model of 1 ms that waits 200 ms at each 300th call."""
    calls = itertools.count(1)
    return lambda: time.sleep(0.2 if next(calls) % 300 == 0 else 0.001)


if __name__ == "__main__":
    main()
