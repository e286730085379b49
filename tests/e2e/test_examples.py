"""The examples of deploy/examples as a user applies them, each until it has shown what it is expected to show."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

from tests.e2e.conftest import ROOT, Kube, uid_of
from tests.e2e.volumes import bound

_DATA = Path("/var/tmp/velodrome-datasets")  # noqa: S108 - what the volume of this test shows


def example(name: str, **spec: Any) -> dict[str, Any]:
    """The file's object, with fields of its spec replaced."""
    document: dict[str, Any] = yaml.safe_load((ROOT / f"deploy/examples/{name}.yaml").read_text(encoding="utf-8"))
    document["spec"] |= spec
    return document


@pytest.fixture
def applied(installed: Kube) -> Iterator[Kube]:
    """Leaves no race of an example behind."""
    yield installed
    for path in (ROOT / "deploy/examples").glob("*.yaml"):
        installed("delete", "bmj", path.stem, "--ignore-not-found", "--wait=true")


def test_the_digits_race_is_complete_with_a_winner_and_an_interval_for_each_entry(applied: Kube) -> None:
    applied("apply", "-f", str(ROOT / "deploy/examples/digits.yaml"))
    applied("wait", "--for=condition=Complete", "bmj/digits", "--timeout=30m")
    found = applied.get("bmj", "digits")
    status, spec = found["status"], found["spec"]
    assert status["trials"]["done"] == "25/25"
    assert set(status["leaders"]) == {objective["name"] for objective in spec["objectives"]}
    assert {entry["name"] for entry in status["entries"]} == {entry["name"] for entry in spec["entries"]}
    for entry in status["entries"]:
        for objective in entry["objectives"]:
            assert objective["samples"] == 5
            assert objective["low"] <= objective["mean"] <= objective["high"]
    shown = applied("describe", "bmj", "digits")
    assert "AllTrialsFinished" in shown
    assert "25 of 25 trials succeeded" in shown


@pytest.fixture
def claim(installed: Kube) -> Iterator[str]:
    """A claim on a volume that holds real digits in MNIST's own files, larger and fewer than MNIST's."""
    if installed.cluster.has_volumes:
        pytest.skip("this cluster's volumes can't be filled from here")
    _write_mnist(_DATA / "mnist")
    installed(
        "apply", "-f", "-", stdin=yaml.safe_dump_all(bound("velodrome-datasets", "datasets", _DATA, "ReadOnlyMany"))
    )
    yield "datasets"
    installed("delete", "persistentvolumeclaim", "datasets", "--wait=false")
    installed("delete", "persistentvolume", "velodrome-datasets", "--wait=false")
    shutil.rmtree(_DATA)


def test_mnist_is_read_from_a_claim_that_no_trial_can_write_to(applied: Kube, claim: str) -> None:
    source = {"persistentVolumeClaim": {"claimName": claim, "path": "mnist"}}
    applied.apply(
        example("mnist", dataset={"name": "MNIST", "source": source}, budget={"maxEpochs": 2}, trials={"repeats": 1},
                objectives=[{"name": "accuracy", "metric": "accuracy"}])
    )  # fmt: skip
    applied("wait", "--for=condition=Complete", "bmj/mnist", "--timeout=10m")
    assert applied.get("bmj", "mnist")["status"]["trials"]["done"] == "4/4"
    (job,) = applied.items("jobs", f"velodrome.dev/job-uid={uid_of(applied, 'mnist')}")
    pod = job["spec"]["template"]["spec"]
    assert next(v for v in pod["volumes"] if v["name"] == "data")["persistentVolumeClaim"]["readOnly"] is True
    assert next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "data")["readOnly"] is True


def test_a_race_that_asks_for_a_gpu_says_that_it_waits_for_one(applied: Kube) -> None:
    if "nvidia.com/gpu" in applied("get", "nodes", "-o", "jsonpath={.items[*].status.allocatable}"):
        pytest.skip("this cluster has GPUs")
    applied("apply", "-f", str(ROOT / "deploy/examples/cifar10.yaml"))
    message = applied.wait(
        "the scheduler's words in the status",
        lambda: (
            "nvidia.com/gpu" in (applied.get("bmj", "cifar10").get("status", {}).get("message") or "")
            and applied.get("bmj", "cifar10")["status"]["message"]
        ),
    )
    assert "Insufficient nvidia.com/gpu" in message
    assert "Insufficient nvidia.com/gpu" in applied("get", "bmj", "cifar10")


def _write_mnist(root: Path) -> None:
    """scikit-learn's digits of 8x8, each pixel three by three and a margin of two: 28x28, in IDX files."""
    digits = load_digits()
    images = np.pad(np.kron(digits.images, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2))) * 255 / 16
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for kind, part in (("train", slice(0, 1300)), ("t10k", slice(1300, None))):
        for name, values in (("images-idx3", images[part]), ("labels-idx1", digits.target[part])):
            array = np.ascontiguousarray(values, dtype=np.uint8)
            head = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (raw / f"{kind}-{name}-ubyte").write_bytes(head + array.tobytes())
