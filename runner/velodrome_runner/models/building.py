"""From a BenchmarkJob's `model` to a network that is known to fit the data."""

from __future__ import annotations

from torch import nn

from velodrome.spec import Model
from velodrome_runner.models import convolutional


def build(model: Model, *, shape: tuple[int, int, int], classes: int, dropout: float) -> nn.Module:
    """A fresh network for images of `shape` (channels, height, width) with one output per class.

    Weights come from torch's global random generator: seed it first. The network is on the CPU, in training mode.

    Raises:
        ConfigurationError: there is no such model, it does not take these arguments, its factory raised, or its output
            does not have the shape (n, classes).
    """
    name = model.name.removeprefix("velodrome/")
    return getattr(convolutional, name)(shape, classes, dropout, **model.args)  # type: ignore[no-any-return]
