"""Trials that several processes train together, as pods on several nodes do: real runners, connected by gloo."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.integration.test_runner_process import Process, wait_until
from velodrome import keys
from velodrome.results.records import ResultReport, TrialResult
from velodrome.spec import BenchmarkJob
from velodrome.tasks import TASKS

pytestmark = pytest.mark.timeout(500)

ROOT = Path(__file__).parents[2]
PATIENCE = 200.0
# A server that starts trials. To train together imports torch's compiler: beforehand, once for all trials.
WARMER = [
    sys.executable,
    "-c",
    "import sys\nfrom velodrome_runner import serve\nserve._WARM += ('torch._dynamo',)\nsys.exit(serve.serve())",
]
# Softmax and linear regression: nothing in them depends on how a batch is shared, so two ranks compute what one does.
MODELS = """
from torch import nn

def linear(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))

def number(shape):
    return nn.Linear(shape[0], 1)
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("ranks")
    (home / "models.py").write_text(MODELS)
    with Process(WARMER, home, PATIENCE) as server:
        server.event(event="ready")
        yield server


class Ranks:
    """One trial's processes in a folder of their own: from a warm server if there is one, else each by itself."""

    def __init__(
        self,
        folder: Path,
        port: int,
        server: Process | None = None,
        *,
        epochs: int,
        entry: dict[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        self.folder, self.port, self.server = folder, port, server
        (folder / "models.py").write_text(MODELS)
        whole = {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": epochs},
            "training": {"batchSize": 50, "optimizer": {"name": "SGD", "learningRate": 0.1, "momentum": 0.9}},
            "evaluation": {"inference": {"batchSizes": [1], "minRunSeconds": 0.01}},
            "entries": [{"name": "one", **(entry or {"model": {"name": "models:linear"}})}],
            "trials": {"repeats": 2},
        } | spec
        job = BenchmarkJob.model_validate(
            {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "metadata": {"name": "j"}, "spec": whole}
        )
        (folder / "job.json").write_text(job.model_dump_json(by_alias=True))

    def variables(self, completion: int, nodes: int) -> dict[str, str]:
        return {
            keys.ENV_SPEC: str(self.folder / "job.json"),
            keys.ENV_INDEX: str(completion),
            keys.ENV_NODES: str(nodes),
            keys.ENV_HOSTS: "127.0.0.1",
            keys.ENV_JOB_UID: "uid",
            keys.ENV_ATTEMPT: f"pod{completion}",
            keys.ENV_SCRATCH: str(self.folder / "scratch"),
            keys.ENV_CPUS: "1",
            "MASTER_PORT": str(self.port),
            "GLOO_SOCKET_IFNAME": "lo",
        }

    def start(self, completion: int, nodes: int) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VELODROME_")}
        environ = {**clean, **self.variables(completion, nodes), "PYTHONPATH": str(self.folder)}
        line = [sys.executable, "-m", "velodrome_runner"]
        return subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def begin(self, *completions: int, nodes: int) -> list[Path]:
        """Has the server start them, and returns where each writes its output; that is its name there too."""
        assert self.server is not None
        logs = [self.folder / f"log-{completion}-of-{nodes}" for completion in completions]
        for completion, log in zip(completions, logs, strict=True):
            self.server.say(json.dumps({"id": str(log), "env": self.variables(completion, nodes), "log": str(log)}))
        return logs

    def run(self, *completions: int, nodes: int) -> list[tuple[int | None, str]]:
        """The exit code and the output of each."""
        if self.server is not None:
            logs = self.begin(*completions, nodes=nodes)
            return [(self.server.event(id=str(log), event="exited").get("code"), log.read_text()) for log in logs]
        processes = [self.start(completion, nodes) for completion in completions]
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
        return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]

    def result(self, index: int, attempt: str) -> TrialResult:
        path = self.folder / "scratch" / f"result-{index}-{attempt}.json"
        return ResultReport.model_validate_json(path.read_text()).result

    def results(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "scratch").glob("result-*"))


def raced(task: str, folder: Path) -> dict[str, Any]:
    """A job of this task, with a model in which nothing depends on how a batch is shared."""
    if task == "classification":
        return {"epochs": 3}
    if task == "regression":
        model = {"model": {"name": "models:number"}}
        return {"epochs": 3, "entry": model, "dataset": {"name": "diabetes"}, "training": learning(50, 0.01)}
    if task == "detection":
        make_shapes(folder, train=41, val=10, test=20)  # an odd number: one rank gets one more
        return {
            "epochs": 3,
            "entry": {"model": {"name": "velodrome/fcos"}},
            "dataset": {"name": "shapes", "format": "COCO", "source": {"path": str(folder / "shapes")}},
            # Without momentum: with it the last digits, in which sums of two shares differ, grow from step to step.
            "training": {
                "batchSize": 8,
                "optimizer": {"name": "SGD", "learningRate": 0.02, "momentum": 0},
                "clipNorm": 1.0,
            },
        }
    if task == "segmentation":
        make_shapes(folder, "--masks", train=21, val=6, test=6)  # an odd number: one rank gets one more
        for path in sorted((folder / "shape-masks" / "SegmentationClass").glob("train*.png"))[::3]:
            with Image.open(path) as mask:  # and ranks have very unequal numbers of labelled pixels
                mask.paste(255, (0, 10, mask.width, mask.height))
                mask.save(path)
        return {
            "epochs": 3,
            "entry": {"model": {"name": "velodrome/unet", "args": {"width": 4}}},
            "dataset": {
                "name": "shapes",
                "format": "VOCSegmentation",
                "source": {"path": str(folder / "shape-masks")},
                "classes": ["background", "circle", "square", "triangle"],
            },
            "training": {"batchSize": 5, "optimizer": {"name": "SGD", "learningRate": 0.05, "momentum": 0}},
        }
    (folder / "text").write_text("".join(f"{number} green bottles, " for number in range(300)))
    splits = {"fractions": {"validation": 0.1, "test": 0.1}}
    source = {"path": str(folder / "text")}
    return {
        "epochs": 2,
        "entry": {"model": {"name": "velodrome/gru", "args": {"hidden": 16}}},
        "dataset": {"name": "bottles", "format": "Text", "source": source, "window": 32, "splits": splits},
        "training": learning(15, 0.5),  # an odd number of windows: one rank gets one more
    }


def make_shapes(folder: Path, *options: str, **sizes: int) -> None:
    """The images and boxes of the example of detection, or its masks, this many of each split."""
    counts = [word for split, count in sizes.items() for word in (f"--{split}", str(count))]
    subprocess.run([sys.executable, ROOT / "deploy/examples/shapes/make.py", folder, *options, *counts], check=True)


def learning(batch_size: int, rate: float) -> dict[str, Any]:
    return {"batchSize": batch_size, "optimizer": {"name": "SGD", "learningRate": rate, "momentum": 0.9}}


@pytest.mark.parametrize("task", TASKS)
def test_two_ranks_compute_what_one_process_does(tmp_path: Path, port: int, warm: Process, task: str) -> None:
    race = Ranks(tmp_path, port, warm, **raced(task, tmp_path))
    ((code, output),) = race.run(1, nodes=1)
    assert code == keys.EXIT_OK, output
    alone = race.result(1, "pod1")
    (tmp_path / "scratch" / "result-1-pod1.json").unlink()
    for code, output in race.run(2, 3, nodes=2):
        assert code == keys.EXIT_OK, output
    assert race.results() == ["result-1-pod2.json"], "the first rank reports, and no other"
    together = race.result(1, "pod2")
    assert together.seed == alone.seed == 1
    for one, two in zip(alone.curves, together.curves, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, rel=1e-4)
        assert two.validation == pytest.approx(one.validation, rel=1e-3)
    assert alone.curves[-1].train_loss < 0.9 * alone.curves[0].train_loss, "it learns"
    quality = TASKS[task].objective
    assert together.metrics[quality] == pytest.approx(alone.metrics[quality], rel=0.003)
    assert together.environment is not None
    assert together.environment.resources.nodes == 2


def documents(folder: Path) -> dict[str, Any]:
    """Texts of many lengths and two classes, an odd number in a batch."""
    lines = []
    for number in range(90):
        words = " ".join(f"{'good' if number % 2 else 'bad'}{each % 5}" for each in range(1 + number % 11))
        lines.append(json.dumps({"text": words, "label": number % 2}))
    (folder / "reviews.jsonl").write_text("\n".join(lines))
    return {
        "entry": {"model": {"name": "velodrome/gru"}},
        "dataset": {
            "name": "reviews",
            "format": "Documents",
            "source": {"path": str(folder / "reviews.jsonl")},
            "text": "text",
            "target": "label",
            "splits": {"fractions": {"validation": 0.1, "test": 0.1}},
        },
    }


@pytest.mark.parametrize("data", ["text", "documents", "masks"])
def test_two_ranks_make_the_step_of_one_process(tmp_path: Path, port: int, warm: Process, data: str) -> None:
    """One plain step at a learning rate of 1: weights differ by as much as the gradients do."""
    plain = {"batchSize": 15, "optimizer": {"name": "SGD", "learningRate": 1.0}}
    tasks = {"text": "language-modelling", "masks": "segmentation"}
    given = raced(tasks[data], tmp_path) if data in tasks else documents(tmp_path)
    spec = given | {"epochs": 1, "training": plain, "artifacts": {"weights": True}}
    race = Ranks(tmp_path, port, warm, **spec, budget={"maxEpochs": 1, "maxSteps": 1})
    kept = tmp_path / "scratch" / "artifacts" / "trials" / "1" / "weights.pt"
    found = []
    for completions, nodes in (((1,), 1), ((2, 3), 2)):  # the trial of index 1 both times
        for code, output in race.run(*completions, nodes=nodes):
            assert code == keys.EXIT_OK, output
        found.append(torch.load(kept, weights_only=True))
        kept.unlink()
    alone, together = found
    assert alone.keys() == together.keys()
    rounding = 1e-5 if data == "masks" else 1e-6  # a gradient sums over a hundred thousand pixels
    for name, value in alone.items():
        assert torch.allclose(together[name], value, rtol=1e-5, atol=rounding), (
            f"{name} differs by {float((together[name] - value).abs().max()):g}"
        )


def test_the_first_rank_alone_optimizes_what_all_have_trained(tmp_path: Path, port: int, warm: Process) -> None:
    steps = [{"prune": {"amount": 0.5}}, {"quantize": "int8-dynamic"}]
    race = Ranks(tmp_path, port, warm, epochs=2, entry={"model": {"name": "models:linear"}, "optimize": steps})
    outcomes = race.run(0, 1, nodes=2)
    assert [code for code, _ in outcomes] == [keys.EXIT_OK] * 2, outcomes
    assert race.results() == ["result-0-pod0.json"]
    result = race.result(0, "pod0")
    assert result.optimized == (
        "prune: 320 of 640 weights are 0",
        "quantize int8-dynamic: 1 layer with 650 of 650 parameters",
    )
    assert result.phases is not None
    assert list(result.phases) == ["Starting", "Loading", "Training", "Optimizing", "Evaluating", "Timing"]
    assert result.metrics["nonzero_parameters"] == 330
    assert result.metrics["model_bytes"] < 0.4 * 650 * 4


def test_a_rank_that_is_killed_ends_the_other_which_reports_nothing(tmp_path: Path, port: int, warm: Process) -> None:
    race = Ranks(tmp_path, port, warm, epochs=100_000)
    first, second = race.begin(0, 1, nodes=2)
    wait_until(lambda: first.exists() and "epoch 2" in first.read_text())
    os.kill(warm.event(id=str(second), event="started")["pid"], signal.SIGKILL)
    assert warm.event(id=str(first), event="exited").get("code") == keys.EXIT_PEER_LOST, first.read_text()
    assert "PeerLost" in first.read_text()
    assert race.results() == []


def test_a_batch_that_is_too_small_to_share_is_reported(tmp_path: Path, port: int, warm: Process) -> None:
    race = Ranks(tmp_path, port, warm, epochs=1, training={"batchSize": 3})
    for code, output in race.run(0, 1, nodes=2):
        assert code == keys.EXIT_CONFIGURATION, output
        assert "write 4 or more" in output


def test_a_program_of_ones_own_gets_its_rank(tmp_path: Path, port: int) -> None:
    code = (
        "import os, sys; print('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], os.environ['MASTER_ADDR'])"
    )
    entry = {"command": [sys.executable, "-c", code]}
    race = Ranks(tmp_path, port, epochs=1, entry=entry)
    (first, output), (second, other) = race.run(0, 1, nodes=2)
    assert "rank 0 of 2 127.0.0.1" in output
    assert "rank 1 of 2 127.0.0.1" in other
    assert first == keys.EXIT_CONFIGURATION, "the first rank owes a result"
    assert second == keys.EXIT_OK
