"""What this machine grants to a race."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path


def cpu_limit(root: Path = Path("/")) -> int:
    """CPUs that this process may use at once: its affinity, or its cgroup's quota where that is less; at least 1.

    A quota of 2.5 CPUs counts as 2: a thread more than the quota costs more than it brings.
    """
    cpus = _affinity()
    return max(1, min([cpus, *(int(quota) for quota in _quotas(root))]))


def cpus_for_each(cpus: int, parallel: int) -> int:
    """The threads of each of `parallel` trials that share `cpus`; at least 1."""
    return max(1, cpus // parallel)


def host() -> str:
    """The machine's name, as records note it."""
    return socket.gethostname()


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """The quota of each cgroup that this process is in, in CPUs: its own and those around it, v1 or v2."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = mount / "cpu" if controllers else mount
        below = Path(path.lstrip("/"))
        # Inside a container the path may be the host's, of which only the mount itself is to be seen.
        for folder in [base / below, *((base / parent) for parent in below.parents)]:
            quota = _v1(folder) if controllers else _v2(folder)
            if quota is not None:
                yield quota


def _v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.strip().isdecimal() else None


def _v1(folder: Path) -> float | None:
    quota = _read(folder / "cpu.cfs_quota_us").strip()
    period = _read(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and quota != "0" else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
