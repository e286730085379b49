"""What other programs do to a measurement is read from the kernel's counters."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.neighbours import burning
from velodrome.kernel.pressure import Snapshot, busy_now, disturbances, others_cpus, snapshot
from velodrome.machine import checks
from velodrome.machine.race.race import busy_notes

QUIET = Snapshot(at=0.0, cpus=4, busy=0.0, stolen=0.0, own=0.0, waited=0.0, pressed=0.0, throttled=0.0, overheated=0)
LATER = replace(QUIET, at=10.0, busy=10.1, own=10.0, waited=0.01, pressed=0.1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"waited": 2.0}, ["it waited for a CPU 20% of the time"]),
        ({"throttled": 1.0}, ["its CPU quota stopped it 10% of the time"]),
        ({"stolen": 4.0}, ["the hypervisor took 10% of the CPU time"]),
        ({"busy": 25.0}, ["other programs used 1.5 of 4 CPUs"]),
        ({"busy": 13.0, "pressed": 5.0}, ["programs waited for a CPU 50% of the time"]),
        ({"pressed": 5.0}, []),
        ({"overheated": 3}, ["a processor slowed down because of its temperature"]),
        ({"busy": None, "own": None, "waited": None, "pressed": None, "throttled": None, "stolen": None}, []),
    ],
)
def test_what_grew_too_much_is_said_with_its_figure(changed: dict[str, float], words: list[str]) -> None:
    assert disturbances(QUIET, replace(LATER, **changed)) == words  # type: ignore[arg-type]


def test_a_race_of_parallel_trials_expects_others_and_threads_share_the_waiting() -> None:
    busy = replace(LATER, busy=30.0, waited=0.8)
    assert disturbances(QUIET, busy, concurrent=2) == ["it waited for a CPU 8% of the time"]
    assert disturbances(QUIET, busy, concurrent=2, threads=2) == []
    assert disturbances(QUIET, replace(busy, at=0.0)) == []


def test_a_short_time_is_not_judged_by_coarse_counters() -> None:
    assert disturbances(QUIET, replace(LATER, at=0.1, busy=0.2, own=0.0, waited=0.0, pressed=0.0)) == []


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_counters_of_a_container_are_read(tmp_path: Path) -> None:
    process = "7 (a b) R 1 7 7 0 -1 0 0 0 0 0 100 50 200 0 20 0 1"
    files = {
        "proc/stat": "cpu  100 200 300 9000 50 1 2 400 77 0\ncpu0 1 2 3 4\n",
        "proc/7/stat": process,
        "proc/8/stat": "8 (child) R 7 7 7 0 -1 0 0 0 0 0 25 25 0 0 20 0 1",
        "proc/7/task/7/schedstat": "500 2000000000 3",
        "proc/7/task/9/schedstat": "500 1000000000 3",
        "proc/self/cgroup": "0::/pod\n",
        "sys/fs/cgroup/pod/cpu.stat": "usage_usec 5\nthrottled_usec 1500000\n",
        "sys/fs/cgroup/pod/cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull total=1\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "4\n",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "1\n",
    }
    ticks = os.sysconf("SC_CLK_TCK")
    found = snapshot(write(tmp_path, files), pid=7)
    assert found.busy == pytest.approx(603 / ticks)
    assert found.stolen == 400 / ticks
    assert found.own == 400 / ticks
    assert (found.waited, found.throttled, found.pressed, found.overheated) == (3.0, 1.5, 2.5, 5)


def test_a_system_without_counters_says_nothing(tmp_path: Path) -> None:
    found = snapshot(tmp_path, pid=7)
    assert found == Snapshot(at=found.at, cpus=found.cpus)
    assert others_cpus(found, replace(found, at=found.at + 1)) is None
    assert disturbances(found, replace(found, at=found.at + 1)) == []


def machine(root: Path, busy: int) -> Path:
    """The files of a machine whose programs used so many ticks of CPU time, and this process 5 of them."""
    cpus = f"cpu  {busy} 0 0 9000 0 0 0 0 0 0\n"
    own = f"{os.getpid()} (pytest) R 1 7 7 0 -1 0 0 0 0 0 5 0 0 0 20 0 1"
    return write(root, {"proc/stat": cpus, f"proc/{os.getpid()}/stat": own})


def growing(root: Path, seconds: int) -> Callable[[float], None]:
    """Sleeps, and meanwhile the programs of the machine use that many seconds of CPU time."""
    machine(root, 100)

    def sleep(duration: float) -> None:
        time.sleep(duration)
        machine(root, 100 + seconds * os.sysconf("SC_CLK_TCK"))

    return sleep


def test_a_busy_machine_is_said_from_the_kernels_files(tmp_path: Path) -> None:
    found = checks.quiet(tmp_path, growing(tmp_path, 1000))
    assert found.status == "warning"
    assert re.fullmatch(r"other programs used \d+\.\d of \d+ CPUs", found.found)
    assert "race" in found.fix
    (said,) = busy_notes(tmp_path, growing(tmp_path, 1000))
    assert re.match(r"this machine is busy: other programs used \d+\.\d of \d+ CPUs\. Trials", said)


def test_nothing_is_said_of_a_quiet_machine(tmp_path: Path) -> None:
    found = checks.quiet(tmp_path, growing(tmp_path, 0))
    assert found == checks.Check("other programs", "ok", "the machine is quiet")
    assert busy_notes(tmp_path, growing(tmp_path, 0)) == []


@pytest.fixture
def neighbours() -> Iterator[None]:
    with burning():
        yield


@pytest.mark.usefixtures("neighbours")
def test_busy_neighbours_are_reported() -> None:
    before = snapshot()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        pass
    said = disturbances(before, snapshot())
    assert any(words.startswith(("other programs used", "it waited for a CPU")) for words in said)
    assert "other programs used" in busy_now()
