"""The current use of a trial: memory of its processes and GPUs, and the GPUs' utilisation. Does not import torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Use:
    """The use of one device: bytes, and the share of time in which it computed, if known."""

    device: str
    memory_bytes: int
    busy: float | None = None


class Gauges:
    """Reads the use of each device. `handles` are NVML's handles of the GPUs that this process sees."""

    def __init__(self, handles: list[Any] | None = None, proc: Path = Path("/proc")) -> None:
        self._handles = handles or []
        self._proc = proc

    def read(self) -> list[Use]:
        """The processes' resident memory as that of the device `cpu`, then `gpu0` and those after it.

        Unreadable values are left out. The driver of a GPU counts memory and time of all its users together.
        """
        resident = resident_bytes(os.getpid(), self._proc)
        gpus = [_gpu(f"gpu{number}", handle) for number, handle in enumerate(self._handles)]
        return [use for use in (Use("cpu", resident) if resident else None, *gpus) if use is not None]


@contextmanager
def opened() -> Iterator[Gauges]:
    """The gauges of this process. Without a driver, or a library to ask it, they leave out GPUs."""
    try:
        import pynvml
    except ImportError:
        yield Gauges()
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield Gauges()
        return
    handles: list[Any] = []
    with suppress(pynvml.NVMLError):
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    try:
        yield Gauges(handles)
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def resident_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Resident memory of a process and all processes that it started; 0 if the system does not report it.

    Pages that several of them share count once for each.
    """
    try:
        pages = int((proc / str(pid) / "statm").read_text(encoding="ascii").split()[1])
        children = [
            int(child)
            for listed in (proc / str(pid) / "task").glob("*/children")
            for child in listed.read_text(encoding="ascii").split()
        ]
    except (OSError, ValueError, IndexError):  # the process is gone, or this is not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident_bytes(child, proc) for child in children)


def _gpu(name: str, handle: Any) -> Use | None:
    import pynvml

    try:
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    except pynvml.NVMLError:
        return None
    busy = None
    with suppress(pynvml.NVMLError):  # a slice of a GPU (MIG) does not report it
        busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    return Use(name, memory, busy)
