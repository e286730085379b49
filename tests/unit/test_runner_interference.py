"""A trial that something disturbs says so, or fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest
import torch

from velodrome.errors import TrialFailed
from velodrome.kernel.pressure import Snapshot
from velodrome_runner.interference import GpuState, Interference, gpu_disturbances, gpu_reader

START = Snapshot(at=0.0, cpus=2, busy=0.0, own=0.0)
QUIET = replace(START, at=10.0, busy=10.0, own=10.0)
BUSY = replace(QUIET, busy=19.0)

State = TypeVar("State")


def in_turn(*states: State) -> Callable[[], State]:
    left = list(states)
    return lambda: left.pop(0)


def test_what_disturbed_one_part_is_said_of_it() -> None:
    interference = Interference(concurrent=1, threads=1, look=in_turn(START, BUSY, START, QUIET))
    with interference.watched("training"):
        pass
    with interference.watched("timing"):
        pass
    assert interference.found == ["training: other programs used 0.9 of 2 CPUs"]
    with pytest.raises(TrialFailed, match=r"training: other programs used 0.9 of 2 CPUs.*evaluation.onInterference"):
        interference.refuse()


def test_a_part_that_raises_keeps_its_error() -> None:
    interference = Interference(concurrent=1, threads=1, look=in_turn(START, BUSY))
    with pytest.raises(ValueError, match="its own"), interference.watched("training"):
        raise ValueError("its own")


def test_an_undisturbed_trial_is_not_refused() -> None:
    Interference(concurrent=1, threads=1).refuse()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (GpuState(), GpuState(), []),
        (
            GpuState({"temperature": 5.0}),
            GpuState({"temperature": 7.0}),
            ["its driver held the GPU back 20% of the time (temperature)"],
        ),
        (GpuState({"temperature": 5.0}), GpuState({"temperature": 5.01}), []),
        (GpuState(), GpuState(slowed=True, clock=900, most=1980), ["the GPU was slowed, at 900 of 1980 MHz"]),
        (GpuState(slowed=True), GpuState(), ["the GPU was slowed"]),
        (GpuState(users=frozenset({1})), GpuState(users=frozenset({1, 2, 3})), ["2 other processes used the GPU"]),
        (GpuState(), GpuState(users=frozenset({1})), []),
        # The driver's numbers are of another namespace: one of them is this process.
        (GpuState(users=frozenset({900})), GpuState(users=frozenset({900})), []),
        (GpuState(users=frozenset({900, 901})), GpuState(), ["1 other process used the GPU"]),
    ],
)
def test_a_gpu_that_is_slowed_or_shared_is_said(before: GpuState, after: GpuState, words: list[str]) -> None:
    assert gpu_disturbances(before, after, 10.0, own=[1]) == words


def test_a_cpu_has_no_gpu_to_read() -> None:
    assert gpu_reader(torch.device("cpu")) is None
