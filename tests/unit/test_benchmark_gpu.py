"""The benchmark of GPUs in a tiny form on a CPU, so that each of its parts has run before a GPU is there."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import gpu
from velodrome_runner.energy import Counter, EnergyMeter
from velodrome_runner.upheld import Upheld

CPU = torch.device("cpu")
TINY = gpu.Scale(
    samples=40, checked=20, batch=20, width=2, calls=6, side=8, timed_seconds=0.02, metered_seconds=0.02, repeats=1,
    epochs=2, seeds=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """The settings of this process, which the benchmark changes, are set back."""
    before = Upheld(0)
    yield
    before.restore("the benchmark")


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (gpu.timings, r"timings: p50 [\d.]+ ms, CUDA events [\d.]+ ms: [\d.]+ x"),
        (gpu.energy, "energy: unavailable: "),
        (gpu.determinism, "determinism: two trainings with one seed have the same weights"),
        (gpu.loops, r"ResNet-9: [\d,]+ samples/s, [\d.]+ x a bare loop"),
        (gpu.precision, r"precision, float32: [\d,]+ samples/s, 1.00 x float32, no energy counter"),
        (gpu.target, r"time to a validation accuracy of 95 %: (not reached|after [\d.]+ s of training), 2 epochs"),
    ],
)
def test_each_part_runs(
    part: gpu.Part, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "metered", lambda _: (None, "a test has no counter"))
    part(CPU, TINY)
    assert re.search(says, capsys.readouterr().out)


def test_a_compiled_network_is_timed_beside_the_same_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer alone: the compiler takes most of a minute for the network that the other parts train."""
    layer = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(gpu.SHAPE), gpu.CLASSES), nn.ReLU())
    monkeypatch.setattr(gpu, "network", lambda *_: layer)
    gpu.compiling(CPU, TINY)
    says = r"compile: (p50 [\d.]+ ms, as it is [\d.]+ ms: [\d.]+ x, compiled in|unavailable: )"
    assert re.search(says, capsys.readouterr().out)


def test_energy_is_that_of_a_sample(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    joules = iter(range(0, 1_000_000, 6))  # six between two readings
    monkeypatch.setattr(gpu, "metered", lambda _: (EnergyMeter([Counter(lambda: float(next(joules)))]), ""))
    monkeypatch.setattr(gpu, "supported", lambda _: ("float32",))
    monkeypatch.setattr("velodrome_runner.training._LOOK_SECONDS", math.inf)  # each look reads the counter twice more
    gpu.precision(CPU, TINY)
    # Three epochs of 40 samples; training reads the counter at the beginning and at the end of each.
    assert "1.00 x float32, 150 mJ a sample" in capsys.readouterr().out
    gpu.energy(CPU, TINY)
    assert re.search(r"energy, busy: [\d.]+ J/s, power reading 0 W", capsys.readouterr().out)


def test_the_time_to_a_share_of_the_test_images_is_told_for_each_seed(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.airbench(CPU, TINY, gpu.drawn(TINY), goal=0.01)
    said = capsys.readouterr().out.splitlines()
    for seed in range(2):
        assert re.fullmatch(
            rf"CIFAR-10, seed {seed}, \w+: 1% after [\d.]+ s of training, best .* in 2 epochs", said[seed]
        )
    assert re.fullmatch(r"CIFAR-10: 1% after [\d.]+ s on average, n = 2 of 2", said[2])


def test_cifar_10_is_left_out_where_its_files_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.with_files(tmp_path)(CPU, TINY)
    assert f"CIFAR-10: left out: CIFAR10 is not whole in {tmp_path}" in capsys.readouterr().out


def test_a_part_that_fails_is_told_and_ends_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no kernel image\nis available")

    def fine(*_: object) -> None:
        sys.stdout.write("fine\n")

    assert not gpu.ran([failing, fine], CPU, TINY, 60.0)
    assert capsys.readouterr().out == "failing: FAILED: RuntimeError: no kernel image\nfine\n"
    assert gpu.ran([fine], CPU, TINY, 60.0)
    assert gpu.ran([failing], CPU, TINY, -1.0)


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is set back afterwards
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 0
    assert capsys.readouterr().out == "no GPU\n"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
