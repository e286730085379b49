"""The size of a model: its parameters, its bytes, and the arithmetic for one sample (`velodrome_runner.flops`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from velodrome_runner.flops import count_flops as flops
from velodrome_runner.flops import definition as flops_definition

__all__ = ["flops", "flops_definition", "model_bytes", "parameters"]


def model_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, and of what else the state of the model holds. A shared one counts once.

    Quantised layers keep their weights in packed form, which is no parameter: they count with their scales.
    """
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    named = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    named |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
    again = {name for name, _ in model.named_modules(remove_duplicate=False)} - dict(model.named_modules()).keys()
    others = [
        value
        for name, value in model.state_dict(keep_vars=True).items()
        if name not in named and not name.startswith(tuple(f"{each}." for each in again))
    ]
    return sum(map(_bytes, tensors.values())) + _bytes(others)


def parameters(model: nn.Module, *, trainable: bool = True) -> int:
    """Number of parameters, or of the trainable ones alone. A shared one counts once."""
    return sum(each.numel() for each in model.parameters() if each.requires_grad or not trainable)


def _bytes(value: Any) -> int:
    """Bytes of all tensors in a value. What holds none has 0."""
    if isinstance(value, Tensor):
        return _tensor_bytes(value)
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_bytes, value))
    if isinstance(value, torch.ScriptObject) and hasattr(value, "__getstate__"):
        return _bytes(value.__getstate__())
    return 0


def _tensor_bytes(tensor: Any) -> int:
    if is_traceable_wrapper_subclass(tensor):  # one that stands for others, such as torchao's quantised weights
        names, _ = tensor.__tensor_flatten__()
        return sum(_tensor_bytes(getattr(tensor, name)) for name in names)
    size = int(tensor.numel() * tensor.element_size())
    if tensor.is_quantized and tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
        size += _tensor_bytes(tensor.q_per_channel_scales()) + _tensor_bytes(tensor.q_per_channel_zero_points())
    return size
