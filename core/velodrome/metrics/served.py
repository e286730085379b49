"""Latency as served: queries arrive at their own times, whether or not the model is free. Standard library only.

A loop that asks again once it has its answer hides every stall: while the model stalls, nobody asks (coordinated
omission). Here the times of arrival are drawn before the first query, and each latency counts from its query's arrival.
So a query also waits for those before it, as behind a server. One process serves all queries in order of arrival.
"""

from __future__ import annotations

import gc
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

PERCENTS = (50, 90, 99)
# How sure it is that a percentile is no larger than what is reported: that of MLPerf's LoadGen.
CONFIDENCE = 0.99
# A run whose queries wait is ended after so many times the time of the last arrival, and not before so many seconds.
_PATIENCE = 2.0
_LEAST_PATIENCE_SECONDS = 10.0
_KEY = "served_latency_p{}_seconds"
# A sleeping process may wake up late, so the last part of a wait asks the clock.
_AWAKE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Served:
    """What one run showed: seconds from arrival to answer, by query, and the seconds that the model was busy.

    `late` are the seconds that queries to a free model began after their arrival: the generator's own delay.
    `fullest` is how many queries a second batches of the largest size answered; infinity where there was no such batch.
    """

    latencies: tuple[float, ...]
    busy: float
    late: tuple[float, ...] = ()
    fullest: float = math.inf


def arrivals(rate: float, queries: int, draw: Callable[[], float]) -> list[float]:
    """Times in seconds at which queries arrive: a Poisson process of `rate` a second.

    `draw` gives uniform numbers from 0 to below 1; the same numbers give the same times.
    """
    return list(accumulate(-math.log1p(-draw()) / rate for _ in range(queries)))


def batch_sizes(largest: int) -> list[int]:
    """The sizes of the batches that waiting queries are put into: powers of two, and the largest."""
    return sorted({*(1 << power for power in range(largest.bit_length())), largest})


def serve(
    predict: Callable[[int, int], object],
    schedule: Sequence[float],
    *,
    largest_batch: int = 1,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Served:
    """Serves queries that arrive at the times of `schedule`, which is sorted.

    `predict(first, count)` answers the queries from number `first` on in one batch, and waits for the answer. `count`
    is the largest of `batch_sizes` that so many waiting queries fill. A run that falls too far behind ends early.
    """
    sizes = batch_sizes(largest_batch)
    patience = max(_LEAST_PATIENCE_SECONDS, _PATIENCE * schedule[-1])
    latencies: list[float] = []
    late: list[float] = []
    busy = full_seconds = 0.0
    full = 0
    collects = gc.isenabled()
    gc.disable()  # garbage collection is work of the measuring program
    try:
        begin = clock()
        while len(latencies) < len(schedule):
            first = len(latencies)
            now = clock() - begin
            if now < schedule[first]:
                _wait(begin + schedule[first], clock, sleep)
                now = clock() - begin
                late.append(now - schedule[first])
            waiting = bisect_right(schedule, now, first) - first
            count = sizes[bisect_right(sizes, waiting) - 1]
            predict(first, count)
            done = clock() - begin
            busy += done - now
            if count == largest_batch:
                full, full_seconds = full + count, full_seconds + done - now
            latencies += [done - at for at in schedule[first : first + count]]
            if done > patience:
                break
        return Served(tuple(latencies), busy, tuple(late), full / full_seconds if full else math.inf)
    finally:
        if collects:
            gc.enable()


def served_latency(
    predict: Callable[[int, int], object],
    *,
    rate: float,
    queries: int,
    largest_batch: int,
    draw: Callable[[], float],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[dict[str, float], dict[str, str]]:
    """The percentiles of latency as served by metric key, and why the others are missing. `predict` as for `serve`.

    It is called once for each of `batch_sizes` before the queries: the first call of a size may take longer.
    """
    for size in batch_sizes(largest_batch):
        predict(0, size)
    schedule = arrivals(rate, queries, draw)
    served = serve(predict, schedule, largest_batch=largest_batch, clock=clock, sleep=sleep)
    found, missing = percentiles(served, schedule, rate)
    return {_KEY.format(percent): value for percent, value in found.items()}, {
        _KEY.format(percent): why for percent, why in missing.items()
    }


@cache
def least_by_metric() -> Mapping[str, int]:
    """The least number of queries of each metric that is a percentile."""
    return {_KEY.format(percent): least_queries(percent) for percent in PERCENTS}


def percentiles(served: Served, schedule: Sequence[float], rate: float) -> tuple[dict[int, float], dict[int, str]]:
    """The upper bound of each percentile of latency in seconds, and why the others are missing."""
    answered = len(served.latencies)
    # A model that is always busy answers no more queries a second, unless it can still put more of them into a batch.
    overrun = served.busy * rate >= answered and rate >= served.fullest
    if answered < len(schedule) or overrun:
        able = answered / served.busy if math.isinf(served.fullest) else served.fullest
        reason = f"{rate:g} queries a second can't be held: {able:.3g} a second can be answered"
        return {}, dict.fromkeys(PERCENTS, reason)
    ordered = sorted(served.latencies)
    found: dict[int, float] = {}
    missing: dict[int, str] = {}
    for percent in PERCENTS:
        beyond = overlatency(answered, percent)
        if beyond is None:
            missing[percent] = f"{answered} queries are too few for p{percent}, which needs {least_queries(percent)}"
        else:
            found[percent] = ordered[answered - beyond]
    return found, missing


def overlatency(queries: int, percent: int) -> int | None:
    """Which latency bounds a percentile, counted from the largest one, which is 1; None for too few queries.

    It is the largest t for which at most t of `queries` exceed the percentile in 1 % of all runs: the early stopping of
    MLPerf's LoadGen, https://github.com/mlcommons/inference/blob/master/loadgen/early_stopping.cc. So the value is no
    estimate, but a limit that the percentile keeps with a confidence of 99 %.
    """
    share = 1 - percent / 100
    found, chance = 0, 0.0
    for exceed in range(queries):
        chance += _binomial(exceed, queries, share)
        if chance > 1 - CONFIDENCE:
            break
        found = exceed
    return found or None


def least_queries(percent: int) -> int:
    """The least number of queries that have a bound of the percentile: 64 for p90, 662 for p99."""
    queries = 1
    while overlatency(queries, percent) is None:
        queries += 1
    return queries


def _binomial(successes: int, draws: int, share: float) -> float:
    """The chance of so many successes among draws."""
    ways = math.lgamma(draws + 1) - math.lgamma(successes + 1) - math.lgamma(draws - successes + 1)
    return math.exp(ways + successes * math.log(share) + (draws - successes) * math.log1p(-share))


def _wait(until: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    while (left := until - clock()) > 0:
        if left > _AWAKE_SECONDS:
            sleep(left - _AWAKE_SECONDS)
