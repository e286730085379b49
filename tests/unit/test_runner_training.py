from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from tests.prepared import untouched
from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.plan import TrialConfig, plan
from velodrome.spec import BenchmarkJob, EarlyStopping, Training
from velodrome_runner.optimization import l1_norm, make_optimizer, weights
from velodrome_runner.precision import autocast, supported
from velodrome_runner.preprocessing import Prepared, ReadySplit
from velodrome_runner.reporting import TrainingState
from velodrome_runner.stopping import EarlyStopper
from velodrome_runner.tasks.classification import ClassificationTask
from velodrome_runner.training import Trained, train

CPU = torch.device("cpu")
CLASSES = 3


def configured(*, budget: dict[str, Any] | None = None, **training: Any) -> TrialConfig:
    spec = {
        "dataset": {"name": "digits"},
        "budget": {"maxEpochs": 3, **(budget or {})},
        "training": {"batchSize": 16, "optimizer": {"name": "SGD", "learningRate": 0.1}, **training},
        "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "t"}, "spec": spec}
    return plan(BenchmarkJob.model_validate(document)).trial(0).config


def prepared(train: int = 64, validation: int = 32, *, label_smoothing: float = 0.0) -> Prepared:
    """Three classes that a line tells apart, with noise."""
    generator = torch.Generator().manual_seed(7)

    def split(count: int) -> ReadySplit:
        labels = torch.arange(count) % CLASSES
        images = torch.randn(count, 1, 2, 2, generator=generator)
        images[:, 0, 0, 0] += 3.0 * labels
        return ReadySplit(images, labels)

    task = ClassificationTask(CLASSES, label_smoothing, untouched((1, 2, 2)))
    return Prepared(task, split(train), split(validation), split(12), CPU)


def validation_loss(model: nn.Module, data: Prepared) -> float:
    assert isinstance(data.validation, ReadySplit)
    return F.cross_entropy(model(data.validation.inputs), data.validation.targets).item()


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))


def trained(config: TrialConfig, model: nn.Module, data: Prepared | None = None, **options: Any) -> Trained:
    return train(config, data or prepared(), model, seed=0, device=CPU, **options)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


class Steps:
    """A clock that goes on by a second each time somebody looks."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def __call__(self) -> float:
        return float(next(self._ticks))


def test_a_network_learns_and_every_epoch_has_a_point() -> None:
    moments: list[TrainingState] = []
    result = trained(configured(budget={"maxEpochs": 20}), network(), on_progress=moments.append)
    assert result.validation["accuracy"] > 0.8
    assert result.curves[-1].train_loss < result.curves[0].train_loss / 2
    assert [point.epoch for point in result.curves] == list(range(1, 21))
    assert [point.seconds for point in result.curves] == sorted(point.seconds for point in result.curves)
    assert result.curves[-1].seconds == result.seconds
    assert (result.epochs, result.samples, result.stopped_by, result.best_epoch) == (20, 20 * 64, "maxEpochs", None)
    assert [moment.point for moment in moments if moment.point] == list(result.curves)
    assert moments[-1].fraction == 1.0


def test_the_same_seed_gives_the_same_bits() -> None:
    runs = []
    for _ in range(2):
        model = network()
        result = trained(configured(), model)
        runs.append((state(model), [(point.train_loss, dict(point.validation)) for point in result.curves]))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


def test_another_seed_shuffles_otherwise() -> None:
    first, second = network(), network()
    train(configured(), prepared(), first, seed=0, device=CPU)
    train(configured(), prepared(), second, seed=1, device=CPU)
    assert not same(state(first), state(second))


def test_one_epoch_is_what_torch_does_step_by_step() -> None:
    data, ours, bare = prepared(), network(), network()
    result = trained(configured(budget={"maxEpochs": 1}), ours, data)
    optimizer = SGD(bare.parameters(), lr=0.1)
    losses = []
    for images, labels in data.batches(16, torch.Generator().manual_seed(0)):
        loss = F.cross_entropy(bare(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for name, value in bare.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    assert result.curves[0].train_loss == pytest.approx(sum(losses) / len(losses))


def test_label_smoothing_is_trained_with_and_not_reported() -> None:
    plain, smooth = network(), network()
    once = {"maxEpochs": 1}
    trained(configured(budget=once), plain)
    data = prepared(label_smoothing=0.5)
    result = trained(configured(budget=once), smooth, data)
    assert not same(state(plain), state(smooth))
    smooth.eval()
    with torch.no_grad():
        loss = validation_loss(smooth, data)
    assert result.validation["validation_loss"] == pytest.approx(loss)


def test_l1_shrinks_weights_and_is_in_the_training_loss() -> None:
    plain, sparse = network(), network()
    without = trained(configured(), plain)
    penalised = trained(configured(regularization={"l1": 0.05}), sparse)
    shrunk, grown = (l1_norm(weights(model)).item() for model in (sparse, plain))
    assert shrunk < 0.8 * grown
    assert penalised.curves[0].train_loss > without.curves[0].train_loss + 0.05 * shrunk / 2


def test_l1_has_no_slope_at_zero() -> None:
    parameter = nn.Parameter(torch.tensor([[-2.0, 0.0, 3.0]]))
    l1_norm([parameter]).backward()
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [[-1.0, 0.0, 1.0]]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_l2_leaves_biases_and_norms_alone(name: str) -> None:
    model = network()
    optimizer = make_optimizer(
        model,
        Training.model_validate({"optimizer": {"name": name, "learningRate": 0.1}, "regularization": {"l2": 0.25}}),
    )
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {key: decay[id(p)] for key, p in model.named_parameters()} == {
        "1.weight": 0.25, "1.bias": 0.0, "2.weight": 0.0, "2.bias": 0.0, "4.weight": 0.25, "4.bias": 0.0,
    }  # fmt: skip
    before = state(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {key for key, _ in model.named_parameters() if not torch.equal(before[key], model.state_dict()[key])}
    assert changed == {"1.weight", "4.weight"}


def test_a_frozen_parameter_is_not_trained() -> None:
    model = network()
    model[1].weight.requires_grad_(False)  # type: ignore[index]
    before = state(model)
    trained(configured(regularization={"l1": 0.1, "l2": 0.1}), model)
    assert torch.equal(before["1.weight"], model.state_dict()["1.weight"])
    assert not torch.equal(before["4.weight"], model.state_dict()["4.weight"])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"name": "SGD", "learningRate": 0.3, "momentum": 0.9, "nesterov": True},
            {"lr": 0.3, "momentum": 0.9, "nesterov": True},
        ),
        ({"name": "SGD", "learningRate": 0.3}, {"momentum": 0.0, "nesterov": False, "dampening": 0}),
        ({"name": "Adam", "betas": [0.5, 0.9], "eps": 1e-5}, {"betas": (0.5, 0.9), "eps": 1e-5}),
        ({"name": "Adam"}, {"betas": (0.9, 0.999), "eps": 1e-8}),
        ({"name": "AdamW", "betas": [0.0, 0.5]}, {"betas": (0.0, 0.5), "amsgrad": False}),
        (
            {"name": "RMSprop", "momentum": 0.9, "alpha": 0.0, "eps": 1e-3},
            {"momentum": 0.9, "alpha": 0.0, "eps": 1e-3, "centered": False},
        ),
        ({"name": "RMSprop"}, {"momentum": 0.0, "alpha": 0.99, "eps": 1e-8}),
    ],
)
def test_the_optimizers_arguments_reach_torch(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    optimizer = make_optimizer(network(), Training.model_validate({"optimizer": spec}))
    assert type(optimizer).__name__ == spec["name"]
    for group in optimizer.param_groups:
        assert {name: group[name] for name in expected} == expected


def test_the_curve_shows_the_rate_that_its_epoch_began_with() -> None:
    result = trained(configured(schedule={"name": "Step", "stepEpochs": 1, "gamma": 0.5}), network())
    assert [point.learning_rate for point in result.curves] == pytest.approx([0.1, 0.05, 0.025])


def test_one_cycle_completes_when_seconds_end_the_training() -> None:
    config = configured(budget={"maxEpochs": 1000, "maxSeconds": 300}, schedule={"name": "OneCycle"})
    result = trained(config, network(), clock=Steps())
    rates = [point.learning_rate for point in result.curves]
    assert result.stopped_by == "maxSeconds"
    assert max(rates) > 0.09
    assert rates[-1] < 0.01


def test_averaged_weights_are_evaluated_and_kept() -> None:
    data, live, averaged = prepared(), network(), network()
    trained(configured(), live, data)
    result = trained(configured(emaDecay=0.99), averaged, data)
    assert not same(state(live), state(averaged))
    averaged.eval()
    with torch.no_grad():
        loss = validation_loss(averaged, data)
    assert result.validation["validation_loss"] == pytest.approx(loss)


def test_early_stopping_keeps_averaged_weights() -> None:
    data, model = prepared(), network()
    config = configured(
        budget={"maxEpochs": 50}, optimizer={"name": "SGD", "learningRate": 1.5, "momentum": 0.9}, emaDecay=0.9,
        earlyStopping={"metric": "validation_loss", "patience": 2},
    )  # fmt: skip
    result = trained(config, model, data)
    model.eval()
    with torch.no_grad():
        loss = validation_loss(model, data)
    assert min(point.validation["validation_loss"] for point in result.curves) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("metric", "patience", "min_delta", "values", "best", "seen"),
    [
        ("accuracy", 2, 0.0, [0.5, 0.6, 0.6, 0.59, 0.9], 2, 4),
        ("validation_loss", 2, 0.0, [0.5, 0.4, 0.41, 0.39, 0.5, 0.5, 0.1], 4, 6),
        ("accuracy", 1, 0.1, [0.5, 0.55, 0.9], 1, 2),
        ("accuracy", 2, 0.25, [0.25, 0.5, 0.6, 0.75, 0.8, 0.8], 4, 6),
        ("validation_loss", 3, 0.0, [3.0, 2.0, 1.0], 3, 3),
    ],
)
def test_early_stopping_waits_for_patience(
    metric: str, patience: int, min_delta: float, values: list[float], best: int, seen: int
) -> None:
    stopper = EarlyStopper(
        EarlyStopping.model_validate({"metric": metric, "patience": patience, "minDelta": min_delta})
    )
    count = 0
    for value in values:
        stopper.improves(value)
        count += 1
        if stopper.exhausted:
            break
    assert (stopper.best_epoch, count) == (best, seen)


def test_early_stopping_keeps_the_best_epochs_weights() -> None:
    # A rate that destroys what the first epochs learned: a later epoch is worse than the best one.
    stopping = {"metric": "validation_loss", "patience": 2}
    config = configured(
        budget={"maxEpochs": 50}, optimizer={"name": "SGD", "learningRate": 1.5, "momentum": 0.9},
        earlyStopping=stopping,
    )  # fmt: skip
    data, model = prepared(), network()
    snapshots: list[dict[str, torch.Tensor]] = []
    result = trained(config, model, data, on_progress=lambda moment: snapshots.append(state(model)))
    losses = [point.validation["validation_loss"] for point in result.curves]
    assert result.stopped_by == "earlyStopping"
    assert result.best_epoch == losses.index(min(losses)) + 1 == result.epochs - 2
    epochs = snapshots[-result.epochs :]
    assert same(state(model), epochs[result.best_epoch - 1])
    assert not same(state(model), epochs[-1])
    assert result.validation["validation_loss"] == min(losses)


class Counting(nn.Module):
    """A network whose state holds more than tensors, and which changes its inputs in place."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.noted = network(), {"calls": 0}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.noted["calls"] += 1
        output: torch.Tensor = self.body(images.mul_(0.5))
        return output

    def get_extra_state(self) -> dict[str, int]:
        return self.noted

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.noted = dict(state)


def test_early_stopping_keeps_a_state_that_is_no_tensor() -> None:
    model = Counting()
    result = trained(configured(earlyStopping={"patience": 3}, budget={"maxEpochs": 3}), model)
    assert result.best_epoch is not None
    # Four batches of training and one of validation an epoch; the state is a copy, as the weights are.
    assert model.noted == {"calls": result.best_epoch * 5}


def test_a_model_that_changes_its_inputs_finds_the_next_epochs_as_they_were() -> None:
    data = prepared()
    assert isinstance(data.validation, ReadySplit)
    images = data.validation.inputs
    assert isinstance(images, torch.Tensor)
    before = images.clone()
    trained(configured(budget={"maxEpochs": 2}), Counting(), data)
    assert torch.equal(images, before)


def test_without_early_stopping_the_last_weights_stay() -> None:
    model = network()
    snapshots: list[dict[str, torch.Tensor]] = []
    result = trained(configured(), model, on_progress=lambda moment: snapshots.append(state(model)))
    assert same(state(model), snapshots[-1])
    assert result.validation == result.curves[-1].validation


def test_a_budget_of_seconds_ends_training_after_the_step_that_uses_it_up() -> None:
    config = configured(budget={"maxEpochs": 1000, "maxSeconds": 60})
    moments: list[TrainingState] = []
    result = trained(config, network(), clock=Steps(), on_progress=moments.append)
    assert result.stopped_by == "maxSeconds"
    assert result.seconds >= 60
    assert result.samples % 16 == 0
    assert result.curves[-2].seconds < 60
    assert 1 < result.epochs < 1000
    assert len(result.curves) == result.epochs
    fractions = [moment.fraction for moment in moments]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_budget_that_is_used_up_at_once_still_gives_one_step_and_a_result() -> None:
    result = trained(configured(budget={"maxSeconds": 0.5}), network(), clock=Steps())
    assert (result.epochs, result.samples, result.stopped_by) == (1, 16, "maxSeconds")
    assert set(result.validation) == {"accuracy", "validation_loss"}


def test_the_target_is_timed_when_it_is_first_reached() -> None:
    budget = {"maxEpochs": 20, "target": {"metric": "accuracy", "value": 0.8}}
    result = trained(configured(budget=budget), network())
    reaching = [point.seconds for point in result.curves if point.validation["accuracy"] >= 0.8]
    assert result.epochs == 20
    assert result.time_to_target == reaching[0]


def test_a_target_below_a_loss_is_reached_from_above() -> None:
    budget = {"maxEpochs": 20, "target": {"metric": "validation_loss", "value": 0.5}}
    result = trained(configured(budget=budget), network())
    reaching = [point for point in result.curves if point.validation["validation_loss"] <= 0.5]
    assert reaching[0].epoch > 1
    assert result.time_to_target == reaching[0].seconds


def test_a_target_that_is_not_reached_has_no_time() -> None:
    budget = {"target": {"metric": "accuracy", "value": 1.0}}
    rate = {"name": "SGD", "learningRate": 1e-6}
    assert trained(configured(budget=budget, optimizer=rate), network()).time_to_target is None


def test_evaluation_is_not_timed() -> None:
    class Watched(nn.Module):
        """Lets an hour go by in each forward pass that is no training."""

        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.hours = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.hours += not self.training
            output: torch.Tensor = self.body(images)
            return output

    model, ticks = Watched(), Steps()
    result = train(
        configured(), prepared(), model, seed=0, device=CPU, clock=lambda: ticks() / 1000 + 3600 * model.hours
    )
    assert model.hours >= 3
    assert result.seconds < 60


class Failing(nn.Module):
    """Gives NaN from a training step on."""

    def __init__(self, after: int, *, only_evaluation: bool = False) -> None:
        super().__init__()
        self.body, self.after, self.steps, self.only_evaluation = network(), after, 0, only_evaluation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        output: torch.Tensor = self.body(images)
        broken = self.steps > self.after and not (self.training and self.only_evaluation)
        return output * float("nan") if broken else output


def test_a_loss_that_is_not_finite_fails_with_its_epoch() -> None:
    with pytest.raises(TrialFailed, match=r"nan in epoch 2: lower training\.optimizer\.learningRate") as failed:
        trained(configured(), Failing(after=5))
    assert failed.value.reason == "LossNotFinite"


def test_outputs_that_are_not_finite_fail_with_their_epoch() -> None:
    with pytest.raises(TrialFailed, match="the validation split after epoch 2") as failed:
        trained(configured(), Failing(after=5, only_evaluation=True))
    assert failed.value.reason == "OutputNotFinite"


def test_progress_comes_inside_an_epoch_about_once_a_second() -> None:
    moments: list[TrainingState] = []
    trained(configured(budget={"maxEpochs": 1}), network(), clock=Steps(), on_progress=moments.append)
    inside = [moment for moment in moments if moment.point is None]
    assert inside
    assert all(0 < moment.fraction <= 1 and moment.epoch == 1 for moment in inside)
    assert [moment.point is None for moment in moments][-1] is False


def test_the_meter_runs_while_training_is_timed() -> None:
    calls: list[str] = []

    class Meter:
        def start(self) -> None:
            calls.append("start")

        def stop(self) -> None:
            calls.append("stop")

    trained(configured(), network(), meter=Meter(), on_progress=lambda moment: calls.append("progress"))
    assert [name for name in calls if name != "progress"] == ["start", "stop"] * (calls.count("start"))
    running = False
    for name in calls:
        assert not (name == "progress" and running)
        running = name == "start" if name != "progress" else running


def test_a_precision_that_the_device_lacks_is_refused_with_what_it_has() -> None:
    able = supported(CPU)
    with pytest.raises(ConfigurationError, match=r"float16, which this CPU does not .*: use float32") as refused:
        trained(configured(precision="float16"), network())
    assert refused.value.reason == "PrecisionUnsupported"
    assert all(precision in str(refused.value) for precision in able)


def test_bfloat16_is_computed_in_where_it_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velodrome_runner.precision._mkldnn_has_bfloat16", lambda: True)
    with autocast("bfloat16", CPU)():
        assert nn.Linear(4, 2)(torch.zeros(1, 4)).dtype == torch.bfloat16
    result = trained(configured(precision="bfloat16"), network())
    assert result.curves[-1].train_loss < result.curves[0].train_loss
    monkeypatch.setattr("velodrome_runner.precision._mkldnn_has_bfloat16", lambda: False)
    with pytest.raises(ConfigurationError, match=r"use float32$"):
        autocast("bfloat16", CPU)


@pytest.mark.parametrize(
    ("most", "accumulate", "batches", "by"),
    [
        (5, 1, 5, "maxSteps"),
        (8, 1, 8, "maxSteps"),
        (12, 1, 12, "maxSteps"),
        (99, 1, 12, "maxEpochs"),
        (3, 3, 7, "maxSteps"),
        (4, 3, 8, "maxSteps"),
    ],
)
def test_a_budget_of_steps_ends_training_after_that_many(most: int, accumulate: int, batches: int, by: str) -> None:
    """Epochs of 4 batches: groups of 3 make 2 steps of each, the second of a single batch."""
    moments: list[TrainingState] = []
    config = configured(budget={"maxEpochs": 3, "maxSteps": most}, accumulateBatches=accumulate)
    found = trained(config, network(), on_progress=moments.append)
    assert (found.samples, found.stopped_by) == (batches * 16, by)
    assert moments[-1].fraction == 1.0
    fractions = [moment.fraction for moment in moments]
    assert fractions == sorted(fractions)


def test_a_schedule_completes_when_steps_end_the_training() -> None:
    config = configured(budget={"maxEpochs": 1000, "maxSteps": 12}, schedule={"name": "Cosine"})
    short = configured(budget={"maxEpochs": 3}, schedule={"name": "Cosine"})
    first, second = network(), network()
    assert trained(config, first).stopped_by == "maxSteps"
    assert trained(short, second).stopped_by == "maxEpochs"
    assert same(state(first), state(second))
