"""Batches of a source that does not fit in memory: read and decoded by worker processes, ahead of the training.

Workers hand batches over in shared memory, which is small in many pods: a batch that does not fit there would end a
worker by SIGBUS. So `way` compares what the batches need with what is free, and falls back to pipes, which copy each
batch once more. Which way was taken is in the record of the data.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from velodrome.errors import ConfigurationError, TrialFailed, VelodromeError
from velodrome_runner.data.contents import Held, Part, Samples, SampleSource

_SHARED_MEMORY = Path("/dev/shm")  # where POSIX shared memory is on Linux # noqa: S108 # nosec B108
_AHEAD = 2  # batches that each worker makes before they are asked for
_SAFE_SHARE = 0.8  # of the free shared memory
_TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class Way:
    """How batches come: from this many worker processes, or (0) from this one; in shared memory, or through pipes."""

    workers: int
    shared: bool = True
    why: str = ""

    def __str__(self) -> str:
        if not self.workers:
            return "in memory" if not self.why else f"in the trial's own process ({self.why})"
        through = "shared memory" if self.shared else f"pipes ({self.why})"
        return f"read by {self.workers} worker{'' if self.workers == 1 else 's'}, batches in {through}"


def way(source: SampleSource, batch_size: int, *, cpus: int, shared_bytes: float | None = None) -> Way:
    """How to read this source in batches: `cpus` workers, unless all of it is in memory already.

    `shared_bytes` is the free shared memory; None asks the system.
    """
    if _is_in_memory(source):
        return Way(0)
    workers = max(1, min(cpus, -(-len(source) // batch_size)))
    batch = source.nbytes * batch_size // max(len(source), 1)
    if source.lengths is not None:  # a batch is padded to its longest sequence
        batch = int(batch * int(source.lengths.max()) / float(source.lengths.double().mean()))
    # Each worker's batches, one that it is making, one that is in use, and one that is being pinned.
    needed = batch * (workers * (_AHEAD + 1) + 2)
    free = shared_memory_free() if shared_bytes is None else shared_bytes
    if needed <= _SAFE_SHARE * free:
        return Way(workers)
    why = f"{_SHARED_MEMORY} has {_megabytes(free)} free, and batches need {_megabytes(needed)}: raise runner.shmSize"
    return Way(workers, shared=False, why=why)


def shared_memory_free(folder: Path = _SHARED_MEMORY) -> float:
    """Bytes that are free for shared memory; 0 where there is none."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return 0.0
    return float(state.f_bavail * state.f_frsize)


class Stream:
    """Reads a source in batches, in the order that each pass asks for. Close it, or use it as a context manager.

    Workers start at the first pass and stay until it is closed. One pass runs at a time: a new one ends the last.
    """

    def __init__(self, source: SampleSource, way_: Way, *, pin: bool = False) -> None:
        self.way = way_
        self._order = _Order()
        self._loader: DataLoader[Any] = DataLoader(
            _Batches(source, plain=bool(way_.workers) and not way_.shared),
            sampler=self._order,
            batch_size=None,  # each index is a whole batch
            num_workers=way_.workers,
            prefetch_factor=_AHEAD if way_.workers else None,
            persistent_workers=way_.workers > 0,
            pin_memory=pin,
            # It draws a seed for worker processes. With the global generator, that would change the model's dropout.
            generator=torch.Generator(),
            multiprocessing_context="fork" if way_.workers else None,
        )

    def batches(self, order: Sequence[Tensor]) -> Iterator[Samples]:
        """One pass: the samples at each of the index tensors, in turn.

        Raises:
            ConfigurationError: what `SampleSource.take` raised in a worker, as if it had been called here.
            TrialFailed: DataWorkerLost, a worker process was ended from outside.
        """
        self._order.batches = order
        try:
            with warnings.catch_warnings():
                # Python warns of threads in a process that forks. The workers start none, and use none of ours.
                warnings.simplefilter("ignore", DeprecationWarning)
                found = iter(self._loader)
            for batch in found:
                yield _samples(batch)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrialFailed(
                "DataWorkerLost",
                f"a process that reads the data was ended ({str(error).splitlines()[0]}): give the trial more memory "
                "(runner.resources), or a larger runner.shmSize",
            ) from error

    def close(self) -> None:
        """Ends the workers."""
        iterator = self._loader._iterator  # noqa: SLF001 - a DataLoader has no other way to end its workers
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            self._loader._iterator = None  # noqa: SLF001 - as above

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Order:
    """The batches of the next pass; the workers get one at a time."""

    def __init__(self) -> None:
        self.batches: Sequence[Tensor] = ()

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Batches(Dataset[Any]):
    """A whole batch for each list of indices, or what went wrong: raised in a worker, it would lose its reason."""

    def __init__(self, source: SampleSource, *, plain: bool) -> None:
        self.source, self.plain = source, plain

    def __getitem__(self, indices: list[int]) -> Any:
        try:
            samples = self.source.take(torch.tensor(indices, dtype=torch.int64))
        except VelodromeError as error:
            return type(error), error.reason, str(error)
        tensors = {**samples.inputs, _TARGETS: samples.targets}
        # An array travels through a pipe, and a tensor in shared memory.
        return {name: tensor.numpy() for name, tensor in tensors.items()} if self.plain else tensors


def _samples(batch: Any) -> Samples:
    if isinstance(batch, tuple | list):
        kind, reason, message = batch
        raise kind(message, reason) if issubclass(kind, ConfigurationError) else TrialFailed(reason, message)
    tensors = {name: torch.as_tensor(value) for name, value in batch.items()}
    targets = tensors.pop(_TARGETS)
    return Samples(tensors, targets)


def _is_in_memory(source: SampleSource) -> bool:
    return isinstance(source, Held) or (isinstance(source, Part) and _is_in_memory(source.source))


def _megabytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"
