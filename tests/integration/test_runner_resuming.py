"""Trials whose processes are killed, and that go on from their checkpoints: real processes, real files."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.test_race_executor import Track, folder, job, track
from tests.integration.test_runner_process import WARM, Attempt, Process, wait_until
from velodrome import keys
from velodrome.results.records import TrialResult
from velodrome.spec import BenchmarkJob
from velodrome_runner.artifacts import digest_of

__all__ = ["folder", "track"]  # fixtures

LOSSES = 20
MODELS = '''
import time

import torch
from torch import nn


class Unhurried(nn.Module):
    """Takes its time for each step, draws at random, and normalises: a second is many steps on any machine."""

    def __init__(self, shape, classes, seconds):
        super().__init__()
        self.seconds = seconds
        size = shape[0] * shape[1] * shape[2]
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(size, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, classes)
        )

    def forward(self, images):
        if self.training:
            time.sleep(self.seconds)
        return self.layers(images)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("resuming")
    (made / "unhurried_models.py").write_text(MODELS)
    return made


@pytest.fixture(scope="module")
def warm(home: Path) -> Iterator[Process]:
    with Process(WARM, home) as server:
        server.event(event="ready")
        yield server


def write_job(folder: Path, budget: dict[str, Any], **artifacts: Any) -> None:
    model = {"name": "unhurried_models:Unhurried", "args": {"seconds": 0.01}}
    training = {"schedule": {"name": "Cosine"}, "emaDecay": 0.9}
    write_trial(folder, model, training, budget=budget, artifacts={"weights": True, **artifacts})


def write_trial(folder: Path, model: dict[str, Any], training: dict[str, Any], **spec: Any) -> None:
    """A job of one trial, whose data are augmented at random, in a folder that is made."""
    whole = {
        "dataset": {"name": "digits"},
        "preprocessing": {"augmentations": [{"name": "RandomCrop", "args": {"padding": 1}}]},
        "training": {"batchSize": 32, "optimizer": {"name": "AdamW"}, **training},
        "evaluation": {"inference": {"batchSizes": [1], "minRunSeconds": 0.01}},
        "entries": [{"name": "one", "model": model}],
        "trials": {"repeats": 1},
        **spec,
    }
    document = {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "metadata": {"name": "j"}, "spec": whole}
    folder.mkdir()
    (folder / "job.json").write_text(BenchmarkJob.model_validate(document).model_dump_json(), encoding="utf-8")


def started(folder: Path, server: Process, name: str) -> tuple[Attempt, int]:
    attempt = Attempt(folder, server, None, name, {keys.ENV_ARTIFACTS: str(folder / "kept")})
    return attempt, attempt.start()


def ended(attempt: Attempt) -> TrialResult:
    assert attempt.end() == keys.EXIT_OK, attempt.log
    return attempt.spooled


def noted(folder: Path) -> tuple[str, int]:
    """Which attempt trains, and how far it has come."""
    try:
        name = json.loads((folder / keys.CHECKPOINT_FILE).read_text())["attempt"]
        return name, struct.unpack("<Qd", (folder / "progress").read_bytes())[0]
    except (OSError, ValueError, struct.error):
        return "", 0


@pytest.mark.parametrize("budget", [{"maxEpochs": 12}, {"maxEpochs": 99, "maxSteps": 600}], ids=["epochs", "steps"])
def test_a_trial_that_is_killed_20_times_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, warm: Process, budget: dict[str, Any]
) -> None:
    write_job(tmp_path / "whole", budget, traceSteps=2)  # made when everything is measured: it changes no weight
    whole = ended(started(tmp_path / "whole", warm, f"whole-{budget}")[0])
    write_job(tmp_path / "lost", budget, checkpointSeconds=0.1)
    kept = tmp_path / "lost" / "kept" / "trials" / "0"
    draw = random.Random(5)  # noqa: S311 - for a test
    for number in range(LOSSES):
        attempt, pid = started(tmp_path / "lost", warm, f"{budget} {number}")
        wait_until(lambda at=attempt: noted(kept)[0] == at.name)  # type: ignore[misc]
        begin = noted(kept)[1]
        wait_until(lambda begin=begin: noted(kept)[1] > begin)  # type: ignore[misc]
        time.sleep(draw.uniform(0.0, 0.25))
        os.kill(pid, signal.SIGKILL)
        assert warm.event(id=attempt.name, event="exited").get("signal") == signal.SIGKILL, attempt.log
    found = ended(started(tmp_path / "lost", warm, f"{budget} last")[0])

    assert found.checkpoints is not None
    assert len(found.checkpoints.resumed) == LOSSES
    assert found.checkpoints.problem is None
    steps = [each.step for each in found.checkpoints.resumed]
    assert steps == sorted(steps)
    assert steps[-1] > 0
    assert sum(each.repeated_steps for each in found.checkpoints.resumed) > 0
    assert found.artifacts is not None
    assert whole.artifacts is not None
    assert [each.name for each in whole.artifacts] == ["weights.pt", "trace.json.gz"]
    assert found.artifacts == whole.artifacts[:1]
    (weights,) = found.artifacts
    path = kept / weights.name
    assert digest_of(path) == weights.sha256
    states = [
        torch.load(place / weights.name, weights_only=True)
        for place in (kept, tmp_path / "whole" / "kept" / "trials" / "0")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert sorted(entry.name for entry in kept.iterdir()) == ["weights.pt"]
    for key in ("accuracy", "validation_loss"):
        assert found.metrics.get(key) == whole.metrics.get(key)
    assert found.epochs == whole.epochs
    assert {"peak_memory_bytes", "cpu_seconds"} <= found.unavailable.keys()


def test_a_folder_that_can_not_be_written_fails_the_trial_before_it_reads_data(tmp_path: Path, warm: Process) -> None:
    folder = tmp_path / "job"
    write_job(folder, {"maxEpochs": 1})
    (folder / "kept").touch()  # where a folder should be: who is root may write in every folder
    attempt, _ = started(folder, warm, "unwritable")
    assert attempt.end() == keys.EXIT_CONFIGURATION, attempt.log
    found = attempt.spooled
    assert (found.outcome, found.reason) == ("Failed", "ArtifactsUnwritable")
    assert found.message is not None
    assert found.message.startswith(f"spec.artifacts: files can't be kept in {folder / 'kept'}")
    assert "write there" in found.message
    assert found.dataset is None


def test_a_race_goes_on_with_a_killed_trial_as_long_as_it_comes_further(track: Track) -> None:
    finish = track.race(job(), script={0: ["saved:5", "saved:9", "succeed"], 1: ["saved:5", "saved:5"], 2: ["kill"]})
    assert (finish.succeeded, finish.failed) == (2, 2)
    assert track.record(finish.uid, 0).observed.retries == 2
    for index in (1, 2):
        assert track.record(finish.uid, index).result.reason == "RunnerKilled"
