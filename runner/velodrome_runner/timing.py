"""The speed of a model: the times of single calls, and the throughput of consecutive calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.benchmark import Timer, timer

from velodrome.metrics.calls import call_times, too_few
from velodrome.metrics.catalogue import MetricKey
from velodrome_runner.inputs.base import Inputs, apply, repeated
from velodrome_runner.precision import Autocast


@dataclass(frozen=True, slots=True)
class Timed:
    """The measured values by key, and why the others are missing."""

    metrics: dict[str, float]
    unavailable: dict[str, str]


def time_inference(
    model: nn.Module,
    example: Inputs,
    *,
    call: Callable[[nn.Module, Inputs], object] = apply,
    batch_sizes: Sequence[int],
    min_run_seconds: float,
    context: Autocast = nullcontext,
    clock: Callable[[], float] = timer,
) -> Timed:
    """Latency and throughput of a model on batches that are already on the device, in evaluation mode.

    For each batch size, `torch.utils.benchmark.Timer` warms up and then measures blocks of calls for at least
    `min_run_seconds`. Throughput is the number of samples divided by the mean time of a call. A percentile of such
    blocks would be a percentile of averages. So latencies come from calls that are timed one by one, with the same
    clock (it waits for the device), for at least as long again and at least 100 calls. A model that is too slow for 100
    calls stops after ten times that time, and percentiles that need more calls are unavailable. Percentiles interpolate
    linearly. The number of threads is the trial's.

    `example` has inputs of samples for the batches, repeated if they are too few. `call` is how the task calls a model.
    """
    model.eval()
    metrics: dict[str, float] = {}
    unavailable: dict[str, str] = {}
    for size in batch_sizes:
        batch = repeated(example, size)

        def step(batch: Inputs = batch) -> None:
            with context():
                call(model, batch)

        with torch.inference_mode():
            measurement = Timer(
                "step()", globals={"step": step}, num_threads=torch.get_num_threads()
            ).blocked_autorange(min_run_time=min_run_seconds)
            times = call_times(step, min_run_seconds, clock)
        metrics[_key("inference_samples_per_second", size)] = size / measurement.mean
        for percent in (50, 90, 99):
            key = _key(f"latency_p{percent}_seconds", size)
            problem = too_few(times, percent)
            if problem is None:
                metrics[key] = float(np.percentile(times, percent))
            else:
                unavailable[key] = problem
    return Timed(metrics, unavailable)


def _key(name: str, size: int) -> str:
    return str(MetricKey.of(name, batch_size=size))
