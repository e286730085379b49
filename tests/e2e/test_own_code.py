"""Programs of one's own in real pods, in an image without torch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Kube, race

PROGRAM = """
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": 0.5 + trial.seed / 100})
"""


def own(name: str, image: str, *command: str, **spec: Any) -> dict[str, Any]:
    """A race of one entry that brings its own program."""
    return race(name, entries=[{"name": "own", "image": image, "command": list(command)}], **spec)


def test_a_program_of_ones_own_races_beside_velodromes_own_model(installed: Kube, name: str, own_image: str) -> None:
    entries = [
        {"name": "numpy", "image": own_image, "command": ["python", "deploy/examples/numpy/train.py"]},
        {"name": "mlp", "model": {"name": "velodrome/mlp"}},
    ]
    installed.apply(race(name, entries=entries))
    installed("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    status = installed.get("bmj", name)["status"]
    assert status["trials"]["done"] == "4/4"
    assert {entry["name"]: entry["objectives"][0]["samples"] for entry in status["entries"]} == {"numpy": 2, "mlp": 2}
    assert len(installed.items("jobs", f"velodrome.dev/job-name={name}")) == 2


def test_a_program_that_fails_says_why_in_the_status(installed: Kube, name: str, own_image: str) -> None:
    installed.apply(own(name, own_image, "python", "-c", "raise SystemExit('no such data')"))
    failed = installed.wait("Failed", lambda: installed.condition(name, "Failed"))
    assert failed["reason"] == "TooManyFailedTrials"
    assert (
        "own/0 CommandFailed: the command ended with exit code 1: its last line was 'no such data'" in failed["message"]
    )


def test_an_image_without_velodrome_is_reported(installed: Kube, name: str) -> None:
    installed.apply(own(name, installed.cluster.load_image("redis"), "redis-server", "--version"))
    failed = installed.wait("Failed", lambda: installed.condition(name, "Failed"), 240)
    assert "velodrome-runner" in failed["message"]
    assert "CommandNotFound" in failed["message"]


def test_small_programs_finish_and_are_ranked(installed: Kube, name: str, own_image: str) -> None:
    installed.apply(own(name, own_image, "python", "-c", PROGRAM, trials={"repeats": 3}))
    installed("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    (entry,) = installed.get("bmj", name)["status"]["entries"]
    assert entry["objectives"][0] | {"low": 0, "high": 0} == {
        "name": "accuracy", "mean": pytest.approx(0.51), "samples": 3, "low": 0, "high": 0,
    }  # fmt: skip


def test_a_program_that_runs_out_of_memory_is_reported_as_such(installed: Kube, name: str, own_image: str) -> None:
    hungry = "kept = []\nwhile True:\n    kept.append(bytearray(16 << 20))"
    runner = {"resources": {"limits": {"memory": "256Mi"}}}
    installed.apply(own(name, own_image, "python", "-c", hungry, runner=runner))
    failed = installed.wait("Failed", lambda: installed.condition(name, "Failed"), 180)
    assert "OutOfMemory" in failed["message"]
    assert "limits.memory" in failed["message"]
