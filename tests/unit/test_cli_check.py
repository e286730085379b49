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


@pytest.fixture(autouse=True)
def _nothing_raced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELODROME_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VELODROME_REDIS_URL", raising=False)


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


def test_the_plan_says_what_the_race_can_see(good: Path, tmp_path: Path) -> None:
    done = velodrome("plan", good)
    assert "3 seeds tell apart what is 3.3 standard deviations apart, with these 2 entries, in 80 %" in done.output
    assert "known once a job of this board has two seeds" in done.output
    assert done.stderr == ""
    assert not (tmp_path / "home").exists(), "a plan leaves nothing behind"


def test_the_plan_as_json_says_what_the_race_can_see(good: Path) -> None:
    sees = json.loads(velodrome("plan", good, "--json", "--detect", "accuracy=2sd").stdout)["sees"]
    assert (sees["seeds"], sees["looks"], sees["trials"]) == (3, [], {"fewest": 6, "most": 6})
    assert sees["gap"] == pytest.approx(3.33, abs=0.01)
    assert sees["history"] == {"left_out": None}
    (accuracy,) = sees["objectives"]
    assert accuracy["wanted"] == {"text": "2 standard deviations", "seeds": 5}
    assert (accuracy["spread"], accuracy["visible"], accuracy["jobs"]) == (None, None, 0)


def test_a_plan_without_its_history_says_why(good: Path) -> None:
    done = velodrome("plan", good, "--redis", "unix:///nowhere/redis.sock", "--detect", "accuracy=0.01")
    assert done.exit_code == 0
    assert "The history of the board was left out: " in done.stderr
    assert "how many seeds tell apart 1 point is unknown" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("accuracy", "write NAME=SIZE"),
        ("speed=1", "there is no objective speed: there are accuracy, latency, size"),
        ("=1", "there is no objective without a name"),
        ("accuracy=", "is no number"),
        ("accuracy=1e", "is no number"),
        ("accuracy=0", "is not above 0"),
        ("accuracy=inf", "is not above 0"),
        ("accuracy=nansd", "is not above 0"),
        ("accuracy=1", "goes from 0 to 1"),
        ("accuracy=0.5%", "0.005 is 0.5 points"),
        ("latency=0.001", "write a share of it, for example 5%"),
        ("size=5%", "is the same for every seed"),
    ],
)
def test_what_can_not_be_detected_is_refused_with_what_to_write(tmp_path: Path, asked: str, message: str) -> None:
    path = tmp_path / "three.yaml"
    path.write_text(
        GOOD.replace(
            "spec:",
            "spec:\n  objectives:\n    - {name: accuracy, metric: accuracy}\n"
            "    - {name: latency, metric: latency_p50_seconds, batchSize: 1}\n    - {name: size, metric: parameters}",
        )
    )
    done = velodrome("plan", path, "--detect", asked)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_a_difference_is_asked_for_once(good: Path) -> None:
    done = velodrome("plan", good, "--detect", "accuracy=0.1", "--detect", "accuracy=0.2")
    assert done.exit_code == 2
    assert "accuracy is there twice" in done.stderr
