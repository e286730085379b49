"""`velodrome run` rehearses before it races: a mistake ends it before a trial runs and before anything is stored."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HEAD = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: careful}
spec:
  objectives: [{name: accuracy, metric: accuracy}]
  dataset: DATASET
  budget: {maxEpochs: 1}
  trials: {repeats: 1, maxFailed: 5}
  entries:
"""
DIGEST = "sha256:" + "a" * 64
MODELS = """
import os
import pathlib
import time
import torch

def wrong(shape, classes):
    return torch.nn.Linear(3, 2)

def leaves():
    os._exit(9)

def slow():
    pathlib.Path("began").write_text(str(os.getpid()))
    time.sleep(600)
"""
# Reports a result, unless it is told to fail by a file.
PROGRAM = """
import pathlib, sys
from velodrome import report
trial = report.trial()
if pathlib.Path(f"fail-{sys.argv[1]}").exists():
    sys.exit("told to fail")
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": 0.5})
"""


class Project:
    """A folder with a job and the code of its entries, in which the command is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "rehearsed_models.py").write_text(MODELS)
        (folder / "program.py").write_text(PROGRAM)
        self.environ = os.environ | {"PYTHONPATH": str(folder), "VELODROME_HOME": str(folder / "home")}
        self.environ.pop("VELODROME_REDIS_URL", None)

    def job(self, *entries: str, dataset: str = "{name: digits}") -> None:
        lines = "".join(f"    - {{{entry}}}\n" for entry in entries)
        (self.folder / "job.yaml").write_text(HEAD.replace("DATASET", dataset) + lines)

    def start(self, *words: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "velodrome", *words]
        return subprocess.Popen(
            line, cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        said, complained = process.communicate(timeout=300)
        assert "Traceback" not in complained
        return process.returncode, said, complained

    def jobs(self) -> list[str]:
        return [one["name"] for one in json.loads(self.run("jobs", "--json")[1])["jobs"]]

    def left(self) -> set[str]:
        """The names of what lies in the folders of races."""
        return {path.name for path in (self.folder / "home/jobs").glob("*/*")}


@pytest.fixture
def project() -> Iterator[Project]:
    folder = Path(tempfile.mkdtemp(prefix="vr-"))
    yield Project(folder)
    shutil.rmtree(folder)


def own(name: str) -> str:
    return f"name: {name}, command: [{sys.executable}, program.py, {name}]"


@pytest.mark.timeout(600)
def test_all_that_is_wrong_is_shown_and_nothing_is_stored(project: Project) -> None:
    project.job(
        "name: good, model: {name: velodrome/mlp}",
        "name: missing, model: {name: 'nowhere.models:make'}",
        "name: wrong, model: {name: 'rehearsed_models:wrong'}",
        "name: leaves, model: {name: 'rehearsed_models:leaves'}",
        "name: mistyped, command: [pythn, train.py]",
        f"name: no-file, image: 'registry.example/own@{DIGEST}', command: [{sys.executable}, train.py]",
        own("well"),
    )
    code, said, complained = project.run("run", "job.yaml")
    assert (code, said) == (2, "")
    assert "careful can't race, and nothing was run; its rehearsal found: 5 problems" in complained
    found = dict(line.strip().split(": ", 1) for line in complained.splitlines() if line.startswith("  spec."))
    assert found.keys() == {
        "spec.entries[1].model", "spec.entries[2].model", "spec.entries[3]", "spec.entries[4].command",
        "spec.entries[5].command",
    }  # fmt: skip
    assert found["spec.entries[1].model"].startswith("missing: ModelNotFound: nowhere.models:make")
    assert "(to race without it, take missing out of spec.entries)" in found["spec.entries[1].model"]
    assert found["spec.entries[2].model"].startswith("wrong: ModelForwardFailed: rehearsed_models:wrong")
    assert found["spec.entries[3]"].startswith("leaves: its process ended with code 9")
    assert "mistyped: CommandNotFound: there is no program pythn" in found["spec.entries[4].command"]
    assert "there is no file train.py" in found["spec.entries[5].command"]
    assert project.left() == {"lock"}
    assert project.jobs() == []

    project.job("name: mistyped, command: [pythn, train.py]")
    code, _, complained = project.run("run", "job.yaml", "--no-rehearsal")
    assert code == 0  # maxFailed allows it
    assert "0 of 1 trial succeeded, 1 failed" in complained
    assert project.jobs() == ["careful"]


@pytest.mark.timeout(600)
def test_data_that_are_not_there_are_told_once_beside_the_other_problems(project: Project) -> None:
    project.job(
        "name: one, model: {name: velodrome/mlp}",
        "name: two, model: {name: 'nowhere.models:make'}",
        dataset="{name: ours, format: CSV, source: {path: gone.csv}, target: kind, splits: {fractions: {test: 0.2}}}",
    )
    code, _, complained = project.run("run", "job.yaml", "--data", str(project.folder))
    assert code == 2
    assert "2 problems" in complained
    assert "  spec.dataset: DatasetMissing" in complained
    assert "  spec.entries[1].model: two: ModelNotFound" in complained
    assert project.jobs() == []


@pytest.mark.timeout(600)
def test_only_entries_with_trials_to_run_are_rehearsed(project: Project) -> None:
    project.job(own("one"), own("two"))
    fails = project.folder / "fail-two"
    fails.touch()
    code, _, complained = project.run("run", "job.yaml")
    assert code == 0
    assert "rehearsed 2 entries in" in complained
    assert "1 of 2 trials succeeded, 1 failed" in complained
    fails.unlink()
    assert "rehearsed 1 entry in" in project.run("run", "job.yaml", "--retry-failed")[2]
    complained = project.run("run", "job.yaml")[2]
    assert "rehearsed" not in complained
    assert "warming up" not in complained


@pytest.mark.timeout(600)
def test_ctrl_c_ends_a_rehearsal_at_once_and_leaves_nothing(project: Project) -> None:
    project.job("name: slow, model: {name: 'rehearsed_models:slow'}")
    process = project.start("run", "job.yaml")
    began = project.folder / "began"
    deadline = time.monotonic() + 300
    while not (began.exists() and began.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "careful was interrupted; 0 of 1 trial succeeded, 1 is left" in complained
    assert "Traceback" not in complained
    stat = Path(f"/proc/{began.read_text()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"  # ended, and not reaped yet
    assert project.left() == {"lock"}
    assert project.jobs() == []
