"""A race of variants, with real processes: each variant has its base's weights, and is measured as its base is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

# Measures one trial, and prints how often torch compiled while the model was evaluated, and while it was timed.
COUNTING = """
import json, sys
from pathlib import Path
from velodrome_runner import threads
threads.use(1)
import torch
from torch._dynamo.utils import counters
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob
from velodrome_runner import evaluation, measuring, timing
from velodrome_runner.settings import Settings
from velodrome_runner.variants import own_folder

seen = {}

def count(module, name):
    real = getattr(module, name)
    def counted(*given, **named):
        before = counters["stats"]["unique_graphs"]
        found = real(*given, **named)
        seen[name] = counters["stats"]["unique_graphs"] - before
        return found
    setattr(module, name, counted)

count(evaluation, "of_split")
count(timing, "time_evaluation")
job, scratch = json.load(sys.stdin)
settings = Settings(Path("job"), 0, "uid", "attempt", None, Path(), Path(scratch), concurrent=1, deadline=1.0)
trial = plan(BenchmarkJob.model_validate(job)).trial(0)
with own_folder(trial.config):
    done = measuring.measure(trial, settings, threads=1, device=torch.device("cpu"), on_phase=lambda *_: None)
print(json.dumps([seen, done.optimized, done.metrics["compile_seconds"]]))
"""

EXAMPLE = Path(__file__).parents[2] / "deploy/examples/variants.yaml"


class Race:
    """A small form of the example: one seed, two epochs, a small network; run once, and asked for its records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = os.environ | {"VELODROME_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
        self.environ.pop("VELODROME_REDIS_URL", None)

    def write(self, entries: list[dict[str, Any]] | None = None) -> list[str]:
        job = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        job["spec"] |= {
            "budget": {"maxEpochs": 2},
            "trials": {"repeats": 1},
            "entries": entries or job["spec"]["entries"],
        }
        job["spec"]["entries"][0]["model"]["args"] = {"hidden": 64}
        job["spec"]["evaluation"] = {
            "inference": {"batchSizes": [1, 64], "minRunSeconds": 0.05},
            "serving": {"arrivalRate": 50, "queries": 70},
        }
        (self.folder / "job.yaml").write_text(yaml.safe_dump(job))
        return [entry["name"] for entry in job["spec"]["entries"]]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "velodrome", *words]
        return subprocess.run(
            line, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=580
        )

    def result(self, entry: str) -> dict[str, Any]:
        shown = self.run("show", f"variants/{entry}/0", "--json")
        assert shown.returncode == 0, shown.stderr
        found: dict[str, Any] = json.loads(shown.stdout)["record"]["result"]
        return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, Any]]:
    """The result of each entry of the example, which is raced once."""
    race = Race(tmp_path_factory.mktemp("variants"))
    names = race.write()
    raced = race.run("run", "job.yaml", "--quiet")
    assert raced.returncode == 0, raced.stdout + raced.stderr
    return {name: race.result(name) for name in names}


@pytest.mark.timeout(600)
def test_all_variants_of_a_seed_have_the_same_trained_weights(results: Mapping[str, dict[str, Any]]) -> None:
    digests = {result["held"]["trained_weights"] for result in results.values()}
    assert len(digests) == 1
    assert digests != {None}
    assert {tuple(point["train_loss"] for point in result["curves"]) for result in results.values()} == {
        tuple(point["train_loss"] for point in results["mlp"]["curves"])
    }


def test_each_variant_is_measured_as_its_base_is(results: Mapping[str, dict[str, Any]]) -> None:
    base = results["mlp"]["metrics"]
    apart = {"conversion_seconds", "compile_seconds", "flops"}
    off = {"int8": 0.02, "half": 0.2, "compiled": 0.003, "onnx": 0.003}  # a network that has hardly learned
    for name, result in results.items():
        assert result["metrics"].keys() - apart == base.keys() - apart
        assert result["metrics"]["accuracy"] == pytest.approx(base["accuracy"], abs=off.get(name, 1.0))
        assert result["metrics"]["parameters"] == base["parameters"]


def test_conversion_and_compiling_are_metrics_of_their_own(results: Mapping[str, dict[str, Any]]) -> None:
    def timed(key: str) -> set[str]:
        return {name for name, result in results.items() if result["metrics"].get(key, 0.0) > 0}

    assert timed("compile_seconds") == {"compiled"}
    assert timed("conversion_seconds") == results.keys() - {"mlp", "compiled"}


def test_sizes_are_those_of_the_optimized_model_or_missing_with_a_reason(
    results: Mapping[str, dict[str, Any]],
) -> None:
    base = results["mlp"]["metrics"]
    for name in ("half", "tenth", "compiled"):
        assert results[name]["metrics"]["model_bytes"] == base["model_bytes"]
        assert results[name]["metrics"]["flops"] == base["flops"]
    assert results["int8"]["metrics"]["model_bytes"] < 0.3 * base["model_bytes"]
    assert results["int8"]["unavailable"]["flops"].startswith("layers in int8")
    assert results["onnx"]["unavailable"]["flops"] == "onnxruntime's operations are not counted"
    shares = {name: result["metrics"]["nonzero_parameters"] / base["parameters"] for name, result in results.items()}
    assert shares["int8"] == shares["compiled"] == shares["onnx"] == shares["mlp"]
    assert shares["half"] == pytest.approx(0.5, abs=0.02)
    assert shares["tenth"] == shares["tenth-int8"] == pytest.approx(0.1, abs=0.02)


def test_a_record_says_what_was_done_and_what_predicted(results: Mapping[str, dict[str, Any]]) -> None:
    assert "optimized" not in results["mlp"]
    (done,) = results["half"]["optimized"]
    assert done.startswith("prune: ")
    assert [each.partition(":")[0] for each in results["tenth-int8"]["optimized"]] == ["prune", "quantize int8-dynamic"]
    libraries = results["onnx"]["environment"]["software"]["model_libraries"]
    assert set(libraries) == {"onnxruntime"}
    conditions = [dict(result["environment"]["software"], model_libraries=None) for result in results.values()]
    assert conditions == conditions[:1] * len(conditions)


@pytest.mark.timeout(600)
def test_a_step_that_can_not_be_done_ends_the_race_before_it_begins(tmp_path: Path) -> None:
    race = Race(tmp_path)
    (tmp_path / "team_models.py").write_text(
        "import torch\ndef plain(shape, classes):\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(1, classes, 8), torch.nn.Flatten())\n"
    )
    race.environ["PYTHONPATH"] = str(tmp_path)
    race.write([
        {"name": "plain", "model": {"name": "team_models:plain"}},
        {"name": "int8", "variantOf": "plain", "optimize": [{"quantize": "int8-dynamic"}]},
    ])  # fmt: skip
    document = yaml.safe_load((tmp_path / "job.yaml").read_text())
    document["spec"]["entries"][0]["model"].pop("args")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    raced = race.run("run", "job.yaml")
    assert raced.returncode == 2
    assert "spec.entries[1].optimize: int8: NothingToOptimize: int8-dynamic quantizes linear" in raced.stderr


@pytest.mark.timeout(600)
def test_nothing_is_compiled_while_a_model_is_evaluated_or_timed(tmp_path: Path) -> None:
    job = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "compiled"},
        "spec": {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 1},
            "evaluation": {
                "inference": {"batchSizes": [1, 64], "minRunSeconds": 0.05, "measure": "always"},
                "serving": {"arrivalRate": 50, "queries": 5, "maxBatchSize": 4},
            },
            "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}, "optimize": [{"compile": True}]}],
        },
    }
    ended = subprocess.run(
        [sys.executable, "-c", COUNTING],
        input=json.dumps([job, str(tmp_path)]),
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert ended.returncode == 0, ended.stderr
    compiled, done, seconds = json.loads(ended.stdout.splitlines()[-1])
    assert compiled == {"of_split": 0, "time_evaluation": 0}
    assert done[0].startswith("compile: ")
    assert seconds > 0
