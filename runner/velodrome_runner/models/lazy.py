"""Gives lazy layers of torch (`nn.LazyLinear` and the like) their shapes and weights."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from velodrome.errors import ConfigurationError
from velodrome_runner.inputs.base import Inputs, apply, parameters
from velodrome_runner.log import words
from velodrome_runner.memory import ran_out
from velodrome_runner.models.facts import ModelFacts

_STEPS = 64  # of the sequence that settles a model for sequences of different lengths


def settle_lazy(network: nn.Module, name: str, told: ModelFacts) -> None:
    """Sends one sample of zeros through a network that has lazy layers, and leaves torch's random state as it was.

    Raises:
        ConfigurationError: reason ModelForwardFailed.
    """
    if not any(is_lazy(tensor) for tensor in chain(network.parameters(), network.buffers())):
        return
    sample = _sample(parameters(network), told)
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            apply(network, sample)
    except (Exception, SystemExit) as error:  # any exception of a model is the reason of its trial
        if ran_out(error):
            raise
        shapes = [tuple(each.shape) for each in ([sample] if isinstance(sample, Tensor) else sample.values())]
        raise ConfigurationError(
            f"{name} does not take a batch of shape {' and '.join(map(str, shapes))}, by which its lazy layers get "
            f"their shapes: {type(error).__name__}: {words(error)}",
            "ModelForwardFailed",
        ) from error


def _sample(names: tuple[str, ...], told: ModelFacts) -> Inputs:
    """What a forward with parameters of these names is called with, for one sample of zeros."""
    if {"numeric", "categorical"} <= set(names) and told.numeric is not None:
        return {
            "numeric": torch.zeros(1, told.numeric),
            "categorical": torch.zeros(1, len(told.cardinalities or ()), dtype=torch.int64),
        }
    sizes = [_STEPS if size is None else size for size in told.shape]
    values = torch.zeros(1, *sizes, dtype=torch.float32 if told.vocabulary is None else torch.int64)
    if told.kind == "sequences" and "lengths" in names:
        first = next(name for name in names if name != "lengths")
        return {first: values, "lengths": torch.tensor([sizes[1]])}
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
