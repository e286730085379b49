"""Your own models: `package.module:factory`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from velodrome.errors import ConfigurationError, VelodromeError
from velodrome.spec import Model
from velodrome.spec.wording import close_match
from velodrome_runner.log import words
from velodrome_runner.memory import ran_out

_FROM_TRIAL = {
    "shape": "it comes from the data set",
    "classes": "it comes from the data set",
    "outputs": "it comes from the data set",
    "cardinalities": "it comes from the data set",
    "numeric": "it comes from the data set",
    "dropout": "set training.regularization.dropout",
}


def find(name: str) -> Callable[..., Any]:
    """The factory that `package.module:factory` names.

    Raises:
        ConfigurationError: reason ModelNotFound, or ModelFactoryFailed if importing it raises.
    """
    module_name, _, path = name.partition(":")
    found: Any = _imported(module_name, name)
    for part in path.split("."):
        near = close_match(part, _own_names(found, module_name))
        try:
            found = getattr(found, part)
        except AttributeError as error:
            hint = f"did you mean {near}?" if near else "check spec.entries[].model.name"
            raise ConfigurationError(f"{name}: {module_name} has no {path} ({hint})", "ModelNotFound") from error
    if not callable(found):
        raise ConfigurationError(f"{name} is no function or class, but {type(found).__name__}", "ModelNotFound")
    factory: Callable[..., Any] = found
    return factory


def call(factory: Callable[..., Any], model: Model, given: Mapping[str, Any]) -> tuple[nn.Module, bool]:
    """The factory's network, and whether the factory took `dropout`.

    The factory gets the model's args, and of what is `given` by the trial what it has parameters for: `shape`,
    `classes`, `outputs`, `cardinalities` and `dropout`.

    Raises:
        ConfigurationError: reason ModelArguments or ModelFactoryFailed.
    """
    parameters = _parameters(factory)
    for name in model.args:
        if name in _FROM_TRIAL:
            raise ConfigurationError(f"{model.name}: leave {name} out of args: {_FROM_TRIAL[name]}", "ModelArguments")
    passed = {name: value for name, value in given.items() if name in parameters}
    try:
        inspect.signature(factory).bind(**model.args, **passed)
    except TypeError as error:
        own = ", ".join(name for name in parameters if name not in given) or "nothing"
        raise ConfigurationError(
            f"{model.name} does not take these args: {error} (args it takes: {own})", "ModelArguments"
        ) from error
    except ValueError:  # a builtin without a signature: the call itself will raise if the arguments are wrong
        pass
    return run_factory(model.name, factory, {**model.args, **passed}), "dropout" in passed


def run_factory(name: str, factory: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    """The network that the factory makes from the arguments.

    Raises:
        ConfigurationError: reason ModelFactoryFailed: it raised, or returned something else than a network with values.
    """
    try:
        network = factory(**arguments)
    # Every exception of a factory goes into the trial's record. If it ended the process, no record would say why.
    except (Exception, SystemExit) as error:
        if ran_out(error) or isinstance(error, VelodromeError):
            raise
        raise ConfigurationError(
            f"{name} raised {type(error).__name__}: {words(error)}", "ModelFactoryFailed"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigurationError(
            f"{name} returned {type(network).__name__} instead of a torch.nn.Module", "ModelFactoryFailed"
        )
    if any(value.is_meta for value in (*network.parameters(), *network.buffers())):
        raise ConfigurationError(
            f"{name} returned a network on the device meta, which holds no values: build it on the CPU",
            "ModelFactoryFailed",
        )
    return network


def _own_names(place: Any, module: str) -> list[str]:
    """What may be called in a module or class, and was made in the same top-level package: no imported library."""
    top = module.partition(".")[0]
    found = {name: getattr(place, name, None) for name in dir(place) if not name.startswith("__")}
    return [
        name
        for name, value in found.items()
        if callable(value) and str(getattr(value, "__module__", None)).partition(".")[0] == top
    ]


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except ValueError:
        return {}


def _imported(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"{name}: importing {module} needs {error.name}: install it", "ModelNotFound"
            ) from error
        fix = "install it for the runner, or put its folder on PYTHONPATH"
        if module.endswith(".py"):
            fix = f"a module is named without .py: did you mean {name.replace('.py:', ':', 1)}?"
        raise ConfigurationError(f"{name}: there is no module {error.name}: {fix}", "ModelNotFound") from error
    except (Exception, SystemExit) as error:  # importing runs the user's code, which may raise anything
        if ran_out(error):
            raise
        raise ConfigurationError(
            f"{name}: importing {module} raised {type(error).__name__}: {words(error)}", "ModelFactoryFailed"
        ) from error
