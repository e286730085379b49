"""A trial imports what it uses alone: neither torch's compiler nor libraries that other trials need.

The programs are processes of their own, because what a process has imported stays.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from velodrome import keys

SPARED = """
import json, sys
import torch
from velodrome_runner.uncompiled import spare_the_compiler

spare_the_compiler()
found = {}
for name in ("SGD", "Adam", "AdamW", "RMSprop"):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = getattr(torch.optim, name)(layer.parameters(), lr=0.5)
    layer(torch.ones(4, 3)).sum().backward()
    expected = layer.weight.detach() - 0.5 * layer.weight.grad
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
    found[name] = [layer.weight.is_leaf, torch.is_grad_enabled(), torch.equal(layer.weight, expected)]
from torch.utils.flop_counter import FlopCounterMode
with FlopCounterMode(display=False) as counter:
    layer(torch.ones(4, 3))
found["flops"] = counter.get_total_flops()
found["compiler"] = "torch._dynamo" in sys.modules
print(json.dumps(found))
"""

TRIAL = """
import sys
from velodrome_runner.process import run_one
code = run_one()
heavy = ("prometheus_client", "scipy.signal", "sympy", "torch._dynamo", "torchmetrics", "torchvision")
print("imported", [name for name in heavy if name in sys.modules])
sys.exit(code)
"""


def test_optimizers_and_counts_work_without_the_compiler() -> None:
    ran = subprocess.run([sys.executable, "-c", SPARED], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert not found["compiler"]
    assert found["flops"] == 2 * 4 * 3 * 2
    assert found["SGD"] == [True, True, True]
    assert [found[name] for name in ("Adam", "AdamW", "RMSprop")] == [[True, True, False]] * 3


def test_a_trial_imports_no_more_than_it_uses(tmp_path: Path) -> None:
    spec = {
        "objectives": [{"name": "accuracy", "metric": "accuracy"}],
        "dataset": {"name": "digits"},
        "budget": {"maxEpochs": 1},
        "entries": [{"name": "one", "model": {"name": "velodrome/mlp"}}],
        "trials": {"repeats": 1},
    }
    job = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "j"}, "spec": spec}
    (tmp_path / "job.json").write_text(json.dumps(job))
    environ = {
        keys.ENV_SPEC: str(tmp_path / "job.json"),
        keys.ENV_INDEX: "0",
        keys.ENV_JOB_UID: "uid",
        keys.ENV_ATTEMPT: "attempt",
        keys.ENV_SCRATCH: str(tmp_path / "scratch"),
        keys.ENV_CPUS: "1",
    }
    ran = subprocess.run([sys.executable, "-c", TRIAL], env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == keys.EXIT_OK, ran.stderr
    assert "imported []" in ran.stdout
    (spooled,) = (tmp_path / "scratch").glob("result-*.json")
    metrics = json.loads(spooled.read_text())["result"]["metrics"]
    assert "accuracy" in metrics
    assert "flops" in metrics
    assert not [key for key in metrics if "latency" in key or "inference" in key]  # no objective asks for them
