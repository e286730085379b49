"""The size of a model, and its arithmetic: each count against the products that the layers are made of."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

from velodrome.spec import Model
from velodrome_runner import flops as counting
from velodrome_runner.footprint import flops, flops_definition, model_bytes, parameters
from velodrome_runner.models import build
from velodrome_runner.peak import Unmeasurable

SHAPE = (1, 8, 8)


def native(name: str, **args: int | bool) -> nn.Module:
    return build(Model.model_validate({"name": name, "args": args}), shape=SHAPE, classes=10, dropout=0.0)


def sample(count: int = 1) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))


class Doing(nn.Module):
    """A model that does one thing with its input and a matrix."""

    def __init__(self, what: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *size: int) -> None:
        super().__init__()
        self.what, self.matrix = what, nn.Parameter(torch.ones(*size))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.what(inputs, self.matrix)


class Encoder(nn.Module):
    """Two layers of a transformer over the rows of an image, which torch would run as one operation each."""

    def __init__(self, width: int = 96, heads: int = 4, inner: int = 128) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, heads, inner, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.encoder(rows).mean(1))
        return output


def test_flops_of_two_encoder_layers() -> None:
    width, inner, rows = 96, 128, 32
    layer = 2 * rows * (4 * width**2 + 2 * width * inner) + 2 * 2 * rows**2 * width
    assert flops(Encoder(), torch.randn(1, rows, width)) == 2 * layer + 2 * width * 10 == 8_652_672


def test_flops_of_a_vision_transformer() -> None:
    """torchvision's page says 17.56 G multiplications, each with an addition."""
    from torchvision.models import vit_b_16

    assert flops(vit_b_16(), torch.zeros(1, 3, 224, 224)) == pytest.approx(35.1e9, rel=0.001)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_flops_of_recurrent_layers_over_packed_sequences(kind: type[nn.LSTM | nn.GRU | nn.RNN], gates: int) -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = kind(5, 6, 2, batch_first=True, bidirectional=True)

        def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
            output: torch.Tensor = self.layers(packed)[0].data
            return output

    inputs = {"values": torch.randn(1, 9, 5), "lengths": torch.tensor([4])}
    found = flops(Packed(), inputs, lambda model, inputs: model(**inputs))
    assert found == 2 * 2 * 4 * gates * 6 * ((5 + 6) + (12 + 6))


@pytest.mark.parametrize(
    ("what", "size", "shape", "expected"),
    [
        (lambda x, w: torch.mv(w, x[0]), (7, 5), (1, 5), 2 * 7 * 5),
        (lambda x, w: torch.addmv(w[:, 0], w, x[0]), (7, 5), (1, 5), 2 * 7 * 5),
        (lambda x, w: torch.dot(w[0], x[0]), (1, 5), (1, 5), 2 * 5),
        (lambda x, w: x @ w.T, (7, 5), (1, 5), 2 * 7 * 5),
        (lambda x, w: torch.einsum("bi,oi->bo", x, w), (7, 5), (1, 5), 2 * 7 * 5),
        (torch.cdist, (7, 5), (1, 5), 3 * 7 * 5),
        (torch.cdist, (70, 5), (30, 5), 3 * 70 * 30 * 5),
        (lambda x, w: torch.pdist(x), (1,), (30, 5), 3 * 30 * 29 // 2 * 5),
        (lambda x, w: nn.functional.bilinear(x, x, w), (2, 5, 5), (1, 5), None),
        (lambda x, w: torch.linalg.inv(x), (1,), (5, 5), None),
        (lambda x, w: torch.fft.rfft(x).real, (1,), (5, 5), None),
    ],
    ids=["mv", "addmv", "dot", "matmul", "einsum", "few-distances", "many-distances", "own-distances", "bilinear",
         "inverse", "fourier"],
)  # fmt: skip
def test_flops_of_single_operations(
    what: Callable[..., torch.Tensor], size: tuple[int, ...], shape: tuple[int, ...], expected: int | None
) -> None:
    model, inputs = Doing(what, *size), torch.rand(*shape)
    if expected is None:
        with pytest.raises(Unmeasurable, match="there is no formula for the operations of aten::"):
            flops(model, inputs)
    else:
        assert flops(model, inputs) == expected


def test_what_is_free_counts_nothing() -> None:
    layers = [
        nn.BatchNorm2d(1), nn.GroupNorm(1, 1), nn.InstanceNorm2d(1), nn.LayerNorm(8), nn.RMSNorm(8), nn.Softmax(1),
        nn.LogSoftmax(1), nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.PReLU(), nn.GLU(), nn.Dropout(0.5),
        nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(1), nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelUnshuffle(2), nn.ZeroPad2d(1), nn.ReflectionPad2d(1),
        nn.Flatten(), nn.Identity(), nn.LocalResponseNorm(2), Doing(lambda x, w: x.clone().transpose_(2, 3), 1),
        Doing(lambda x, w: x.clone().masked_fill_(x > 1, 0), 1),
    ]  # fmt: skip
    for layer in layers:
        assert flops(layer, sample()) == 0, layer
    assert flops(nn.Embedding(9, 4), torch.arange(3)[None]) == 0


def test_the_definition_of_flops_follows_what_counts_and_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    before = flops_definition()
    assert flops_definition() == before
    found = {before}
    for name, value in (
        ("_FREE", frozenset({"relu"})),
        ("_FORMULAS", {}),
        ("_FREE_SPACES", frozenset({"prim"})),
        ("_FREE_TAGS", frozenset({torch.Tag.pointwise})),
        ("_VERSION", 99),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(counting, name, value)
            found.add(flops_definition())
    assert len(found) == 6


def quantised(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():  # torch says that torchao will take its place
        warnings.simplefilter("ignore")
        made: nn.Module = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    return made


def test_operations_of_other_libraries_have_no_count() -> None:
    with pytest.raises(Unmeasurable, match="quantized::linear_dynamic"):
        flops(quantised(nn.Sequential(nn.Linear(4, 4))), torch.rand(1, 4))


def test_flops_of_a_perceptron_are_its_matrix_products() -> None:
    model = native("velodrome/mlp", hidden=32, layers=2)
    assert flops(model, sample()) == 2 * (64 * 32 + 32 * 32 + 32 * 10)


def test_flops_of_a_cnn_are_its_convolutions_and_its_head() -> None:
    model = native("velodrome/cnn", width=4)
    # 8x8, then 4x4, then 2x2 places, each a 3x3 kernel over the channels that come in.
    expected = 2 * 9 * (64 * 1 * 4 + 16 * 4 * 8 + 4 * 8 * 16) + 2 * 16 * 10
    assert flops(model, sample()) == expected


@pytest.mark.parametrize(("name", "gates"), [("velodrome/lstm", 4), ("velodrome/gru", 3)])
@pytest.mark.parametrize("ways", [1, 2])
def test_flops_of_recurrent_layers_are_those_of_their_gates(name: str, gates: int, ways: int) -> None:
    hidden, layers = 16, 2
    model = native(name, hidden=hidden, layers=layers, bidirectional=ways == 2)
    rows = 8
    first = 2 * rows * gates * hidden * (8 + hidden)
    second = 2 * rows * gates * hidden * (ways * hidden + hidden)
    assert flops(model, sample()) == ways * (first + second) + 2 * ways * hidden * 10


def test_counting_changes_neither_the_model_nor_the_backend() -> None:
    model = native("velodrome/cnn", width=4)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    enabled, fast = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()
    flops(model, sample())
    assert torch.backends.mha.get_fastpath_enabled() is fast
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.backends.mkldnn.enabled is enabled


def test_an_operation_without_a_formula_is_named() -> None:
    class Fourier(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            transformed: torch.Tensor = torch.fft.rfft(images).real
            return transformed

    with pytest.raises(Unmeasurable, match="aten::_fft_r2c"):
        flops(Fourier(), sample())


def test_a_model_that_cant_be_copied_has_no_count() -> None:
    class Historic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))
            self.derived = self.gain * 2

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * self.derived

    with pytest.raises(Unmeasurable, match="a copy of the model does not run on the CPU"):
        flops(Historic(), sample())


def test_parameters_and_bytes_count_each_tensor_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    # 16 + 4 weights, 2 x 4 of the norm; running mean and variance, and an int64 that counts batches.
    assert parameters(model) == 28
    assert model_bytes(model) == 4 * (28 + 8) + 8
    shared = nn.Sequential(model[0], model[0])
    assert parameters(shared) == 20
    assert model_bytes(shared) == 80
    model[0].weight.requires_grad_(False)
    assert parameters(model) == 12
    assert model_bytes(model.half()) == 2 * 36 + 8


def test_quantised_layers_count_their_packed_weights() -> None:
    dense = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    weights, biases = 64 * 32 + 32 * 10, 4 * (32 + 10)
    scales = 2 * (4 + 8)  # of each layer: one float32 and one int64
    assert model_bytes(quantised(copy.deepcopy(dense))) == weights + biases + scales
    assert model_bytes(dense) == 4 * weights + biases
