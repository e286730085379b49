"""Trials that several processes train together, some of which are killed: all go on from the first one's checkpoint."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_ranks import WARMER, port
from tests.integration.test_runner_process import Attempt, Process, wait_until
from tests.integration.test_runner_resuming import noted, write_trial
from velodrome import keys
from velodrome.results.records import TrialResult

__all__ = ["port"]  # a fixture

LOSSES = 4
MODELS = '''
import random
import time

import numpy as np
import torch
from torch import nn


class Unhurried(nn.Module):
    """Draws from each generator, normalises, and uses its layers in another order than it names them."""

    def __init__(self, shape, classes, seconds):
        super().__init__()
        self.seconds = seconds
        self.last = nn.Linear(16, classes)
        self.first = nn.Linear(shape[0] * shape[1] * shape[2], 32)
        self.middle = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.Dropout(0.2))

    def forward(self, images):
        if self.training:
            time.sleep(self.seconds)
            images = images * (1 + 0.1 * random.random()) + 0.01 * np.random.rand()
        return self.last(self.middle(torch.tanh(self.first(images.flatten(1)))))
'''


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("together")
    (home / "together_models.py").write_text(MODELS)
    with Process(WARMER, home) as server:
        server.event(event="ready")
        yield server


@dataclass(frozen=True)
class Group:
    """A trial of `nodes` processes in a folder of its own. Only the first can see where checkpoints are."""

    folder: Path
    server: Process
    port: int
    nodes: int
    name: str

    def write(self, budget: dict[str, Any], training: dict[str, Any], **artifacts: Any) -> None:
        model = {"name": "together_models:Unhurried", "args": {"seconds": 0.005}}
        runner = {"nodes": self.nodes}
        write_trial(self.folder, model, training, budget=budget, runner=runner, artifacts=artifacts)

    @property
    def kept(self) -> Path:
        return self.folder / "kept" / "trials" / "0"

    def attempts(self, name: str) -> list[Attempt]:
        def of(rank: int) -> Attempt:
            seen = {
                keys.ENV_INDEX: str(rank),
                keys.ENV_NODES: str(self.nodes),
                keys.ENV_HOSTS: "127.0.0.1",
                keys.ENV_ARTIFACTS: str(self.folder / ("kept" if rank == 0 else "elsewhere")),
                "MASTER_PORT": str(self.port),
                "GLOO_SOCKET_IFNAME": "lo",
            }
            return Attempt(self.folder, self.server, None, f"{self.name} {name} {rank}", seen)

        return [of(rank) for rank in range(self.nodes)]

    def lose(self, name: str, rank: int, seconds: float) -> str:
        """Starts all, and kills one some time after a step. The others end by themselves. Returns the first's name."""
        attempts = self.attempts(name)
        pids = [attempt.start() for attempt in attempts]
        wait_until(lambda: noted(self.kept)[0] == attempts[0].name)
        begin = noted(self.kept)[1]
        wait_until(lambda: noted(self.kept)[1] > begin)
        time.sleep(seconds)
        os.kill(pids[rank], signal.SIGKILL)
        for other, attempt in enumerate(attempts):
            assert attempt.end() == (None if other == rank else keys.EXIT_PEER_LOST), attempt.log
        return attempts[0].name

    def end(self, name: str) -> TrialResult:
        attempts = self.attempts(name)
        for attempt in attempts:
            attempt.start()
        for attempt in attempts:
            assert attempt.end() == keys.EXIT_OK, attempt.log
        return attempts[0].spooled


@pytest.mark.parametrize(
    ("nodes", "budget", "training"),
    [
        (2, {"maxEpochs": 5}, {"accumulateBatches": 2, "earlyStopping": {"metric": "accuracy", "patience": 4}}),
        (3, {"maxEpochs": 99, "maxSteps": 200}, {"schedule": {"name": "Cosine"}, "emaDecay": 0.9}),
    ],
    ids=["two-epochs", "three-steps"],
)
def test_any_of_them_may_be_killed_and_the_end_has_the_bits_of_an_undisturbed_trial(
    tmp_path: Path, warm: Process, port: int, nodes: int, budget: dict[str, Any], training: dict[str, Any]
) -> None:
    whole = Group(tmp_path / "whole", warm, port, nodes, f"whole{nodes}")
    whole.write(budget, training)
    expected = whole.end("only")
    group = Group(tmp_path / "lost", warm, port, nodes, f"lost{nodes}")
    group.write(budget, training, checkpointSeconds=0.1)
    draw = random.Random(nodes)  # noqa: S311 - for a test
    victims = [number % nodes for number in range(LOSSES)]
    draw.shuffle(victims)
    lost = [group.lose(str(number), rank, draw.uniform(0.0, 0.25)) for number, rank in enumerate(victims)]
    found = group.end("last")

    assert found.checkpoints is not None
    assert [each.attempt for each in found.checkpoints.resumed] == lost
    assert found.checkpoints.problem is None
    steps = [each.step for each in found.checkpoints.resumed]
    assert steps == sorted(steps)
    assert steps[-1] > 0
    assert found.held is not None
    assert expected.held is not None
    assert found.held.trained_weights == expected.held.trained_weights
    assert [(point.train_loss, point.validation) for point in found.curves] == [
        (point.train_loss, point.validation) for point in expected.curves
    ]
    assert found.metrics["accuracy"] == expected.metrics["accuracy"]
    assert found.metrics["train_seconds"] > 0
    assert "cpu_seconds" in found.unavailable
    assert not (tmp_path / "lost" / "elsewhere").exists(), "the first alone looks at checkpoints"
    assert not group.kept.exists(), "the checkpoint went with the result"
