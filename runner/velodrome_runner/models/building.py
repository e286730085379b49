"""Builds the network for a BenchmarkJob's `model`. `velodrome_runner.checks` finds out whether it fits the data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Model
from velodrome.spec.wording import suggestion
from velodrome.tasks import MODEL_KINDS, model_kinds
from velodrome.vocabulary import MODEL_ARGS, DataKind
from velodrome_runner.data.items import KINDS
from velodrome_runner.models.custom import call, find
from velodrome_runner.models.detectors import DETECTORS
from velodrome_runner.models.documents import DOCUMENTS
from velodrome_runner.models.dropout import set_dropout
from velodrome_runner.models.facts import ModelFacts
from velodrome_runner.models.language import LANGUAGE
from velodrome_runner.models.lazy import settle_lazy
from velodrome_runner.models.native import NATIVE
from velodrome_runner.models.segmenting import SEGMENTING
from velodrome_runner.models.tables import embedding_mlp
from velodrome_runner.models.timm import build_timm
from velodrome_runner.models.vision import DENSE, build_torchvision, build_torchvision_dense

_LARGEST = 65536
# The factories for the kinds of data that have their own.
_FACTORIES: Mapping[DataKind, Mapping[str, Callable[..., nn.Module]]] = {
    "text": LANGUAGE,
    "documents": DOCUMENTS,
    "scenes": DETECTORS,
    "masks": SEGMENTING,
}
_NOUNS: Mapping[DataKind, str] = {
    "images": "images",
    "sequences": "sequences",
    "table": "tables",
    "text": "a running text",
    "documents": "documents",
    "scenes": "images with boxes",
    "masks": "images with masks",
}


def build(  # noqa: PLR0913 - the facts of `ModelFacts`
    model: Model,
    *,
    shape: tuple[Any, ...],
    dropout: float,
    classes: int | None = None,
    outputs: int | None = None,
    cardinalities: tuple[int, ...] | None = None,
    numeric: int | None = None,
    vocabulary: int | None = None,
    kind: DataKind | None = None,
) -> nn.Module:
    """A new network for samples of `shape` with one output for each class, or `outputs` outputs.

    `ModelFacts` has the meaning of all facts but `dropout`. Without a `kind`, the number of the shape's axes tells it.

    Weights come from torch's global random generator: seed it first. The network is on the CPU, in training mode.

    `dropout` goes to the model's parameter of that name, if it has one: Velodrome's own models do, and a factory may.
    In any other model, 0 changes nothing. A larger value is set in all its Dropout layers, or, if it has none, in a new
    one before its last Linear layer.

    Raises:
        ConfigurationError: there is no such model, it does not accept these arguments (`ModelArguments`), its factory
            raised (`ModelFactoryFailed`), or it is for another kind of data (`ModelForwardFailed`).
            Lazy layers that can't take such samples are `ModelForwardFailed` too.
        TrialFailed: pretrained weights could not be downloaded (`WeightsDownloadFailed`).
    """
    told = ModelFacts(
        kind or KINDS[len(shape)], shape, outputs or classes or 1, classes, cardinalities, numeric, vocabulary
    )
    if model.name in MODEL_ARGS:
        network, took_dropout = _native(model, told, dropout), True
    elif model.name.startswith(("torchvision/", "timm/")):
        _check_kind(model.name, told.kind)
        network, took_dropout = _of_library(model, told), False
    else:
        network, took_dropout = call(find(model.name), model, {**told.parameters, "dropout": dropout})
    settle_lazy(network, model.name, told)
    if dropout and not took_dropout:
        set_dropout(network, dropout, model.name)
    return network.train()


def _check_kind(name: str, kind: DataKind) -> None:
    takes = model_kinds(name) or (kind,)
    if kind not in takes:
        able = [other for other, kinds in MODEL_KINDS.items() if kind in kinds and not other.endswith("/")]
        raise ConfigurationError(
            f"{name} takes {' or '.join(_NOUNS[each] for each in takes)}, and these data are {_NOUNS[kind]}: "
            f"use one of {', '.join(able)}",
            "ModelForwardFailed",
        )


def _of_library(model: Model, told: ModelFacts) -> nn.Module:
    make = build_torchvision if model.name.startswith("torchvision/") else build_timm
    if told.kind in DENSE:
        return build_torchvision_dense(model.name, dict(model.args), told.shape, told.outputs, told.kind)
    return make(model.name, dict(model.args), told.shape, told.outputs)


def _native(model: Model, told: ModelFacts, dropout: float) -> nn.Module:
    _check_kind(model.name, told.kind)
    factory = _FACTORIES.get(told.kind, NATIVE)[model.name]
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    _check_arguments(model, defaults)
    if model.name == "velodrome/mlp" and told.cardinalities and told.numeric is not None:
        return embedding_mlp(told.numeric, told.cardinalities, told.outputs, dropout, **model.args)  # type: ignore[arg-type]  # checked above
    sample: tuple[Any, ...] = (told.shape, told.outputs)
    if told.vocabulary is not None:
        sample = (told.vocabulary,) if told.kind == "text" else (told.vocabulary, *sample)
    return factory(*sample, dropout, **model.args)


def _check_arguments(model: Model, defaults: Mapping[str, int | bool]) -> None:
    for name, value in model.args.items():
        if name not in defaults:
            problem = f"takes no {name} ({suggestion(name, defaults)})"
        elif isinstance(defaults[name], bool):
            problem = "" if isinstance(value, bool) else f"needs true or false as {name}, not {value!r}"
        elif isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
            problem = f"needs a whole number from 1 to {_LARGEST} as {name}, not {value!r}"
        else:
            problem = ""
        if problem:
            raise ConfigurationError(f"{model.name} {problem}", "ModelArguments")
