"""What code of an entry changes for the process is set back, and noted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from velodrome_runner.upheld import Upheld, initial_weights, seed_everything

SEED = 7


@pytest.fixture
def upheld() -> Iterator[Upheld]:
    """The conditions of a trial of one thread; this process's own are set back in the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    seed_everything(SEED)
    made = Upheld(SEED)
    yield made
    made.restore("the test")
    torch.set_num_threads(before)


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002, S311 - they are tested


@pytest.mark.parametrize(
    ("change", "read", "words"),
    [
        (lambda: torch.set_num_threads(7), torch.get_num_threads, "threads to 7: set back to 1"),
        (
            lambda: torch.use_deterministic_algorithms(True),
            torch.are_deterministic_algorithms_enabled,
            "determinism to on: set back to off",
        ),
        (
            lambda: torch.use_deterministic_algorithms(True, warn_only=True),
            torch.is_deterministic_algorithms_warn_only_enabled,
            "determinism to warnings: set back to off",
        ),
        (
            lambda: setattr(torch.backends.cudnn, "benchmark", True),
            lambda: torch.backends.cudnn.benchmark,
            "cudnn.benchmark to on: set back to off",
        ),
        (
            lambda: torch.set_float32_matmul_precision("medium"),
            torch.get_float32_matmul_precision,
            "the precision of matrix products to medium: set back to highest",
        ),
        (
            lambda: setattr(torch.backends, "fp32_precision", "tf32"),
            torch.get_float32_matmul_precision,
            "the precision of float32 to tf32: set back to none",
        ),
        (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled, "gradients to off: set back to on"),
        (
            lambda: torch.set_default_dtype(torch.float64),
            torch.get_default_dtype,
            "the default dtype to float64: set back to float32",
        ),
        (
            lambda: torch.set_default_device("meta"),
            torch.get_default_device,
            "the default device to meta: set back to cpu",
        ),
    ],
)
def test_a_setting_is_set_back_and_noted(
    upheld: Upheld, change: Callable[[], object], read: Callable[[], object], words: str
) -> None:
    before = read()
    change()
    upheld.restore("building the model")
    assert read() == before
    assert any(said.startswith("building the model set ") and said.endswith(words) for said in upheld.changed)
    upheld.changed.clear()
    upheld.restore("training")
    assert upheld.changed == []


def test_a_seed_of_its_own_is_found_out_and_the_trials_counts_again(upheld: Upheld) -> None:
    expected = draws()
    torch.manual_seed(123)
    upheld.restore("building the model")
    assert upheld.changed == [
        "building the model seeded torch with 123: seeded again with the trial's seed, 7",
    ]
    assert draws() == expected


def test_draws_are_no_change_and_an_import_starts_afresh(upheld: Upheld) -> None:
    first = draws()
    second = draws()
    seed_everything(SEED)
    draws()
    upheld.restore("building the model")
    assert draws() == second
    upheld.restore("importing the entry's code", reseed=True)
    assert draws() == first
    assert upheld.changed == []


def test_initial_weights_are_the_same_for_equal_trainable_parameters_alone() -> None:
    def network(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())

    first, again, other = (initial_weights(network(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert initial_weights(network(1).to(memory_format=torch.channels_last)) == first
    renamed = nn.Sequential(nn.Identity(), *network(1).children())
    assert initial_weights(renamed) != first
    assert initial_weights(network(1).requires_grad_(False)) is None
    assert initial_weights(network(1).to(torch.bfloat16)) is not None
    sparse = nn.Linear(2, 2)
    sparse.weight = nn.Parameter(torch.eye(2).to_sparse())
    assert initial_weights(sparse) is None
