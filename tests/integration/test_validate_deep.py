"""`velodrome validate --deep` with the real runner: a typo costs seconds, and no entry ends the check of the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODELS = """
import os
import torch

def wrong(shape, classes):
    print("{}")
    return torch.nn.Linear(3, 2)

def leaves():
    os._exit(9)
"""
JOB = """
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: deep}
spec:
  dataset: {name: iris}
  entries:
    - {name: good, model: {name: velodrome/mlp}}
    - {name: missing, model: {name: nowhere.models:make}}
    - {name: wrong, model: {name: models_to_rehearse:wrong}}
    - {name: leaves, model: {name: models_to_rehearse:leaves}}
    - {name: program, command: [sh, -c, "true"]}
    - {name: mistyped, command: [pythn, train.py]}
    - {name: no-file, command: [PYTHON, train.py]}
"""


def validate(folder: Path, text: str, *words: str) -> tuple[int, str, str]:
    (folder / "job.yaml").write_text(text.replace("PYTHON", sys.executable))
    environ = os.environ | {"PYTHONPATH": str(folder), "VELODROME_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "velodrome", "validate", "--deep", "job.yaml", *words]
    done = subprocess.run(line, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_every_entry_is_tried_and_each_fault_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "models_to_rehearse.py").write_text(MODELS)
    code, said, complained = validate(tmp_path, JOB)
    assert code == 2
    assert "good: velodrome/mlp learns iris" in said
    assert "program: " in said
    assert "is there" in said
    faults = dict(line.strip().split(": ", 1) for line in complained.splitlines())
    assert faults.keys() == {"missing", "wrong", "leaves", "mistyped", "no-file"}
    assert faults["missing"].startswith("ModelNotFound: nowhere.models:make")
    assert faults["wrong"].startswith("ModelForwardFailed: models_to_rehearse:wrong")
    assert "ended with code 9" in faults["leaves"]
    assert "there is no program pythn" in faults["mistyped"]
    assert "there is no file train.py" in faults["no-file"]


def test_data_that_can_not_be_read_are_each_entrys_fault(tmp_path: Path) -> None:
    fields = "format: CSV, source: {path: gone.csv}, target: price, splits: {fractions: {test: 0.2}}"
    text = JOB.replace("{name: iris}", f"{{name: ours, {fields}}}")
    entries = "  entries: [{name: good, model: {name: velodrome/mlp}}]\n"
    code, _, complained = validate(tmp_path, text[: text.index("  entries:")] + entries, "--data", str(tmp_path))
    assert code == 2
    assert "good: DatasetMissing" in complained
    assert "gone.csv" in complained
