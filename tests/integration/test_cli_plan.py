"""`plan` over a real Redis: what the earlier jobs of a board say of a race to come."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import pytest
from typer.testing import CliRunner

from velodrome.cli.app import app

LEVELS = {"cnn": (0.97, 0.002), "mlp": (0.95, 0.001), "gru": (0.96, 0.004)}
JOB = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: next}
spec:
  board: BOARD
  objectives:
    - {name: accuracy, metric: accuracy}
    - {name: speed, metric: latency_p50_seconds, batchSize: 1}
  dataset: {name: digits}
  budget: {maxEpochs: 1}
  entries:
    - {name: cnn, model: {name: velodrome/cnn}}
    - {name: mlp, model: {name: velodrome/mlp}}
  trials: {repeats: 5}
"""


class Server(Protocol):
    @property
    def url(self) -> str: ...


Plan = Callable[..., Any]


@pytest.fixture
def plan(redis_server: Server, tmp_path: Path) -> Plan:
    """What `plan --json` says of a job on this board."""

    def run(board: str, *arguments: str) -> Any:
        path = tmp_path / "job.yaml"
        path.write_text(JOB.replace("BOARD", board))
        done = CliRunner().invoke(app, ["plan", str(path), "--json", "--redis", redis_server.url, *arguments])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["sees"]

    return run


def spreads(races: list[Any], key: str, *, logs: bool) -> list[float]:
    """The root mean square of the standard deviations of the pairs of each race, from the reports themselves."""
    found = []
    for race, results in races:
        values = np.array([result.metrics[key] for result in results]).reshape(race.repeats, len(race.entries))
        values = np.log(values) if logs else values
        first, second = np.triu_indices(values.shape[1], 1)
        found.append(math.sqrt((values[:, first] - values[:, second]).var(axis=0, ddof=1).mean()))
    return found


def test_the_noise_comes_from_the_jobs_of_the_board(run: Callable[..., Any], store: Any, plan: Plan) -> None:
    races = [run(LEVELS), run(LEVELS), run(LEVELS)]
    run(LEVELS, board="other", spread=0.5)
    with_results = [(race, [one.result for one in store.records(race.uid)]) for race in races]
    sees = plan("digits", "--detect", "accuracy=0.001")
    accuracy, speed = sees["objectives"]
    assert sees["history"]["left_out"] is None
    assert (accuracy["jobs"], accuracy["scale"], speed["scale"]) == (3, "unit", "logarithm")
    assert accuracy["spread"] == pytest.approx(median(spreads(with_results, "accuracy", logs=False)))
    latency = "latency_p50_seconds{batch_size=1}"
    assert speed["spread"] == pytest.approx(median(spreads(with_results, latency, logs=True)))
    assert accuracy["visible"] == pytest.approx(sees["gap"] * accuracy["spread"])
    assert accuracy["wanted"]["seeds"] >= 2


def test_a_board_without_jobs_or_with_single_seeds_shows_no_noise(run: Callable[..., Any], plan: Plan) -> None:
    run(LEVELS, repeats=1)
    for board in ("digits", "new"):
        sees = plan(board)
        assert sees["history"]["left_out"] is None
        assert [one["spread"] for one in sees["objectives"]] == [None, None]


def test_trials_that_failed_or_are_missing_leave_the_others(run: Callable[..., Any], plan: Plan) -> None:
    run(LEVELS, failed="gru")
    run(LEVELS, done=7)
    accuracy, _ = plan("digits")["objectives"]
    assert accuracy["jobs"] == 2
