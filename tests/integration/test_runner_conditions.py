"""The conditions of a trial hold whatever an entry's code does, and the record says what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_runner_process import WARM, Attempt, Process, names, write_job
from velodrome import keys
from velodrome.results.records import TrialResult

# A module that seeds when it is imported, and factories that change what holds for the whole process.
MODELS = """
import time
import torch
from torch import nn

torch.manual_seed(5)

class Net(nn.Module):
    def __init__(self, shape, classes, during):
        super().__init__()
        self.during = during
        self.head = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        if self.training and self.during:
            torch.set_num_threads(3)
        print("threads", torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
        return self.head(images.flatten(1))

def honest(shape, classes):
    return Net(shape, classes, False)

class Slow(Net):
    def forward(self, images):
        if self.training:
            time.sleep(0.02)
        return self.head(images.flatten(1))

def slow(shape, classes):
    return Slow(shape, classes, False)

def meddling(shape, classes):
    torch.set_num_threads(7)
    torch.use_deterministic_algorithms(False)
    torch.manual_seed(123)
    return Net(shape, classes, True)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conditions")
    (folder / "persons_models.py").write_text(MODELS)
    return folder


@pytest.fixture(scope="module")
def warm(home: Path) -> Iterator[Process]:
    with Process(WARM, home) as server:
        server.event(event="ready")
        yield server


def run(folder: Path, warm: Process, factory: str, index: int = 0) -> tuple[TrialResult, str]:
    write_job(folder, f"persons_models:{factory}")
    attempt = Attempt(folder, warm, None, next(names), {keys.ENV_INDEX: str(index)})
    attempt.start()
    assert attempt.end() == keys.EXIT_OK, attempt.log
    spool = attempt.spool.with_name(attempt.spool.name.replace("result-0-", f"result-{index}-"))
    log, text = attempt.log, spool.read_text()
    (folder / "log").unlink()
    return TrialResult.model_validate_json(text[text.index('"result":') + 9 : text.rindex("}")]), log


def test_what_a_factory_changes_is_set_back_and_recorded(tmp_path: Path, warm: Process) -> None:
    first, log = run(tmp_path, warm, "meddling")
    second, _ = run(tmp_path, warm, "meddling", 1)
    assert first.held
    assert second.held
    assert first.held.changed == (
        "importing the entry's code seeded torch with 5: seeded again with the trial's seed, 0",
        "building the model set threads to 7: set back to 1",
        "building the model seeded torch with 123: seeded again with the trial's seed, 0",
        "checking the model set threads to 3: set back to 1",
        "training set threads to 3: set back to 1",
    )
    assert "threads 7 " not in log  # nothing is called before they are set back
    assert "threads 1 " in log  # in evaluation and timing
    assert first.held.initial_weights == second.held.initial_weights
    assert not first.held.pretrained


def test_weights_differ_over_seeds_though_an_import_seeds(tmp_path: Path, warm: Process) -> None:
    first, _ = run(tmp_path, warm, "honest")
    again, _ = run(tmp_path, warm, "honest")
    second, _ = run(tmp_path, warm, "honest", 1)
    assert first.held
    assert again.held
    assert second.held
    assert first.held.initial_weights == again.held.initial_weights
    assert first.held.initial_weights != second.held.initial_weights
    assert first.metrics["accuracy"] == again.metrics["accuracy"]


@pytest.fixture
def neighbours() -> Iterator[None]:
    """A program for each CPU that only burns it."""
    burn = [sys.executable, "-c", "while True: pass"]
    burning = [subprocess.Popen(burn) for _ in range(os.cpu_count() or 1)]
    yield
    for process in burning:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("neighbours")
@pytest.mark.parametrize("answer", ["record", "fail"])
def test_a_busy_neighbour_is_recorded_or_fails_the_trial(tmp_path: Path, warm: Process, answer: str) -> None:
    path = write_job(tmp_path, "persons_models:slow")
    document = json.loads(path.read_text())
    document["spec"]["evaluation"]["onInterference"] = answer
    path.write_text(json.dumps(document))
    attempt = Attempt(tmp_path, warm, None, next(names))
    attempt.start()
    code = attempt.end()
    result = attempt.spooled
    if answer == "record":
        assert code == keys.EXIT_OK, attempt.log
        assert result.held
        assert any("training: other programs used" in words for words in result.held.disturbances)
    else:
        assert code == keys.EXIT_FAILED, attempt.log
        assert result.reason == "Interference"
        assert "other programs used" in (result.message or "")
