"""Detection: COCO's mean average precision beside pycocotools', what a detector is called with, and what is refused."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

from tests.prepared import untouched
from velodrome.errors import ConfigurationError
from velodrome.spec import Model, Preprocessing, Training
from velodrome.tasks import TASKS
from velodrome_runner import footprint, tasks
from velodrome_runner.checks import check_model
from velodrome_runner.data import Contents, Memory, Samples, Schema
from velodrome_runner.data.scenes import BOX, LABEL, ObjectBox, Scene, targets_of
from velodrome_runner.inputs.scenes import Scenes
from velodrome_runner.models import build
from velodrome_runner.peak import Unmeasurable
from velodrome_runner.preprocessing import Prepared, prepare
from velodrome_runner.tasks.base import Batch, Reading
from velodrome_runner.tasks.detection import DetectionTask

KEYS = list(TASKS["detection"].quality)
CPU = torch.device("cpu")
Answer = dict[str, Tensor]


def task(classes: int = 3) -> DetectionTask:
    return DetectionTask(classes, untouched((3, 640, 640)))


def scenes(seed: int, *, classes: int = 3, images: int = 30, most: int = 12) -> list[Scene]:
    """Images with boxes of all sizes, some of crowds, some with an area that is less than that of the box."""
    noise = np.random.default_rng(seed)
    made = []
    for image in range(images):
        boxes = []
        for _ in range(int(noise.integers(0, most)) if image % 5 else 0):  # each fifth image is empty
            sides = 2 ** noise.uniform(2, 8.5, 2)
            left, top = noise.uniform(0, 640 - sides)
            area = float(sides.prod() * (1 if noise.random() < 0.5 else noise.uniform(0.3, 1)))
            corners = (float(left), float(top), float(left + sides[0]), float(top + sides[1]))
            boxes.append(ObjectBox(corners, int(noise.integers(0, classes)), area, bool(noise.random() < 0.15)))
        made.append(Scene(f"{image}.png", 640, 640, tuple(boxes)))
    return made


def answers(made: Sequence[Scene], seed: int, *, classes: int = 3, ties: bool = True) -> list[Answer]:
    """Boxes near those that are there, others, and none in some images; many scores are equal."""
    noise = np.random.default_rng(seed)
    found = []
    for number, scene in enumerate(made):
        rows = []
        for box in scene.boxes:
            for _ in range(int(noise.integers(0, 3))):
                corners = np.array(box.corners) + noise.normal(0, noise.choice([0, 1, 8]), 4)
                label = box.label if noise.random() < 0.9 else int(noise.integers(0, classes))
                rows.append((*corners, label))
        rows += [(*noise.uniform(0, 300, 2), *noise.uniform(301, 640, 2), int(noise.integers(0, classes)))]
        rows = rows if number % 7 else []
        table = torch.tensor(np.array(rows, dtype=np.float32).reshape(-1, 5))
        scores = torch.from_numpy(noise.random(len(rows)).astype(np.float32))
        scores = (scores * 10).round() / 10 if ties else scores
        found.append({"boxes": table[:, :4], "labels": table[:, 4].long() + 1, "scores": scores})
    return found


def read(made: Sequence[Scene], found: Sequence[Answer], *, classes: int = 3, size: int = 7) -> Reading:
    meter, targets = task(classes).meter(KEYS), targets_of(made, None)
    for start in range(0, len(made), size):
        meter.update(found[start : start + size], targets[start : start + size])
    return meter.read()


def theirs(made: Sequence[Scene], found: Sequence[Answer], *, classes: int = 3) -> dict[str, float]:
    """What pycocotools says of the same boxes; -1 where there is nothing to find."""
    truth, said = COCO(), COCO()
    shared: dict[str, Any] = {
        "images": [{"id": number + 1} for number in range(len(made))],
        "categories": [{"id": label + 1} for label in range(classes)],
    }
    objects = [(number + 1, box) for number, scene in enumerate(made) for box in scene.boxes]
    truth.dataset = shared | {
        "annotations": [
            {
                "id": at + 1, "image_id": image, "category_id": box.label + 1, "area": box.area,
                "iscrowd": int(box.crowd),
                "bbox": [*box.corners[:2], box.corners[2] - box.corners[0], box.corners[3] - box.corners[1]],
            }
            for at, (image, box) in enumerate(objects)
        ]
    }  # fmt: skip
    called = [
        (number + 1, corners.double().tolist(), int(label), float(score))
        for number, answer in enumerate(found)
        for corners, label, score in zip(answer["boxes"], answer["labels"], answer["scores"], strict=True)
    ]
    said.dataset = shared | {
        "annotations": [
            {
                "id": at + 1, "image_id": image, "category_id": label, "score": score, "iscrowd": 0,
                "bbox": [c[0], c[1], c[2] - c[0], c[3] - c[1]], "area": (c[2] - c[0]) * (c[3] - c[1]),
            }
            for at, (image, c, label, score) in enumerate(called)
        ]
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        said.createIndex()
        judged = COCOeval(truth, said, "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return dict(zip(KEYS, (float(judged.stats[place]) for place in (0, 1, 3, 4, 5)), strict=True))


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_box_map_is_that_of_pycocotools(seed: int, ties: bool) -> None:  # noqa: FBT001 - a parameter of the test
    made = scenes(seed)
    found = answers(made, seed + 100, ties=ties)
    expected = theirs(made, found)
    assert all(0.01 < value < 0.99 for value in expected.values()), "the boxes decide something"
    assert read(made, found).values == pytest.approx(expected, abs=1e-6)


def test_more_boxes_than_coco_counts_are_cut_as_pycocotools_cuts_them() -> None:
    made = [Scene("0.png", 640, 640, (ObjectBox((10, 10, 60, 60), 0, 2500.0), ObjectBox((99, 9, 300, 300), 0, 6e4)))]
    noise = np.random.default_rng(0)
    corners = torch.tensor(np.array([[10, 10, 60, 60]] * 150) + noise.normal(0, 4, (150, 4)), dtype=torch.float32)
    corners[120] = torch.tensor([99.0, 9, 300, 300])
    scores = torch.linspace(0.9, 0.1, 150)
    found = [{"boxes": corners, "labels": torch.ones(150, dtype=torch.int64), "scores": scores}]
    expected = theirs(made, found)
    assert expected["box_map_large"] == 0.0, "the box at place 121 does not count"
    assert read(made, found).values["box_map"] == pytest.approx(expected["box_map"], abs=1e-6)


def test_a_size_that_no_object_has_is_missing_with_the_reason() -> None:
    made = [Scene("0.png", 640, 640, (ObjectBox((0, 0, 20, 20), 0, 400.0),))]
    found = [{"boxes": torch.tensor([[0.0, 0, 20, 20]]), "labels": torch.tensor([1]), "scores": torch.tensor([0.5])}]
    reading = read(made, found)
    assert reading.values == {"box_map": 1.0, "box_map_50": 1.0, "box_map_small": 1.0}
    assert reading.missing == {
        "box_map_medium": "there is no object from 32 x 32 to 96 x 96 pixels",
        "box_map_large": "there is no object above 96 x 96 pixels",
    }


def test_a_crowd_alone_is_nothing_to_find() -> None:
    made = [Scene("0.png", 640, 640, (ObjectBox((0, 0, 200, 200), 0, 4e4, crowd=True),))]
    found = [{"boxes": torch.tensor([[0.0, 0, 20, 20]]), "labels": torch.tensor([1]), "scores": torch.tensor([0.5])}]
    assert read(made, found).missing["box_map"] == "there is no object that counts"


@pytest.mark.parametrize("label", [0, 1])
def test_nothing_found_and_the_background_alone_are_worth_0(label: int) -> None:
    made = scenes(1)
    nothing = [{"boxes": torch.zeros(label, 4), "labels": torch.zeros(label).long(), "scores": torch.ones(label)}] * 30
    expected = theirs(made, [{name: each[:0] for name, each in answer.items()} for answer in nothing])
    assert read(made, nothing).values == expected == dict.fromkeys(KEYS, 0.0)


def test_boxes_are_judged_in_the_pixels_of_the_files() -> None:
    made = scenes(3)
    found = answers(made, 4)
    meter = task().meter(KEYS)
    scaled = [answer | {"boxes": answer["boxes"].double() * (96 / 640)} for answer in found]
    meter.update(scaled, targets_of(made, 96))
    assert meter.read().values == pytest.approx(theirs(made, found), abs=1e-6)


def test_meters_of_ranks_together_are_one_meter() -> None:
    made = scenes(5)
    found, targets = answers(made, 6), targets_of(made, None)
    ranks = [task().meter(KEYS) for _ in range(3)]
    for rank, meter in enumerate(ranks):
        for place in range(rank, len(made), 3):
            meter.update(found[place : place + 1], targets[place : place + 1])
    for other in ranks[1:]:
        ranks[0].merge(other)
    order = [place for rank in range(3) for place in range(rank, len(made), 3)]
    assert ranks[0].read().values == read([made[place] for place in order], [found[place] for place in order]).values


def test_boxes_that_are_not_finite_are_seen() -> None:
    made = scenes(1)[1:2]
    wrong = {"boxes": torch.full((1, 4), torch.nan), "labels": torch.tensor([1]), "scores": torch.tensor([0.5])}
    meter = task().meter(KEYS)
    meter.update([wrong], targets_of(made, None))
    assert not meter.finite


# What a detector is called with

SIDE = 64


def pictured(count: int = 12, *, side: int = SIDE, seed: int = 0, empty: int = 4) -> Memory:
    """Images with up to three boxes, some of crowds; each `empty`-th has none."""
    noise = np.random.default_rng(seed)
    made = []
    for image in range(count):
        boxes = []
        for at in range(3 if image % empty else 0):
            left, top, width, height = noise.integers(8, 24, 4).tolist()
            corners = (left, top, left + width, top + height)
            boxes.append(ObjectBox(corners, int(noise.integers(0, 3)), width * height, crowd=at == 2))
        made.append(Scene(f"{image}.png", side, side, tuple(boxes)))
    pixels = torch.from_numpy(noise.integers(0, 256, (count, 3, side, side), dtype=np.uint8))
    return Memory(Samples({"images": pixels}, targets_of(made, None)))


def fitted(train: Memory, *augmentations: dict[str, Any]) -> tuple[DetectionTask, Prepared]:
    contents = Contents("scenes", {"train": train, "test": train}, Schema((3, SIDE, SIDE), ("a", "b", "c")), "sha256:0")
    preprocessing = Preprocessing.model_validate({"augmentations": augmentations})
    made = tasks.fit("detection", contents, preprocessing, Training(), device=CPU, seed=0)
    assert isinstance(made, DetectionTask)
    return made, prepare(contents, made)


def detector(name: str = "velodrome/fcos", **args: Any) -> nn.Module:
    torch.manual_seed(0)
    model = Model.model_validate({"name": name, "args": args})
    return build(model, kind="scenes", shape=(3, SIDE, SIDE), classes=3, outputs=4, dropout=0.0)


class Noting(nn.Module):
    """Notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[Any] = []

    def forward(self, images: list[Tensor], targets: list[Answer] | None = None) -> Any:
        self.seen.append((images, targets))
        if targets is not None:
            return {"one": self.weight * 2, "other": self.weight * 3}
        return [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0)} for _ in images]


def test_a_detector_learns_from_boxes_that_are_no_crowd_with_labels_from_1() -> None:
    made, prepared = fitted(pictured())
    model = Noting()
    (batch,) = prepared.batches(12, torch.Generator().manual_seed(0))
    loss, weight = made.loss(made.call_in_training(model, batch), batch.targets)
    assert (loss.item(), weight) == (5.0, 12)
    ((images, targets),) = model.seen
    assert [image.shape for image in images] == [(3, SIDE, SIDE)] * 12
    for rows, learned in zip(batch.targets, targets, strict=True):
        real = rows[rows[:, LABEL] >= 0]
        kept = real[real[:, 6] == 0]
        assert len(real) in (0, 3)
        assert learned["labels"].tolist() == (kept[:, LABEL] + 1).tolist()
        assert learned["boxes"].tolist() == kept[:, BOX].tolist()
        assert learned["boxes"].dtype == torch.float32
        assert learned["boxes"].shape == (len(kept), 4)


def test_boxes_over_the_border_are_learned_inside_the_image_and_scaled_to_it() -> None:
    made = [
        Scene(
            "0.png", 2 * SIDE, SIDE, (ObjectBox((-0.9, 10, 20, 30), 0, 1.0), ObjectBox((127, 63.5, 128, 64.5), 1, 1.0))
        )
    ]
    model, targets = Noting(), targets_of(made, SIDE)
    task(3).call_in_training(model, Batch(torch.zeros(1, 3, SIDE, SIDE), targets))
    ((_, (learned,)),) = model.seen
    assert learned["boxes"].tolist() == [[0, 5, 10, 15], [63.5, 31.75, 64, 32.25]]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda images, targets: torch.zeros(1), "its losses"),
        (lambda images, targets: {}, "its losses"),
        (lambda images, targets: {"loss": torch.zeros(2)}, "its losses"),
        (lambda images, targets: {"loss": images[0].mean()} if targets else {"boxes": 1}, "boxes (k, 4)"),
        (lambda images, targets: {"loss": images[0].mean()} if targets else [{}] * len(images), "boxes (k, 4)"),
        (lambda images, targets: {"loss": images[0].mean()} if targets else [], "boxes (k, 4)"),
    ],
    ids=["a tensor", "no loss", "a vector", "a mapping", "no scores", "too few"],
)
def test_a_model_that_answers_as_no_detector_is_refused(answer: Any, says: str) -> None:
    class Wrong(Noting):
        def forward(self, images: list[Tensor], targets: list[Answer] | None = None) -> Any:
            good = super().forward(images, targets)
            return good if targets is None and says == "its losses" else answer(images, targets)

    _, prepared = fitted(pictured())
    with pytest.raises(ConfigurationError, match=says.replace("(", r"\(").replace(")", r"\)")) as refused:
        check_model(Wrong(), prepared, name="own.nets:net", batch_size=4, seed=0)
    assert refused.value.reason == "ModelOutputShape"


def test_a_classifier_and_data_without_boxes_are_refused_with_the_fix() -> None:
    _, prepared = fitted(pictured())
    with pytest.raises(ConfigurationError, match=r"own.nets:net does not take"):
        check_model(nn.Linear(3, 3), prepared, name="own.nets:net", batch_size=4, seed=0)
    flat = Memory(Samples({"images": torch.zeros(2, 3, 8, 8)}, torch.zeros(2)))
    with pytest.raises(ConfigurationError, match="format: COCO or VOC") as refused:
        DetectionTask.fit(flat, Schema((3, 8, 8), ("a", "b")), Training(), untouched())
    assert refused.value.reason == "WrongTask"
    smoothed = Training.model_validate({"regularization": {"labelSmoothing": 0.1}})
    with pytest.raises(ConfigurationError, match=r"labelSmoothing .* leave it out"):
        DetectionTask.fit(pictured(), Schema((3, SIDE, SIDE), ("a", "b", "c")), smoothed, untouched())


# Detectors

TORCHVISIONS = ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn")


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_torchvisions_detectors_make_a_step_and_an_answer(name: str) -> None:
    _, prepared = fitted(pictured(4))
    sized = {} if name.startswith("ssd") else {"min_size": SIDE, "max_size": SIDE}
    model = detector(f"torchvision/{name}", **sized)
    check_model(model, prepared, name=name, batch_size=4, seed=0)
    assert model.transform.image_mean == [0.0] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "args", "reason", "says"),
    [
        ("torchvision/resnet18", {}, "ModelNotFound", "torchvision has no detector 'resnet18' of boxes"),
        ("torchvision/maskrcnn_resnet50_fpn", {}, "ModelNotFound", "learns from a mask of each object too, and these"),
        ("torchvision/keypointrcnn_resnet50_fpn", {}, "ModelNotFound", "boxes alone: use fasterrcnn_resnet50_fpn"),
        ("torchvision/ssdlite320_mobilenet_v3_large", {"weights_backbone": "DEFAULT"}, "ModelArguments", "new weights"),
        ("velodrome/fcos", {"depth": 3}, "ModelArguments", "takes no depth"),
    ],
)
def test_models_that_are_no_detectors_are_refused(name: str, args: dict[str, Any], reason: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        detector(name, **args)
    assert refused.value.reason == reason


def test_a_detector_for_classes_and_dropout_without_a_layer_are_refused_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="it is a detector, and these data have classes"):
        build(Model(name="torchvision/fcos_resnet50_fpn"), kind="images", shape=(3, 8, 8), classes=3, dropout=0.0)
    with pytest.raises(ConfigurationError, match=r"leave training.regularization.dropout out"):
        build(Model(name="velodrome/fcos"), kind="scenes", shape=(3, 64, 64), classes=3, outputs=4, dropout=0.2)


def test_the_loss_of_a_batch_is_the_mean_over_its_images() -> None:
    made, prepared = fitted(pictured(8))
    model = detector(width=16)
    (batch,) = prepared.batches(8, torch.Generator().manual_seed(0))

    def gradient(*parts: slice) -> tuple[float, Tensor]:
        model.zero_grad()
        total = 0.0
        for part in parts:
            share = Batch(batch.inputs[part], batch.targets[part])
            loss, weight = made.loss(made.call_in_training(model, share), share.targets)
            loss = loss * weight / 8
            loss.backward()
            total += loss.item()
        return total, torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])

    whole, together = gradient(slice(0, 8))
    parts, apart = gradient(slice(0, 5), slice(5, 8))
    assert parts == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5)


def test_the_flops_of_a_detector_count_its_convolutions_or_say_what_they_lack() -> None:
    made, prepared = fitted(pictured(4))
    model = detector(width=16)
    example = prepared.example(1)
    counted = footprint.flops(model, example, call=made.call)
    assert counted > 1e7
    head: Any = model.head
    nn.init.constant_(head.classification_head.cls_logits.bias, 3.0)
    assert len(made.call(model.eval(), example)[0]["boxes"]) > 10
    assert footprint.flops(model, example, call=made.call) == counted, "whatever it finds"
    name = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"
    two_steps = detector(name, min_size=SIDE, max_size=SIDE)  # whose second step is of what the first one found
    with pytest.raises(Unmeasurable, match="torchvision::roi_align"):
        footprint.flops(two_steps, example, call=made.call)


# Augmentations


def changed(*augmentations: dict[str, Any], seed: int = 0) -> tuple[Batch, Batch]:
    made, _ = fitted(pictured(40), *augmentations)
    assert isinstance(made.transform, Scenes)
    inputs, targets = made.transform.whole(pictured(40), training=True), pictured(40).targets
    return Batch(inputs, targets), made.augment(Batch(inputs, targets), torch.Generator().manual_seed(seed))


def real(targets: Tensor) -> Tensor:
    return targets[targets[..., LABEL] >= 0][:, BOX]


def test_flips_mirror_boxes_with_their_images() -> None:
    before, after = changed({"name": "RandomHorizontalFlip", "args": {"p": 1.0}})
    assert torch.equal(after.inputs, before.inputs.flip(3))
    left, top, right, bottom = real(before.targets).unbind(1)
    assert torch.equal(real(after.targets), torch.stack((SIDE - right, top, SIDE - left, bottom), 1))
    before, after = changed({"name": "RandomVerticalFlip", "args": {"p": 1.0}})
    assert torch.equal(after.inputs, before.inputs.flip(2))


def marked(name: str, **args: Any) -> tuple[Tensor, Tensor]:
    """Images that are white inside their only box and black outside, after an augmentation, and the targets."""
    noise, made, pixels = np.random.default_rng(1), [], torch.zeros(60, 3, SIDE, SIDE, dtype=torch.uint8)
    for image in range(60):
        left, top, width, height = noise.integers(14, 28, 4).tolist()
        pixels[image, :, top : top + height, left : left + width] = 255
        made.append(Scene(f"{image}.png", SIDE, SIDE, (ObjectBox((left, top, left + width, top + height), 0, 1.0),)))
    source = Memory(Samples({"images": pixels}, targets_of(made, None)))
    contents = Contents("scenes", {"train": source, "test": source}, Schema((3, SIDE, SIDE), ("a",)), "sha256:0")
    preprocessing = Preprocessing.model_validate({"normalize": False, "augmentations": [{"name": name, "args": args}]})
    made_ = tasks.fit("detection", contents, preprocessing, Training(), device=CPU, seed=0)
    prepared = prepare(contents, made_)
    (batch,) = prepared.batches(60, torch.Generator().manual_seed(0))
    return batch.inputs, batch.targets


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("RandomCrop", {"padding": 12}),
        ("RandomResizedCrop", {"scale": [0.3, 1.0]}),
        ("RandomRotation", {"degrees": 30.0}),
        ("RandomAffine", {"degrees": 10.0, "translate": [0.3, 0.3], "scale": [0.6, 1.4], "shear": 10.0}),
        ("RandomPerspective", {"distortionScale": 0.4, "p": 1.0}),
        ("RandomHorizontalFlip", {"p": 0.5}),
    ],
)
def test_a_box_stays_around_its_object(name: str, args: dict[str, Any]) -> None:
    images, targets = marked(name, **args)
    moved = 0
    for image, rows in zip(images, targets, strict=True):
        white = (image[0] > 0.5).nonzero()
        if rows[0, LABEL] < 0:
            assert len(white) <= 2 * SIDE, "what has no box any more is hardly to be seen"
            continue
        left, top, right, bottom = rows[0, BOX].tolist()
        assert 0 <= left < right <= SIDE
        assert 0 <= top < bottom <= SIDE
        low, high = white.min(0).values, white.max(0).values + 1
        seen = torch.tensor([low[1], low[0], high[1], high[0]])
        # A map of pixels to the nearest one, and one of corners, may differ by a pixel and a half.
        assert (rows[0, BOX] - seen).abs().max() <= (6.0 if "Perspective" in name or "Resized" in name else 2.5)
        moved += 1
    assert moved > 30


def test_what_a_crop_leaves_of_an_object_has_no_box_if_it_is_less_than_a_pixel() -> None:
    _, targets = marked("RandomAffine", translate=[1.0, 1.0])
    gone = targets[:, 0, LABEL] < 0
    assert 5 < int(gone.sum()) < 55
    model = Noting()
    task(1).call_in_training(model, Batch(torch.zeros(60, 3, SIDE, SIDE), targets))
    ((_, learned),) = model.seen
    assert [len(each["boxes"]) for each in learned] == (~gone).long().tolist()


def test_augmentations_follow_the_trials_seed_and_leave_torchs_generator_alone() -> None:
    steps = ({"name": "RandomAffine", "args": {"degrees": 20.0}}, {"name": "ColorJitter", "args": {"brightness": 0.4}})
    state = torch.get_rng_state()
    (_, one), (_, same), (before, other) = changed(*steps), changed(*steps), changed(*steps, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.inputs, same.inputs)
    assert torch.equal(one.targets, same.targets)
    assert not torch.equal(one.targets, other.targets)
    assert not torch.equal(one.inputs, before.inputs)
    assert torch.equal(before.targets, pictured(40).targets), "the data stay as they were"
