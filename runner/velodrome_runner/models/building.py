"""Builds the network for a BenchmarkJob's `model`. `velodrome_runner.checks` finds out whether it fits the data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Model
from velodrome.spec.wording import suggestion
from velodrome_runner.models.custom import call, find
from velodrome_runner.models.dropout import set_dropout
from velodrome_runner.models.lazy import settle_lazy
from velodrome_runner.models.native import IMAGES, KINDS, NATIVE, TAKES
from velodrome_runner.models.tables import embedding_mlp
from velodrome_runner.models.timm import build_timm
from velodrome_runner.models.vision import build_torchvision

_LARGEST = 65536


def build(
    model: Model,
    *,
    shape: tuple[Any, ...],
    dropout: float,
    classes: int | None = None,
    outputs: int | None = None,
    cardinalities: tuple[int, ...] | None = None,
    numeric: int | None = None,
) -> nn.Module:
    """A new network for samples of `shape` with one output for each class, or `outputs` outputs.

    `shape` is (channels, height, width) of images, (channels, length) of sequences with None where lengths differ, or
    (features,) of tables. `cardinalities` has the number of categories of each categorical column of a table, and
    `numeric` the number of its other columns.

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
    needed = classes or outputs or 1
    if model.name in NATIVE:
        network = _native(model, shape, needed, dropout, cardinalities or (), numeric)
        took_dropout = True
    elif model.name.startswith(("torchvision/", "timm/")):
        _check_kind(model.name, shape, (IMAGES,))
        make = build_torchvision if model.name.startswith("torchvision/") else build_timm
        network, took_dropout = make(model.name, dict(model.args), shape, needed), False
    else:
        facts = {"shape": shape, "classes": classes, "outputs": needed, "cardinalities": cardinalities}
        told = {name: value for name, value in {**facts, "numeric": numeric}.items() if value is not None}
        network, took_dropout = call(find(model.name), model, {**told, "dropout": dropout})
    settle_lazy(network, model.name, shape, cardinalities or (), numeric)
    if dropout and not took_dropout:
        set_dropout(network, dropout, model.name)
    return network.train()


def _check_kind(name: str, shape: tuple[Any, ...], takes: tuple[int, ...]) -> None:
    if len(shape) not in takes:
        able = [other for other, kinds in TAKES.items() if len(shape) in kinds]
        raise ConfigurationError(
            f"{name} takes {' or '.join(KINDS[kind] for kind in takes)}, and these data are {KINDS[len(shape)]}: "
            f"use one of {', '.join(able)}",
            "ModelForwardFailed",
        )


def _native(
    model: Model,
    shape: tuple[Any, ...],
    outputs: int,
    dropout: float,
    cardinalities: tuple[int, ...],
    numeric: int | None,
) -> nn.Module:
    factory = NATIVE[model.name]
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    _check_arguments(model, defaults)
    _check_kind(model.name, shape, TAKES[model.name])
    if model.name == "velodrome/mlp" and cardinalities and numeric is not None:
        return embedding_mlp(numeric, cardinalities, outputs, dropout, **model.args)  # type: ignore[arg-type]  # checked above
    return factory(shape, outputs, dropout, **model.args)


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
