"""Sets the smallest weights of a model to 0, by torch's pruning."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from velodrome.errors import ConfigurationError


def pruned(model: nn.Module, amount: float) -> str:
    """Sets this share of the weights of all layers together to 0, in place: those with the smallest absolute values.

    Weights are the trainable parameters with two axes or more, so biases and norms stay. The mask is made permanent,
    and the tensors keep their size. Returns what was done, in words.

    Raises:
        ConfigurationError: reason NothingToOptimize: so small a share of so few weights is none.
    """
    weights = list(_weights(model))
    total = sum(getattr(layer, name).numel() for layer, name in weights)
    if round(amount * total) == 0:
        raise ConfigurationError(
            f"prune: {amount:g} of {total:,} weights is less than one: write a larger amount", "NothingToOptimize"
        )
    formats = [_memory_format(getattr(layer, name)) for layer, name in weights]
    with torch.no_grad():
        for layer, name in weights:  # torch's pruning takes no other format
            getattr(layer, name).data = getattr(layer, name).data.contiguous()
        prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=amount)
        for layer, name in weights:
            prune.remove(layer, name)
        for (layer, name), form in zip(weights, formats, strict=True):
            getattr(layer, name).data = getattr(layer, name).data.contiguous(memory_format=form)
        zeros = sum(int((getattr(layer, name) == 0).sum()) for layer, name in weights)
    return f"prune: {zeros:,} of {total:,} weights are 0"


def nonzero(model: nn.Module) -> int:
    """How many trainable parameters are not 0. A shared one counts once."""
    return sum(int(torch.count_nonzero(one.detach())) for one in model.parameters() if one.requires_grad)


def _memory_format(weight: Tensor) -> torch.memory_format:
    last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _weights(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Each weight once, as its layer and its name there; one that layers share is of the first of them."""
    seen: set[int] = set()
    for layer in model.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.requires_grad and parameter.ndim > 1 and id(parameter) not in seen:
                seen.add(id(parameter))
                yield layer, name
