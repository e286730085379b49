"""Latency as served: the schedule, the bound of a percentile, and what a stall does to both kinds of loop."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest
from torch import nn

from velodrome.metrics.calls import call_times, fastest_batch
from velodrome.metrics.served import (
    PERCENTS,
    Served,
    arrivals,
    batch_sizes,
    least_queries,
    overlatency,
    percentiles,
    serve,
    served_latency,
)
from velodrome.spec import Evaluation
from velodrome_runner.stopwatch import Loading
from velodrome_runner.timing import time_evaluation


class Time:
    """A clock that goes on only while somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1e-7  # to look at the clock takes time too, so a wait without sleep ends
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


def drawn(rate: float, queries: int, seed: int) -> list[float]:
    return arrivals(rate, queries, random.Random(seed).random)  # noqa: S311 - a schedule is no secret


def run(schedule: list[float], work: list[float], *, largest_batch: int = 1) -> tuple[Served, list[tuple[int, int]]]:
    """Serves by a clock of its own; the call number i takes `work[i]` seconds, the last of them from then on."""
    clock, calls = Time(), list[tuple[int, int]]()

    def predict(first: int, count: int) -> None:
        clock.go(work[min(len(calls), len(work) - 1)])
        calls.append((first, count))

    return serve(predict, schedule, largest_batch=largest_batch, clock=clock, sleep=clock.go), calls


def test_arrivals_are_a_poisson_process_and_the_same_for_a_seed() -> None:
    times = drawn(50.0, 4000, seed=3)
    assert times == drawn(50.0, 4000, seed=3) != drawn(50.0, 4000, seed=4)
    gaps = np.diff([0.0, *times])
    assert kstest(gaps, "expon", args=(0, 1 / 50)).pvalue > 0.01


def test_a_latency_counts_from_the_arrival() -> None:
    served, _ = run([1.0, 1.1, 1.2, 5.0], [0.5])
    assert served.latencies == pytest.approx([0.5, 0.9, 1.3, 0.5], abs=1e-4)
    assert served.busy == pytest.approx(2.0, abs=1e-4)
    assert len(served.late) == 2  # only the first and the last query came to a free model
    assert max(served.late) < 1e-4


def test_waiting_queries_are_put_into_batches_of_fixed_sizes() -> None:
    assert batch_sizes(1) == [1]
    assert batch_sizes(6) == [1, 2, 4, 6]
    served, calls = run([1.0, *([1.1] * 7)], [1.0, 0.5], largest_batch=6)
    assert calls == [(0, 1), (1, 6), (7, 1)]
    assert served.latencies == pytest.approx([1.0, *([1.4] * 6), 1.9], abs=1e-4)


def test_a_stall_is_in_the_served_p99_and_hidden_in_a_closed_loop() -> None:
    # One call in 300 takes 200 ms, the others 1 ms; queries come 100 times a second.
    def work() -> itertools.cycle[float]:
        return itertools.cycle([0.001] * 299 + [0.2])

    clock, durations = Time(), work()
    closed = call_times(lambda: clock.go(next(durations)), 0.9, clock)
    assert np.percentile(closed, 99) == pytest.approx(0.001, rel=0.01)

    clock, durations = Time(), work()
    schedule = drawn(100.0, 2000, seed=0)
    served = serve(lambda *_: clock.go(next(durations)), schedule, clock=clock, sleep=clock.go)
    found, missing = percentiles(served, schedule, 100.0)
    assert missing == {}
    assert found[99] > 0.15
    assert found[50] < 0.002


@pytest.mark.parametrize(("queries", "percent", "discarded"), [
    (64, 90, 0), (100, 90, 2), (201, 90, 9), (708, 90, 51), (79944, 90, 7796),
])  # fmt: skip
def test_the_bound_is_that_of_loadgen(queries: int, percent: int, discarded: int) -> None:
    """Numbers of discarded queries as published runs of MLPerf's LoadGen state them."""
    assert overlatency(queries, percent) == discarded + 1


def test_the_least_numbers_of_queries_are_those_of_loadgen() -> None:
    assert [least_queries(percent) for percent in PERCENTS] == [11, 64, 662]


@pytest.mark.parametrize("queries", [11, 64, 662, 1000, 30_000])
@pytest.mark.parametrize("percent", PERCENTS)
def test_no_larger_number_of_queries_may_exceed_the_percentile(queries: int, percent: int) -> None:
    beyond, share = overlatency(queries, percent), 1 - percent / 100
    if beyond is None:
        assert binom.cdf(1, queries, share) > 0.01
    else:
        assert binom.cdf(beyond, queries, share) <= 0.01 < binom.cdf(beyond + 1, queries, share)


def test_the_bound_holds_in_99_percent_of_runs() -> None:
    draws = np.sort(np.random.default_rng(5).exponential(size=(4000, 800)), axis=1)
    beyond = overlatency(800, 99)
    assert beyond is not None
    assert np.mean(draws[:, 800 - beyond] < -np.log(0.01)) <= 0.01


def test_too_few_queries_are_told_with_the_number_that_is_needed() -> None:
    schedule = [float(second) for second in range(100)]
    found, missing = percentiles(run(schedule, [0.25])[0], schedule, 1.0)
    assert found == pytest.approx({50: 0.25, 90: 0.25}, abs=1e-4)
    assert missing == {99: "100 queries are too few for p99, which needs 662"}


def test_a_rate_that_cant_be_held_has_no_latency_and_ends_early() -> None:
    schedule = drawn(100.0, 5000, seed=0)
    served, _ = run(schedule, [0.025])
    assert len(served.latencies) < 5000
    found, missing = percentiles(served, schedule, 100.0)
    assert found == {}
    assert set(missing.values()) == {"100 queries a second can't be held: 40 a second can be answered"}


def test_a_rate_slightly_too_high_is_told_though_every_query_was_answered() -> None:
    schedule = drawn(100.0, 1000, seed=0)
    served, _ = run(schedule, [0.0105])
    assert len(served.latencies) == 1000
    assert "can't be held: 95.2 a second" in percentiles(served, schedule, 100.0)[1][50]


@pytest.mark.parametrize("seed", range(6))
def test_a_model_that_is_always_busy_and_can_fill_its_batches_further_holds_the_rate(seed: int) -> None:
    schedule = drawn(260.0, 1000, seed=seed)
    served, calls = run(schedule, [0.010], largest_batch=8)  # 800 a second
    assert served.busy > 0.95 * schedule[-1]
    assert sum(count for _, count in calls) == 1000
    found, missing = percentiles(served, schedule, 260.0)
    assert (list(found), missing) == ([50, 90, 99], {})


def test_a_rate_that_full_batches_cant_hold_is_told_with_theirs() -> None:
    schedule = drawn(210.0, 1000, seed=0)
    served, _ = run(schedule, [0.040], largest_batch=8)
    assert "can't be held: 200 a second" in percentiles(served, schedule, 210.0)[1][50]


def test_the_fastest_batch_is_found_and_larger_ones_are_left_out() -> None:
    clock, tried = Time(), set[int]()

    def predict(size: int) -> None:
        tried.add(size)
        clock.go(0.01 + 0.001 * size if size <= 16 else 0.004 * size)

    rate, size = fastest_batch(predict, batch_sizes(512), 0.5, clock)
    assert rate == pytest.approx(16 / 0.026, rel=0.01)
    assert size == 16
    assert tried == {1, 2, 4, 8, 16, 32, 64}


class Counted(nn.Module):
    """Remembers which samples came in which batch."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(inputs))
        return inputs


def test_an_evaluation_measures_what_it_asks_for() -> None:
    evaluation = Evaluation.model_validate(
        {
            "inference": {"batchSizes": [2], "minRunSeconds": 0.01},
            "serving": {"arrivalRate": 500, "queries": 700, "maxBatchSize": 4},
            "offline": {"maxBatchSize": 8},
        }
    )
    model = Counted()
    timed = time_evaluation(model, lambda size: torch.zeros(size, 3), evaluation, seed=0)
    assert timed.unavailable == {}
    assert {key for key in timed.metrics if not key.endswith("}")} == {
        "served_latency_p50_seconds",
        "served_latency_p90_seconds",
        "served_latency_p99_seconds",
        "offline_samples_per_second",
        "offline_batch_size",
    }
    assert timed.metrics["offline_batch_size"] in (1, 2, 4, 8)
    assert set(model.sizes) <= {1, 2, 4, 8}


def test_batches_that_memory_cant_hold_are_left_out() -> None:
    tried: set[int] = set()

    class Greedy(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            tried.add(len(inputs))
            if len(inputs) > 4:
                raise torch.OutOfMemoryError("out of memory")
            return inputs

    evaluation = Evaluation.model_validate(
        {"inference": {"batchSizes": [1], "minRunSeconds": 0.01}, "offline": {"maxBatchSize": 64}}
    )
    timed = time_evaluation(Greedy(), lambda size: torch.zeros(size, 3), evaluation, seed=0)
    assert timed.metrics["offline_batch_size"] <= 4
    assert max(tried) <= 8, "after one that did not fit, no larger one is tried"


def test_keys_are_those_of_the_catalogue() -> None:
    found, missing = served_latency(
        lambda *_: None,
        rate=200.0,
        queries=100,
        largest_batch=1,
        draw=lambda: 0.5,
        clock=time.perf_counter,
        sleep=time.sleep,
    )
    assert list(found) == ["served_latency_p50_seconds", "served_latency_p90_seconds"]
    assert list(missing) == ["served_latency_p99_seconds"]


def test_the_wait_for_items_is_counted_and_the_work_on_them_is_not() -> None:
    def items() -> Iterator[int]:
        for item in range(3):
            time.sleep(0.02)
            yield item

    loading, begin = Loading(), time.perf_counter()
    found = []
    for item in loading.timed(items()):
        found.append(item)
        time.sleep(0.05)
    assert found == [0, 1, 2]
    assert 0.06 <= loading.seconds <= time.perf_counter() - begin - 0.15
