"""Checks that a network accepts the images and returns one output for each class."""

from __future__ import annotations

import torch
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome_runner.log import words
from velodrome_runner.memory import ran_out

_SAMPLES = 2


def check_output(network: nn.Module, name: str, shape: tuple[int, int, int], classes: int) -> None:
    """Sends two black images through the network in evaluation mode, and leaves it in training mode.

    Changes neither the network's running statistics nor torch's random state.

    Raises:
        ConfigurationError: reason ModelForwardFailed or ModelOutputShape.
    """
    images = torch.zeros(_SAMPLES, *shape).contiguous(memory_format=torch.channels_last)
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            output = network(images)
    except (Exception, SystemExit) as error:  # any exception of a model is the reason of its trial
        if ran_out(error):
            raise
        said = words(error)
        hint = ". Batches are in channels-last memory: use reshape where view fails" if "view" in said else ""
        batch = f"(n, {', '.join(map(str, shape))})"
        raise ConfigurationError(
            f"{name} does not take batches of shape {batch}: {type(error).__name__}: {said}{hint}",
            "ModelForwardFailed",
        ) from error
    network.train()
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if found != (_SAMPLES, classes):
        raise ConfigurationError(
            f"{name} answers {_SAMPLES} images with {found} instead of {(_SAMPLES, classes)}: it must return one "
            "logit for each class, (n, classes)",
            "ModelOutputShape",
        )
