"""A trace of some training steps by `torch.profiler`, made when everything is measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from velodrome.plan import TrialConfig
from velodrome.results.records import KeptFile
from velodrome_runner.artifacts import digest_of, flushed, kept
from velodrome_runner.precision import Autocast
from velodrome_runner.preprocessing import Prepared
from velodrome_runner.recipe import Recipe

TRACE = "trace.json.gz"


def keep_trace(
    config: TrialConfig,
    prepared: Prepared,
    build: Callable[[], nn.Module],
    folder: Path,
    *,
    steps: int,
    seed: int,
    device: torch.device,
    context: Autocast,
) -> KeptFile:
    """Trains a network that `build` makes for a batch, and then traces `steps` batches, of several epochs if needed.

    The trace is for Perfetto and chrome://tracing: a range `step N` for each batch, with the data, the forward pass,
    the backward pass and the optimizer in it. Says why if that is not possible.
    """

    def write() -> tuple[str, int]:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".part-{TRACE}"  # a name that ends in .gz is compressed
        profiler = _traced(config, prepared, build(), steps, seed, device, context)
        try:
            profiler.export_chrome_trace(str(partial))
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            sha256, size = digest_of(partial), partial.stat().st_size
            flushed(partial, folder / TRACE)
        finally:
            partial.unlink(missing_ok=True)
        return sha256, size

    return kept(TRACE, folder, write)


def _traced(
    config: TrialConfig,
    prepared: Prepared,
    model: nn.Module,
    steps: int,
    seed: int,
    device: torch.device,
    context: Autocast,
) -> Any:
    size, task = config.training.batch_size, prepared.task
    lengths, generator = prepared.lengths(size), torch.Generator(device).manual_seed(seed)
    epochs = -(-(1 + steps) // len(lengths))
    recipe = Recipe(model, config.training, epochs=epochs, batches=len(lengths), device=device)
    passes = (zip(lengths, prepared.batches(size, generator), strict=True) for _ in range(epochs))
    batches = chain.from_iterable(passes)
    model.train()

    def step() -> None:
        length, batch = next(batches)
        with context():
            loss, _ = task.loss(task.call_in_training(model, batch), batch.targets)
        recipe.backward(loss, length)
        recipe.advance()

    step()  # the first step of a network is not like the others
    wanted = [ProfilerActivity.CPU, *((ProfilerActivity.CUDA,) if device.type == "cuda" else ())]
    with profile(activities=wanted, record_shapes=True) as profiler:
        for number in range(1, steps + 1):
            with record_function(f"step {number}"):
                step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return profiler
