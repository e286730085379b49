"""Files that trials keep: what a job may ask for, what a result may say, and where people find them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from velodrome.errors import SpecError
from velodrome.plan import entry_id, local_uid, plan
from velodrome.results.records import Checkpointing, KeptFile, Resumption
from velodrome.spec import validate
from velodrome_runner.artifacts import WEIGHTS, digest_of, keep_weights


def spec(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "kept"},
        "spec": {"dataset": {"name": "digits"}, "entries": [{"name": "a", "model": {"name": "velodrome/mlp"}}]}
        | fields,
    }


def test_files_change_no_identity() -> None:
    plain, kept = (
        plan(validate(spec(**fields))) for fields in ({}, {"artifacts": {"checkpointSeconds": 5, "weights": True}})
    )
    assert plain.trial(0).id == kept.trial(0).id
    assert entry_id(plain.configs["a"]) == entry_id(kept.configs["a"])
    assert local_uid(plain) == local_uid(kept)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"artifacts": {"checkpointSeconds": 0}}, "spec.artifacts.checkpointSeconds"),
        ({"artifacts": {"claimName": "../up"}}, "spec.artifacts.claimName"),
        (
            {
                "artifacts": {"claimName": "runs"},
                "runner": {"volumes": [{"name": "a", "mountPath": "/scratch/artifacts/mine", "emptyDir": {}}]},
            },
            "is where artifacts.claimName is mounted",
        ),
        (
            {"budget": {"maxSteps": 9}, "entries": [{"name": "ours", "command": ["python", "-m", "ours"]}]},
            'entry "ours" brings its own program, whose steps are not counted',
        ),
        (
            {"runner": {"volumes": [{"name": "velodrome-artifacts", "mountPath": "/a", "emptyDir": {}}]}},
            "volume of Velodrome",
        ),
    ],
)  # fmt: skip
def test_what_a_job_can_not_ask_for(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as refused:
        validate(spec(**fields))
    assert words in str(refused.value)


def test_a_place_below_the_scratch_folder_is_free_without_a_claim() -> None:
    volume = {"name": "a", "mountPath": "/scratch/artifacts", "emptyDir": {}}
    validate(spec(artifacts={"weights": True}, runner={"volumes": [volume]}))


def test_the_digest_is_that_of_the_file_and_of_the_same_weights(tmp_path: Path) -> None:
    convolution = nn.Conv2d(3, 4, 3)
    model = nn.Sequential(convolution, nn.BatchNorm2d(4))
    first, second = (keep_weights(model, tmp_path / name) for name in ("a", "b"))
    assert first == second
    assert first.sha256 == digest_of(tmp_path / "a" / WEIGHTS)
    assert first.bytes == (tmp_path / "a" / WEIGHTS).stat().st_size
    read = torch.load(tmp_path / "a" / WEIGHTS, weights_only=True)
    assert all(torch.equal(read[name], value) for name, value in model.state_dict().items())
    with torch.no_grad():
        convolution.weight[0] += 1
    assert keep_weights(model, tmp_path / "c").sha256 != first.sha256


@pytest.fixture
def small_files() -> Iterator[None]:
    """Lets no file of this process grow beyond a few bytes: the kernel answers as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_weights_that_do_not_fit_cost_no_result_and_leave_nothing(tmp_path: Path) -> None:
    found = keep_weights(nn.Linear(1000, 10), tmp_path)
    assert found == KeptFile(name=WEIGHTS, problem="it could not be written: File too large")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_made_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = keep_weights(nn.Linear(2, 2), tmp_path / "file" / "0")
    assert found.problem == "it could not be written: Not a directory"


def test_results_say_what_was_lost_in_plain_words() -> None:
    found = Checkpointing(
        saved=3,
        seconds=0.5,
        resumed=(
            Resumption(attempt="a", step=0, repeated_steps=7, lost_seconds=0.25),
            Resumption(attempt="b", step=1200, repeated_steps=30, lost_seconds=2.0),
        ),
        problem="the checkpoint of step 8 could not be saved: No space left on device",
    )
    assert found.words == (
        "a was lost: training started again, 7 steps of 0.25 s were made again",
        "b was lost: went on from step 1,200, 30 steps of 2 s were made again",
        "the checkpoint of step 8 could not be saved: No space left on device",
    )
