"""A model as torch.compile makes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import torch
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.plan import TrialConfig
from velodrome.text import counted
from velodrome_runner import causes
from velodrome_runner.log import first_line


@contextmanager
def own_folder(config: TrialConfig) -> Iterator[None]:
    """Gives torch.compile an empty folder for its files, if the trial compiles.

    Nothing that an earlier trial compiled is used again, so each trial's time to compile is of the same work. Enter it
    before the process has threads: it changes the environment.
    """
    if "compile" not in config.optimized:
        yield
        return
    with TemporaryDirectory(prefix="velodrome-compiled-") as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        yield


def require_compiler() -> None:
    """Imports the compiler, and looks for what it needs here.

    Raises:
        ConfigurationError: reason CompilerMissing.
    """
    from torch._inductor import compile_fx, cpp_builder  # noqa: F401 - imported before anything is timed

    try:
        cpp_builder.get_cpp_compiler()
    except Exception as error:
        raise ConfigurationError(causes.lacking(error) or first_line(error), "CompilerMissing") from error


def compiled(
    model: nn.Module, call: Callable[[nn.Module, int], object], sizes: Iterable[int], name: str
) -> tuple[nn.Module, str]:
    """The compiled model after a call of each of these batch sizes, and what was done, in words.

    Raises:
        ConfigurationError: reason OptimizeFailed.
    """
    from torch._dynamo.utils import counters
    from torch._inductor import config

    config.compile_threads = 1  # no processes that would outlive the trial
    before = counters["stats"]["unique_graphs"]
    made: nn.Module = torch.compile(model)  # type: ignore[assignment]  # a callable, as the annotations have it
    try:
        for size in sizes:
            call(made, size)
    except Exception as error:
        lacking = causes.lacking(error)
        why = lacking or f"{type(error).__name__}: {first_line(error)}"
        raise ConfigurationError(f"{name} can't be compiled: {why}", "OptimizeFailed") from error
    graphs = counters["stats"]["unique_graphs"] - before
    if graphs == 0:
        raise ConfigurationError(
            f"{name} has nothing that torch.compile compiles: leave the step out", "NothingToOptimize"
        )
    return made, f"compile: {counted(graphs, 'graph')}"
