"""A race on one machine that is ranked by a metric which its job declares."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli_own_code import Project
from velodrome.board.page import page_of
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.machine.redis.server import OwnRedis
from velodrome.store import open_store

KEY = "own_balance{better=higher,high=10,kind=quality,low=-10,scale=interval,unit=points}"
JOB = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: race}
spec:
  board: mine
  metrics: [{name: balance, unit: points, direction: higher, scale: interval, range: {least: -10, most: 10}}]
  objectives: [{name: balanced, metric: balance}]
  dataset: {name: digits}
  budget: {maxEpochs: 1}
  entries:
    - {name: good, command: [PYTHON, train.py, "2"]}
    - {name: bad, command: [PYTHON, train.py, "-2"]}
  trials: {repeats: 2}
"""
PROGRAM = """\
import sys
from velodrome import report

trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"balance": float(sys.argv[1]) + trial.seed / 100})
"""


@pytest.fixture
def project() -> Iterator[Project]:
    folder = Path(tempfile.mkdtemp(prefix="vc-"))
    made = Project(folder)
    (folder / "train.py").write_text(PROGRAM)
    (folder / "race.yaml").write_text(JOB.replace("PYTHON", sys.executable))
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.mark.timeout(300)
def test_a_declared_metric_ranks_like_any_other(project: Project) -> None:
    project.race("race.yaml")
    (found,) = json.loads(project.run("results", "--json")[0])["objectives"]
    assert [(row["entry"], row["n"]) for row in found["ranked"]] == [("good", 2), ("bad", 2)]
    told = project.run("results")[0]
    assert "balance, higher is better" in told
    assert "own_balance" not in told
    with OwnRedis(project.home) as server, open_store(server.url) as store:
        (objective,) = objectives_of(store, "mine")
        (reading,) = read_objectives(store, "mine", [objective])
    assert str(objective.key) == KEY
    page = page_of(reading)
    assert [(row.entry, round(row.interval.mean, 6)) for row in page.ranked] == [("good", 2.005), ("bad", -1.995)]
