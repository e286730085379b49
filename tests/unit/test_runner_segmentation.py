"""Segmentation: mean IoU beside scikit-learn's, the loss beside torch's, masks in training, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as library
from torch import Tensor, nn

from tests.prepared import untouched
from velodrome.errors import ConfigurationError
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob, Model, Preprocessing, Training
from velodrome.vocabulary import VOID
from velodrome_runner import footprint, tasks
from velodrome_runner.checks import check_model
from velodrome_runner.data import Contents, Memory, Samples, Schema
from velodrome_runner.inputs.masks import Masks
from velodrome_runner.models import build
from velodrome_runner.preprocessing import Prepared, prepare
from velodrome_runner.tasks.base import Batch, Reading
from velodrome_runner.tasks.segmentation import SegmentationTask
from velodrome_runner.training import train
from velodrome_runner.variants.exporting import exported

CPU = torch.device("cpu")
CLASSES, HEIGHT, WIDTH = 6, 9, 13


def task(classes: int = CLASSES) -> SegmentationTask:
    return SegmentationTask(classes, 0.0, untouched((3, HEIGHT, WIDTH)))


def painted(seed: int, *, absent: tuple[int, ...] = (), void: float = 0.2, images: int = 12) -> tuple[Tensor, Tensor]:
    """Logits that are often right, and masks (n, height, width) without the absent classes."""
    noise = np.random.default_rng(seed)
    occurring = [label for label in range(CLASSES) if label not in absent]
    frequent = np.arange(1, len(occurring) + 1) / np.arange(1, len(occurring) + 1).sum()
    masks = torch.from_numpy(noise.choice(occurring, (images, HEIGHT, WIDTH), p=frequent))
    logits = torch.from_numpy(noise.normal(0, 2, (images, CLASSES, HEIGHT, WIDTH)).astype(np.float32))
    logits.scatter_add_(1, masks[:, None], torch.full((images, 1, HEIGHT, WIDTH), 2.0))
    masks[torch.from_numpy(noise.random(masks.shape) < void)] = VOID
    return logits, masks.to(torch.uint8)


def read(logits: Tensor, masks: Tensor, *keys: str, size: int = 5) -> Reading:
    meter = task(logits.shape[1]).meter(keys)
    for batch in zip(logits.split(size), masks.split(size), strict=True):
        meter.update(*batch)
    return meter.read()


def counted(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The right and the called classes of the pixels that count."""
    kept = masks != VOID
    return masks[kept].long(), logits.argmax(1)[kept]


@pytest.mark.parametrize("absent", [(), (2,), (0, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_mean_iou_is_scikit_learns_jaccard_score(seed: int, absent: tuple[int, ...]) -> None:
    logits, masks = painted(seed, absent=absent)
    right, called = counted(logits, masks)
    occurring = sorted(set(right.tolist()))
    assert set(occurring) == set(range(CLASSES)) - set(absent)
    assert set(called.tolist()) == set(range(CLASSES)), "absent classes are called, and count as errors of the others"
    each = library.jaccard_score(right, called, labels=range(CLASSES), average=None, zero_division=0)
    found = read(logits, masks, "miou", "pixel_accuracy", *(f"miou{{label={label}}}" for label in range(CLASSES)))
    expected = library.jaccard_score(right, called, labels=occurring, average="macro")
    assert 0.2 < expected < 0.9
    assert found.values["miou"] == pytest.approx(expected, rel=1e-14)
    assert found.values["pixel_accuracy"] == pytest.approx(library.accuracy_score(right, called), rel=1e-14)
    for label in range(CLASSES):
        key = f"miou{{label={label}}}"
        if label in absent:
            assert found.missing[key] == f"no pixel is of class {label}"
        else:
            assert found.values[key] == pytest.approx(each[label], rel=1e-14)


def test_the_loss_of_a_split_is_torchs_over_all_labelled_pixels() -> None:
    logits, masks = painted(1)
    expected = F.cross_entropy(logits.double(), masks.long(), ignore_index=VOID)
    found = read(logits, masks, "loss", "validation_loss")
    assert found.values == pytest.approx({"loss": float(expected), "validation_loss": float(expected)}, rel=1e-12)


def test_counts_are_whole_numbers_also_of_more_pixels_than_float32_counts() -> None:
    meter = task(2).meter(["miou", "pixel_accuracy"])
    many = 2**24 + 1
    meter.add("pixels", torch.tensor([[many, 1], [0, 1]]))
    assert meter.read().values == {
        "miou": (many / (many + 1) + 1 / 2) / 2,
        "pixel_accuracy": (many + 1) / (many + 2),
    }


def test_masks_that_are_void_throughout_count_nothing_and_break_nothing() -> None:
    logits, masks = painted(0)
    whole = read(logits, masks, "miou", "validation_loss").values
    more, void = torch.cat((logits, logits[:2])), torch.cat((masks, torch.full_like(masks[:2], VOID)))
    assert read(more, void, "miou", "validation_loss").values == pytest.approx(whole, rel=1e-12)
    assert read(logits[:2], void[-2:], "miou").missing == {"miou": "no pixel has a label"}
    loss, weight = task().loss(logits[:2].requires_grad_(), void[-2:])
    loss.backward()
    assert (loss.item(), int(weight)) == (0.0, 0)


def test_outputs_that_are_not_finite_are_seen_in_void_pixels_too() -> None:
    logits, masks = painted(0)
    masks[3, 1, 1], logits[3, 2, 1, 1] = VOID, torch.nan
    meter = task().meter(["miou"])
    meter.update(logits, masks)
    assert not meter.finite


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_torchs_mean_over_labelled_pixels_and_its_weight_their_number(smoothing: float) -> None:
    logits, masks = painted(2)
    made = SegmentationTask(CLASSES, smoothing, untouched((3, HEIGHT, WIDTH)))
    expected = F.cross_entropy(logits, masks.long(), ignore_index=VOID, label_smoothing=smoothing)
    for outputs in (logits, {"out": logits}):
        loss, weight = made.loss(outputs, masks)
        assert float(loss) == pytest.approx(float(expected), rel=1e-6)
        assert int(weight) == int((masks != VOID).sum())
    both, _ = made.loss({"out": logits, "aux": 2 * logits}, masks)
    aux = F.cross_entropy(2 * logits, masks.long(), ignore_index=VOID, label_smoothing=smoothing)
    assert float(both) == pytest.approx(float(expected + aux / 2), rel=1e-6), "as torchvision trains them"


# In training


def pictured(count: int = 12, *, seed: int = 0, side: int = 16) -> Memory:
    """Images whose pixels show their label, which are three squares on a background; the first has a void border."""
    noise = np.random.default_rng(seed)
    masks = torch.zeros(count, side, side, dtype=torch.uint8)
    for mask in masks:
        for label in (1, 2, 3):
            left, top, size = noise.integers(0, side - 5), noise.integers(0, side - 5), noise.integers(3, 6)
            mask[top : top + size, left : left + size] = label
    images = (60 * masks[:, None]).expand(-1, 3, -1, -1).contiguous()
    masks[0, :2] = VOID
    return Memory(Samples({"images": images}, masks))


def fitted(train: Memory, *augmentations: dict[str, Any], normalize: bool = True) -> tuple[SegmentationTask, Prepared]:
    side = train.targets.shape[1]
    schema = Schema((3, side, side), ("background", "a", "b", "c"))
    contents = Contents("masks", {"train": train, "test": train}, schema, "sha256:0")
    preprocessing = Preprocessing.model_validate({"augmentations": augmentations, "normalize": normalize})
    made = tasks.fit("segmentation", contents, preprocessing, Training(), device=CPU, seed=0)
    assert isinstance(made, SegmentationTask)
    return made, prepare(contents, made)


def network(name: str = "velodrome/unet", side: int = 16, **args: Any) -> nn.Module:
    torch.manual_seed(0)
    model = Model.model_validate({"name": name, "args": args})
    return build(model, kind="masks", shape=(3, side, side), classes=4, outputs=4, dropout=0.0)


def test_the_weighted_losses_of_parts_add_up_to_the_gradient_of_the_whole() -> None:
    made, prepared = fitted(pictured(8))
    model = network(width=4)
    (batch,) = prepared.batches(8, torch.Generator().manual_seed(0))
    batch.targets[:2] = VOID  # parts with very unequal numbers of labelled pixels, one without any
    whole = int((batch.targets != VOID).sum())

    def gradient(*parts: slice) -> Tensor:
        model.zero_grad()
        for part in parts:
            share = Batch(batch.inputs[part], batch.targets[part])
            loss, weight = made.loss(made.call_in_training(model, share), share.targets)
            (loss * weight / whole).backward()
        return torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])

    torch.testing.assert_close(
        gradient(slice(0, 2), slice(2, 3), slice(3, 8)), gradient(slice(0, 8)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_no_step_waits_for_the_number_of_labelled_pixels(accumulate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tensor holds is read as often in 16 steps as in 4: on a GPU, each reading waits for all work before it."""
    read = []
    for name in ("item", "__int__", "__float__", "__bool__", "__index__"):
        kept = getattr(Tensor, name)

        def reading(self: Tensor, *given: Any, kept: Any = kept) -> Any:
            read.append(1)
            return kept(self, *given)

        monkeypatch.setattr(Tensor, name, reading)
    spec = {
        "dataset": {"name": "m", "format": "VOCSegmentation", "source": {"path": "m"}},
        "budget": {"maxEpochs": 1},
        "training": {
            "batchSize": 4,
            "accumulateBatches": accumulate,
            "optimizer": {"name": "SGD", "learningRate": 0.01},
        },
        "entries": [{"name": "a", "model": {"name": "velodrome/unet"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "b"}, "spec": spec}
    config = plan(BenchmarkJob.model_validate(document)).trial(0).config
    counts, ticks = [], count()  # by a clock of microseconds: each second that goes by is told, which reads the loss
    for images in (16, 64):
        read.clear()
        prepared = fitted(pictured(images))[1]
        train(config, prepared, network(width=4), seed=0, device=CPU, clock=lambda: next(ticks) / 1e6)
        counts.append(len(read))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("side", [8, 16, 19])
def test_the_small_network_takes_any_size_and_learns_a_batch_by_heart(side: int) -> None:
    made, prepared = fitted(pictured(8, side=side))
    model = network(side=side)
    check_model(model, prepared, name="velodrome/unet", batch_size=8, seed=0)
    (batch,) = prepared.batches(8, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss, _ = made.loss(made.call_in_training(model, batch), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    meter = made.meter(["miou"])
    with torch.inference_mode():
        meter.update(made.call(model.eval(), batch.inputs), batch.targets)
    assert meter.read().values["miou"] > 0.6, "and more than the background"


TORCHVISIONS = ("lraspp_mobilenet_v3_large", "fcn_resnet50", "deeplabv3_mobilenet_v3_large")


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_torchvisions_models_make_a_step_and_an_answer(name: str) -> None:
    made, prepared = fitted(pictured(4, side=32))
    model = network(f"torchvision/{name}", 32)
    check_model(model, prepared, name=name, batch_size=4, seed=0)
    (batch,) = prepared.batches(4, split="test")
    assert made.call(model.eval(), batch.inputs).shape == (4, 4, 32, 32)
    assert footprint.flops(model, prepared.example(1), call=made.call) > 1e6


def test_the_auxiliary_head_of_torchvisions_models_is_trained() -> None:
    made, prepared = fitted(pictured(2, side=32))
    model = network("torchvision/fcn_resnet50", 32, aux_loss=True)
    check_model(model, prepared, name="torchvision/fcn_resnet50", batch_size=2, seed=0)
    (batch,) = prepared.batches(2, torch.Generator().manual_seed(0))
    loss, _ = made.loss(made.call_in_training(model, batch), batch.targets)
    loss.backward()
    assert all(each.grad is not None for each in model.parameters())


@pytest.mark.parametrize(
    ("name", "args", "reason", "says"),
    [
        ("torchvision/resnet18", {}, "ModelNotFound", "torchvision has no model 'resnet18' of masks"),
        (
            "torchvision/fcos_resnet50_fpn",
            {},
            "ModelNotFound",
            "fcos_resnet50_fpn is for data with boxes, and these have masks: use ",
        ),
        ("torchvision/fcn_resnet50", {"weights": "DEFAULT"}, "ModelArguments", "it starts with new weights"),
        ("torchvision/fcn_resnet50", {"depth": 3}, "ModelArguments", "takes no depth"),
        ("velodrome/unet", {"depth": 3}, "ModelArguments", "takes no depth"),
        ("velodrome/fcos", {}, "ModelForwardFailed", "these data are images with masks: use one of velodrome/unet"),
    ],
)
def test_models_that_paint_no_masks_are_refused(name: str, args: dict[str, Any], reason: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        network(name, **args)
    assert refused.value.reason == reason


def test_a_model_of_masks_for_classes_is_refused_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="it is a model of masks, and these data have classes"):
        build(Model(name="torchvision/fcn_resnet50"), kind="images", shape=(3, 8, 8), classes=3, dropout=0.0)


@pytest.mark.parametrize("name", ["velodrome/unet", "torchvision/lraspp_mobilenet_v3_large"])
def test_a_model_of_masks_predicts_the_same_by_onnxruntime(name: str) -> None:
    made, prepared = fitted(pictured(4, side=32))
    model = network(name, 32).eval()
    example = prepared.example(2)
    graph = exported(model, example, name)
    assert graph.weight_bytes > 1000
    (batch,) = prepared.batches(4, split="test")
    with torch.no_grad():
        found, expected = made.call(graph, batch.inputs), made.call(model, batch.inputs)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert made.unusable(found, 4, training=False) is None


class Answering(nn.Module):
    """A convolution whose logits are changed before they are the answer."""

    def __init__(self, change: Any, *, training: bool) -> None:
        super().__init__()
        self.body, self.change, self.when = nn.Conv2d(3, 4, 1), change, training

    def forward(self, images: Tensor) -> Any:
        logits = self.body(images)
        return self.change(logits) if self.training == self.when else logits


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        lambda logits: logits[:, :3],
        lambda logits: logits[..., ::2],
        lambda logits: logits.argmax(1),
        lambda logits: {"logits": logits},
        lambda logits: {"out": logits[:, :2]},
        lambda logits: (logits, logits),
    ],
    ids=["classes", "size", "labels", "mapping", "out", "pair"],
)
def test_an_answer_that_is_no_logit_for_each_class_at_each_pixel_is_refused(change: Any, *, training: bool) -> None:
    _, prepared = fitted(pictured())
    with pytest.raises(ConfigurationError, match=r"one logit for each class at each pixel, \(\d+, 4, 16, 16\)") as said:
        check_model(Answering(change, training=training), prepared, name="own.nets:net", batch_size=4, seed=0)
    assert said.value.reason == "ModelOutputShape"


def test_a_mapping_with_the_logits_as_out_is_an_answer() -> None:
    _, prepared = fitted(pictured())
    for training in (True, False):
        named = Answering(lambda logits: {"out": logits, "other": 0}, training=training)
        check_model(named, prepared, name="own.nets:net", batch_size=4, seed=0)


def test_an_auxiliary_answer_of_another_size_is_refused() -> None:
    _, prepared = fitted(pictured())
    model = Answering(lambda logits: {"out": logits, "aux": logits[..., ::2]}, training=True)
    with pytest.raises(ConfigurationError, match="one logit for each class at each pixel"):
        check_model(model, prepared, name="own.nets:net", batch_size=4, seed=0)


def test_data_without_masks_and_labels_that_no_class_has_are_refused_with_the_fix() -> None:
    flat = Memory(Samples({"images": torch.zeros(2, 3, 8, 8)}, torch.zeros(2)))
    with pytest.raises(ConfigurationError, match="format: VOCSegmentation") as refused:
        SegmentationTask.fit(flat, Schema((3, 8, 8), ("a", "b")), Training(), untouched())
    assert refused.value.reason == "WrongTask"
    task().refuse(["miou{label=5}", "miou"])
    with pytest.raises(ConfigurationError, match=r"miou\{label=6\} names class 6, but the data set has 6 classes"):
        task().refuse(["miou{label=6}"])


# Augmentations


def changed(*augmentations: dict[str, Any], seed: int = 0) -> tuple[Batch, Batch]:
    """All images as they are and after the augmentations, from 0 to 1."""
    train = pictured(40, side=24)
    made, _ = fitted(train, *augmentations, normalize=False)
    assert isinstance(made.transform, Masks)
    inputs, masks = made.transform.whole(train, training=True), train.targets
    return Batch(inputs, masks), made.augment(Batch(inputs, masks), torch.Generator().manual_seed(seed))


def shown(images: Tensor) -> Tensor:
    """The labels that the pixels show, and what lies between two of them."""
    return images[:, 0] * 255 / 60


MOVING: Mapping[str, dict[str, Any]] = {
    "RandomCrop": {"padding": 6},
    "RandomResizedCrop": {"scale": [0.3, 1.0]},
    "RandomRotation": {"degrees": 30.0},
    "RandomAffine": {"degrees": 10.0, "translate": [0.3, 0.3], "scale": [0.6, 1.4], "shear": 10.0},
    "RandomPerspective": {"distortionScale": 0.4, "p": 1.0},
    "RandomHorizontalFlip": {"p": 1.0},
    "RandomVerticalFlip": {"p": 1.0},
}


@pytest.mark.parametrize("name", MOVING)
def test_a_mask_moves_with_its_image_by_nearest_pixels(name: str) -> None:
    before, after = changed({"name": name, "args": MOVING[name]})
    assert after.targets.dtype == torch.uint8
    assert set(after.targets.unique().tolist()) <= {0, 1, 2, 3, VOID}, "no label is a mean of others"
    assert (after.targets != before.targets).any((1, 2)).float().mean() > 0.7
    labelled = after.targets[1:] != VOID
    seen, right = shown(after.inputs)[1:][labelled], after.targets[1:][labelled].float()
    # Where pixels are interpolated, those at the borders of the squares show something between two labels.
    interpolated = name in ("RandomResizedCrop", "RandomPerspective")
    assert float(((seen - right).abs() < 0.05).float().mean()) > (0.75 if interpolated else 0.999)
    outside = {"RandomCrop", "RandomRotation", "RandomAffine", "RandomPerspective"}
    assert bool((~labelled).any()) == (name in outside), "what comes from outside has no label"
    assert bool((after.inputs[1:, 0][~labelled] < 0.3).all()), "and is black"


def test_augmentations_of_values_leave_masks_alone() -> None:
    before, after = changed({"name": "ColorJitter", "args": {"brightness": 0.4}}, {"name": "RandomInvert"})
    assert torch.equal(after.targets, before.targets)
    assert not torch.equal(after.inputs, before.inputs)


def test_augmentations_follow_the_trials_seed_and_leave_the_data_and_torchs_generator_alone() -> None:
    steps = ({"name": "RandomAffine", "args": {"degrees": 20.0}}, {"name": "ColorJitter", "args": {"brightness": 0.4}})
    state = torch.get_rng_state()
    (_, one), (_, same), (before, other) = changed(*steps), changed(*steps), changed(*steps, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.inputs, same.inputs)
    assert torch.equal(one.targets, same.targets)
    assert not torch.equal(one.targets, other.targets)
    assert torch.equal(before.targets, pictured(40, side=24).targets)
