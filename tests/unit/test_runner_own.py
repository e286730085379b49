"""What a command's lines and its end come to."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from velodrome import keys
from velodrome.kernel.pressure import Snapshot
from velodrome.plan import Plan, Trial, plan
from velodrome.results.records import ResultReport
from velodrome.spec import BenchmarkJob
from velodrome_runner import own
from velodrome_runner.interference import Interference
from velodrome_runner.lines import Reported
from velodrome_runner.log import Tail
from velodrome_runner.own import Ended, conclude
from velodrome_runner.reporting import Failure
from velodrome_runner.settings import Settings

DATASET = {
    "type": "dataset", "name": "digits", "digest": "sha256:" + "a" * 64, "train_samples": 9, "validation_samples": 1,
    "test_samples": 3, "shape": [1, 8, 8], "classes": ["a", "b"],
}  # fmt: skip
EPOCH = {"type": "epoch", "epoch": 1, "seconds": 1.5, "train_loss": 0.3, "samples_per_second": 6.0}
RESULT = {"type": "result", "metrics": {"accuracy": 0.9}, "epochs": 1}


def made(**dataset: Any) -> tuple[Plan, Trial]:
    spec = {
        "entries": [{"name": "own", "command": ["python", "x.py"]}],
        "objectives": [
            {"name": "accuracy", "metric": "accuracy"},
            {"name": "memory", "metric": "peak_memory_bytes"},
        ],
        "dataset": {"name": "digits", **dataset},
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "j"}, "spec": spec}
    found = plan(BenchmarkJob.model_validate(document))
    return found, found.trial(0)


def reported(*documents: Any) -> Reported:
    found = Reported(made()[1].config)
    for document in documents:
        found.take(document if isinstance(document, str) else json.dumps(document))
    return found


def test_a_price_makes_a_cost_of_the_training_time() -> None:
    timed = {"type": "result", "metrics": {"accuracy": 0.9, "train_seconds": 1800.0}}
    free = conclude(*made(), reported(DATASET, EPOCH, timed), Ended(0))
    assert isinstance(free, dict)
    assert free["metrics"] == timed["metrics"]
    job, trial = made()
    evaluation = trial.config.evaluation.model_copy(update={"price_per_hour": 3.0})
    trial = replace(trial, config=trial.config.model_copy(update={"evaluation": evaluation}))
    priced = conclude(job, trial, reported(DATASET, EPOCH, timed), Ended(0))
    assert isinstance(priced, dict)
    assert priced["metrics"] == {"accuracy": 0.9, "train_seconds": 1800.0, "cost": 1.5}


def test_a_result_has_what_was_reported_and_why_the_rest_is_missing() -> None:
    found = conclude(*made(), reported(DATASET, EPOCH, RESULT), Ended(0))
    assert isinstance(found, dict)
    assert found["metrics"] == {"accuracy": 0.9}
    unavailable = found["unavailable"]
    assert isinstance(unavailable, dict)
    assert unavailable["peak_memory_bytes"] == "the command did not report it"
    assert found["epochs"] == 1


@pytest.mark.parametrize(
    ("documents", "code", "reason", "words"),
    [
        ([DATASET, RESULT], 3, "CommandFailed", "exit code 3"),
        ([DATASET, RESULT], -9, "CommandKilled", "SIGKILL"),
        ([DATASET], 0, "ResultMissing", "trial.result"),
        ([RESULT], 0, "ConditionsMissing", "trial.dataset"),
        ([DATASET, {**RESULT, "metrics": {"f1": 0.5}}], 0, "MetricsMissing", "accuracy"),
        ([DATASET, "junk", RESULT], 0, "InvalidReport", "line 2"),
        ([DATASET, {**RESULT, "metrics": {"acuracy": 0.5}}], 0, "InvalidReport", "acuracy"),
        ([DATASET, '{"type": "result", "metrics": {"accuracy": NaN}}'], 0, "InvalidReport", "finite"),
        ([DATASET, {**RESULT, "metric": 1}], 0, "InvalidReport", "metric"),
        ([DATASET, RESULT, RESULT], 0, "InvalidReport", "second result"),
        ([DATASET, EPOCH, EPOCH, RESULT], 0, "InvalidReport", "count upwards"),
        ([{**DATASET, "digest": "abc"}, RESULT], 0, "InvalidReport", "digest"),
        ([DATASET, {**RESULT, "metrics": {"accuracy": 97.3}}], 0, "ImpossibleValue", "write 0.973 for 97.3 %"),
        ([DATASET, {**RESULT, "metrics": {"accuracy": 0.9, "f1{label=2}": 1}}], 0, "ImpossibleValue", "class 2"),
        ([DATASET, {**EPOCH, "epoch": 11}, RESULT], 0, "ImpossibleValue", "line 2: epoch: 11"),
        ([DATASET, {**EPOCH, "validation": {"accuracy": 81}}, RESULT], 0, "ImpossibleValue", "validation.accuracy: 81"),
        ([DATASET, EPOCH, {**EPOCH, "epoch": 2, "seconds": 1}], 0, "ImpossibleValue", "line 3: seconds: 1.0"),
        ([{**DATASET, "classes": []}, RESULT], 0, "ImpossibleValue", "dataset.classes: none, and digits has 10"),
        (
            [{"type": "software", "framework": "numpy", "libraries": {"x": "1" * 2000}}],
            0,
            "InvalidReport",
            "libraries.x",
        ),
    ],
)
def test_what_is_wrong_is_reported(documents: list[Any], code: int, reason: str, words: str) -> None:
    found = conclude(*made(), reported(*documents), Ended(code))
    assert isinstance(found, Failure)
    assert found.reason == reason
    assert words in found.message


def test_a_command_that_the_kernel_ended_for_memory_says_so() -> None:
    found = conclude(*made(), reported(DATASET, RESULT), Ended(-9, for_memory=True))
    assert isinstance(found, Failure)
    assert found.reason == "OutOfMemory"
    assert isinstance(conclude(*made(), reported(DATASET, RESULT), Ended(0, for_memory=True)), dict)


def test_the_first_wrong_line_is_the_one_that_is_reported() -> None:
    found = reported("junk", DATASET, "more junk")
    assert found.problem is not None
    assert found.problem.startswith("line 1:")


def test_other_data_than_those_that_are_pinned_are_refused() -> None:
    found = conclude(*made(digest="sha256:" + "b" * 64), reported(DATASET, RESULT), Ended(0))
    assert isinstance(found, Failure)
    assert found.reason == "DatasetDigestMismatch"


def test_the_documented_lines_are_read() -> None:
    text = (Path(__file__).parents[2] / "docs/own-code.md").read_text(encoding="utf-8")
    block = text.split("```json\n")[1].split("```")[0]
    found = reported(*block.strip().splitlines())
    assert found.problem is None
    assert found.result is not None
    assert found.dataset is not None
    assert found.software is not None
    assert len(found.curves) == 2


def test_a_ratio_that_rounding_put_above_1_is_1() -> None:
    rounded = {**RESULT, "metrics": {"accuracy": 1.0000001}}
    found = conclude(*made(), reported(DATASET, {**EPOCH, "validation": {"accuracy": 1.0000001}}, rounded), Ended(0))
    assert isinstance(found, dict)
    assert found["metrics"] == {"accuracy": 1.0}
    curves = found["curves"]
    assert isinstance(curves, tuple)
    assert [point.validation for point in curves] == [{"accuracy": 1.0}]


def test_an_epoch_that_can_not_be_is_not_passed_on() -> None:
    found = Reported(made()[1].config)
    assert found.take(json.dumps({**EPOCH, "validation": {"accuracy": 81}})) is None
    assert found.take(json.dumps(EPOCH)) is not None


PROGRAM = """
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": 0.5})
"""


@pytest.mark.parametrize("answer", ["record", "fail"])
def test_a_disturbed_program_is_recorded_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    start = Snapshot(at=0.0, cpus=2, busy=0.0, own=0.0)
    looks = iter((start, replace(start, at=10.0, busy=19.0, own=10.0)))
    monkeypatch.setattr(own, "Interference", partial(Interference, look=lambda: next(looks)))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    job = BenchmarkJob.model_validate(
        {
            "apiVersion": keys.API_VERSION,
            "kind": keys.KIND,
            "metadata": {"name": "j"},
            "spec": {
                "dataset": {"name": "digits"},
                "evaluation": {"onInterference": answer},
                "entries": [{"name": "own", "command": [sys.executable, str(program)]}],
            },
        }
    )
    settings = Settings.read(
        {
            keys.ENV_SPEC: "unread",
            keys.ENV_INDEX: "0",
            keys.ENV_JOB_UID: "uid",
            keys.ENV_ATTEMPT: "a1",
            keys.ENV_SCRATCH: str(tmp_path),
        }
    )
    made = plan(job)
    code = own.run(settings, made, made.trial(0), threads=1, tail=Tail())
    result = ResultReport.model_validate_json(settings.spool.read_text()).result
    if answer == "record":
        assert (code, result.outcome) == (keys.EXIT_OK, "Succeeded")
        assert result.held is not None
        assert result.held.disturbances == ("the command: other programs used 0.9 of 2 CPUs",)
    else:
        assert (code, result.reason) == (keys.EXIT_FAILED, "Interference")
