"""What the kernel grants to this process: CPUs and memory, from its scheduler and control groups. Names of signals.

Control groups exist as version 2, with one tree for all controllers; as version 1, with a tree for each controller; and
as a hybrid, with version 2's tree in `unified` beside the trees of version 1. A limit of a group applies to all groups
below it. So the smallest limit of a process's own group and its parents counts. Uses only the standard library.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

# Version 1 writes "no limit" as the largest multiple of the page size below 2^63.
_NO_MEMORY_LIMIT = 2**62


def cpu_limit(root: Path = Path("/")) -> int:
    """Number of CPUs that this process may use at once, 1 or more.

    The smallest of two numbers, rounded down: the CPUs that it may be scheduled on (its affinity, which the kernel
    keeps within its cpuset), and the quotas of its control groups. Rounded up, a thread would share a fraction of a CPU
    and be throttled, and a latency's percentiles would show that. `root` is the folder that holds `proc` and `sys`.
    """
    return max(1, int(min([_schedulable(), *_quotas(root)])))


def memory_limit(root: Path = Path("/")) -> int | None:
    """The smallest memory limit of this process's control groups, in bytes; None without a limit."""
    texts = (
        _read(group / name)
        for group in control_groups("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
    )
    limits = [int(text) for text in texts if text.isdecimal()]
    return min((limit for limit in limits if limit < _NO_MEMORY_LIMIT), default=None)


def memory_kills(root: Path = Path("/")) -> int:
    """How many processes the kernel has killed for memory in this process's control group; 0 if unknown."""
    for group in control_groups("memory", root):
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(group / name).splitlines():
                word, _, count = line.partition(" ")
                if word == "oom_kill" and count.isdecimal():
                    return int(count)
    return 0


def cpus_for_each(cpus: int, parallel: int) -> int:
    """The threads of each of `parallel` trials that share `cpus`; at least 1."""
    return max(1, cpus // parallel)


def host() -> str:
    """The machine's name, as it stands in records."""
    return socket.gethostname()


def signal_name(number: int) -> str:
    """`SIGKILL`, for example; `signal 40` for a signal without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _schedulable() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """The quota of each control group that has one, in CPUs."""
    for group in control_groups("cpu", root):
        for text in (_read(group / "cpu.max"), f"{_read(group / 'cpu.cfs_quota_us')} {_period(group)}"):
            quota, _, period = text.partition(" ")
            if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):  # "max" or -1 means no limit
                yield int(quota) / int(period)


def _period(group: Path) -> str:
    return _read(group / "cpu.cfs_period_us")


def control_groups(controller: str, root: Path) -> Iterator[Path]:
    """This process's control group for the controller, then its parents, as far as they are visible.

    In a container, /proc/self/cgroup may have the host's path, while the mount begins at the container's own group. If
    the whole path does not exist, its last parts are looked for below the mount too.
    """
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            trees = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            trees = list(dict.fromkeys([mount / controllers, mount / controller]))
        else:
            continue
        # A path that begins with /.. is outside the part that this process may see.
        parts = () if path.startswith("/..") else Path(path).parts[1:]
        for tree in trees:
            yield from _visible(tree, parts)


def _visible(tree: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """Each existing folder on the way to that path, or to its last parts, beginning with the innermost."""
    seen: dict[Path, None] = {}
    for begin in range(len(parts) + 1):
        end = parts[begin:]
        seen |= dict.fromkeys(tree.joinpath(*end[:depth]) for depth in range(len(end), 0, -1))
        if tree.joinpath(*end).is_dir():
            break
    yield from (group for group in (*seen, tree) if group.is_dir())


def _read(path: Path) -> str:
    try:
        return path.read_text(
            encoding="utf-8", errors="surrogateescape"
        ).strip()  # a group's name may contain any bytes
    except OSError:
        return ""
