from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from velodrome import keys
from velodrome.errors import ConfigurationError
from velodrome.results import Environment
from velodrome.spec import Training
from velodrome_runner.environment import fingerprint
from velodrome_runner.hardware import cpu_model
from velodrome_runner.threads import cpu_limit, memory_kills, memory_limit

NO_LIMIT_V1 = str(2**63 - 4096)


class System:
    """A /proc/self and a /sys/fs/cgroup of one's own."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        self.proc.mkdir()
        self.cgroups.mkdir()

    def belongs(self, *lines: str) -> None:
        (self.proc / "cgroup").write_bytes(b"".join(os.fsencode(line) + b"\n" for line in lines))

    def group(self, path: str, **files: str) -> None:
        folder = self.cgroups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(f"{text}\n")

    def cpus(self, **environ: str) -> int:
        return cpu_limit(environ, proc=self.proc, cgroups=self.cgroups)

    def memory(self) -> int | None:
        return memory_limit(proc=self.proc, cgroups=self.cgroups)


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


@pytest.mark.parametrize(("asked", "cpus"), [("3", 3), ("2.9", 2), ("0.2", 1), ("64", 16), ("", 16)])
def test_what_is_asked_for_lowers_the_limit_and_never_raises_it(system: System, asked: str, cpus: int) -> None:
    assert system.cpus(**{keys.ENV_CPUS: asked}) == cpus


@pytest.mark.parametrize("asked", ["0", "-1", "nan", "inf", "two", "1,5"])
def test_a_number_of_cpus_that_is_none_is_refused(system: System, asked: str) -> None:
    with pytest.raises(ConfigurationError, match=keys.ENV_CPUS):
        system.cpus(**{keys.ENV_CPUS: asked})


def python(code: str, *before: str) -> str:
    command = [*before, sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_process_that_may_use_one_cpu_computes_with_one_thread() -> None:
    cpu = min(os.sched_getaffinity(0))
    code = (
        "import os\n"
        "from velodrome_runner import threads\n"
        "threads.use(threads.cpu_limit({}))\n"
        "import torch\n"
        "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
    )
    assert python(code, "taskset", "--cpu-list", str(cpu)) == "1 1 PASSIVE"


def test_counting_threads_needs_no_torch() -> None:
    code = "import sys; import velodrome_runner.threads, velodrome_runner.settings; print('torch' in sys.modules)"
    assert python(code) == "False"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("processor\t: 0\nmodel name\t: EPYC 9555\n\nprocessor\t: 1\nmodel name\t: EPYC 9555\n", "EPYC 9555"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "aarch64 0x41/0xd0c"),
    ],
)
def test_a_processor_is_called_what_it_calls_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, model: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_model(tmp_path / "cpuinfo") == model


def test_a_silent_processor_has_a_name_still(tmp_path: Path) -> None:
    assert cpu_model(tmp_path / "missing")


def test_the_fingerprint_is_complete_and_survives_json() -> None:
    training = Training.model_validate({"deterministic": True})
    made = fingerprint(device=torch.device("cpu"), threads=3, concurrent=2, training=training)
    assert Environment.model_validate_json(made.model_dump_json()) == made
    assert made.hardware.cpu_model == cpu_model()
    assert made.hardware.cpu_count == os.cpu_count()
    assert made.hardware.accelerator is None
    assert made.software.framework == f"torch {torch.__version__}"
    assert set(made.software.libraries) == {"numpy", "scikit-learn", "torchmetrics", "torchvision"}
    assert (made.resources.cpus, made.resources.concurrent_trials, made.resources.accelerators) == (3, 2, 0)
    assert made.resources.memory_limit_bytes == memory_limit()
    assert (made.precision, made.deterministic) == ("float32", True)


def test_what_the_kernel_killed_for_memory_is_counted_in_the_processs_own_group(system: System) -> None:
    assert memory_kills(proc=system.proc, cgroups=system.cgroups) == 0
    system.belongs("0::/pod")
    system.group("pod", memory__events="low 0\nhigh 3\nmax 9\noom 2\noom_kill 1")
    assert memory_kills(proc=system.proc, cgroups=system.cgroups) == 1


def test_the_first_version_of_control_groups_counts_kills_too(system: System) -> None:
    system.belongs("4:memory:/pod")
    system.group("memory/pod", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2")
    assert memory_kills(proc=system.proc, cgroups=system.cgroups) == 2
