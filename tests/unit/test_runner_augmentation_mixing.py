"""MixUp and CutMix beside torchvision's own, and what their soft targets mean to the loss and to a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2

from tests.augmenting import ALL, evenly, generator, pictures, pipeline
from tests.prepared import Splits, load, prepared_images, untouched
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob, Dataset, Preprocessing
from velodrome_runner.augmentation.mixing import CutMix, Mixing, MixUp
from velodrome_runner.preprocessing import Prepared
from velodrome_runner.ranks import Ranks
from velodrome_runner.tasks.classification import ClassificationTask
from velodrome_runner.training import Trained, train

CLASSES = 7
BOTH: list[dict[str, Any]] = [{"name": "MixUp", "args": {"alpha": 0.4}}, {"name": "CutMix"}]
LABELS = torch.arange(20) % CLASSES


def digits() -> Splits:
    return load(Dataset(name="digits"), folder=Path("/nonexistent"), seed=0)


def ready(*augmentations: dict[str, Any], in_memory: bool = True) -> Prepared:
    preprocessing = Preprocessing.model_validate({"augmentations": augmentations})
    return prepared_images(digits(), preprocessing, in_memory=in_memory)


def test_mixed_images_are_torchvisions() -> None:
    images, mixing = pictures(20), Mixing((MixUp(0.5),))
    share = float(mixing.draw(32, 32, generator()).label)
    ours, targets = mixing(images, LABELS, CLASSES, generator())
    theirs, params = v2.MixUp(num_classes=CLASSES), {"lam": share, "labels": LABELS, "batch_size": 20}
    torch.testing.assert_close(ours, theirs.transform(images, params), rtol=0, atol=1e-6)
    torch.testing.assert_close(targets, theirs.transform(LABELS, params), rtol=0, atol=1e-6)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("seed", range(6))
def test_cut_images_are_torchvisions(seed: int) -> None:
    images, mixing = pictures(20, (3, 24, 32)), Mixing((CutMix(),))
    kept = mixing.draw(24, 32, generator(seed))
    rows, columns = torch.where(kept.pixels == 0)
    box = (0, 0, 0, 0)
    if len(rows):
        box = tuple(map(int, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))  # type: ignore[assignment]
    area = (box[2] - box[0]) * (box[3] - box[1])
    params = {"box": box, "lam_adjusted": 1 - area / (24 * 32), "labels": LABELS, "batch_size": 20}
    theirs = v2.CutMix(num_classes=CLASSES)
    ours, targets = mixing(images, LABELS, CLASSES, generator(seed))
    assert torch.equal(ours, theirs.transform(images, params))
    torch.testing.assert_close(targets, theirs.transform(LABELS, params), rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_shares_are_drawn_as_torchvisions(alpha: float) -> None:
    from scipy.stats import beta, ks_2samp, kstest

    source = generator()
    mixed = [float(MixUp(alpha).draw(8, 8, source).label) for _ in range(2000)]
    assert kstest(mixed, beta(alpha, alpha).cdf).pvalue > 0.001
    cut = [float(CutMix(alpha).draw(24, 32, source).label) for _ in range(2000)]
    torch.manual_seed(0)
    transform = v2.CutMix(alpha=alpha, num_classes=CLASSES)
    theirs = [transform.make_params([torch.zeros(1, 3, 24, 32)])["lam_adjusted"] for _ in range(2000)]
    assert ks_2samp(cut, theirs).pvalue > 0.001


def test_of_both_each_batch_gets_one_at_random() -> None:
    mixing, source = Mixing((MixUp(), CutMix())), generator()
    drawn = [mixing.draw(16, 16, source).pixels for _ in range(2000)]
    cut = torch.tensor([bool(((pixels == 0) | (pixels == 1)).all()) for pixels in drawn])
    assert evenly(cut.long(), [0, 1])


def test_only_mixing_changes_targets() -> None:
    """Every other augmentation leaves labels of whole numbers."""
    one_channel = [each for each in ALL if each["name"] not in ("RandomGrayscale", "ColorJitter")]
    for _, labels in ready(*one_channel[:10]).batches(512, generator()):
        assert labels.dtype == torch.int64
    for _, targets in ready(*one_channel[:2], *BOTH).batches(512, generator()):
        assert targets.shape[1] == 10
        torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))
        assert ((targets > 0) & (targets < 1)).any()


def test_images_are_mixed_with_their_labels() -> None:
    """The plain batches of the same order, mixed with what came before by the share that the targets tell."""
    plain = next(ready().batches(64, generator()))
    mixed = next(ready({"name": "MixUp"}).batches(64, generator()))
    labels = plain.targets
    other = labels != labels.roll(1, 0)
    shares = mixed.targets.gather(1, labels[:, None]).squeeze(1)
    share = shares[other][0]
    torch.testing.assert_close(shares[other], share.expand(int(other.sum())))
    expected = plain.inputs * share + plain.inputs.roll(1, 0) * (1 - share)
    torch.testing.assert_close(mixed.inputs, expected, rtol=0, atol=1e-5)


def test_data_in_memory_and_streamed_data_are_mixed_alike() -> None:
    augmentations: list[dict[str, Any]] = [
        {"name": "RandomCrop", "args": {"padding": 1}},
        {"name": "RandAugment"},
        *BOTH,
    ]
    batches = [ready(*augmentations, in_memory=in_memory).batches(256, generator()) for in_memory in (True, False)]
    for ours, streamed in zip(*batches, strict=True):
        torch.testing.assert_close(ours.inputs, streamed.inputs)
        assert torch.equal(ours.targets, streamed.targets)


def test_a_batch_of_one_is_mixed_with_itself() -> None:
    images = pictures(1)
    for way in (MixUp(), CutMix()):
        ours, targets = Mixing((way,))(images, torch.tensor([3]), CLASSES, generator())
        torch.testing.assert_close(ours, images)
        torch.testing.assert_close(targets, F.one_hot(torch.tensor([3]), CLASSES).float())


def test_each_rank_mixes_its_share() -> None:
    parts = [next(ready(*BOTH).batches(64, generator(), ranks=Ranks(rank, 2))) for rank in range(2)]
    assert [len(part.targets) for part in parts] == [32, 32]
    whole = next(ready().batches(64, generator()))
    for rank, part in enumerate(parts):
        assert (part.targets.gather(1, whole.targets[rank::2, None]) > 0).sum() >= 20
        torch.testing.assert_close(part.targets.sum(1), torch.ones(32))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_shares_is_the_sum_of_the_losses(smoothing: float) -> None:
    task = ClassificationTask(CLASSES, smoothing, untouched())
    outputs = torch.randn(20, CLASSES, generator=generator())
    hard = F.one_hot(LABELS, CLASSES).float()
    mixed = 0.3 * hard + 0.7 * hard.roll(1, 0)
    first, other = task.loss(outputs, LABELS), task.loss(outputs, LABELS.roll(1, 0))
    loss, weight = task.loss(outputs, mixed)
    assert weight == 20
    torch.testing.assert_close(loss, 0.3 * first[0] + 0.7 * other[0])
    torch.testing.assert_close(task.loss(outputs, hard)[0], first[0])


def test_mixing_alone_leaves_the_steps_empty() -> None:
    made = pipeline(*BOTH)
    assert made.steps == ()
    assert made.mixing == Mixing((MixUp(0.4), CutMix(1.0)))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_network_learns_from_mixed_digits(accumulate: int) -> None:
    """The last of the batches has one sample less; the same seed gives the same bits."""
    spec = {
        "dataset": {"name": "digits"},
        "preprocessing": {"augmentations": BOTH},
        "budget": {"maxEpochs": 6},
        "training": {
            "batchSize": 64,
            "optimizer": {"learningRate": 0.05, "momentum": 0.9},
            "accumulateBatches": accumulate,
            "regularization": {"labelSmoothing": 0.1},
        },
        "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "race"}}
    config = plan(BenchmarkJob.model_validate({**document, "spec": spec})).trial(0).config

    def once() -> tuple[Trained, nn.Module]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
        data = ready(*BOTH)
        return train(config, data, model, seed=0, device=torch.device("cpu")), model

    (first, model), (again, twin) = once(), once()
    assert first.validation["accuracy"] > 0.85
    assert first.curves[-1].train_loss < first.curves[0].train_loss
    # Nobody can be sure of a mixed image: the loss of training stays above that of validation.
    assert first.curves[-1].train_loss > first.validation["validation_loss"]
    assert first.validation == again.validation
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), twin.parameters(), strict=True))
