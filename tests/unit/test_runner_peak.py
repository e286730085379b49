from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from velodrome_runner.energy import Counter, EnergyMeter, energy_meter
from velodrome_runner.peak import ResidentPeak, Unmeasurable

CPU = torch.device("cpu")
MEBI = 2**20


class Process:
    """A /proc/self whose numbers are ours, in mebibytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.has(anon=100, file=50, high=900)

    def has(self, *, anon: int, file: int, high: int, shmem: int = 0) -> None:
        fields = {"VmHWM": high, "RssAnon": anon, "RssFile": file, "RssShmem": shmem}
        lines = [f"{name}:\t{value * 1024} kB" for name, value in fields.items()]
        (self.folder / "status").write_text("\n".join(["Name:\tpython", *lines, "Threads:\t1"]))

    @property
    def cleared(self) -> str:
        return (self.folder / "clear_refs").read_text()


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


def test_the_peak_is_what_was_held_beyond_the_start_and_not_the_libraries(process: Process) -> None:
    peak = ResidentPeak(process.folder)
    assert process.cleared == "5"
    process.has(anon=110, file=60, high=190)  # of these 190, 60 are files and 100 were there before
    assert peak.read() == 30 * MEBI


def test_the_highest_lap_counts(process: Process) -> None:
    peak = ResidentPeak(process.folder)
    for high in (170, 240, 180):
        process.has(anon=100, file=50, high=high)
        peak.lap()
    assert peak.read() == 90 * MEBI


def test_shared_memory_is_memory_too(process: Process) -> None:
    process.has(anon=100, file=50, shmem=20, high=900)
    peak = ResidentPeak(process.folder)
    process.has(anon=100, file=50, shmem=60, high=210)
    assert peak.read() == 40 * MEBI


def test_a_process_that_shrinks_held_nothing_more(process: Process) -> None:
    peak = ResidentPeak(process.folder)
    process.has(anon=80, file=50, high=140)
    assert peak.read() == 0


def test_a_system_that_keeps_no_peak_says_so(tmp_path: Path) -> None:
    peak = ResidentPeak(tmp_path / "nothing")
    peak.lap()
    with pytest.raises(Unmeasurable, match="does not show a process's peak resident memory"):
        peak.read()


_HOLDS_64_MEBIBYTES = """
import torch
from velodrome_runner.peak import memory_peak
torch.ones(2**20).sum()  # what the operations load and start is there before
before = torch.ones(2**22)
peak = memory_peak(torch.device("cpu"))
torch.ones(2**24).sum()
print(peak.read(), len(before))
"""


def test_memory_that_was_given_back_counts_and_what_was_held_before_does_not() -> None:
    """The real one, in a process that does nothing else: 64 MiB are held for a moment between two looks."""
    done = subprocess.run([sys.executable, "-c", _HOLDS_64_MEBIBYTES], capture_output=True, text=True, check=True)
    assert 63 * MEBI < int(done.stdout.split()[0]) < 72 * MEBI


def test_a_meter_adds_up_what_its_counters_grow_by() -> None:
    first, second = iter([10.0, 14.0, 20.0, 21.0]), iter([100.0, 101.0, 102.0, 104.0])
    meter = EnergyMeter([Counter(lambda: next(first)), Counter(lambda: next(second))])
    meter.start()
    meter.stop()
    assert meter.joules == 5.0
    meter.start()
    meter.stop()
    assert meter.joules == 8.0


def test_a_counter_that_starts_again_loses_nothing() -> None:
    values: Iterator[float] = iter([990.0, 15.0])
    meter = EnergyMeter([Counter(lambda: next(values), wraps_at=1000.0)])
    meter.start()
    meter.stop()
    assert meter.joules == 25.0


def zone(powercap: Path, name: str, microjoules: int) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    return folder


def test_a_processors_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    packages = [zone(tmp_path, f"intel-rapl:{number}", 1_000_000) for number in range(2)]
    part = zone(tmp_path, "intel-rapl:0:0", 500_000)  # the cores of package 0, which its own counter has already
    meter = energy_meter(CPU, concurrent=1, powercap=tmp_path)
    meter.start()
    for folder in (*packages, part):
        (folder / "energy_uj").write_text("4000000\n")
    meter.stop()
    assert meter.joules == 6.0


def test_a_machine_without_a_counter_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unmeasurable, match="no energy counter"):
        energy_meter(CPU, concurrent=1, powercap=tmp_path)


def test_a_counter_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    (zone(tmp_path, "intel-rapl:0", 0) / "energy_uj").write_text("?\n")
    with pytest.raises(Unmeasurable, match="can't be read"):
        energy_meter(CPU, concurrent=1, powercap=tmp_path)


def test_a_counter_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is played."""
    folder = zone(tmp_path, "intel-rapl:0", 0)

    def refused(path: Path, **_: object) -> str:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(Unmeasurable, match=rf"may not be read by this user: .*{folder.name}"):
        energy_meter(CPU, concurrent=1, powercap=tmp_path)


def test_trials_that_share_a_machine_have_no_energy_of_their_own(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 0)
    with pytest.raises(Unmeasurable, match="3 trials share the machine"):
        energy_meter(CPU, concurrent=3, powercap=tmp_path)
