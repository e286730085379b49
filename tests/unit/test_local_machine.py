"""The CPUs that a race gets, from the files in which Linux says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from velodrome.local.machine import cpu_limit, cpus_for_each


def machine(root: Path, groups: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def _sixty_four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


def test_without_a_quota_it_is_what_the_process_may_be_scheduled_on(tmp_path: Path) -> None:
    assert cpu_limit(machine(tmp_path, "0::/user.slice\n", user__slice__cpuDOTmax="max 100000\n")) == 64
    assert cpu_limit(tmp_path / "nothing") == 64


@pytest.mark.parametrize(("quota", "cpus"), [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1)])
def test_a_quota_of_version_2_is_rounded_down_but_not_to_nothing(tmp_path: Path, quota: str, cpus: int) -> None:
    assert cpu_limit(machine(tmp_path, "0::/pod/container\n", pod__container__cpuDOTmax=quota + "\n")) == cpus


def test_a_group_further_up_may_be_the_tighter_one(tmp_path: Path) -> None:
    files = {"pod__cpuDOTmax": "300000 100000\n", "pod__container__cpuDOTmax": "800000 100000\n"}
    assert cpu_limit(machine(tmp_path, "0::/pod/container\n", **files)) == 3


def test_inside_a_container_the_mount_is_its_own_group(tmp_path: Path) -> None:
    assert cpu_limit(machine(tmp_path, "0::/../host/path\n", cpuDOTmax="400000 100000\n")) == 4


def test_a_quota_of_version_1(tmp_path: Path) -> None:
    groups = "7:memory:/m\n4:cpu,cpuacct:/docker/x\n"
    files = {"cpu__docker__x__cpuDOTcfs_quota_us": "150000\n", "cpu__docker__x__cpuDOTcfs_period_us": "100000\n"}
    assert cpu_limit(machine(tmp_path, groups, **files)) == 1
    files = {"cpu__docker__x__cpuDOTcfs_quota_us": "-1\n", "cpu__docker__x__cpuDOTcfs_period_us": "100000\n"}
    assert cpu_limit(machine(tmp_path / "free", groups, **files)) == 64


@pytest.mark.parametrize(("cpus", "parallel", "each"), [(8, 1, 8), (8, 3, 2), (2, 4, 1)])
def test_trials_that_run_at_once_share_the_cpus(cpus: int, parallel: int, each: int) -> None:
    assert cpus_for_each(cpus, parallel) == each
