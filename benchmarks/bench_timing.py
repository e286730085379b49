"""Checks the timing of inference against a model whose time is known: it sleeps 20 ms. Prints the error.

The machine is measured as it is, and busy, in turns: beside the second runs a program for each CPU that only burns it.
A program that sleeps on a busy machine is woken late, and that is no error of the timing. So just before, a bare loop
sleeps as long as often as it can in a second, and the peer is its median. What was watched meanwhile is printed too:
the busy neighbour must be reported.

    python benchmarks/bench_timing.py [--milliseconds 20] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from velodrome_runner import threads
from velodrome_runner.interference import Interference
from velodrome_runner.timing import time_inference

TARGET = 0.03


class Sleeping(nn.Module):
    """Takes a known time for each batch."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Sleeps, then answers with the images."""
        time.sleep(self.seconds)
        return images


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Programs that burn a CPU each. They are no children of this process, as those of others are not."""
    start = f"import subprocess, sys\nfor _ in range({count}):\n"
    start += " burn = [sys.executable, '-c', 'while True: pass']\n"
    start += " print(subprocess.Popen(burn, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    started = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True)
    try:
        yield
    finally:
        for pid in started.stdout.split():
            os.kill(int(pid), signal.SIGKILL)


def measured(seconds: float) -> tuple[float, list[str]]:
    """The median latency that the runner reports of a model that sleeps so long, and what disturbed it."""
    watch = Interference(concurrent=1, threads=1)
    with watch.watched("timing"):
        timed = time_inference(Sleeping(seconds), torch.zeros(1, 3, 8, 8), batch_sizes=[1], min_run_seconds=1.0)
    return timed.metrics["latency_p50_seconds{batch_size=1}"], watch.found


def bare(seconds: float) -> float:
    """The median time that a sleep takes here, over a second of them."""
    end, times = time.perf_counter() + 1.0, []
    while time.perf_counter() < end:
        begin = time.perf_counter()
        time.sleep(seconds)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Prints both errors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--milliseconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    threads.use(1)
    seconds = arguments.milliseconds / 1000
    found: dict[str, list[tuple[float, float]]] = {"as the machine is": [], "beside a burner for each CPU": []}
    said: dict[str, str] = {}
    for _ in range(arguments.rounds):
        for name, count in zip(found, (0, os.cpu_count() or 1), strict=True):
            with neighbours(count):
                peer = bare(seconds)
                value, disturbances = measured(seconds)
            found[name].append((value, peer))
            said[name] = "; ".join(disturbances) or "nothing disturbed it"
    print(f"load {os.getloadavg()[0]:.1f}, n = {arguments.rounds}")
    for name, values in found.items():
        value, peer = (statistics.median(pair[at] for pair in values) for at in (0, 1))
        error = statistics.median(one / other for one, other in values) - 1
        print(
            f"{name}: {value * 1000:.2f} ms; a bare sleep of {arguments.milliseconds:g} ms took {peer * 1000:.2f}: "
            f"{error:+.1%} (target: ±{TARGET:.0%})"
        )
        print(f"  {said[name]}")


if __name__ == "__main__":
    main()
