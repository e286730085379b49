"""How much memory the data may take."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from velodrome.kernel.limits import memory_limit
from velodrome_runner.log import words

# The rest is for the model, its gradients, the optimizer's state and other programs on the machine.
_SHARE = 0.5


def fits(size: int, device: torch.device) -> bool:
    """Whether this many bytes should stay on the device for a whole trial: at most half of its free memory."""
    return size <= _SHARE * available(device)


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out. torch says so on a CPU by a RuntimeError without a type of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in words(error)


def available(device: torch.device, *, meminfo: Path = Path("/proc/meminfo")) -> float:
    """Free bytes on the device. On a CPU, within the machine's memory and the control group's limit."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return float(free)
    limits = [_free(meminfo)]
    limit = memory_limit()
    if limit is not None:
        limits.append(limit - _resident())
    return float(min(limits))


def _free(meminfo: Path) -> float:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
