"""`velodrome run` where an entry's own code changes between runs, and where more seeds are asked for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from velodrome.machine.home import Home
from velodrome.machine.redis.server import OwnRedis

JOB = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: NAME}
spec:
  board: mine
  objectives: [{name: accuracy, metric: accuracy}]
  dataset: {name: digits}
  budget: {maxEpochs: 1}
  evaluation: {metrics: [accuracy], inference: {batchSizes: [1], minRunSeconds: 0.02}}
  entries:
    - {name: own, ENTRY}
    - {name: small, model: {name: velodrome/mlp, args: {hidden: 8}}}
  trials: TRIALS
"""
FACTORY = """\
from torch import nn
from sizes import HIDDEN

def net(shape, classes):
    channels, height, width = shape
    pixels = channels * height * width
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
"""
PROGRAM = """\
from velodrome import report
from sizes import HIDDEN

trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": HIDDEN / 1000})
"""


class Project:
    """A folder with a factory and a program of one's own, both of which import `sizes`, and the command run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.environ = {**os.environ, "VELODROME_HOME": str(self.home.folder), "PYTHONUNBUFFERED": "1"}
        self.environ.pop("VELODROME_REDIS_URL", None)
        (folder / "mine.py").write_text(FACTORY)
        (folder / "train.py").write_text(PROGRAM)
        self.hidden(4)

    def hidden(self, units: int) -> None:
        (self.folder / "sizes.py").write_text(f"HIDDEN = {units}\n")

    def job(self, trials: str, *, name: str = "race", entry: str = "model: {name: 'mine:net'}") -> str:
        text = JOB.replace("NAME", name).replace("TRIALS", trials).replace("ENTRY", entry)
        (self.folder / f"{name}.yaml").write_text(text)
        return f"{name}.yaml"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "velodrome", *arguments], env=self.environ, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        return out, err

    def race(self, file: str) -> str:
        return self.run("run", file)[1]

    def ranked(self) -> dict[str, int]:
        """Each ranked entry with its n."""
        (objective,) = json.loads(self.run("results", "--json")[0])["objectives"]
        return {row["entry"]: row["n"] for row in objective["ranked"]}

    def records(self, entry: str) -> dict[str, list[dict[str, Any]]]:
        """The records of an entry, by uid of their race, in the order of races and seeds."""
        lines = [json.loads(line) for line in self.run("export")[0].splitlines()]
        found: dict[str, list[dict[str, Any]]] = {line["job"]["uid"]: [] for line in lines if line["type"] == "job"}
        for line in lines:
            if line["type"] == "record" and line["record"]["result"]["entry"] == entry:
                found[line["record"]["result"]["job_uid"]].append(line["record"])
        return found

    def close(self) -> None:
        with OwnRedis(self.home):
            pass


@pytest.fixture
def project() -> Iterator[Project]:
    folder = Path(tempfile.mkdtemp(prefix="vc-"))
    made = Project(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


def parameters(records: list[dict[str, Any]]) -> list[float]:
    return [record["result"]["metrics"]["parameters"] for record in records]


@pytest.mark.timeout(300)
def test_an_edited_factory_is_never_averaged_with_what_ran_before(project: Project) -> None:
    file = project.job("{repeats: 4}")
    process = project.start("run", "--json", file)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "finished" and event["done"] == 4:
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=100)
    project.hidden(256)
    said = project.race(file)
    assert "the code of own changed since race local-" in said
    assert "so this is another race, which measures it anew" in said
    assert "8 of 8 trials to run" in said
    old, new = sorted(project.records("own").values(), key=len)
    assert parameters(new) == [19_210.0] * 4
    assert set(parameters(old)) == {310.0}
    assert project.ranked() == {"own": 4, "small": 4}
    assert "all 8 trials are finished already" in project.race(file)


@pytest.mark.timeout(300)
def test_an_edited_program_of_a_finished_race_is_another_race(project: Project) -> None:
    file = project.job("{repeats: 2}", entry=f"command: [{sys.executable}, train.py]")
    assert "4 of 4 trials to run" in project.race(file)
    assert "all 4 trials are finished already" in project.race(file)
    project.hidden(900)
    said = project.race(file)
    assert "the code of own changed since race" in said
    assert "4 of 4 trials to run" in said
    newer = [[one["result"]["metrics"]["accuracy"] for one in records] for records in project.records("own").values()]
    assert sorted(newer) == [[0.004, 0.004], [0.9, 0.9]]


@pytest.mark.timeout(300)
def test_more_repeats_of_the_same_race_take_over_the_trials_that_there_are(project: Project) -> None:
    project.race(project.job("{repeats: 2}"))
    project.hidden(6)
    process = project.start("run", "--json", "race.yaml")
    assert process.stdout is not None
    assert any('"opened"' in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    project.hidden(4)  # a race of an edit that was taken back stands between them, and has no result
    said = project.race(project.job("{repeats: 3}"))
    assert "4 trials were taken over from job race (local-" in said
    assert "2 of 6 trials to run, 4 are finished already" in said
    assert project.ranked() == {"own": 3, "small": 3}
    _, first, second = sorted(project.records("own").items(), key=lambda item: len(item[1]))
    sources = [record.get("taken_from") for record in second[1]]
    assert [source and (source["job_uid"], source["index"]) for source in sources] == [
        (first[0], 0), (first[0], 2), None,
    ]  # fmt: skip
    assert "all 6 trials are finished already" in project.race("race.yaml")

    other = project.race(project.job("{repeats: 1}", name="nightly"))
    assert "taken over" not in other
    assert "2 of 2 trials to run" in other, "a job of another name measures anew"

    project.hidden(5)
    said = project.race(project.job("{repeats: 4, from: race}", name="asked"))
    assert "3 trials were taken over from job race (local-" in said
    assert "not taken over: 3 ran other code" in said
    assert "5 of 8 trials to run, 3 are finished already" in said
