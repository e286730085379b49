"""Real conversions of trained models: what becomes smaller, what stays as it was, and what can't be done."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import dynamic as int8

from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.plan import Trial, plan
from velodrome.spec import BenchmarkJob
from velodrome_runner import evaluation, measuring
from velodrome_runner.footprint import flops, model_bytes
from velodrome_runner.models import sequences
from velodrome_runner.preprocessing import Prepared
from velodrome_runner.training import train
from velodrome_runner.upheld import trained_weights
from velodrome_runner.variants import Optimized, exporting, optimize, quantizing

CPU = torch.device("cpu")
PRUNE = {"prune": {"amount": 0.5}}
INT8 = {"quantize": "int8-dynamic"}
ONNX = {"export": "onnx"}


def trial_of(
    *steps: Mapping[str, Any], model: str = "velodrome/mlp", dataset: Any = "digits", epochs: int = 3, **spec: Any
) -> Trial:
    document = {
        "apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "race"},
        "spec": {
            "dataset": {"name": dataset} if isinstance(dataset, str) else dataset,
            "budget": {"maxEpochs": epochs},
            "training": {"optimizer": {"name": "AdamW", "learningRate": 0.003}},
            "entries": [
                {"name": "base", "model": {"name": model}},
                {"name": "variant", "variantOf": "base", "optimize": list(steps) or [PRUNE]},
            ],
            **spec,
        },
    }  # fmt: skip
    return plan(BenchmarkJob.model_validate(document)).trial(1 if steps else 0)


def data_of(trial: Trial) -> Prepared:
    """The trial's data, for models that take images."""
    return measuring.ready(trial, measuring.opened(trial, Path()), CPU, 1)[1]


def built(trial: Trial) -> tuple[nn.Module, Prepared]:
    """The trial's model before its training, and its data."""
    measuring.settle(trial)
    prepared = data_of(trial)
    model = measuring.built(trial.config, prepared.task).to(memory_format=torch.channels_last)
    return model, prepared.shown_to(model)


def learned(trial: Trial) -> tuple[nn.Module, Prepared]:
    """The trial's model after its training, and its data."""
    model, prepared = built(trial)
    train(trial.config, prepared, model, seed=trial.seed, device=CPU)
    return model, prepared


def optimized(trial: Trial, model: nn.Module, prepared: Prepared) -> Optimized:
    return optimize(trial.config, model, prepared, context=nullcontext, clock=time.perf_counter)


def accuracy(found: Optimized, prepared: Prepared) -> float:
    meter = evaluation.of_split(prepared, "test", found.model, 64, keys=["accuracy"], context=found.context)
    return evaluation.values_of(meter, {})["accuracy"]


@pytest.fixture(scope="module", params=["velodrome/mlp", "velodrome/cnn"])
def base(request: pytest.FixtureRequest) -> tuple[str, float, int, int, str | None]:
    """A model of a trial: its name, accuracy, bytes, FLOPs and the digest of its weights."""
    trial = trial_of(model=request.param)
    model, prepared = learned(trial)
    found = optimized(trial, model, prepared)
    assert (found.model, found.done, found.seconds) == (model, [], {})
    operations = flops(model, prepared.example(1))
    return request.param, accuracy(found, prepared), found.bytes, operations, trained_weights(model)


@pytest.mark.parametrize("steps", [[PRUNE], [INT8], [ONNX], [PRUNE, INT8], [PRUNE, ONNX]], ids=str)
def test_a_variant_has_the_weights_of_its_base_and_about_its_accuracy(
    base: tuple[str, float, int, int, str | None], steps: list[Any]
) -> None:
    name, right, size, operations, weights = base
    trial = trial_of(*steps, model=name)
    model, prepared = learned(trial)
    assert trained_weights(model) == weights
    parameters = sum(one.numel() for one in model.parameters())
    found = optimized(trial, model, prepared)
    assert accuracy(found, prepared) == pytest.approx(right, abs=0.05 if PRUNE in steps else 0.005)
    assert found.parameters == parameters
    assert (found.nonzero < parameters) == (PRUNE in steps)
    assert list(found.seconds) == ["conversion_seconds"]
    assert found.seconds["conversion_seconds"] > 0
    assert len(found.done) == len(steps)
    if steps == [PRUNE]:
        assert (found.bytes, found.uncounted) == (size, "")
        assert flops(found.counted, prepared.example(1)) == operations
    else:
        assert found.uncounted


def test_half_of_all_weights_are_pruned_the_smallest_ones() -> None:
    trial = trial_of(PRUNE)
    model, prepared = built(trial)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = optimized(trial, model, prepared)
    after = model.state_dict()
    assert after.keys() == before.keys()  # no masks are left
    matrices = [name for name, value in before.items() if value.ndim > 1]
    was = torch.cat([before[name].flatten() for name in matrices])
    now = torch.cat([after[name].flatten() for name in matrices])
    assert int((now == 0).sum()) == round(was.numel() / 2)
    assert was[now == 0].abs().max() <= was[now != 0].abs().min()
    assert torch.equal(now[now != 0], was[now != 0])
    assert all(torch.equal(after[name], value) for name, value in before.items() if value.ndim < 2)
    assert found.done == [f"prune: {round(was.numel() / 2):,} of {was.numel():,} weights are 0"]


def test_quantized_layers_hold_int8_and_their_bytes_are_a_quarter() -> None:
    trial = trial_of(INT8)
    model, prepared = built(trial)
    size = model_bytes(model)
    wanted = model.eval()(prepared.example(32)).detach()
    found = optimized(trial, model, prepared)
    layers = [layer for layer in found.model.modules() if isinstance(layer, int8.Linear)]
    assert len(layers) > 1
    assert {layer.weight().dtype for layer in layers} == {torch.qint8}
    assert not any(isinstance(layer, nn.Linear) for layer in found.model.modules())
    assert 0.25 < found.bytes / size < 0.27
    got = found.model(prepared.example(32))
    assert 0 < (got - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_onnxruntime_answers_as_torch_at_every_size_of_a_batch() -> None:
    trial = trial_of(ONNX, model="velodrome/cnn")
    model, prepared = built(trial)
    size = model_bytes(model)
    found = optimized(trial, model, prepared)
    assert isinstance(found.model, exporting.OnnxModel)
    with torch.inference_mode():
        for samples in (1, 2, 7, 64):
            wanted = model.eval()(prepared.example(samples))
            torch.testing.assert_close(found.model(prepared.example(samples)), wanted, rtol=1e-4, atol=1e-4)
    assert 0.9 * size < found.bytes < 1.1 * size  # norms may be part of convolutions


@pytest.mark.parametrize("model", ["velodrome/gru", "velodrome/lstm"])
def test_recurrent_networks_are_pruned_and_quantized(model: str) -> None:
    trial = trial_of(PRUNE, INT8, model=model)
    network, prepared = built(trial)
    wanted = network.eval()(prepared.example(32)).detach()
    found = optimized(trial, network, prepared)
    assert (found.model(prepared.example(32)) - wanted).abs().max() < wanted.abs().max()
    assert any(isinstance(layer, int8.GRU | int8.LSTM) for layer in found.model.modules())


class Attending(nn.Module):
    """A transformer over the rows of a digit, which torch runs as one fused operation where its weights are float32."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 64, batch_first=True), 2)
        self.head = nn.Linear(8, 10)
        self.masked = masked

    def forward(self, images: Tensor) -> Tensor:
        rows = images.squeeze(1)
        padding = torch.arange(8).expand(len(rows), 8) > 5 if self.masked else None  # torch makes nested tensors of it
        outputs: Tensor = self.head(self.layers(rows, src_key_padding_mask=padding)[:, 0])
        return outputs


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("masked", [False, True])
def test_a_transformer_is_quantized_although_torch_would_read_its_weights(masked: bool) -> None:  # noqa: FBT001
    trial = trial_of(INT8)
    prepared = data_of(trial)
    torch.manual_seed(0)
    model = Attending(masked=masked).eval()
    with torch.inference_mode():
        wanted = model(prepared.example(16))
        found = optimized(trial, model, prepared)
        got = found.model(prepared.example(16))
    assert sum(isinstance(layer, int8.Linear) for layer in found.model.modules()) == 5
    assert 0 < (got - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_a_model_that_is_one_layer_is_quantized() -> None:
    made, done = quantizing.quantized(nn.Linear(64, 10), "linear")
    assert any(isinstance(layer, int8.Linear) for layer in made.modules())
    assert made(torch.rand(3, 64)).shape == (3, 10)
    assert done == "quantize int8-dynamic: 1 layer with 650 of 650 parameters"


class Twice(nn.Module):
    """Has one layer at two places, and another that shares its weights with it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.again = self.first
        self.inner = nn.Sequential(nn.Flatten(), self.first)
        self.like = nn.Linear(64, 64)
        self.like.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.like(self.again(self.first(self.inner(images)).relu()).relu())
        return outputs


def test_a_layer_that_is_at_several_places_is_quantized_at_all_of_them_and_counts_once() -> None:
    model = Twice()
    assert model_bytes(model) == 4 * (64 * 64 + 2 * 64)
    made, done = quantizing.quantized(model, "twice")
    assert made.first is made.again is made.inner[1]  # type: ignore[index]
    assert isinstance(made.first, int8.Linear)
    assert done == f"quantize int8-dynamic: 2 layers with {64 * 64 + 2 * 64:,} of {64 * 64 + 2 * 64:,} parameters"
    assert 2 * (64 * 64 + 4 * 64) <= model_bytes(made) < 2 * (64 * 64 + 4 * 64 + 16)  # each layer has its own copy


def test_a_layer_that_torch_has_no_int8_form_of_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigurationError, match="torch has no int8 LSTM with a proj_size"):
        quantizing.quantized(nn.Sequential(nn.LSTM(4, 8, proj_size=2)), "projected")


def failing(steps: list[Any], model: nn.Module, error: type[Exception] = ConfigurationError) -> str:
    trial = trial_of(*steps)
    prepared = data_of(trial)
    with pytest.raises(error) as refused:
        optimized(trial, model, prepared)
    return f"{refused.value.reason}: {refused.value}"  # type: ignore[attr-defined]


def test_a_model_without_a_layer_to_quantize_is_refused_with_the_reason() -> None:
    convolutions = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
    assert failing([INT8], convolutions) == (
        "NothingToOptimize: int8-dynamic quantizes linear, LSTM and GRU layers, and velodrome/mlp has none: leave "
        "the step out"
    )


class ReadsWeights(nn.Module):
    """Multiplies by a layer's weight itself, which is no tensor where the layer is quantized."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.layer.weight.T


def test_a_layer_whose_weights_the_model_reads_itself_is_refused_with_the_reason() -> None:
    assert failing([INT8], ReadsWeights()).startswith(
        "OptimizeFailed: velodrome/mlp, when optimized, does not take 1 sample: AttributeError"
    )


class Unexportable(nn.Module):
    """Does with its inputs what no graph can: a number of Python's own decides what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(images.flatten(1))
        return outputs * 2 if float(outputs.sum()) > 0 else outputs


class Drawing(nn.Module):
    """Answers differently each time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(images.flatten(1))
        return outputs + torch.rand_like(outputs)


class BySize(nn.Module):
    """Decides by the size of a batch, of which a graph has the branch of its example."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(images.flatten(1))
        return outputs if len(images) < 10 else outputs * 2


def test_a_graph_of_one_branch_is_refused_with_the_size_of_the_batch_that_shows_it() -> None:
    assert failing([ONNX], BySize(), TrialFailed).startswith(
        "OutputsDiffer: velodrome/mlp as ONNX has other answers for a batch of 64 samples: they differ by 0.5 of the"
    )


def test_inceptiontime_is_exported_for_sequences_of_every_length() -> None:
    model = sequences.inceptiontime((2, None), 3, 0.0, width=2, depth=1)
    few, more = ({"values": torch.rand(3, 2, steps), "lengths": torch.tensor([steps, 5, 4])} for steps in (9, 23))
    free = torch.export.Dim.DYNAMIC
    shapes = {"values": {0: free, 2: free}, "lengths": {0: free}}
    graph = torch.export.export(model.eval(), (), few, dynamic_shapes=shapes).module()
    for inputs in (few, more):
        assert torch.equal(graph(**inputs), model(**inputs))


def test_what_onnx_can_not_hold_is_refused_with_the_reason() -> None:
    assert failing([ONNX], Unexportable()).startswith("OptimizeFailed: velodrome/mlp can't be exported to ONNX: ")
    assert failing([ONNX], Drawing(), TrialFailed).startswith("OutputsDiffer: velodrome/mlp as ONNX has other")


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert failing([ONNX], nn.Sequential(nn.Flatten(), nn.Linear(64, 10))) == (
        "ExtraMissing: export: onnx needs onnxruntime, which is not installed: pip install 'velodrome[onnx]', or build "
        "it into the runner's image"
    )


def test_without_a_compiler_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    message = failing([{"compile": True}], nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    assert message.startswith("CompilerMissing: torch.compile needs a C++ compiler: install it")


def test_a_share_of_less_than_one_weight_prunes_nothing_and_is_refused() -> None:
    message = failing([{"prune": {"amount": 0.0001}}], nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    assert message == "NothingToOptimize: prune: 0.0001 of 640 weights is less than one: write a larger amount"


@pytest.mark.gpu
@pytest.mark.parametrize("step", [INT8, ONNX])
def test_steps_for_cpus_are_refused_on_a_gpu(step: dict[str, Any]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    trial = trial_of(step)
    _, prepared = measuring.ready(trial, measuring.opened(trial, Path()), torch.device("cuda"), 1)
    with pytest.raises(ConfigurationError, match="works on CPUs only, and this trial has a GPU"):
        optimized(trial, nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).cuda(), prepared)
