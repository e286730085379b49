"""The recipe: rates that follow the budget, accumulation, clipping, averaged weights, and what decays."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, lr_scheduler

from velodrome.errors import ConfigurationError
from velodrome.spec import Training
from velodrome_runner.environment import fingerprint
from velodrome_runner.optimization import decay_rule, make_optimizer, weights
from velodrome_runner.precision import autocast, round_products
from velodrome_runner.rates import rates
from velodrome_runner.recipe import Recipe

CPU = torch.device("cpu")


def training(**parts: Any) -> Training:
    return Training.model_validate({"optimizer": {"name": "SGD", "learningRate": 0.1}, **parts})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def recipe(model: nn.Module, *, epochs: int = 1, batches: int = 4, **parts: Any) -> Recipe:
    return Recipe(model, training(**parts), epochs=epochs, batches=batches, device=CPU)


def batch(count: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator), torch.arange(count) % 3


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [each.grad for each in model.parameters() if each.grad is not None]


def torchs(name: str, optimizer: SGD, epochs: int, steps: int) -> lr_scheduler.LRScheduler:
    total = epochs * steps
    match name:
        case "Step":
            return lr_scheduler.StepLR(optimizer, 2 * steps, gamma=0.3)
        case "Cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, total, eta_min=0.4 * 0.07)
        case "OneCycle":
            return lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=total, pct_start=0.25, cycle_momentum=False)
        case _:
            return lr_scheduler.ConstantLR(optimizer, factor=1.0)


SCHEDULES = [
    {"name": "Constant"},
    {"name": "Step", "stepEpochs": 2, "gamma": 0.3},
    {"name": "Cosine", "finalFactor": 0.07},
    {"name": "OneCycle", "warmupFraction": 0.25},
]


@pytest.mark.parametrize(("epochs", "steps"), [(6, 5), (1, 2), (2, 1), (3, 37)])
@pytest.mark.parametrize("spec", SCHEDULES, ids=lambda spec: spec["name"])
def test_a_schedule_has_the_bits_of_torchs(spec: dict[str, Any], epochs: int, steps: int) -> None:
    ours = rates(training(optimizer={"learningRate": 0.4}, schedule=spec), epochs=epochs, steps=steps)
    peer = SGD(network().parameters(), lr=0.4)
    theirs = torchs(spec["name"], peer, epochs, steps)
    for position in range(epochs * steps):
        assert ours.at(position) == peer.param_groups[0]["lr"]
        peer.step()
        theirs.step()


@pytest.mark.parametrize("spec", SCHEDULES, ids=lambda spec: spec["name"])
def test_the_recipe_sets_the_schedules_rate(spec: dict[str, Any]) -> None:
    model = network()
    made = recipe(model, epochs=3, batches=4, optimizer={"learningRate": 0.4}, schedule=spec)
    expected = rates(training(optimizer={"learningRate": 0.4}, schedule=spec), epochs=3, steps=4)
    for position in range(12):
        assert made.rate == expected.at(position)
        made.backward(model(torch.ones(2, 4)).sum())
        made.advance()
    assert made.steps == 12


@pytest.mark.parametrize("total", [2, 3, 4, 10])
@pytest.mark.parametrize("warmup", [0.1, 0.25, 0.3, 0.5])
def test_one_cycle_fits_the_shortest_budgets(total: int, warmup: float) -> None:
    made = rates(training(schedule={"name": "OneCycle", "warmupFraction": warmup}), epochs=total, steps=1)
    found = [made.at(position) for position in range(total)]
    assert all(0 < rate <= 0.1 for rate in found)
    assert found[-1] == pytest.approx(0.1 / 25 / 1e4)


def test_one_cycle_of_one_step_trains_at_the_peak() -> None:
    assert recipe(network(), epochs=1, batches=1, schedule={"name": "OneCycle"}).rate == 0.1


@pytest.mark.parametrize("name", ["OneCycle", "Cosine"])
def test_a_schedule_completes_when_seconds_end_the_training(name: str) -> None:
    """100 of 100,000 steps, and all of the time: the rate passes its peak and ends near 0."""
    model = network()
    made = recipe(model, epochs=1000, batches=100, schedule={"name": name})
    seen = []
    for step in range(100):
        seen.append(made.rate)
        made.backward(model(torch.ones(2, 4)).sum())
        made.advance((step + 1) / 100)
    assert max(seen) == pytest.approx(0.1, rel=0.01)
    assert seen[-1] < 0.1 / 500
    half = seen[50]
    assert half == pytest.approx(0.05, rel=0.1) if name == "Cosine" else 0.05 < half < 0.1


def test_the_larger_share_of_the_budget_leads() -> None:
    made = rates(training(schedule={"name": "Cosine"}), epochs=1, steps=100)
    model = network()
    led = recipe(model, batches=100, schedule={"name": "Cosine"})
    for _ in range(10):
        led.backward(model(torch.ones(2, 4)).sum())
    led.advance(0.05)
    assert led.rate == pytest.approx(made.at(10))
    led.advance(0.5)
    assert led.rate == pytest.approx(0.05)
    led.advance(7.0)
    assert led.rate == pytest.approx(0.0)


def test_steps_drop_by_the_share_of_seconds_too() -> None:
    made = rates(training(schedule={"name": "Step", "stepEpochs": 10, "gamma": 0.1}), epochs=30, steps=4)
    assert [made.at(share * 120) for share in (0.0, 0.32, 0.34, 0.65, 0.9)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001]
    )


@pytest.mark.parametrize("name", ["Constant", "Step", "Cosine"])
def test_a_linear_warmup_rises_to_the_schedules_start(name: str) -> None:
    made = rates(training(schedule={"name": name, "linearWarmup": 0.1}), epochs=10, steps=10)
    found = [made.at(position) for position in range(100)]
    assert found[0] == pytest.approx(0.001)
    assert found[5] == pytest.approx(0.1 * (0.01 + 0.99 / 2))
    assert found[10] == pytest.approx(0.1)
    if name == "Cosine":
        assert found[55] == pytest.approx(0.05)


def test_a_warmup_shorter_than_a_step_is_none() -> None:
    made = rates(training(schedule={"name": "Constant", "linearWarmup": 0.3}), epochs=1, steps=3)
    assert made.at(0) == 0.1


def test_accumulated_batches_give_the_gradient_of_their_mean() -> None:
    whole, parts = network()[::3], network()[::3]  # type: ignore[index]  # without batch norm, which sees each batch
    inputs, labels = batch(10)
    F.cross_entropy(whole(inputs), labels).backward()
    made = recipe(parts, batches=2, accumulateBatches=2)
    before = copy.deepcopy(parts)
    for some in (slice(0, 7), slice(7, 10)):
        assert all(torch.equal(*pair) for pair in zip(before.parameters(), parts.parameters(), strict=True))
        made.backward(F.cross_entropy(parts(inputs[some]), labels[some]), len(labels[some]))
    assert made.steps == 1
    for expected, found in zip(gradients(whole), gradients(parts), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("parts", [{}, {"clipNorm": 0.25}])
def test_a_weight_that_is_a_tensor_makes_the_step_of_a_number_bit_for_bit(parts: dict[str, Any]) -> None:
    made = []
    for kind in (int, torch.tensor):
        model = network()
        stepped = recipe(model, batches=7, accumulateBatches=3, **parts)
        for at, count in enumerate((7, 10, 3, 9, 9, 9, 5)):
            inputs, labels = batch(count, seed=at)
            stepped.backward(F.cross_entropy(model(inputs), labels), kind(count))
        stepped.flush()
        made.append(model)
    assert all(torch.equal(*pair) for pair in zip(*(each.parameters() for each in made), strict=True))


def test_the_batches_that_are_left_at_an_epochs_end_make_a_step() -> None:
    model = network()
    made = recipe(model, epochs=2, batches=5, accumulateBatches=2, schedule={"name": "Cosine"})
    for _ in range(2):
        for _ in range(5):
            made.backward(model(torch.ones(2, 4)).sum(), 2)
            made.advance()
        made.flush()
    assert made.steps == 6
    assert made.rate == pytest.approx(0.0)
    made.flush()
    assert made.steps == 6


def test_l1_counts_once_in_an_accumulated_step() -> None:
    once, twice = network(), network()
    for model, count in ((once, 1), (twice, 2)):
        made = recipe(model, accumulateBatches=count, regularization={"l1": 0.5})
        for _ in range(count):
            made.backward(model(torch.ones(2, 4)).sum() * 0, 2)
    for expected, found in zip(gradients(once), gradients(twice), strict=True):
        torch.testing.assert_close(found, expected)


def test_gradients_are_clipped_by_norm() -> None:
    model = network()
    recipe(model, clipNorm=0.25).backward(model(batch(6)[0]).square().sum() * 100)
    norm = torch.linalg.vector_norm(torch.cat([each.flatten() for each in gradients(model)]))
    assert norm.item() == pytest.approx(0.25, rel=1e-4)


def test_gradients_are_clipped_by_value() -> None:
    model = network()
    recipe(model, clipValue=0.125).backward(model(batch(6)[0]).square().sum() * 100)
    assert max(each.abs().max().item() for each in gradients(model)) == 0.125


@pytest.mark.parametrize("parts", [{"clipNorm": 0.25}, {"clipValue": 0.03}, {"accumulateBatches": 2}])
def test_scaled_gradients_are_unscaled_before_they_are_changed(parts: dict[str, Any]) -> None:
    """The scaling of float16 leaves no trace in a step whose gradients are finite."""
    scaled, plain = network(), network()
    for model, precision in ((scaled, "float16"), (plain, "float32")):
        made = recipe(model, precision=precision, **parts)
        for seed in (1, 2):
            made.backward(model(batch(6, seed)[0]).square().sum(), seed)
    for found, expected in zip(scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_small_gradients_are_not_clipped() -> None:
    clipped, free = network(), network()
    for model, limit in ((clipped, 1e6), (free, None)):
        recipe(model, clipNorm=limit, clipValue=limit).backward(model(batch(6)[0]).square().sum())
    assert all(torch.equal(*pair) for pair in zip(clipped.parameters(), free.parameters(), strict=True))


def test_averaged_weights_are_evaluated_and_kept() -> None:
    """Against the formula: min(decay, (1 + n) / (10 + n)) of the old average, the rest of the new weights."""
    model = network()
    made = recipe(model, batches=9, emaDecay=0.4)
    expected = [each.detach().clone() for each in model.state_dict().values()]
    for step in range(1, 10):
        inputs, labels = batch(6, seed=step)
        made.backward(F.cross_entropy(model(inputs), labels))
        share = min(0.4, (1 + step) / (10 + step))
        current = model.state_dict().values()
        expected = [
            old * share + new * (1 - share) if new.is_floating_point() else new.clone()
            for old, new in zip(expected, current, strict=True)
        ]
    assert made.evaluated is not model
    live = [each.clone() for each in model.parameters()]
    for found, wanted in zip(made.evaluated.state_dict().values(), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert not torch.equal(live[0], next(made.evaluated.parameters()))
    made.finish()
    for found, wanted in zip(model.state_dict().values(), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_without_an_average_the_model_itself_is_evaluated() -> None:
    model = network()
    assert recipe(model).evaluated is model


def test_a_model_that_can_not_be_copied_has_no_average() -> None:
    model = network()
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match=r"training\.emaDecay .* set emaDecay to null") as refused:
        recipe(model, emaDecay=0.9)
    assert refused.value.reason == "ModelNotCopied"


def test_a_frozen_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no parameter to train") as refused:
        recipe(network().requires_grad_(requires_grad=False))
    assert refused.value.reason == "NothingToTrain"


@pytest.mark.parametrize(("name", "rate"), [("SGD", 0.5), ("Adam", 0.02), ("AdamW", 0.02), ("RMSprop", 0.02)])
def test_every_optimizer_lowers_a_loss(name: str, rate: float) -> None:
    model = network()
    made = recipe(model, batches=50, optimizer={"name": name, "learningRate": rate})
    inputs, labels = batch(30)
    losses = [made.backward(F.cross_entropy(model(inputs), labels)).item() for _ in range(50)]
    assert losses[-1] < 0.7 * losses[0]


# What decays


class Tokens(nn.Module):
    """Every kind of parameter that the rules tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.ones(1, 1, 4))
        self.pos_embedding = nn.Parameter(torch.ones(1, 3, 4))
        self.pos_embed = nn.Embedding(3, 4)
        self.layer_scale = nn.Parameter(torch.ones(4, 1, 1))
        self.linear = nn.Linear(4, 1)
        self.norm = nn.LayerNorm(4)
        self.gamma = nn.Conv1d(1, 1, 1, bias=False)


def decayed(model: nn.Module, rule: Any) -> set[str]:
    chosen = {id(each) for each in weights(model, rule)}
    return {path for path, each in model.named_parameters() if id(each) in chosen}


def test_the_rules_of_decay() -> None:
    model = Tokens()
    matrices = {"class_token", "pos_embedding", "pos_embed.weight", "layer_scale", "linear.weight", "gamma.weight"}
    assert decayed(model, "torchvision") == {"linear.weight", "gamma.weight"}
    assert decayed(model, "matrices") == matrices
    assert decayed(model, "all") == matrices | {"linear.bias", "norm.weight", "norm.bias"}


@pytest.mark.parametrize(
    ("name", "exempt"),
    [
        ("vit_b_16", {"class_token", "encoder.pos_embedding"}),
        ("convnext_tiny", "layer_scale"),
        ("swin_t", "relative_position_bias_table"),
        ("resnet18", set()),
    ],
)
def test_torchvisions_tokens_positions_and_gains_are_exempt(name: str, exempt: set[str] | str) -> None:
    from torchvision import models

    with torch.device("meta"):
        model = models.get_model(name)
    of_two = {path for path, each in model.named_parameters() if each.ndim > 1}
    left = of_two - decayed(model, "torchvision")
    if isinstance(exempt, str):
        assert left == {path for path in of_two if path.endswith(exempt)} != set()
    else:
        assert left == exempt


@pytest.mark.parametrize("rule", [None, "torchvision", "matrices", "all"])
def test_the_rule_reaches_the_optimizer_and_l1(rule: Any) -> None:
    spec = training(regularization={"l2": 0.25, "l1": 0.5, "decayRule": rule})
    model = Tokens()
    groups = make_optimizer(model, spec).param_groups
    found = {id(each) for group in groups for each in group["params"] if group["weight_decay"]}
    names = {path for path, each in model.named_parameters() if id(each) in found}
    assert names == decayed(model, rule or "torchvision")
    Recipe(model, spec, epochs=1, batches=1, device=CPU).backward(
        sum(((each * 0).sum() for each in model.parameters()), torch.zeros(()))
    )
    penalised = {path for path, each in model.named_parameters() if each.grad is not None and each.grad.any()}
    assert penalised == names - {"norm.bias"}  # the slope of |0| is 0


def test_the_rule_is_recorded_where_it_matters() -> None:
    def recorded(**regularization: Any) -> str | None:
        spec = training(regularization=regularization)
        made = fingerprint(device=CPU, threads=1, concurrent=1, training=spec).decay_rule
        assert made == decay_rule(spec.regularization)
        return made

    assert recorded() is None
    assert recorded(decayRule="all") is None
    assert recorded(l2=0.1) == "torchvision"
    assert recorded(l1=0.1, decayRule="matrices") == "matrices"
    plain = fingerprint(device=CPU, threads=1, concurrent=1, training=training())
    assert "decay_rule" not in plain.model_dump_json()


# Precision


def test_tf32_is_refused_on_a_cpu() -> None:
    with pytest.raises(ConfigurationError, match=r"precision is tf32, which this CPU does not .*: use float32"):
        autocast("tf32", CPU)


@pytest.mark.parametrize(("precision", "products"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_float32_is_not_rounded_unless_tf32_is_asked_for(precision: Any, products: str) -> None:
    backends = torch.backends
    places: list[Any] = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]  # type: ignore[attr-defined]
    try:
        round_products(precision)
        assert [place.fp32_precision for place in places] == [products] * 3
    finally:
        round_products("float32")  # what torch had at its start can't be set again, and its exporter refuses a mixture
