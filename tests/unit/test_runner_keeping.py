"""What a trial keeps of each test sample does not depend on how the samples are batched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from velodrome.plan import TrialConfig, plan
from velodrome.results.records import DatasetFacts
from velodrome.results.scores import MOST_SCORED, labels_digest, packed_bits, packed_errors, values_digest
from velodrome.spec import BenchmarkJob
from velodrome_runner.data.contents import Contents, Memory, Samples, Schema, images
from velodrome_runner.evaluation import measured, values_of
from velodrome_runner.keeping import Keeper
from velodrome_runner.tasks.base import Batch
from velodrome_runner.tasks.classification import ClassificationTask
from velodrome_runner.tasks.regression import RegressionTask

SAMPLES = 101
NOTHING: Any = None


class Same(nn.Module):
    """Returns its input."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


def config(dataset: str = "digits", **evaluation: Any) -> TrialConfig:
    job = BenchmarkJob.model_validate(
        {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": "race"},
            "spec": {
                "dataset": {"name": dataset},
                "evaluation": evaluation,
                "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
            },
        }
    )
    return plan(job).trial(0).config


def contents(targets: Tensor, groups: Tensor | None = None) -> Contents:
    schema = Schema((1, 1, 1), None if targets.is_floating_point() else tuple("0123456789"))
    if targets.is_floating_point():
        table = Memory(Samples({"numeric": targets[:, None], "categorical": targets[:, None].long()}, targets))
        return Contents("table", {"train": table, "test": table}, schema, "sha256:" + "0" * 64, test_groups=groups)
    source = images(torch.zeros(len(targets), 1, 1, 1, dtype=torch.uint8), targets)
    return Contents("images", {"train": source, "test": source}, schema, "sha256:" + "0" * 64, test_groups=groups)


def facts(samples: int = SAMPLES) -> DatasetFacts:
    return DatasetFacts(
        name="digits", digest="sha256:" + "0" * 64, train_samples=9, validation_samples=0, test_samples=samples,
        shape=(1,), classes=(),
    )  # fmt: skip


LOGITS = torch.randn(SAMPLES, 10, generator=torch.Generator().manual_seed(1))
LABELS = torch.randint(10, (SAMPLES,), generator=torch.Generator().manual_seed(2))


def classified(batch_size: int, keeper: Keeper, keys: tuple[str, ...] = ("accuracy", "loss")) -> Any:
    task = ClassificationTask(10, 0.0, NOTHING)
    batches = [Batch(*pair) for pair in zip(LOGITS.split(batch_size), LABELS.split(batch_size), strict=True)]
    return measured(task, Same(), batches, keys=keys, keeping=keeper.keeping)


@pytest.mark.parametrize("batch_size", [1, 7, 64, SAMPLES])
def test_classes_in_the_order_of_the_split_whatever_the_batches(batch_size: int) -> None:
    keeper = Keeper.made(config(keepSamples="losses"), contents(LABELS), facts())
    meter = classified(batch_size, keeper)
    kept = keeper.scores(meter)
    assert kept is not None
    right = (LOGITS.argmax(1) == LABELS).tolist()
    assert kept.right == packed_bits(right)
    losses = nn.functional.cross_entropy(LOGITS, LABELS, reduction="none").tolist()
    assert kept.loss_of_each() == pytest.approx(losses, rel=1e-3)
    assert kept.of.class_of_each() == tuple(LABELS.tolist())
    assert kept.of.targets == labels_digest(LABELS.tolist())
    values = values_of(meter, {})
    bits = kept.right_bits()
    assert bits is not None
    assert values["accuracy"] == int.from_bytes(bits, "big").bit_count() / SAMPLES


@pytest.mark.parametrize(("asked", "keeps"), [(None, {"right"}), ("correct", {"right"}), ("none", None)])
def test_no_more_is_kept_than_is_asked_for(asked: str | None, keeps: set[str] | None) -> None:
    keeper = Keeper.made(config(**({"keepSamples": asked} if asked else {})), contents(LABELS), facts())
    kept = keeper.scores(classified(64, keeper))
    assert (None if kept is None else set(kept.model_dump(exclude={"of"}))) == keeps


@pytest.mark.parametrize("batch_size", [1, 64])
def test_errors_of_a_regression_are_in_the_targets_unit(batch_size: int) -> None:
    targets = torch.linspace(10, 20, SAMPLES, dtype=torch.float64)
    outputs = torch.zeros(SAMPLES, 1)  # the mean of the training targets
    task = RegressionTask(15.0, 2.0, NOTHING)
    keeper = Keeper.made(config("diabetes", keepSamples="losses"), contents(targets), facts())
    batches = [Batch(*pair) for pair in zip(outputs.split(batch_size), targets.split(batch_size), strict=True)]
    kept = keeper.scores(measured(task, Same(), batches, keys=["mae"], keeping=keeper.keeping))
    assert kept is not None
    assert kept.errors == packed_errors((targets - 15).abs().tolist())
    assert kept.of.targets == values_digest(targets.tolist())
    assert kept.of.labels is None
    assert Keeper.made(config("diabetes"), contents(targets), facts()) == Keeper()


def test_groups_of_the_test_samples_are_kept() -> None:
    keeper = Keeper.made(config(), contents(LABELS, LABELS // 2 + 40), facts())
    assert keeper.of is not None
    groups = keeper.of.group_of_each()
    assert groups is not None
    assert len(set(zip(groups, (LABELS // 2).tolist(), strict=True))) == len(set(groups)) == 5


def test_too_many_samples_keep_nothing_and_the_log_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    many = torch.zeros(MOST_SCORED + 1, dtype=torch.int64)
    assert Keeper.made(config(), contents(many), facts()) == Keeper()
    assert "keepSamples" not in capsys.readouterr().err
    assert Keeper.made(config(keepSamples="correct"), contents(many), facts()) == Keeper()
    assert "evaluation.keepSamples: 100,001 test samples, and 100,000 are the most" in capsys.readouterr().err
