"""Gives lazy layers of torch (`nn.LazyLinear` and the like) their shapes and weights."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from velodrome.errors import ConfigurationError
from velodrome_runner.log import words
from velodrome_runner.memory import ran_out


def settle_lazy(network: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    """Sends one black image through a network that has lazy layers, and leaves torch's random state as it was.

    Raises:
        ConfigurationError: reason ModelForwardFailed.
    """
    if not any(is_lazy(tensor) for tensor in chain(network.parameters(), network.buffers())):
        return
    images = torch.zeros(1, *shape).contiguous(memory_format=torch.channels_last)
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            network(images)
    except (Exception, SystemExit) as error:  # any exception of a model is the reason of its trial
        if ran_out(error):
            raise
        raise ConfigurationError(
            f"{name} does not take a batch of shape {tuple(images.shape)}, by which its lazy layers get their shapes: "
            f"{type(error).__name__}: {words(error)}",
            "ModelForwardFailed",
        ) from error
