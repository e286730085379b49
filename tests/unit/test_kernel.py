"""What the kernel grants, read from made-up trees of control groups: version 1, version 2, and both at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.kernel.limits import cpu_limit, cpus_for_each, memory_kills, memory_limit

NO_LIMIT_V1 = str(2**63 - 4096)


class System:
    """A root with a /proc/self and a /sys/fs/cgroup of its own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.proc, self.cgroups = folder, folder / "proc/self", folder / "sys/fs/cgroup"
        self.proc.mkdir(parents=True)
        self.cgroups.mkdir(parents=True)

    def belongs(self, *lines: str) -> None:
        (self.proc / "cgroup").write_bytes(b"".join(os.fsencode(line) + b"\n" for line in lines))

    def group(self, path: str, **files: str) -> None:
        folder = self.cgroups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(f"{text}\n")

    def cpus(self) -> int:
        return cpu_limit(self.root)

    def memory(self) -> int | None:
        return memory_limit(self.root)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """A machine whose scheduler would give 16 CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    return System(tmp_path)


def test_without_control_groups_the_scheduler_decides(system: System) -> None:
    assert system.cpus() == 16
    assert system.memory() is None


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("max 100000", 16), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 16)],
)
def test_a_quota_of_version_2_is_rounded_down_to_1_at_least(system: System, quota: str, cpus: int) -> None:
    system.belongs("0::/pods/one")
    system.group("pods/one", cpu__max=quota)
    assert system.cpus() == cpus


def test_the_least_of_all_groups_above_counts(system: System) -> None:
    system.belongs("0::/pods/one/inner")
    system.group("pods/one/inner", cpu__max="max 100000", memory__max="max")
    system.group("pods/one", cpu__max="800000 100000", memory__max="4096000")
    system.group("pods", cpu__max="300000 100000", memory__max="8192000")
    assert system.cpus() == 3
    assert system.memory() == 4096000


def test_inside_a_container_only_the_mounts_root_is_there(system: System) -> None:
    system.belongs("0::/kubepods/of/the/host")
    system.group("", cpu__max="400000 100000", memory__max="1024000")
    assert system.cpus() == 4
    assert system.memory() == 1024000


def test_version_1_has_a_tree_for_each_controller(system: System) -> None:
    system.belongs("11:memory:/docker/abc", "4:cpu,cpuacct:/docker/abc", "1:name=systemd:/docker/abc")
    system.group("cpu,cpuacct/docker/abc", cpu__cfs_quota_us="350000", cpu__cfs_period_us="100000")
    system.group("memory/docker/abc", memory__limit_in_bytes="2048000")
    system.group("memory", memory__limit_in_bytes=NO_LIMIT_V1)
    assert system.cpus() == 3
    assert system.memory() == 2048000


def test_version_1_says_no_limit_in_its_own_way(system: System) -> None:
    system.belongs("11:memory:/", "4:cpu,cpuacct:/")
    system.group("cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    system.group("memory", memory__limit_in_bytes=NO_LIMIT_V1)
    assert system.cpus() == 16
    assert system.memory() is None


def test_a_groups_name_may_be_any_bytes(system: System) -> None:
    system.belongs("0::/caf\udce9/π")
    system.group("", cpu__max="400000 100000")
    assert system.cpus() == 4


def test_affinity_counts_where_it_is_less_than_the_quota(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.belongs("0::/pod")
    system.group("pod", cpu__max="800000 100000")
    assert system.cpus() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7})
    assert system.cpus() == 2


def test_affinity_is_asked_of_the_kernel() -> None:
    code = "from velodrome.kernel.limits import cpu_limit; print(cpu_limit())"
    command = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "1\n"


def test_a_system_without_affinities_is_asked_for_its_cpus(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert system.cpus() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.cpus() == 1


@pytest.mark.parametrize("quota", ["0", "-1"])
def test_a_quota_of_version_1_that_is_none(system: System, quota: str) -> None:
    system.belongs("4:cpu,cpuacct:/a")
    system.group("cpu/a", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert system.cpus() == 16


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_has_the_limit_of_a_group_above(system: System, folder: str) -> None:
    system.belongs("4:cpu,cpuacct:/kubepods/pod1/ctr", "5:memory:/kubepods/pod1/ctr", "0::/")
    system.group(f"{folder}/kubepods/pod1/ctr", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    system.group(f"{folder}/kubepods/pod1", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    system.group("memory/kubepods/pod1/ctr", memory__limit_in_bytes=NO_LIMIT_V1)
    system.group("memory/kubepods/pod1", memory__limit_in_bytes="4096000")
    assert system.cpus() == 3
    assert system.memory() == 4096000


def test_in_a_hybrid_tree_version_2_stands_in_a_folder_of_its_own(system: System) -> None:
    system.belongs("4:memory:/a", "1:name=systemd:/a", "0::/a/b")
    system.group("unified/a/b", cpu__max="max 100000")
    system.group("unified/a", cpu__max="500000 100000")
    system.group("memory/a", memory__limit_in_bytes="1024000")
    assert system.cpus() == 5
    assert system.memory() == 1024000


def test_in_a_hybrid_tree_a_controller_of_version_1_counts(system: System) -> None:
    system.belongs("4:cpu,cpuacct:/a", "1:name=systemd:/a", "0::/a")
    system.group("unified/a", cgroup__procs="1")
    system.group("cpu,cpuacct/a", cpu__cfs_quota_us="600000", cpu__cfs_period_us="100000")
    assert system.cpus() == 6


def test_the_tree_of_another_controller_says_nothing(system: System) -> None:
    system.belongs("4:cpuset:/a", "7:cpuacct:/a")
    system.group("cpuset/a", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    system.group("cpu/a", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    assert system.cpus() == 16


def test_a_group_inside_of_a_container_is_found_below_the_mount(system: System) -> None:
    system.belongs("4:cpu,cpuacct:/docker/abc/inner")
    system.group("cpu", cpu__cfs_quota_us="800000", cpu__cfs_period_us="100000")
    system.group("cpu/inner", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert system.cpus() == 2


def test_a_path_outside_of_the_namespace_is_the_mounts_root(system: System) -> None:
    system.belongs("0::/../../elsewhere")
    system.group("", cpu__max="400000 100000")
    system.group("elsewhere", cpu__max="100000 100000")
    assert system.cpus() == 4


@pytest.mark.parametrize("text", ["", "max", "nonsense", "100000", "100000 0", "100000 x", "1e5 100000"])
def test_a_quota_that_cant_be_read_limits_nothing(system: System, text: str) -> None:
    system.belongs("", "0", "nonsense", "0::/a")
    system.group("a", cpu__max=text, memory__max=text if " " not in text and text != "100000" else "max")
    assert system.cpus() == 16
    assert system.memory() is None


def test_a_races_cpus_and_a_trials_threads_are_one_answer(system: System) -> None:
    from velodrome_runner.threads import thread_count

    system.belongs("4:cpu,cpuacct:/a/b", "0::/a/b")
    system.group("cpu,cpuacct/a", cpu__cfs_quota_us="350000", cpu__cfs_period_us="100000")
    system.group("unified/a/b", cpu__max="max 100000")
    assert thread_count({}, system.root) == system.cpus() == 3


def test_what_the_kernel_killed_for_memory_is_counted_in_the_processs_own_group(system: System) -> None:
    assert memory_kills(system.root) == 0
    system.belongs("0::/pod")
    system.group("pod", memory__events="low 0\nhigh 3\nmax 9\noom 2\noom_kill 1")
    assert memory_kills(system.root) == 1


def test_the_first_version_of_control_groups_counts_kills_too(system: System) -> None:
    system.belongs("4:memory:/pod")
    system.group("memory/pod", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2")
    assert memory_kills(system.root) == 2


@pytest.mark.parametrize(("cpus", "parallel", "each"), [(8, 1, 8), (8, 3, 2), (2, 4, 1)])
def test_trials_that_run_at_once_share_the_cpus(cpus: int, parallel: int, each: int) -> None:
    assert cpus_for_each(cpus, parallel) == each
