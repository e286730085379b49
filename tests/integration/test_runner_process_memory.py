"""What counts as a trial's memory, in a process that starts cold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Runs one trial and prints which modules were imported while its memory was measured, and what was measured.
PROGRAM = """
import json, sys
from pathlib import Path
from velodrome_runner import threads
threads.use(1)
import torch
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob
from velodrome_runner import measuring
from velodrome_runner.settings import Settings

(job, scratch), before, real = json.load(sys.stdin), set(), measuring.memory_peak

def memory_peak(device):
    before.update(sys.modules)
    return real(device)

measuring.memory_peak = memory_peak
settings = Settings(Path("job"), 0, "uid", "attempt", None, Path(), Path(scratch), concurrent=1, deadline=1.0)
trial = plan(BenchmarkJob.model_validate(job)).trial(0)
done = measuring.measure(trial, settings, threads=1, device=torch.device("cpu"), on_phase=lambda *_: None)
print(json.dumps([sorted(set(sys.modules) - before), done.metrics["peak_memory_bytes"]]))
"""


def measured(tmp_path: Path, **spec: Any) -> tuple[list[str], float]:
    """Names of the modules that came in late, and the peak in bytes."""
    job = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "memory"},
        "spec": {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 1},
            "evaluation": {"inference": {"batchSizes": [1], "minRunSeconds": 0.01}},
            "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
            **spec,
        },
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([job, str(tmp_path)]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    late, peak = json.loads(ended.stdout.splitlines()[-1])
    return late, peak


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="as little as there is"),
        pytest.param(
            {
                "preprocessing": {
                    "featureSelection": {"method": "SelectKBest", "k": 30},
                    "augmentations": [{"name": "RandomCrop", "args": {"size": 6}}],
                },
                "entries": [{"name": "small", "model": {"name": "torchvision/resnet18"}}],
            },
            id="all that imports late",
        ),
    ],
)
def test_no_library_is_imported_while_memory_is_measured(tmp_path: Path, spec: dict[str, Any]) -> None:
    late, _ = measured(tmp_path, **spec)
    libraries = {"sklearn", "scipy", "pandas", "torchvision", "torchmetrics", "numpy", "PIL"}
    # Files that ship inside a package are found through small modules of their own.
    names = [name for name in late if name.partition(".")[0] in libraries and not name.startswith("sklearn.datasets.")]
    assert names == []


def test_a_small_model_on_small_data_is_charged_megabytes_and_no_libraries(tmp_path: Path) -> None:
    _, peak = measured(tmp_path)
    assert 100_000 < peak < 25_000_000
