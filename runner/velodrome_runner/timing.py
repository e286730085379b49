"""How fast a model classifies: the times of single calls and the throughput of calls in a row."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer, timer

from velodrome.metrics import MetricKey
from velodrome_runner.precision import Autocast

# A quantile of n calls is told from this many calls beyond it on: p99 needs 100 calls, p90 ten, p50 two.
_BEYOND = 1
_CALLS = 100
# Slow models stop short of that many calls when they have taken this many times the least run time.
_PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Timed:
    """What was measured, by key, and why the rest was not."""

    metrics: dict[str, float]
    unavailable: dict[str, str]


def time_inference(
    model: nn.Module,
    images: Tensor,
    *,
    batch_sizes: Sequence[int],
    min_run_seconds: float,
    context: Autocast = nullcontext,
    clock: Callable[[], float] = timer,
) -> Timed:
    """Latency and throughput of classifying batches that are on the device already, in evaluation mode.

    For each batch size, `torch.utils.benchmark.Timer` warms up and then measures blocks of calls for at least
    `min_run_seconds`: throughput is samples over the mean time of a call. A percentile of such blocks would be one of
    averages, so latencies come from calls that are timed one by one, with the same clock (it waits for the device), for
    at least as long again and at least 100 calls; a model that is too slow for 100 calls in ten times that stops
    there, and percentiles that so few calls can't show are unavailable. Percentiles interpolate linearly. Threads are
    those of the trial.

    `images` are samples (n, channels, height, width) to make batches from, repeated where n is too small.
    """
    model.eval()
    metrics: dict[str, float] = {}
    unavailable: dict[str, str] = {}
    for size in batch_sizes:
        batch = images[torch.arange(size, device=images.device) % len(images)]
        batch = batch.contiguous(memory_format=torch.channels_last)

        def call(batch: Tensor = batch) -> None:
            with context():
                model(batch)

        with torch.inference_mode():
            measurement = Timer(
                "call()", globals={"call": call}, num_threads=torch.get_num_threads()
            ).blocked_autorange(min_run_time=min_run_seconds)
            times = call_times(call, min_run_seconds, clock)
        metrics[_key("inference_samples_per_second", size)] = size / measurement.mean
        for percent in (50, 90, 99):
            key = _key(f"latency_p{percent}_seconds", size)
            if len(times) * (100 - percent) / 100 >= _BEYOND:
                metrics[key] = float(np.percentile(times, percent))
            else:
                unavailable[key] = (
                    f"only {len(times)} calls could be timed in {sum(times):.1f} s, too few for p{percent}"
                )
    return Timed(metrics, unavailable)


def call_times(call: Callable[[], object], seconds: float, clock: Callable[[], float] = timer) -> list[float]:
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
            enough = len(times) >= _CALLS and after - begin >= seconds
            if enough or (after - begin >= _PATIENCE * seconds and len(times) >= 2 * _BEYOND):
                return times
    finally:
        if collects:
            gc.enable()


def _key(name: str, size: int) -> str:
    return str(MetricKey.of(name, batch_size=size))
