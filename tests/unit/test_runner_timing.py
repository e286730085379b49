from __future__ import annotations

import gc
import itertools

import pytest
import torch
from torch import nn

from velodrome.metrics.calls import call_times
from velodrome.spec import Model
from velodrome_runner.models import build
from velodrome_runner.timing import time_inference

SHAPE = (1, 8, 8)
CLASSES = 10


def native(name: str, **args: int | bool) -> nn.Module:
    return build(Model.model_validate({"name": name, "args": args}), shape=SHAPE, classes=CLASSES, dropout=0.0)


def sample(count: int = 1) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))


class Clock:
    """Goes on by `step` seconds each time somebody looks."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._ticks = itertools.count()

    def __call__(self) -> float:
        return self._step * next(self._ticks)


def test_each_batch_size_has_its_keys_in_order() -> None:
    timed = time_inference(native("velodrome/mlp", hidden=8), sample(5), batch_sizes=[1, 8], min_run_seconds=0.5)
    names = ["inference_samples_per_second", *(f"latency_p{percent}_seconds" for percent in (50, 90, 99))]
    assert list(timed.metrics) == [f"{name}{{batch_size={size}}}" for size in (1, 8) for name in names]
    assert timed.unavailable == {}
    for size in (1, 8):
        rate, *latencies = (timed.metrics[f"{name}{{batch_size={size}}}"] for name in names)
        assert rate > 0
        assert latencies == sorted(latencies)
        assert latencies[0] > 0


def test_batches_have_the_size_that_is_asked_for_and_no_gradients() -> None:
    seen: set[tuple[int, bool, bool]] = set()

    class Watched(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.add((len(images), self.training, torch.is_grad_enabled()))
            return images

    time_inference(Watched(), sample(3), batch_sizes=[1, 7], min_run_seconds=0.001)
    assert seen == {(1, False, False), (7, False, False)}


def test_a_percentile_that_the_calls_cant_show_is_unavailable() -> None:
    # A call takes a second by this clock, and 10 x 2 seconds are all the patience there is.
    timed = time_inference(
        nn.Identity(), sample(), batch_sizes=[1], min_run_seconds=2.0 / 1000, clock=Clock(step=1.0 / 1000)
    )
    assert "latency_p50_seconds{batch_size=1}" in timed.metrics
    assert list(timed.unavailable) == ["latency_p99_seconds{batch_size=1}"]
    assert "too few for p99" in timed.unavailable["latency_p99_seconds{batch_size=1}"]


def test_calls_are_timed_one_by_one() -> None:
    calls: list[int] = []
    times = call_times(lambda: calls.append(1), 0.0, Clock(step=0.5))
    # No time at all is asked for, so patience ends at once; with some, a hundred calls are wanted.
    assert len(times) == len(calls) == 2
    times = call_times(lambda: calls.append(1), 10.0, Clock(step=0.25))
    assert len(times) == 100
    assert set(times) == {0.25}


def test_quick_calls_go_on_for_as_long_as_was_asked() -> None:
    times = call_times(lambda: None, 100.0, Clock(step=0.125))
    assert len(times) >= 400
    assert 2 * 0.125 * len(times) == pytest.approx(100.0, abs=0.5)


def test_the_garbage_collector_rests_meanwhile_and_is_back_after_a_fault() -> None:
    states: list[bool] = []

    def call() -> None:
        states.append(gc.isenabled())
        if len(states) == 3:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        call_times(call, 1.0, Clock(step=0.001))
    assert states == [False] * 3
    assert gc.isenabled()
