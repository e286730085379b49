"""Training that goes on from a checkpoint: to the same bits, and never from one that is not its own."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.prepared import untouched
from velodrome import keys
from velodrome.plan import TrialConfig, plan
from velodrome.spec import BenchmarkJob
from velodrome_runner import checkpoints as module
from velodrome_runner.artifacts import digest_of, write_torch
from velodrome_runner.checkpoints import Checkpoints, forget
from velodrome_runner.measuring import only_honest
from velodrome_runner.preprocessing import Prepared, ReadySplit
from velodrome_runner.tasks.classification import ClassificationTask
from velodrome_runner.training import Trained, train
from velodrome_runner.upheld import seed_everything

CPU = torch.device("cpu")
IDENTITY = {"trial": "abc", "code": "", "version of torch": torch.__version__}
BUDGETS: Mapping[str, dict[str, Any]] = {"epochs": {"maxEpochs": 4}, "steps": {"maxEpochs": 100, "maxSteps": 33}}
TRAININGS: Mapping[str, dict[str, Any]] = {
    "sgd": {},
    "adam and an average": {"optimizer": {"name": "AdamW"}, "emaDecay": 0.9, "regularization": {"l2": 0.1, "l1": 1e-4}},
    "groups of batches": {"accumulateBatches": 3, "clipNorm": 1.0},
    "a cosine": {
        "schedule": {"name": "Cosine", "linearWarmup": 0.2},
        "optimizer": {"name": "RMSprop", "momentum": 0.5},
    },
    "drops": {"schedule": {"name": "Step", "stepEpochs": 1, "gamma": 0.3}},
    "one cycle": {"schedule": {"name": "OneCycle"}},
    "early stopping": {"earlyStopping": {"metric": "validation_loss", "patience": 1, "minDelta": 0.2}},
}


class Ended(Exception):
    """The process came to the end of the training."""


class Lost(BaseException):
    """The process is gone."""


def configured(budget: Mapping[str, Any], training: Mapping[str, Any]) -> TrialConfig:
    spec = {
        "dataset": {"name": "digits"},
        "budget": budget,
        "training": {"batchSize": 16, "optimizer": {"name": "SGD", "learningRate": 0.1, "momentum": 0.9}, **training},
        "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "t"}, "spec": spec}
    return plan(BenchmarkJob.model_validate(document)).trial(0).config


class Noisy(nn.Module):
    """Draws from every generator that a model may use, and keeps a buffer that is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
            x = x * (1 + 0.1 * random.random()) + 0.01 * np.random.rand() + 0.001 * self.calls  # noqa: NPY002, S311
        found: torch.Tensor = self.layers(x)
        return found


class Jittered(ClassificationTask):
    """Draws for each batch from the generator that also shuffles."""

    def augment(self, batch: Any, generator: torch.Generator) -> Any:
        noise = torch.randn(batch.inputs.shape, generator=generator)
        return type(batch)(batch.inputs + 0.1 * noise, batch.targets)


def prepared() -> Prepared:
    generator = torch.Generator().manual_seed(7)

    def split(count: int) -> ReadySplit:
        labels = torch.arange(count) % 3
        images = torch.randn(count, 1, 2, 2, generator=generator)
        images[:, 0, 0, 0] += 3.0 * labels
        return ReadySplit(images, labels)

    return Prepared(Jittered(3, 0.0, untouched((1, 2, 2))), split(150), split(32), split(12), CPU)


class Dying(Checkpoints):
    """Saves after every `every` steps, and loses the process after `left` of them."""

    left: int = 10**9
    gap: int = 1

    def due(self, steps: int, seconds: float) -> bool:
        super().due(steps, seconds)
        self._note(steps, seconds)
        self.left -= 1
        if self.left == 0:
            raise Lost
        return steps % self.gap == 0


def started(folder: Path, attempt: str, left: int = 10**9, gap: int = 1, **options: Any) -> Dying:
    made = Dying(folder, 0.0, identity=IDENTITY, attempt=attempt, **options)
    made.left, made.gap = left, gap
    return made


def trained(config: TrialConfig, checkpoints: Checkpoints | None = None) -> tuple[Trained, nn.Module]:
    seed_everything(3)
    model = Noisy()
    return train(config, prepared(), model, seed=3, device=CPU, checkpoints=checkpoints), model


def same(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("training", TRAININGS)
def test_a_training_that_is_lost_20_times_ends_with_the_bits_of_an_undisturbed_one(
    tmp_path: Path, budget: str, training: str
) -> None:
    config = configured(BUDGETS[budget], TRAININGS[training])
    whole, expected = trained(config)
    draw = random.Random(11)  # noqa: S311 - for a test
    losses = 0
    with contextlib.suppress(Ended):
        while losses < 20:
            with contextlib.suppress(Lost):
                trained(config, started(tmp_path, f"attempt-{losses}", draw.randint(1, 9), gap=draw.randint(1, 4)))
                raise Ended
            losses += 1
    assert losses >= 3
    kept = started(tmp_path, "last")
    found, model = trained(config, kept)
    assert same(model, expected)
    assert found.epochs == whole.epochs
    assert found.best_epoch == whole.best_epoch
    assert found.samples == whole.samples
    assert [(point.train_loss, point.learning_rate, point.validation) for point in found.curves] == [
        (point.train_loss, point.learning_rate, point.validation) for point in whole.curves
    ]
    told = kept.told()
    assert told is not None
    assert told.problem is None
    assert [each.attempt for each in told.resumed] == [f"attempt-{number}" for number in range(len(told.resumed))]
    assert sum(each.repeated_steps for each in told.resumed) > 0


def lost_at(folder: Path, config: TrialConfig, step: int, gap: int = 1) -> None:
    with pytest.raises(Lost):
        trained(config, started(folder, "lost", step, gap))


CONFIG = configured({"maxEpochs": 3}, {})


def test_what_was_lost_is_told_apart_from_the_training_that_counts(tmp_path: Path) -> None:
    lost_at(tmp_path, CONFIG, step=9, gap=4)
    kept = started(tmp_path, "next")
    found, _ = trained(CONFIG, kept)
    told = kept.told()
    assert told is not None
    (lost,) = told.resumed
    assert (lost.attempt, lost.step, lost.repeated_steps) == ("lost", 8, 1)
    assert 0 < lost.lost_seconds < found.seconds
    assert kept.resumed
    assert not kept.moved


def test_a_process_that_is_lost_before_its_first_checkpoint_is_told_too(tmp_path: Path) -> None:
    lost_at(tmp_path, CONFIG, step=5, gap=100)
    kept = started(tmp_path, "next", gap=100)
    _, model = trained(CONFIG, kept)
    assert same(model, trained(CONFIG)[1])
    told = kept.told()
    assert told is not None
    assert [(each.step, each.repeated_steps) for each in told.resumed] == [(0, 5)]
    assert not kept.resumed


class Hours:
    """A clock that goes on by a second with each look, and by hours with each checkpoint."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now

    def dying(self, folder: Path, left: int) -> Dying:
        clock = self

        class Slow(Dying):
            def save(self, steps: int, seconds: float, state: Mapping[str, Any]) -> None:
                clock.now += 1e6
                super().save(steps, seconds, state)

        made = Slow(folder, 0.0, identity=IDENTITY, attempt="one")
        made.left, made.gap = left, 4
        return made

    def trained(self, folder: Path, left: int = 10**9) -> Trained:
        seed_everything(3)
        kept = self.dying(folder, left)
        return train(CONFIG, prepared(), Noisy(), seed=3, device=CPU, clock=self, checkpoints=kept)


def test_training_time_is_that_of_the_steps_that_count_and_of_nothing_else(tmp_path: Path) -> None:
    whole = Hours().trained(tmp_path / "whole")
    assert whole.seconds < 1e6
    with pytest.raises(Lost):
        Hours().trained(tmp_path / "lost", left=11)
    found = Hours().trained(tmp_path / "lost")
    assert found.seconds == pytest.approx(whole.seconds, abs=3)
    assert [point.seconds for point in found.curves] == pytest.approx([point.seconds for point in whole.curves], abs=3)


def cut(folder: Path) -> None:
    (path,) = folder.glob("checkpoint-*.pt")
    path.write_bytes(path.read_bytes()[:-100])


def flipped(folder: Path) -> None:
    (path,) = folder.glob("checkpoint-*.pt")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def gone(folder: Path) -> None:
    for path in folder.glob("checkpoint-*.pt"):
        path.unlink()


def manifest(folder: Path, **values: Any) -> None:
    path = folder / keys.CHECKPOINT_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def of_other_code(folder: Path) -> None:
    manifest(folder, identity={**IDENTITY, "format": str(module.FORMAT), "code": "other"})


def half_a_manifest(folder: Path) -> None:
    path = folder / keys.CHECKPOINT_FILE
    path.write_text(path.read_text()[:-9])


def no_manifest_at_all(folder: Path) -> None:
    (folder / keys.CHECKPOINT_FILE).write_text("[1]")


def words_for_numbers(folder: Path) -> None:
    manifest(folder, steps="nine", saving=None)


def lists_in_lists(folder: Path) -> None:
    (folder / keys.CHECKPOINT_FILE).write_text("[" * 100_000)


def of_another_folder(folder: Path) -> None:
    (path,) = folder.glob("checkpoint-*.pt")
    shutil.copy(path, folder.parent / "outside.pt")
    manifest(folder, file="../outside.pt")


def a_program(folder: Path) -> None:
    """A pickle that would run code, with the digest that belongs to it."""
    (path,) = folder.glob("checkpoint-*.pt")
    torch.save({"place": Runs(str(folder / "ran"))}, path)
    manifest(folder, sha256=digest_of(path))


class Runs:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "its digest differs"),
        (flipped, "its digest differs"),
        (gone, "No such file"),
        (of_other_code, "the checkpoint is of another code, so training starts again"),
        (half_a_manifest, "is cut or damaged"),
        (no_manifest_at_all, "is cut or damaged"),
        (words_for_numbers, "is cut or damaged"),
        (lists_in_lists, "is cut or damaged"),
        (of_another_folder, "is cut or damaged"),
        (a_program, "holds more than tensors"),
    ],
)
def test_one_that_can_not_be_used_is_named_and_training_starts_again(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "3"
    lost_at(folder, CONFIG, step=9)
    damage(folder)
    kept = started(folder, "next", gap=100)
    assert kept.restored() is None
    assert words in kept.problem
    _, model = trained(CONFIG, kept)
    assert same(model, trained(CONFIG)[1])
    assert not (folder / "ran").exists()
    assert not list(folder.glob("checkpoint-*.pt"))  # of no use, and of no harm


def test_a_full_disk_costs_a_checkpoint_and_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [0]

    def full(path: Path, value: Any) -> tuple[str, int]:
        calls[0] += 1
        if calls[0] > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_torch(path, value)

    monkeypatch.setattr(module, "write_torch", full)
    kept = started(tmp_path, "one", left=9)
    with pytest.raises(Lost):
        trained(CONFIG, kept)
    told = kept.told()
    assert told is not None
    assert (told.saved, told.problem) == (4, "the checkpoint of step 8 could not be saved: No space left on device")
    monkeypatch.undo()
    following = started(tmp_path, "two")
    _, model = trained(CONFIG, following)
    assert following.told().resumed[0].step == 4  # type: ignore[union-attr]
    assert same(model, trained(CONFIG)[1])


def test_a_folder_that_can_not_be_written_costs_no_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = started(tmp_path / "file" / "0", "one")
    _, model = trained(CONFIG, kept)
    assert same(model, trained(CONFIG)[1])
    told = kept.told()
    assert told is not None
    assert told.problem is not None
    assert "could not be saved: Not a directory" in told.problem


def test_a_folder_that_could_not_be_written_when_training_began_is_tried_again(tmp_path: Path) -> None:
    lost_at(tmp_path / "0", CONFIG, step=5)
    (tmp_path / "0").rename(tmp_path / "aside")
    (tmp_path / "0").write_text("")
    kept = started(tmp_path / "0", "next")
    assert kept.restored() is None
    assert "checkpoints can't be kept in" in kept.problem
    assert kept.due(1, 0.1)
    kept.save(1, 0.1, {"place": 1})
    (tmp_path / "0").unlink()
    kept.save(2, 0.2, {"place": 2})
    assert kept.told().saved == 1  # type: ignore[union-attr]
    assert started(tmp_path / "0", "last").restored() == {"place": 2}


def test_a_place_that_is_no_number_is_left_out_of_what_was_lost(tmp_path: Path) -> None:
    lost_at(tmp_path, CONFIG, step=5)
    (tmp_path / "progress").write_bytes(struct.pack("<Qd", 2**64 - 1, float("nan")))
    kept = started(tmp_path, "next")
    assert kept.restored() is not None
    (lost,) = kept.told().resumed  # type: ignore[union-attr]
    assert (lost.repeated_steps, lost.lost_seconds) == (0, 0.0)


def test_a_model_whose_state_is_no_plain_data_trains_without_them(tmp_path: Path) -> None:
    class Odd(Noisy):
        def get_extra_state(self) -> Any:
            return Path("anything")

        def set_extra_state(self, state: Any) -> None:
            pass

    kept = started(tmp_path, "one")
    seed_everything(3)
    found = train(CONFIG, prepared(), Odd(), seed=3, device=CPU, checkpoints=kept)
    assert found.epochs == 3
    assert "holds more than tensors" in kept.problem
    assert not list(tmp_path.glob("*.pt"))


def test_what_was_not_finished_is_swept_away_and_a_result_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "0"
    lost_at(folder, CONFIG, step=5)
    (folder / ".checkpoint-6-lost.pt.part").write_bytes(b"half")
    (folder / "checkpoint-2-older.pt").write_bytes(b"old")
    assert started(folder, "next").restored() is not None
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-4-lost.pt", "checkpoint.json", "progress"]
    forget(folder)
    assert not folder.exists()
    forget(folder)


def test_figures_that_hold_for_one_process_or_machine_are_not_given() -> None:
    def left(*, resumed: bool, moved: bool) -> tuple[set[str], set[str]]:
        metrics = {"accuracy": 0.9, "train_seconds": 2.0, "cpu_seconds": 3.0, "energy_joules": 4.0, "cost": 5.0}
        why: dict[str, str] = {}
        only_honest(metrics, why, resumed=resumed, moved=moved)
        return set(metrics), set(why)

    assert left(resumed=False, moved=False)[1] == set()
    assert left(resumed=True, moved=False) == (
        {"accuracy", "train_seconds", "cost"},
        {"cpu_seconds", "energy_joules"},
    )
    assert left(resumed=True, moved=True)[0] == {"accuracy"}


def test_another_machine_is_noticed_and_stays_so(tmp_path: Path) -> None:
    lost_at(tmp_path, CONFIG, step=5)
    kept = started(tmp_path, "next", left=4, machine="other")
    with pytest.raises(Lost):
        trained(CONFIG, kept)
    assert kept.moved
    again = started(tmp_path, "last", machine="other")
    trained(CONFIG, again)
    assert again.moved
