from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from velodrome import keys
from velodrome.errors import ConfigurationError
from velodrome.kernel.limits import memory_limit
from velodrome.results.records import Environment
from velodrome.spec import Training
from velodrome_runner.environment import fingerprint
from velodrome_runner.hardware import cpu_model
from velodrome_runner.threads import thread_count


@pytest.fixture
def sixteen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine whose scheduler would give 16 CPUs, without control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    return tmp_path


@pytest.mark.parametrize(("asked", "cpus"), [("3", 3), ("2.9", 2), ("0.2", 1), ("64", 16), ("", 16)])
def test_what_is_asked_for_lowers_the_limit_and_never_raises_it(sixteen: Path, asked: str, cpus: int) -> None:
    assert thread_count({keys.ENV_CPUS: asked}, sixteen) == cpus


def test_a_quota_counts_beside_what_is_asked_for(sixteen: Path) -> None:
    (sixteen / "proc/self").mkdir(parents=True)
    (sixteen / "proc/self/cgroup").write_text("0::/\n")
    (sixteen / "sys/fs/cgroup").mkdir(parents=True)
    (sixteen / "sys/fs/cgroup/cpu.max").write_text("250000 100000\n")
    assert thread_count({}, sixteen) == 2
    assert thread_count({keys.ENV_CPUS: "8"}, sixteen) == 2
    assert thread_count({keys.ENV_CPUS: "1"}, sixteen) == 1


@pytest.mark.parametrize("asked", ["0", "-1", "nan", "inf", "two", "1,5"])
def test_a_number_of_cpus_that_is_none_is_refused(sixteen: Path, asked: str) -> None:
    with pytest.raises(ConfigurationError, match=keys.ENV_CPUS):
        thread_count({keys.ENV_CPUS: asked}, sixteen)


def python(code: str, *before: str) -> str:
    command = [*before, sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_process_that_may_use_one_cpu_computes_with_one_thread() -> None:
    cpu = min(os.sched_getaffinity(0))
    code = (
        "import os\n"
        "from velodrome_runner import threads\n"
        "threads.use(threads.thread_count({}))\n"
        "import torch\n"
        "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
    )
    assert python(code, "env", "-u", "OMP_WAIT_POLICY", "taskset", "--cpu-list", str(cpu)) == "1 1 PASSIVE"


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
    made = fingerprint(
        device=torch.device("cpu"),
        threads=3,
        concurrent=2,
        training=training,
        shared=["sklearn.datasets", "sklearn.metrics", "PIL.Image"],
        model=["timm", "not_installed_anywhere"],
    )
    assert Environment.model_validate_json(made.model_dump_json()) == made
    assert made.hardware.cpu_model == cpu_model()
    assert made.hardware.cpu_count == os.cpu_count()
    assert made.hardware.accelerator is None
    assert made.software.framework == f"torch {torch.__version__}"
    assert set(made.software.libraries) == {"numpy", "pillow", "scikit-learn"}
    assert made.software.libraries["scikit-learn"] == metadata.version("scikit-learn")
    assert made.software.model_libraries == {"timm": metadata.version("timm")}
    assert (made.resources.cpus, made.resources.concurrent_trials, made.resources.accelerators) == (3, 2, 0)
    assert made.resources.memory_limit_bytes == memory_limit()
    assert (made.precision, made.deterministic) == ("float32", True)
