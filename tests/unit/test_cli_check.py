"""`validate` and `plan`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from velodrome.cli.app import app

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
GOOD = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: first}
spec:
  dataset: {name: digits}
  budget: {maxEpochs: 3, maxSeconds: 9, target: {metric: accuracy, value: 0.9}}
  training: {earlyStopping: {patience: 2}, regularization: {dropout: 0.2}}
  entries:
    - {name: a, model: {name: velodrome/mlp, args: {hidden: 8}}}
    - {name: b, model: {name: velodrome/cnn}, training: {optimizer: {name: AdamW, learningRate: 0.01}}}
  trials: {repeats: 3, baseSeed: 7}
"""
BAD = GOOD.replace("maxEpochs: 3", "maxEpoch: 3").replace("velodrome/cnn", "velodrome/cnm")


def velodrome(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def test_valid_files_are_named_with_what_is_in_them(good: Path) -> None:
    done = velodrome("validate", good)
    assert done.exit_code == 0
    assert done.output == f"{good}: first is valid, 2 entries × 3 = 6 trials, seeds 7 to 9 for each entry\n"


def test_every_problem_of_every_file_is_reported_with_its_line(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BAD)
    done = velodrome("validate", bad, good, tmp_path / "missing.yaml")
    assert done.exit_code == 2
    assert done.stdout.startswith(f"{good}: first is valid")
    assert f"{bad}: 2 problems" in done.stderr
    assert 'line 6: spec.budget.maxEpoch: unknown field "maxEpoch"' in done.stderr
    assert "line 10: spec.entries[1].model.name" in done.stderr
    assert "missing.yaml" in done.stderr


def test_standard_input_is_a_file_too() -> None:
    assert velodrome("validate", "-", text=GOOD).exit_code == 0
    done = velodrome("validate", "-", text=BAD)
    assert done.exit_code == 2
    assert "standard input" in done.stderr


def test_the_plan_shows_what_would_run(good: Path) -> None:
    shown = velodrome("plan", good).output
    for words in (
        "first: 2 entries × 3 = 6 trials, seeds 7 to 9 for each entry",
        "3 epochs at most, 9 s of training at most, time to accuracy 0.9 is recorded",
        "velodrome/mlp(hidden=8)",
        "AdamW lr 0.01",
        "dropout 0.2",
        "validation_loss, patience 2",
    ):
        assert words in shown


def test_the_plan_as_json_holds_every_trial_and_every_parameter(good: Path) -> None:
    plan = json.loads(velodrome("plan", good, "--json").output)
    assert [(trial["entry"], trial["repeat"], trial["seed"]) for trial in plan["trials"]] == [
        (entry, repeat, 7 + repeat) for repeat in range(3) for entry in "ab"
    ]
    assert plan["entries"]["b"]["training"]["optimizer"] == {"name": "AdamW", "learningRate": 0.01}
    assert plan["entries"]["a"]["training"]["regularization"]["dropout"] == 0.2
    assert len({trial["id"] for trial in plan["trials"]}) == 6


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_has_a_plan_on_a_narrow_terminal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert velodrome("plan", path).exit_code == 0
