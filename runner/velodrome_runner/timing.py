"""The speed of a model: the times of single calls, and the throughput of consecutive calls."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

import numpy as np
import torch
from torch import nn
from torch.utils.benchmark import Timer, timer

from velodrome.metrics.calls import call_times, fastest_batch, too_few
from velodrome.metrics.catalogue import MetricKey
from velodrome.metrics.served import batch_sizes, served_latency
from velodrome.spec import Evaluation, Offline, Serving
from velodrome_runner.inputs.base import Inputs, apply, repeated, samples_of, window
from velodrome_runner.memory import ran_out
from velodrome_runner.precision import Autocast

# Queries take so many samples in turn.
_QUERIED = 64
_OFFLINE = ("offline_samples_per_second", "offline_batch_size")


@dataclass(frozen=True, slots=True)
class Timed:
    """The measured values by key, and why the others are missing."""

    metrics: dict[str, float]
    unavailable: dict[str, str]


def time_evaluation(
    model: nn.Module,
    examples: Callable[[int], Inputs],
    evaluation: Evaluation,
    *,
    seed: int,
    call: Callable[[nn.Module, Inputs], object] = apply,
    context: Autocast = nullcontext,
) -> Timed:
    """All times that the evaluation asks for. `examples(size)` are inputs of so many samples, on the device."""
    inference, serving, offline = evaluation.inference, evaluation.serving, evaluation.offline
    seconds = inference.min_run_seconds
    example = examples(max(inference.batch_sizes))
    found = [
        time_inference(
            model,
            example,
            call=call,
            batch_sizes=inference.batch_sizes,
            min_run_seconds=seconds,
            context=context,
        )
    ]
    if offline is not None:
        example = examples(offline.max_batch_size)
        found.append(time_offline(model, example, offline, call=call, min_run_seconds=seconds, context=context))
    if serving is not None:
        pool = examples(_QUERIED + serving.max_batch_size)
        found.append(time_served(model, pool, serving, seed=seed, call=call, context=context))
    return Timed(
        {key: value for timed in found for key, value in timed.metrics.items()},
        {key: why for timed in found for key, why in timed.unavailable.items()},
    )


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


def time_served(
    model: nn.Module,
    pool: Inputs,
    serving: Serving,
    *,
    seed: int,
    call: Callable[[nn.Module, Inputs], object] = apply,
    context: Autocast = nullcontext,
    clock: Callable[[], float] = timer,
) -> Timed:
    """Latency of queries that arrive at their own times (`velodrome.metrics.served`).

    Queries take the samples of `pool` in turn, which are on the device. `pool` has at least as many samples as the
    largest batch.
    """
    model.eval()
    positions = samples_of(pool) - serving.max_batch_size + 1

    def predict(first: int, count: int) -> None:
        begin = first % positions
        with context():
            call(model, window(pool, begin, begin + count))

    with torch.inference_mode():
        return Timed(
            *served_latency(
                predict,
                rate=serving.arrival_rate,
                queries=serving.queries,
                largest_batch=serving.max_batch_size,
                draw=random.Random(seed).random,  # noqa: S311 - no secret # nosec B311
                clock=clock,
                sleep=time.sleep,
            )
        )


def time_offline(
    model: nn.Module,
    example: Inputs,
    offline: Offline,
    *,
    call: Callable[[nn.Module, Inputs], object] = apply,
    min_run_seconds: float,
    context: Autocast = nullcontext,
    clock: Callable[[], float] = timer,
) -> Timed:
    """The highest throughput over batch sizes, and that batch size. Sizes that memory can't hold are left out."""
    model.eval()
    made: dict[int, Inputs] = {}

    def predict(size: int) -> None:
        if size not in made:
            made.clear()
            made[size] = repeated(example, size)
        with context():
            call(model, made[size])

    with torch.inference_mode():
        fitting = takewhile(partial(_fits, predict), batch_sizes(offline.max_batch_size))
        rate, size = fastest_batch(predict, fitting, min_run_seconds, clock)
    if size == 0:
        return Timed({}, dict.fromkeys(_OFFLINE, "memory ran out at batch size 1"))
    return Timed(dict(zip(_OFFLINE, (rate, size), strict=True)), {})


def _fits(predict: Callable[[int], object], size: int) -> bool:
    try:
        predict(size)
    except Exception as error:
        if not ran_out(error):
            raise
        return False
    return True


def _key(name: str, size: int) -> str:
    return str(MetricKey.of(name, batch_size=size))
