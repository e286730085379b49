"""How many threads a trial computes with, settled before torch starts.

A container that may use 2 CPUs of a 64-core machine still sees 64 of them, and a torch that starts 64 threads there
loses several times its speed. So the count comes from what the process may really use. This module imports no torch.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from velodrome import keys
from velodrome.errors import ConfigurationError

# The libraries below torch and scikit-learn read these when they are loaded.
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WAITING = "OMP_WAIT_POLICY"


def cpu_limit(
    environ: Mapping[str, str], *, proc: Path = Path("/proc/self"), cgroups: Path = Path("/sys/fs/cgroup")
) -> int:
    """Threads that this trial may compute with, 1 or more.

    The least of: VELODROME_CPUS where it is set, the CPUs that the process may be scheduled on, and the CPU quota of
    its control group and every one above (version 1 or 2), rounded down: a thread that shares a fraction of a CPU is
    throttled, which a latency's percentiles would show.

    Raises:
        ConfigurationError: VELODROME_CPUS is not a number above 0.
    """
    limits = [float(_schedulable()), *_quotas(proc, cgroups)]
    asked = environ.get(keys.ENV_CPUS)
    if asked:
        limits.append(_asked(asked))
    return max(1, math.floor(min(limits)))


def use(threads: int) -> None:
    """Makes every library that is loaded from now on, and torch if it is loaded already, compute with that many.

    Threads that wait for each other sleep, unless OMP_WAIT_POLICY says otherwise. OpenMP has them spin, which is a
    little faster while each has a CPU to itself, and slower by ten times and more as soon as anything else wants one:
    the thread that all wait for is the one that has no CPU.
    """
    os.environ.update(dict.fromkeys(_COUNTS, str(threads)))
    os.environ.setdefault(_WAITING, "PASSIVE")
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


def memory_limit(*, proc: Path = Path("/proc/self"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The least memory limit, in bytes, of the process's control groups; None where there is none."""
    limits = [
        int(text)
        for name in ("memory.max", "memory.limit_in_bytes")
        for folder in _folders("memory", proc, cgroups)
        if (text := _read(folder / name)) and text != "max"
    ]
    # Version 1 says "no limit" as the largest multiple of the page size below 2^63.
    limits = [limit for limit in limits if limit < 2**62]
    return min(limits, default=None)


def memory_kills(*, proc: Path = Path("/proc/self"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes the kernel has killed for memory in this process's control group; 0 where it can't tell."""
    for folder in _folders("memory", proc, cgroups):
        for name in ("memory.events", "memory.oom_control"):
            for line in (_read(folder / name) or "").splitlines():
                word, _, count = line.partition(" ")
                if word == "oom_kill":
                    return int(count)
    return 0


def _asked(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ConfigurationError(f"{keys.ENV_CPUS} is {text!r}: set it to a number of CPUs above 0, such as 2")
    return number


def _schedulable() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    for folder in _folders("cpu", proc, cgroups):
        quota, _, period = (_read(folder / "cpu.max") or "max").partition(" ")
        if quota != "max":
            yield int(quota) / int(period or 100_000)
        quota, period = _read(folder / "cpu.cfs_quota_us") or "-1", _read(folder / "cpu.cfs_period_us") or "0"
        if int(quota) > 0 and int(period) > 0:
            yield int(quota) / int(period)


def _folders(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """The process's own control group for this controller and every group above it, as far as they can be seen.

    Inside a container the path of /proc/self/cgroup may be the host's; then only the mount's root is there, which is
    the container's own group.
    """
    for line in (_read(proc / "cgroup") or "").splitlines():
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0":
            roots = [cgroups, cgroups / "unified"]
        elif controller in controllers.split(","):
            roots = [cgroups / controllers, cgroups / controller]
        else:
            continue
        relative = Path(path.lstrip("/"))
        for root in roots:
            for group in (relative, *relative.parents):
                if (root / group).is_dir():
                    yield root / group


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()  # a group's name may be any bytes
    except OSError:
        return None
