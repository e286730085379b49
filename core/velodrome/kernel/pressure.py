"""What else the machine does while something is measured: read from the kernel's counters, and said in words.

A `Snapshot` holds counters at one moment. Two of them show what happened between these moments: how much CPU time other
programs used, how long this process waited for a CPU, and what a hypervisor or a control group took away. Uses only the
standard library. A system without such a counter leaves it out, so an empty answer is no proof.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from velodrome.kernel.descendants import descendants
from velodrome.kernel.limits import control_groups

# From these shares of the time on, or of the CPUs, a measurement counts as disturbed. Undisturbed machines stay well
# below: their daemons use a hundredth of a CPU.
WAITED = 0.05
STOLEN = 0.02
THROTTLED = 0.02
PRESSURE = 0.2
OTHERS = 0.1
# Other programs must use this much of one CPU too: on a machine of one or two CPUs, a tenth of them is a short job.
_OTHERS_CPUS = 0.25
# The kernel counts CPU time in hundredths of a second. In a shorter time, such a count says little.
_SHORTEST_SECONDS = 0.2
_LOOK_SECONDS = 0.5

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Seconds by counters that only grow; None for one that the system does not have.

    - `at`: monotonic time. `busy` and `stolen`: CPU time of all programs, and that a hypervisor took, of all CPUs.
    - `own`: CPU time of this process and of everything below it. `waited`: time in which a thread of this process could
      run and had no CPU, of all threads.
    - `pressed`: time in which some program of the control group waited for a CPU; `throttled`: time in which its quota
      stopped it.
    - `overheated`: how often a processor slowed down because of its temperature.
    """

    at: float
    cpus: int
    busy: float | None = None
    stolen: float | None = None
    own: float | None = None
    waited: float | None = None
    pressed: float | None = None
    throttled: float | None = None
    overheated: int | None = None


def snapshot(root: Path = Path("/"), pid: int | None = None) -> Snapshot:
    """The counters now, for this process (or `pid`). `root` is the folder that holds `proc` and `sys`."""
    pid = os.getpid() if pid is None else pid
    proc = root / "proc"
    total = _cpu_times(proc / "stat")
    tree = [pid, *(found.pid for found in descendants(pid, proc=proc))]
    own = [seconds for one in tree if (seconds := _process_seconds(proc / str(one) / "stat")) is not None]
    if own and root == Path("/") and pid == os.getpid():  # the same, but exact
        times = os.times()
        own[0] = time.process_time() + times.children_user + times.children_system
    return Snapshot(
        at=time.monotonic(),
        cpus=os.cpu_count() or 1,
        busy=None if total is None else total[0],
        stolen=None if total is None else total[1],
        own=sum(own) if own else None,
        waited=_waited(proc / str(pid) / "task"),
        pressed=_pressed(root),
        throttled=_throttled(root),
        overheated=_overheated(root / "sys/devices/system/cpu"),
    )


def disturbances(before: Snapshot, after: Snapshot, *, concurrent: int = 1, threads: int = 1) -> list[str]:
    """What disturbed this process between two moments, in words with figures; empty if nothing is known to. Pure.

    `concurrent` is the number of trials that share the machine by intent, this one included. If there are several, the
    CPU time of others is no disturbance. `threads` is the number of threads that compute here.
    """
    seconds = after.at - before.at
    if seconds <= 0:
        return []

    def grown(name: str) -> float:
        first, last = getattr(before, name), getattr(after, name)
        return 0.0 if first is None or last is None else max(0.0, (last - first) / seconds)

    said = []
    waited = grown("waited") / max(1, threads)
    if waited >= WAITED:
        said.append(f"it waited for a CPU {waited:.0%} of the time")
    if grown("throttled") >= THROTTLED:
        said.append(f"its CPU quota stopped it {grown('throttled'):.0%} of the time")
    others = others_cpus(before, after)
    if seconds >= _SHORTEST_SECONDS:
        stolen = grown("stolen") / after.cpus
        if stolen >= STOLEN:
            said.append(f"the hypervisor took {stolen:.0%} of the CPU time")
        if concurrent == 1 and others is not None and others >= max(_OTHERS_CPUS, OTHERS * after.cpus):
            said.append(f"other programs used {others:.1f} of {after.cpus} CPUs")
    # A program with more threads than CPUs waits for itself. So waiting alone is no disturbance by others.
    if concurrent == 1 and not said and grown("pressed") >= PRESSURE and (others is None or others >= _OTHERS_CPUS):
        said.append(f"programs waited for a CPU {grown('pressed'):.0%} of the time")
    if grown("overheated") > 0:
        said.append("a processor slowed down because of its temperature")
    return said


def others_cpus(before: Snapshot, after: Snapshot) -> float | None:
    """How many CPUs the programs used that are not of this process or below it; None if the system does not say."""
    if None in (before.busy, after.busy, before.own, after.own) or after.at <= before.at:
        return None
    assert before.busy is not None
    assert after.busy is not None
    assert before.own is not None
    assert after.own is not None
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / (after.at - before.at)


def busy_now(root: Path = Path("/"), sleep: Callable[[float], None] = time.sleep) -> str:
    """What other programs do to this machine right now, in words; empty if it is quiet. Takes half a second."""
    before = snapshot(root)
    sleep(_LOOK_SECONDS)
    return ", ".join(disturbances(before, snapshot(root)))


def _cpu_times(stat: Path) -> tuple[float, float] | None:
    """CPU seconds that were used, and that a hypervisor took. A guest's time counts within user time already."""
    for line in _lines(stat):
        name, *fields = line.split()
        if name == "cpu" and len(fields) >= 8 and all(field.isdecimal() for field in fields):
            user, nice, system, _, _, irq, softirq, stolen = (int(field) / _TICKS for field in fields[:8])
            return user + nice + system + irq + softirq, stolen
    return None


def _process_seconds(stat: Path) -> float | None:
    """CPU seconds of a process and of its children that have ended: fields 14 to 17 of proc(5)."""
    with suppress(OSError, ValueError, IndexError):
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / _TICKS
    return None


def _waited(tasks: Path) -> float | None:
    """Seconds in which the threads of a process stood in the queue for a CPU."""
    waits = []
    for path in tasks.glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            waits.append(int(path.read_text(encoding="ascii").split()[1]) / 1e9)
    return sum(waits) if waits else None


def _pressed(root: Path) -> float | None:
    """Seconds in which some program waited for a CPU: in this process's control group, or else on the whole machine."""
    groups = [group / "cpu.pressure" for group in control_groups("cpu", root)]
    for path in (*groups, root / "proc/pressure/cpu"):
        for line in _lines(path):
            kind, *fields = line.split()
            counts = dict(field.partition("=")[::2] for field in fields)
            if kind == "some" and counts.get("total", "").isdecimal():
                return int(counts["total"]) / 1e6
    return None


def _throttled(root: Path) -> float | None:
    """Seconds in which the quota of a control group stopped this process; the largest of its groups."""
    found = []
    for group in control_groups("cpu", root):
        counts = dict(line.partition(" ")[::2] for line in _lines(group / "cpu.stat"))
        for name, scale in (("throttled_usec", 1e6), ("throttled_time", 1e9)):  # version 2 and 1
            if counts.get(name, "").isdecimal():
                found.append(int(counts[name]) / scale)
    return max(found, default=None)


def _overheated(cpus: Path) -> int | None:
    counts = [
        int(line)
        for path in cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        for line in _lines(path)
        if line.isdecimal()
    ]
    return sum(counts) if counts else None


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
