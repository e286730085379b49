"""Trials that several pods train together: the rank of this process, and the operations of all ranks together.

The pods of a trial are consecutive indexes of one Indexed Job. The first is rank 0: only this rank evaluates, times and
reports a success. Every rank reports its own failure. The pods find each other by their names in the Job's headless
Service. The environment is torchrun's.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from velodrome.errors import TryAgain
from velodrome_runner.log import first_line

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")

PORT = 29500
# How long the first rank waits for the last to start, and each rank for messages of the others. Rank 0 may evaluate for
# this long.
MEETING_SECONDS = 1800.0


class PeerLost(TryAgain):
    """Another pod of this trial is gone: all pods must start again together."""

    reason = "PeerLost"


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's rank among the `size` processes that train one model; alone by default.

    `hosts` is the pattern of a pod's name, with `{index}` in it; `first` is the index of rank 0.
    """

    rank: int = 0
    size: int = 1
    first: int = 0
    hosts: str = ""

    @property
    def leads(self) -> bool:
        """Whether this rank evaluates and reports."""
        return self.rank == 0

    def environment(self) -> dict[str, str]:
        """The variables that torchrun would set with one process per pod; empty for a single process."""
        if self.size == 1:
            return {}
        return {
            "MASTER_ADDR": self.hosts.format(index=self.first),
            "MASTER_PORT": os.environ.get("MASTER_PORT", str(PORT)),
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": "0",
            "LOCAL_WORLD_SIZE": "1",
            "GROUP_RANK": str(self.rank),
            "GROUP_WORLD_SIZE": str(self.size),
            "ROLE_RANK": str(self.rank),
            "ROLE_WORLD_SIZE": str(self.size),
        }

    @contextmanager
    def joined(self, device: torch.device, seconds: float = MEETING_SECONDS) -> Iterator[None]:
        """Connects all ranks inside this context: by NCCL on GPUs, by gloo on CPUs.

        Raises:
            PeerLost: they did not all connect in time, or one was lost later.
        """
        if self.size == 1:
            yield
            return
        from torch import distributed

        os.environ.update(self.environment())
        _await_name(os.environ["MASTER_ADDR"], seconds)
        try:
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=seconds)
            )
            yield
        except RuntimeError as error:
            if not isinstance(error, distributed.DistError) and not _is_of_gloo(error):
                raise
            raise PeerLost(f"rank {self.rank} of {self.size} lost the others: {first_line(error)}") from error
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model whose backward passes average gradients over all ranks; `model` itself for a single rank."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, device_ids=[device.index or 0] if device.type == "cuda" else None)

    def share(self, samples: torch.Tensor) -> torch.Tensor:
        """This rank's part of a batch: every size-th element, counted from its rank."""
        return samples if self.size == 1 else samples[self.rank :: self.size]

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all ranks, in place."""
        if self.size > 1:
            from torch import distributed

            distributed.all_reduce(value)
        return value

    def agreed(self, value: Any) -> Any:
        """The value of rank 0, on every rank."""
        if self.size == 1:
            return value
        from torch import distributed

        said = [value]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def gathered(self, value: T) -> list[T] | None:
        """The values of all ranks, in their order, on rank 0; None on every other rank."""
        if self.size == 1:
            return [value]
        from torch import distributed

        found: list[Any] | None = [None] * self.size if self.leads else None
        distributed.gather_object(value, found, dst=0)
        return found


ALONE = Ranks()


def ranks(index: int, nodes: int, hosts: str) -> Ranks:
    """The rank of the pod of a completion index, if trials have this many pods each."""
    if nodes == 1:
        return ALONE
    rank = index % nodes
    return Ranks(rank, nodes, index - rank, hosts)


def _await_name(host: str, seconds: float) -> None:
    """Waits until the first pod's name can be resolved: the Service has it some seconds after the pod's start."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.getaddrinfo(host, PORT)
        except socket.gaierror as error:
            if time.monotonic() > end:
                raise PeerLost(f"{host} has no address after {seconds:.0f} s: {error.strerror}") from error
            time.sleep(0.5)
        else:
            return


def _is_of_gloo(error: RuntimeError) -> bool:
    """Whether this is an error of gloo: a plain RuntimeError that names gloo's source files or the connection."""
    text = str(error)
    return any(word in text for word in ("gloo", "Gloo", "Connection closed by peer", "Connection reset by peer"))
