"""Builds the network for a BenchmarkJob's `model`, and checks that it fits the data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Model
from velodrome.spec.wording import suggestion
from velodrome_runner.models.checking import check_output
from velodrome_runner.models.custom import call, find
from velodrome_runner.models.dropout import set_dropout
from velodrome_runner.models.native import NATIVE
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
) -> nn.Module:
    """A new network for samples of `shape` with one output for each class, or `outputs` outputs.

    Weights come from torch's global random generator: seed it first. The network is on the CPU, in training mode.

    `dropout` goes to the model's parameter of that name, if it has one: Velodrome's own models do, and a factory may.
    In any other model, 0 changes nothing. A larger value is set in all its Dropout layers, or, if it has none, in a new
    one before its last Linear layer.

    Raises:
        ConfigurationError: there is no such model, it does not accept these arguments (`ModelArguments`), its factory
            raised (`ModelFactoryFailed`), it can't read such images (`ModelForwardFailed`), or its output does not have
            the shape (n, classes) (`ModelOutputShape`).
        TrialFailed: pretrained weights could not be downloaded (`WeightsDownloadFailed`).
    """
    needed = classes or outputs or 1
    given = {"shape": shape, "classes": classes, "outputs": needed, "cardinalities": cardinalities, "dropout": dropout}
    if model.name in NATIVE:
        network, took_dropout = _native(model, shape, needed, dropout), True
    elif model.name.startswith("torchvision/"):
        network, took_dropout = build_torchvision(model.name, dict(model.args), shape, needed), False
    else:
        told = {name: value for name, value in given.items() if value is not None}
        network, took_dropout = call(find(model.name), model, told)
    _check(network, model.name, shape, needed)
    if dropout and not took_dropout:
        set_dropout(network, dropout, model.name)
        _check(network, model.name, shape, needed)
    return network


def _check(network: nn.Module, name: str, shape: tuple[Any, ...], outputs: int) -> None:
    """Checks a network for images; others are checked with real samples (`velodrome_runner.checks`)."""
    if len(shape) == 3:
        check_output(network, name, shape, outputs)


def _native(model: Model, shape: tuple[Any, ...], classes: int, dropout: float) -> nn.Module:
    factory = NATIVE[model.name]
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    _check_arguments(model, defaults)
    return factory(shape, classes, dropout, **model.args)


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
