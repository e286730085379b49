"""A trace of training steps: what is in it, and what it costs the trial."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.test_runner_training import CPU, configured, network, prepared, same, state
from velodrome_runner.artifacts import digest_of
from velodrome_runner.precision import autocast
from velodrome_runner.tracing import TRACE, keep_trace


def traced(folder: Path, steps: int, model: nn.Module | None = None, **training: Any) -> Any:
    made = model or network()
    context = autocast("float32", CPU)
    return keep_trace(
        configured(**training), prepared(), lambda: made, folder, steps=steps, seed=0, device=CPU, context=context
    )


def ranges(folder: Path) -> tuple[list[str], set[str]]:
    """The steps in the trace, in their order, and the names of everything in it."""
    events = json.loads(gzip.decompress((folder / TRACE).read_bytes()))["traceEvents"]
    found = [event for event in events if event.get("cat") == "user_annotation" and event["name"].startswith("step ")]
    return [event["name"] for event in sorted(found, key=lambda event: event["ts"])], {
        str(e.get("name")) for e in events
    }


@pytest.mark.parametrize("asked", [2, 3, 10])
def test_as_many_steps_are_traced_as_asked_for(tmp_path: Path, asked: int) -> None:
    """There are 4 batches in an epoch, and the first one of all is not traced."""
    file = traced(tmp_path, asked)
    assert (file.name, file.problem) == (TRACE, None)
    assert file.sha256 == digest_of(tmp_path / TRACE)
    assert file.bytes == (tmp_path / TRACE).stat().st_size
    steps, names = ranges(tmp_path)
    assert steps == [f"step {number}" for number in range(1, asked + 1)]
    assert {"aten::addmm", "aten::batch_norm"} <= names
    assert any("Backward" in name for name in names)
    assert [path.name for path in tmp_path.iterdir()] == [TRACE]


def test_epochs_of_a_single_batch_are_traced_too(tmp_path: Path) -> None:
    assert traced(tmp_path, 2, batchSize=64).problem is None
    assert ranges(tmp_path)[0] == ["step 1", "step 2"]


def test_a_model_that_goes_wrong_costs_no_result(tmp_path: Path) -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no such thing")

    file = traced(tmp_path, 2, Failing())
    assert file.sha256 is None
    assert file.problem == "it could not be written: no such thing"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_made_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert traced(tmp_path / "file" / "0", 2).problem == "it could not be written: Not a directory"


def test_only_the_network_that_is_traced_learns(tmp_path: Path) -> None:
    other, own = network(), network()
    before = state(other)
    traced(tmp_path, 2, own)
    assert same(state(other), before)
    assert not same(state(own), before)
