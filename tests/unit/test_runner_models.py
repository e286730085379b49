"""Models by name: built, refused with a reason, given dropout and weights."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic.alias_generators import to_camel
from torch import nn

from tests.prepared import load
from velodrome import vocabulary
from velodrome.errors import ConfigurationError
from velodrome.spec import Augmentation, Model, Preprocessing, Training
from velodrome.tasks import MODEL_KINDS
from velodrome_runner import tasks
from velodrome_runner.augmentation import Normalization, compose
from velodrome_runner.checks import check_model
from velodrome_runner.data import Contents, Memory, Samples, Schema
from velodrome_runner.models import build
from velodrome_runner.models.detectors import DETECTORS
from velodrome_runner.models.documents import DOCUMENTS
from velodrome_runner.models.language import LANGUAGE
from velodrome_runner.models.native import NATIVE
from velodrome_runner.models.segmenting import SEGMENTING
from velodrome_runner.preprocessing import prepare
from velodrome_runner.trial import explain

Shape = tuple[int, int, int]
WriteModule = Callable[[str], str]
RGB = (3, 32, 32)
SHAPES = [(1, 8, 8), (1, 28, 28), RGB]


IMAGE_MODELS = sorted(name for name in NATIVE if "images" in MODEL_KINDS[name])
SEQUENCE_MODELS = sorted(name for name in NATIVE if "sequences" in MODEL_KINDS[name])
# Those that take sequences of different lengths.
LENGTH_MODELS = [name for name in SEQUENCE_MODELS if name != "velodrome/mlp"]


def network(
    name: str, shape: tuple[int | None, ...] = RGB, classes: int = 10, dropout: float = 0.0, **args: Any
) -> nn.Module:
    return build(Model(name=name, args=args), shape=shape, classes=classes, dropout=dropout)


def refusal(name: str, args: dict[str, Any] | None = None, *, dropout: float = 0.0) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        build(Model(name=name, args=args or {}), shape=RGB, classes=10, dropout=dropout)
    return caught.value


def checked(name: str) -> None:
    """Builds a network, and checks it with real images as before training."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, *RGB), dtype=torch.uint8, generator=generator)
    part = Memory(Samples({"images": pixels}, torch.arange(20) % 10))
    contents = Contents("images", {"train": part, "test": part}, Schema(RGB, tuple("0123456789")), "sha256:")
    device = torch.device("cpu")
    task = tasks.fit("classification", contents, Preprocessing(), Training(), device=device, seed=0)
    model = network(name).to(memory_format=torch.channels_last)
    check_model(model, prepare(contents, task), name=name, batch_size=4, seed=0)


def unfit(name: str) -> ConfigurationError:
    """Why a network that can be built is refused with real images, before it trains."""
    with pytest.raises(ConfigurationError) as caught:
        checked(name)
    return caught.value


def dropouts(model: nn.Module) -> list[float]:
    return [part.p for part in model.modules() if isinstance(part, nn.Dropout)]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteModule]:
    """Writes a module of a person's own and gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(source: str) -> str:
        name = f"own_model_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{source}", encoding="utf-8")
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("own_model_"):
            del sys.modules[name]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_own_models_answer_with_a_logit_for_each_class_and_learn(name: str, shape: Shape) -> None:
    torch.manual_seed(0)
    model = network(name, shape, classes=7, dropout=0.1)
    assert model.training
    images = torch.randn(5, *shape).contiguous(memory_format=torch.channels_last)
    output = model(images)
    assert output.shape == (5, 7)
    nn.functional.cross_entropy(output, torch.arange(5)).backward()
    assert all(part.grad is not None and part.grad.any() for part in model.parameters())


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_own_models_have_the_dropout_that_is_asked_for(name: str) -> None:
    shape = RGB if "images" in MODEL_KINDS[name] else (3, 16)
    assert set(dropouts(network(name, shape, dropout=0.3))) == {0.3}
    model = network(name, shape, dropout=0.3)
    images = torch.randn(4, *shape)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize("name", ["velodrome/lstm", "velodrome/gru"])
def test_recurrent_layers_have_dropout_between_them(name: str) -> None:
    inner = [part for part in network(name, dropout=0.3, layers=2).modules() if isinstance(part, nn.RNNBase)]
    assert [part.dropout for part in inner] == [0.3]


def test_arguments_of_own_models_do_what_they_say() -> None:
    linear = [part for part in network("velodrome/mlp", hidden=5, layers=3).modules() if isinstance(part, nn.Linear)]
    assert [part.out_features for part in linear] == [5, 5, 5, 10]
    for name in ("velodrome/cnn", "velodrome/resnet9"):
        first = next(part for part in network(name, width=6).modules() if isinstance(part, nn.Conv2d))
        assert first.out_channels == 6
    for name in ("velodrome/lstm", "velodrome/gru"):
        (inner,) = (
            part
            for part in network(name, hidden=6, layers=2, bidirectional=True).modules()
            if isinstance(part, nn.RNNBase)
        )
        assert (inner.hidden_size, inner.num_layers, inner.bidirectional) == (6, 2, True)


def test_recurrent_networks_answer_from_the_last_state_of_the_last_layer() -> None:
    model = network("velodrome/gru", (1, 6, 5), hidden=4, layers=2, bidirectional=True).eval()
    images = torch.randn(3, 1, 6, 5)
    (inner,) = (part for part in model.modules() if isinstance(part, nn.GRU))
    states, _ = inner(images.squeeze(1))
    # Forwards the last row is seen last, backwards the first.
    last = torch.cat((states[:, -1, :4], states[:, 0, 4:]), dim=1)
    torch.testing.assert_close(model(images), list(model.modules())[-1](last))


# The weights of Velodrome's own image models for seed 3, as version 0.1.0 made them.
UNCHANGED = {
    "velodrome/mlp": "1990196f4edef6f241dc64817982048dcf7987c3c3e53a3c25d7eb5a808747ea",
    "velodrome/cnn": "69afffbd4317d5a75470e84c141f5a709dba6f549335156ee41f283c473b30e3",
    "velodrome/resnet9": "b6bc6d24c78a09824c0017fb741b695ed017f03cf6a54b7d20ea480d451bec8e",
    "velodrome/lstm": "4a589eba1890c7338554ee1a0d704fe0cf42b1f1b50bea3947b3e482038b4602",
    "velodrome/gru": "ea1bd805e370ecef038eddeec5f6675cb07f71ebecd838d71604782c41a27f7b",
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_image_models_start_from_the_same_weights_in_every_version(name: str) -> None:
    torch.manual_seed(3)
    found = hashlib.sha256()
    for key, value in network(name, classes=7, dropout=0.1).state_dict().items():
        found.update(key.encode())
        found.update(value.contiguous().numpy().tobytes())
    assert found.hexdigest() == UNCHANGED[name]


def padded(values: torch.Tensor, more: int) -> torch.Tensor:
    """The sequences with more positions, which hold what no model may look at."""
    return torch.cat([values, torch.full((*values.shape[:2], more), 7.0)], dim=2)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", LENGTH_MODELS)
def test_padding_changes_no_answer(name: str, *, training: bool) -> None:
    torch.manual_seed(0)
    model = network(name, (2, None), classes=4).train(training)
    values, lengths = torch.randn(3, 2, 30), torch.tensor([30, 1, 17])
    for row, length in enumerate(lengths):
        values[row, :, length:] = 0
    expected = model(values, lengths=lengths)
    assert expected.shape == (3, 4)
    torch.testing.assert_close(model(padded(values, 25), lengths=lengths), expected, rtol=1e-4, atol=1e-5)
    if not training:
        for row, length in enumerate(lengths):
            alone = model(values[row : row + 1, :, :length], lengths=lengths[row : row + 1])
            torch.testing.assert_close(alone, expected[row : row + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
@pytest.mark.parametrize("channels", [1, 5])
def test_sequence_models_learn_and_use_all_their_weights(name: str, channels: int) -> None:
    torch.manual_seed(0)
    model = network(name, (channels, 24), classes=3)
    values, labels = torch.randn(12, channels, 24), torch.arange(12) % 3
    values += labels[:, None, None]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(model(values), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(part.grad is not None and part.grad.any() for part in model.parameters())


@pytest.mark.parametrize("name", LENGTH_MODELS)
def test_equal_lengths_need_no_mask(name: str) -> None:
    torch.manual_seed(0)
    plain = network(name, (2, 9), classes=4).eval()
    masked = network(name, (2, None), classes=4).eval()
    masked.load_state_dict(plain.state_dict())
    values = torch.randn(3, 2, 9)
    torch.testing.assert_close(masked(values, lengths=torch.full((3,), 9)), plain(values), rtol=1e-4, atol=1e-5)


def test_a_convolutions_statistics_are_those_of_real_positions() -> None:
    model = network("velodrome/conv1d", (1, None), width=4)
    values, lengths = torch.ones(2, 1, 6), torch.tensor([6, 2])
    first = model.get_submodule("blocks.0")
    seen: list[torch.Tensor] = []
    first.get_submodule("convolution").register_forward_hook(lambda _, inputs, output: seen.append(output))
    model(values, lengths=lengths)
    real = torch.cat([seen[0][0], seen[0][1, :, :2]], dim=1)
    torch.testing.assert_close(first.get_submodule("norm.norm").running_mean, 0.1 * real.mean(1))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("velodrome/cnn", (2, 9), "takes images, and these data are sequences: use one of velodrome/mlp, velo"),
        ("velodrome/gru", (9,), "a running text or documents, and these data are tables: use one of velodrome/mlp"),
        ("velodrome/inceptiontime", RGB, "takes sequences, and these data are images"),
        ("torchvision/resnet18", (9,), "images or images with boxes or images with masks, and these data are tables"),
        ("timm/resnet18", (2, 9), "takes images, and these data are sequences"),
        ("velodrome/mlp", (2, None), "takes sequences of one length, and these differ"),
    ],
)  # fmt: skip
def test_a_model_for_other_data_is_refused(name: str, shape: tuple[int | None, ...], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        network(name, shape)
    assert caught.value.reason == "ModelForwardFailed"
    assert message in str(caught.value)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not width 10 and heads 4"):
        network("velodrome/transformer", (2, 9), width=10)


def test_a_table_of_numbers_has_a_perceptron() -> None:
    model = build(Model(name="velodrome/mlp", args={"hidden": 5}), shape=(7,), outputs=1, dropout=0.0)
    assert model(torch.randn(3, 7)).shape == (3, 1)


@pytest.mark.parametrize("numeric", [2, 0])
def test_categories_have_embeddings(numeric: int) -> None:
    torch.manual_seed(0)
    model = build(
        Model(name="velodrome/mlp", args={"hidden": 8}), shape=(numeric + 5,), classes=3, dropout=0.1,
        cardinalities=(4, 3), numeric=numeric,
    ).eval()  # fmt: skip
    numbers, categories = torch.randn(4, numeric), torch.tensor([[0, 0], [3, 2], [3, 2], [1, 0]])
    numbers[2] = numbers[1]
    output = model(numeric=numbers, categorical=categories)
    assert output.shape == (4, 3)
    torch.testing.assert_close(output[1], output[2])
    changed = categories.clone()
    changed[2, 1] = 1
    assert not torch.equal(model(numeric=numbers, categorical=changed)[2], output[2])
    assert [tuple(part.weight.shape) for part in model.modules() if isinstance(part, nn.Embedding)] == [(4, 2), (3, 2)]
    model.train()
    nn.functional.cross_entropy(model(numeric=numbers, categorical=categories), torch.arange(4) % 3).backward()
    assert all(part.grad is not None for part in model.parameters())


def test_a_factory_is_told_what_it_has_parameters_for(module: WriteModule) -> None:
    name = module("""
def table(shape, outputs, cardinalities, numeric):
    net = nn.Linear(*shape, outputs)
    net.seen = (shape, outputs, cardinalities, numeric)
    return net
""")
    model = build(
        Model(name=f"{name}:table"), shape=(7,), outputs=1, dropout=0.0, cardinalities=(4, 3), numeric=2
    )  # fmt: skip
    assert model.seen == ((7,), 1, (4, 3), 2)


@pytest.mark.parametrize("shape", [(1, 32, 32), RGB, (5, 32, 32)])
def test_timms_models_fit_the_data(shape: Shape) -> None:
    model = network("timm/test_resnet", shape, classes=4, dropout=0.4)
    assert model.training
    assert 0.4 in dropouts(model)
    assert model(torch.randn(3, *shape)).shape == (3, 4)


def test_timms_models_take_a_checked_file_of_weights(tmp_path: Path) -> None:
    import timm

    file = tmp_path / "weights.pt"
    state = timm.create_model("test_resnet", num_classes=9).state_dict()
    torch.save(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    loaded = network("timm/test_resnet", weights=str(file), sha256=digest.upper()).state_dict()
    assert torch.equal(loaded["conv1.0.weight"], state["conv1.0.weight"])
    assert loaded["fc.weight"].shape[0] == 10


@pytest.mark.parametrize(
    ("name", "args", "reason", "message"),
    [
        ("timm/test_resnte", {}, "ModelNotFound", 'did you mean "test_resnet"?'),
        ("timm/qqq", {}, "ModelNotFound", "timm.list_models()"),
        ("timm/test_resnet", {"num_classes": 3}, "ModelArguments", "leave num_classes out of args: it comes from"),
        ("timm/test_resnet", {"pretrained": True}, "ModelArguments", "write weights: PATH and sha256: DIGEST"),
        ("timm/test_resnet", {"qqq": True}, "ModelFactoryFailed", "qqq"),
    ],
)
def test_what_timm_can_not_build_is_reported(name: str, args: dict[str, Any], reason: str, message: str) -> None:
    error = refusal(name, args)
    assert error.reason == reason
    assert message in str(error)


def test_without_timm_its_models_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    error = refusal("timm/resnet18")
    assert error.reason == "ModelNotFound"
    assert "install timm" in str(error)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("velodrome/mlp", {"hiden": 5}, 'takes no hiden (did you mean "hidden"?)'),
        ("velodrome/cnn", {"layers": 5}, "takes no layers (one of: width)"),
        ("velodrome/cnn", {"dropout": 0.5}, "takes no dropout"),
        ("velodrome/cnn", {"width": 0}, "whole number from 1 to 65536 as width, not 0"),
        ("velodrome/cnn", {"width": 1.5}, "as width, not 1.5"),
        ("velodrome/cnn", {"width": True}, "as width, not True"),
        ("velodrome/gru", {"bidirectional": 1}, "true or false as bidirectional, not 1"),
    ],
)
def test_arguments_that_own_models_do_not_take_are_reported(name: str, args: dict[str, Any], message: str) -> None:
    error = refusal(name, args)
    assert error.reason == "ModelArguments"
    assert message in str(error)


def test_the_vocabulary_of_models_is_what_the_runner_builds() -> None:
    assert set(vocabulary.MODEL_ARGS) == {*NATIVE, *DOCUMENTS, *DETECTORS, *SEGMENTING}
    for kind, dense in (("scenes", DETECTORS), ("masks", SEGMENTING)):
        assert set(dense) == {name for name, kinds in MODEL_KINDS.items() if kind in kinds and name[-1] != "/"}
    for name, factory in {**DETECTORS, **SEGMENTING}.items():
        parameters = list(inspect.signature(factory).parameters)
        assert parameters[:3] == ["shape", "outputs", "dropout"]
        assert set(parameters[3:]) == vocabulary.MODEL_ARGS[name]
    for name, factory in NATIVE.items():
        parameters = list(inspect.signature(factory).parameters)
        assert name in MODEL_KINDS
        assert parameters[:3] == ["shape", "classes", "dropout"]
        assert set(parameters[3:]) == vocabulary.MODEL_ARGS[name]
    assert set(DOCUMENTS) == {name for name, kinds in MODEL_KINDS.items() if "documents" in kinds}
    for name, factory in DOCUMENTS.items():
        parameters = list(inspect.signature(factory).parameters)
        assert parameters[:4] == ["vocabulary", "shape", "outputs", "dropout"]
        assert set(parameters[4:]) == vocabulary.MODEL_ARGS[name]
    assert set(LANGUAGE) == {name for name, kinds in MODEL_KINDS.items() if "text" in kinds}
    for name, factory in LANGUAGE.items():
        parameters = list(inspect.signature(factory).parameters)
        assert parameters[:2] == ["vocabulary", "dropout"]
        assert set(parameters[2:]) == vocabulary.MODEL_ARGS[name]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("name", sorted(LANGUAGE))
def test_a_language_model_answers_at_each_place_from_what_it_has_seen(name: str, dropout: float) -> None:
    torch.manual_seed(0)
    model = build(
        Model(name=name, args={"layers": 2}), kind="text", shape=(9,), vocabulary=5, outputs=5, dropout=dropout
    )
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {dropout}
    model.eval()
    tokens = torch.randint(5, (3, 9))
    answers = model(tokens)
    assert answers.shape == (3, 9, 5)
    for place in range(9):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 5
        differs = (model(changed) - answers).abs().amax(2) > 1e-5
        assert not differs[:, :place].any()
        assert differs[:, place].all()
    assert not torch.equal(answers[:, -1], model(tokens.roll(1, 1).where(torch.arange(9) < 8, tokens))[:, -1]), "memory"


def test_a_network_that_reads_a_text_backwards_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="bidirectional is not for a running text") as caught:
        build(
            Model(name="velodrome/lstm", args={"bidirectional": True}), kind="text", shape=(9,), vocabulary=5,
            outputs=5, dropout=0.0,
        )  # fmt: skip
    assert caught.value.reason == "ModelArguments"


def test_a_lazy_layer_behind_an_embedding_gets_its_shape_from_tokens(module: WriteModule) -> None:
    name = module("""
def make(vocabulary, outputs):
    return nn.Sequential(nn.Embedding(vocabulary, 6), nn.LazyLinear(outputs))
""")
    model = build(Model(name=f"{name}:make"), kind="text", shape=(9,), vocabulary=5, outputs=5, dropout=0.0)
    assert model(torch.zeros(2, 9, dtype=torch.long)).shape == (2, 9, 5)


def test_the_vocabulary_of_augmentations_is_what_the_runner_applies() -> None:
    assert set(vocabulary.AUGMENTATION_ARGS) == set(get_args(vocabulary.AugmentationName))
    values: dict[str, Any] = {
        "scale": (0.1, 0.2),
        "ratio": (0.5, 0.6),
        "size": 4,
        "padding": 2,
        "bins": 5,
        "translate": (0.1, 0.2),
        "bits": 3,
        "kernelSize": 3,
        "numOps": 4,
        "magnitude": 6,
        "numMagnitudeBins": 7,
        "clip": False,
        "policy": "svhn",
        "severity": 4,
        "mixtureWidth": 5,
        "chainDepth": 2,
        "allOps": False,
    }
    plain = Normalization(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
    for name, args in vocabulary.AUGMENTATION_ARGS.items():
        given = {arg: values.get(arg, 0.25) for arg in args}
        pipeline = compose([Augmentation.model_validate({"name": name, "args": given})], RGB, plain)
        made = [*pipeline.steps, *(pipeline.mixing.ways if pipeline.mixing else ())]
        assert [type(step).__name__ for step in made] == [name]
        kept = {to_camel(field): value for field, value in vars(made[0]).items()}
        assert {arg: (4, 4) if arg == "size" else given[arg] for arg in args} == {arg: kept[arg] for arg in args}
        assert set(kept) - {"shape"} == args


def test_the_vocabulary_of_data_sets_is_what_the_runner_reads(tmp_path: Path) -> None:
    from torchvision import datasets

    from velodrome.spec import Dataset

    names = set(vocabulary.DATASETS)
    assert set(vocabulary.CLASSES) == names - {"diabetes", "pydoc"}
    assert set(vocabulary.DATA_KINDS) == names | set(vocabulary.FORMATS)
    for name in sorted(names - vocabulary.BUNDLED - {"SVHN", "ImageNet"}):
        given = Dataset.model_validate({"name": name, "source": {"path": "empty"}})
        with pytest.raises(ConfigurationError, match=f"{name} is not whole") as caught:
            load(given, folder=tmp_path, seed=0)
        assert caught.value.reason == "DatasetMissing"
        if name.endswith("MNIST"):  # the classes of the others are in a file
            assert len(getattr(datasets, name).classes) == vocabulary.CLASSES[name]
    digits = load(Dataset(name="digits"), folder=tmp_path, seed=0)
    assert len(digits.facts.classes) == vocabulary.CLASSES["digits"]


@pytest.mark.parametrize("shape", [(1, 32, 32), RGB])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_torchvisions_models_take_grey_images_and_dropout(name: str, shape: Shape) -> None:
    model = network(f"torchvision/{name}", shape, classes=4, dropout=0.4)
    assert model.training
    assert set(dropouts(model)) == {0.4}
    assert model(torch.randn(3, *shape)).shape == (3, 4)


def test_dropout_goes_before_the_last_linear_layer_where_there_is_none() -> None:
    model = network("torchvision/resnet18", dropout=0.4)
    assert [path for path, part in model.named_modules() if isinstance(part, nn.Dropout)] == ["fc.0"]
    assert isinstance(model.get_submodule("fc.1"), nn.Linear)
    seen: dict[str, torch.Tensor] = {}
    for path in ("fc", "fc.1"):
        model.get_submodule(path).register_forward_pre_hook(lambda _, inputs, path=path: seen.update({path: inputs[0]}))
    torch.manual_seed(0)
    model(torch.randn(16, *RGB))
    features, dropped = seen["fc"], seen["fc.1"]
    assert (dropped[features != 0] == 0).float().mean().item() == pytest.approx(0.4, abs=0.05)


def test_a_dropout_of_0_leaves_torchvisions_own() -> None:
    assert dropouts(network("torchvision/mobilenet_v3_small")) == [0.2]
    assert dropouts(network("torchvision/resnet18")) == []


def test_a_grey_image_is_seen_as_its_three_channel_twin() -> None:
    torch.manual_seed(0)
    colour = network("torchvision/resnet18").eval()
    torch.manual_seed(0)
    grey = network("torchvision/resnet18", (1, 32, 32)).eval()
    images = torch.randn(3, 1, 32, 32)
    torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "args", "reason", "message"),
    [
        ("torchvision/resnet81", {}, "ModelNotFound", 'did you mean "resnet18"?'),
        ("torchvision/qqq", {}, "ModelNotFound", "torchvision.models.list_models()"),
        ("torchvision/resnet18", {"num_classes": 3}, "ModelArguments", "leave num_classes out"),
        ("torchvision/resnet18", {"qqq": 3}, "ModelFactoryFailed", "qqq"),
    ],
)
def test_what_torchvision_can_not_build_is_reported(name: str, args: dict[str, Any], reason: str, message: str) -> None:
    error = refusal(name, args)
    assert error.reason == reason
    assert message in str(error)
    assert name.split("/")[1] in str(error)


def test_images_that_are_too_small_for_a_network_are_reported() -> None:
    error = unfit("torchvision/alexnet")
    assert error.reason == "ModelForwardFailed"
    assert "torchvision/alexnet does not take batches of shape (2, 3, 32, 32) in evaluation mode" in str(error)
    assert ". Its images are too small for it: write a larger spec.dataset.imageSize, or another model" in str(error)


def test_a_factory_gets_what_it_has_parameters_for(module: WriteModule) -> None:
    name = module("""
class Net(nn.Sequential):
    def __init__(self, shape, classes, dropout, width):
        super().__init__(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))
        self.seen = (shape, classes, dropout, width)

def linear(features, outputs=10):
    net = nn.Sequential(nn.Flatten(), nn.Linear(features, outputs))
    net.seen = (features, outputs)
    return net

class Zoo:
    net = Net
""")
    assert network(f"{name}:Net", classes=4, dropout=0.2, width=9).seen == (RGB, 4, 0.2, 9)
    assert network(f"{name}:Zoo.net", classes=4, dropout=0.2, width=9).seen == (RGB, 4, 0.2, 9)
    assert network(f"{name}:linear", features=3072).seen == (3072, 10)


def test_dropout_of_a_factory_that_does_not_take_it(module: WriteModule) -> None:
    name = module("""
def taken(dropout):
    return nn.Sequential(nn.Flatten(), nn.Dropout(dropout / 2), nn.Linear(3072, 10))

def none():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 20), nn.ReLU(), nn.Linear(20, 10))

def some():
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(3072, 20), nn.Dropout(0.8), nn.Linear(20, 10))

def convolutions():
    return nn.Sequential(nn.Conv2d(3, 10, 32), nn.Flatten())
""")
    assert dropouts(network(f"{name}:taken", dropout=0.6)) == [0.3]
    assert dropouts(network(f"{name}:some", dropout=0.6)) == [0.6, 0.6]
    assert dropouts(network(f"{name}:some")) == [0.9, 0.8]
    model = network(f"{name}:none", dropout=0.6)
    assert [path for path, part in model.named_modules() if isinstance(part, nn.Dropout)] == ["3.0"]
    network(f"{name}:convolutions")
    error = refusal(f"{name}:convolutions", dropout=0.6)
    assert error.reason == "ModelArguments"
    assert "set training.regularization.dropout to 0" in str(error)


FAILING: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "raises": ("def make():\n    raise RuntimeError('out of ideas')", {}, "ModelFactoryFailed", "out of ideas"),
    "exits": ("def make():\n    raise SystemExit('bye')", {}, "ModelFactoryFailed", "SystemExit: bye"),
    "import raises": ("raise ValueError('bad day')", {}, "ModelFactoryFailed", "ValueError: bad day"),
    "import exits": ("raise SystemExit(2)", {}, "ModelFactoryFailed", "raised SystemExit: 2"),
    "syntax": ("def make(:\n", {}, "ModelFactoryFailed", "SyntaxError"),
    "no network": ("def make():\n    return 5", {}, "ModelFactoryFailed", "int instead of a torch.nn.Module"),
    "no values": (
        "def make():\n    with torch.device('meta'):\n        return nn.Linear(4, 2)",
        {},
        "ModelFactoryFailed",
        "on the device meta, which holds no values: build it on the CPU",
    ),
    "no function": ("make = 5", {}, "ModelNotFound", "no function or class, but int"),
    "other name": ("def make_net():\n    pass", {}, "ModelNotFound", "did you mean make_net?"),
    "missing import": ("import own_model_of_nobody", {}, "ModelNotFound", "needs own_model_of_nobody: install it"),
    "argument unknown": ("def make(width):\n    pass", {"widht": 1}, "ModelArguments", "(args it takes: width)"),
    "argument missing": ("def make(shape, width):\n    pass", {}, "ModelArguments", "width"),
    "argument from the trial": ("def make(classes):\n    pass", {"classes": 5}, "ModelArguments", "leave classes out"),
    "lazy": (
        "def make():\n    return nn.Sequential(nn.LazyLinear(7), nn.Linear(8, 9))",
        {},
        "ModelForwardFailed",
        "a batch of shape (1, 3, 32, 32), by which its lazy layers get their shapes",
    ),
}
OWN_FORWARD = """
class make(nn.Linear):
    def __init__(self):
        super().__init__(3072, 10)

    def forward(self, images):
        """
UNFIT = {
    "forward raises": (
        "def make():\n    return nn.Linear(7, 10)",
        "ModelForwardFailed",
        "does not take batches of shape (2, 3, 32, 32) in evaluation mode: RuntimeError",
    ),
    "forward exits": (
        OWN_FORWARD + "raise SystemExit('bye')",
        "ModelForwardFailed",
        "SystemExit: bye",
    ),
    "view": (
        OWN_FORWARD + "return super().forward(images.view(-1, 3072))",
        "ModelForwardFailed",
        "Batches are in channels-last memory: use reshape where view fails",
    ),
    "output shape": (
        "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 9))",
        "ModelOutputShape",
        "answers 2 samples with the shape (2, 9) in evaluation mode: it must return one logit for each class, (2, 10)",
    ),
    "no tensor": (
        OWN_FORWARD + "return [images]",
        "ModelOutputShape",
        "answers 2 samples with a list in evaluation mode: it must return one tensor",
    ),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_a_network_that_does_not_fit_the_images_is_reported_before_it_trains(fault: str, module: WriteModule) -> None:
    source, reason, message = UNFIT[fault]
    name = f"{module(source)}:make"
    error = unfit(name)
    assert error.reason == reason
    assert message in str(error)
    assert name in str(error)


def test_lazy_layers_have_their_weights_before_anything_is_counted(module: WriteModule) -> None:
    name = module("""
def make():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10))
""")
    torch.manual_seed(3)
    state = torch.get_rng_state()
    model = network(f"{name}:make")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == 3 * 9 * 4 + 4 + 8 + 4 * 900 * 10 + 10
    assert not model.get_buffer("1.running_mean").any(), "the black image is not learned from"


@pytest.mark.parametrize(
    ("shape", "told", "forward", "given"),
    [
        ((6,), {}, "features", 6),
        ((2, 9), {}, "values", 2 * 9),
        ((2, None), {}, "values, lengths", 2 * 64),
        ((5,), {"cardinalities": (3, 4), "numeric": 3}, "numeric, categorical", 3),
    ],
)
def test_lazy_layers_get_the_shape_of_every_kind_of_data(
    shape: tuple[int | None, ...], told: dict[str, Any], forward: str, given: int, module: WriteModule
) -> None:
    name = module(f"""
class make(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.LazyLinear(7)

    def forward(self, {forward}):
        return self.first({forward.partition(",")[0]}.flatten(1))
""")
    model = build(Model(name=f"{name}:make"), shape=shape, classes=3, dropout=0.0, **told)
    assert model.get_parameter("first.weight").shape == (7, given)


@pytest.mark.parametrize("fault", FAILING)
def test_a_factory_that_fails_is_reported_with_its_reason(fault: str, module: WriteModule) -> None:
    source, args, reason, message = FAILING[fault]
    name = f"{module(source)}:make"
    error = refusal(name, args)
    assert error.reason == reason
    assert message in str(error)
    assert name in str(error)


@pytest.mark.parametrize(
    "raising", ["raise MemoryError", "torch.empty(2**60)", 'raise RuntimeError("can\'t allocate memory")']
)
@pytest.mark.parametrize("where", ["factory", "forward"])
def test_memory_that_runs_out_is_no_fault_of_the_factory(raising: str, where: str, module: WriteModule) -> None:
    source = {
        "factory": f"def make():\n    {raising}",
        "forward": f"class make(nn.Linear):\n    def __init__(self):\n        super().__init__(1, 1)\n\n"
        f"    def forward(self, images):\n        {raising}",
    }[where]
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        checked(f"{module(source)}:make")
    failure = explain(caught.value)
    assert failure.reason == "OutOfMemory"


@pytest.mark.parametrize(("wrong", "near"), [("torc", ""), ("Modul", ""), ("n", ""), ("Nte", "Net"), ("maek", "make")])
def test_a_suggestion_names_what_the_module_made(wrong: str, near: str, module: WriteModule) -> None:
    name = module("""
from torch.nn import Module

class Net(Module):
    pass

def make():
    return Net()
""")
    error = refusal(f"{name}:{wrong}")
    assert error.reason == "ModelNotFound"
    assert (f"did you mean {near}?" if near else "check spec.entries[].model.name") in str(error)


def test_a_path_into_a_value_without_attributes_is_reported(module: WriteModule) -> None:
    error = refusal(f"{module('size = 5')}:size.make")
    assert error.reason == "ModelNotFound"


@pytest.mark.parametrize("name", ["own_model_of_nobody:make", "own_model_of_nobody.inner:make"])
def test_a_module_that_is_not_there_is_reported(name: str) -> None:
    error = refusal(name)
    assert error.reason == "ModelNotFound"
    assert "there is no module own_model_of_nobody" in str(error)
    assert "PYTHONPATH" in str(error)


def test_a_file_in_the_place_of_a_module_is_reported(module: WriteModule) -> None:
    name = module("def make(): ...")
    error = refusal(f"{name}.py:make")
    assert error.reason == "ModelNotFound"
    assert f"did you mean {name}:make?" in str(error)


def test_building_checks_without_a_trace(module: WriteModule) -> None:
    """The check must not move running statistics or random numbers, or else results would depend on it."""
    name = module("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Linear(3072, 10)

    def forward(self, images):
        torch.rand(1)
        return self.last(self.norm(images).flatten(1))
""")
    torch.manual_seed(0)
    importlib.import_module(name).Net()
    expected = torch.rand(3)
    torch.manual_seed(0)
    model = network(f"{name}:Net")
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert model.get_submodule("norm").num_batches_tracked == 0


def saved(path: Path, name: str = "resnet18", **args: Any) -> dict[str, torch.Tensor]:
    from torchvision import models

    torch.manual_seed(7)
    state: dict[str, torch.Tensor] = models.get_model(name, weights=None, **args).state_dict()
    torch.save(state, path)
    return state


def test_weights_of_a_file_are_loaded(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    state = saved(file, num_classes=10)
    torch.manual_seed(0)
    loaded = network("torchvision/resnet18", weights=str(file)).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert not torch.equal(network("torchvision/resnet18").state_dict()["fc.weight"], state["fc.weight"])


def test_a_head_for_other_classes_starts_afresh(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    state = saved(file, num_classes=1000)
    loaded = network("torchvision/resnet18", weights=str(file)).state_dict()
    assert loaded["fc.weight"].shape == (10, 512)
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.startswith("fc."))
    grey = network("torchvision/resnet18", (1, 32, 32), weights=str(file)).state_dict()
    assert torch.equal(grey["conv1.weight"], state["conv1.weight"].sum(1, keepdim=True))


def test_weights_from_before_batch_counters_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    state = {key: value for key, value in saved(file).items() if not key.endswith("num_batches_tracked")}
    torch.save(state, file)
    loaded = network("torchvision/resnet18", weights=str(file)).state_dict()
    assert torch.equal(loaded["bn1.running_var"], state["bn1.running_var"])
    assert torch.equal(loaded["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])


def test_densenets_old_names_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    state = saved(file, "densenet121")
    dotted = {re.sub(r"(denselayer\d+\.)(norm|conv)([12])", r"\1\2.\3", key): value for key, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in dotted
    torch.save(dotted, file)
    loaded = network("torchvision/densenet121", weights=str(file)).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.startswith("classifier"))


class Attack:
    """Unpickling it would create a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.witness,))


@pytest.mark.parametrize("by_torch", [True, False])
def test_code_in_weights_is_refused_and_not_run(tmp_path: Path, *, by_torch: bool) -> None:
    file, witness = tmp_path / "weights.pt", tmp_path / "witness"
    content = {"fc.weight": Attack(witness)}
    if by_torch:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content, protocol=2))
    error = refusal("torchvision/resnet18", {"weights": str(file)})
    assert error.reason == "WeightsRefused"
    assert str(file) in str(error)
    assert not witness.exists()
    # The attack would have worked where files are trusted.
    torch.load(file, weights_only=False) if by_torch else pickle.loads(file.read_bytes())  # noqa: S301
    assert witness.exists()


def test_weights_with_another_digest_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet18_Weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / Path(ResNet18_Weights.DEFAULT.url).name
    cached.parent.mkdir(parents=True)
    state = saved(cached)
    right = hashlib.sha256(cached.read_bytes()).hexdigest()
    for weights in (str(cached), "DEFAULT"):
        loaded = network("torchvision/resnet18", weights=weights, sha256=right).state_dict()
        assert torch.equal(loaded["conv1.weight"], state["conv1.weight"])
        error = refusal("torchvision/resnet18", {"weights": weights, "sha256": "0" * 64})
        assert error.reason == "WeightsDigestMismatch"
        assert right in str(error)


@pytest.mark.parametrize(
    ("args", "reason", "message"),
    [
        ({"sha256": "0" * 64}, "ModelArguments", "the digest of args.weights: write both"),
        ({"weights": "a.pt", "sha256": "0" * 63}, "WeightsRefused", "is no SHA-256"),
        ({"weights": "a.pt", "sha256": 5}, "WeightsRefused", "5 is no SHA-256"),
    ],
)
def test_digests_that_are_none_are_refused(args: dict[str, Any], reason: str, message: str) -> None:
    error = refusal("torchvision/resnet18", args)
    assert error.reason == reason
    assert message in str(error)


def nothing(file: Path) -> None:
    """Leaves it missing."""


def cut(file: Path) -> None:
    torch.save({"a": torch.zeros(3)}, file)
    file.write_bytes(file.read_bytes()[:300])


def damaged(file: Path) -> None:
    """The format of torch before 1.6, with a letter that is none."""
    torch.save({"a": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes().replace(b"storage", b"\xe7torage"))


def wider(file: Path) -> None:
    torch.save({**saved(file), "conv1.weight": torch.zeros(128, 3, 7, 7)}, file)


FAULTY_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (nothing, "can't be read"),
    "folder": (Path.mkdir, "can't be read"),
    "empty": (Path.touch, "can't be read"),
    "text": (lambda file: file.write_text("<html>404</html>"), "can't be read"),
    "cut": (cut, "can't be read"),
    "damaged": (damaged, "can't be read"),
    "module": (lambda file: torch.save(nn.Linear(1, 1), file), "can't be read"),
    "number": (lambda file: torch.save({"fc.weight": 5}, file), "holds no state dict"),
    "numbered": (lambda file: torch.save({0: torch.zeros(3)}, file), "holds no state dict"),
    "other model": (lambda file: torch.save({"a": torch.zeros(3)}, file), "are not those of torchvision/resnet18"),
    "wider": (wider, "conv1.weight is (128, 3, 7, 7) instead of (64, 3, 7, 7)"),
}


@pytest.mark.parametrize("fault", FAULTY_FILES)
def test_a_file_that_holds_no_such_weights_is_reported(tmp_path: Path, fault: str) -> None:
    write, message = FAULTY_FILES[fault]
    file = tmp_path / "weights.pt"
    write(file)
    error = refusal("torchvision/resnet18", {"weights": str(file)})
    assert error.reason == "WeightsRefused"
    assert message in str(error)


@pytest.mark.parametrize(
    ("given", "message"),
    [("DEFALT", 'did you mean "DEFAULT"?'), (5, "must be a name or a path, not 5"), (True, "not True")],
)
def test_weights_that_torchvision_does_not_have_are_reported(given: object, message: str) -> None:
    error = refusal("torchvision/resnet18", {"weights": given})
    assert error.reason == "WeightsRefused"
    assert message in str(error)


def test_weights_by_name_are_read_without_running_what_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's cache, where the file would lie after its download, whose hash is only checked then."""
    from torchvision.models import ResNet18_Weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / Path(ResNet18_Weights.DEFAULT.url).name
    file.parent.mkdir(parents=True)
    state = saved(file)
    loaded = network("torchvision/resnet18", weights="DEFAULT").state_dict()
    assert torch.equal(loaded["conv1.weight"], state["conv1.weight"])
    witness = tmp_path / "witness"
    torch.save({"fc.weight": Attack(witness)}, file)
    assert refusal("torchvision/resnet18", {"weights": "DEFAULT"}).reason == "WeightsRefused"
    assert not witness.exists()
