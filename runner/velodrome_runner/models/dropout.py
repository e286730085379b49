"""Dropout for models without a parameter for it."""

from __future__ import annotations

from torch import nn

from velodrome.errors import ConfigurationError


def set_dropout(network: nn.Module, dropout: float, name: str) -> None:
    """Sets this probability in all Dropout layers. If there are none, puts one before the last Linear layer.

    Raises:
        ConfigurationError: the network has no Dropout and no Linear layer.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    for layer in layers:
        layer.p = dropout
    if layers:
        return
    # Attention has a special Linear and uses its weights without calling it. So only plain Linear layers can be
    # wrapped.
    linear = [(path, module) for path, module in network.named_modules() if type(module) is nn.Linear]
    if not linear or linear[-1][0] == "":
        raise ConfigurationError(
            f"{name} has no layer that dropout could be put before: set training.regularization.dropout to 0 for this "
            "entry, or give its factory a parameter called dropout",
            "ModelArguments",
        )
    path, last = linear[-1]
    network.set_submodule(path, nn.Sequential(nn.Dropout(dropout), last))
