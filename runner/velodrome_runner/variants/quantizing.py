"""Whole numbers of 8 bits in place of a model's weights, by torch's dynamic quantization.

It is torch.ao's. Without a compiler, torchao's int8 takes longer than float32 for one sample on a CPU
(`benchmarks/bench_variants.py`).
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome.text import counted
from velodrome_runner.footprint import parameters
from velodrome_runner.log import first_line

_Place = tuple[nn.Module, str]  # a module, and the attribute of it
_KINDS: tuple[type[nn.Module], ...] = (nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell)


def quantized(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The model with int8 weights in its linear and recurrent layers, and what was done, in words.

    Layers are replaced in place. Their inputs are quantized at each call, by the range that they have there.

    Raises:
        ConfigurationError: reason NothingToOptimize or OptimizeFailed.
    """
    whole = nn.Sequential(model) if type(model) in _KINDS else model  # torch replaces the layers below a module
    layers = [layer for layer in whole.modules() if type(layer) in _KINDS]
    if not layers:
        raise ConfigurationError(
            f"int8-dynamic quantizes linear, LSTM and GRU layers, and {name} has none: leave the step out",
            "NothingToOptimize",
        )
    if any(getattr(layer, "proj_size", 0) for layer in layers):
        raise ConfigurationError(
            f"{name} can't be quantized: torch has no int8 LSTM with a proj_size: leave the step out", "OptimizeFailed"
        )
    weights = parameters(nn.ModuleList(layers), trainable=False)
    total = parameters(whole, trainable=False)
    places = _places(whole, layers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces torchao in its place, which is slower here
            from torch.ao.quantization import quantize_dynamic

            made: nn.Module = quantize_dynamic(whole, set(_KINDS), dtype=torch.qint8, inplace=True)
    except Exception as error:
        raise ConfigurationError(
            f"{name} can't be quantized: {type(error).__name__}: {first_line(error)}", "OptimizeFailed"
        ) from error
    for first, others in places:  # torch replaces a layer at its first place alone
        for parent, attribute in others:
            setattr(parent, attribute, getattr(*first))
    _without_fast_path(made)
    return made, f"quantize int8-dynamic: {counted(len(layers), 'layer')} with {weights:,} of {total:,} parameters"


def _places(model: nn.Module, layers: list[nn.Module]) -> list[tuple[_Place, list[_Place]]]:
    """Where those layers are that have several places in the model, in the order in which torch comes to them."""
    found: dict[nn.Module, list[_Place]] = {layer: [] for layer in layers}
    for parent in model.modules():
        for attribute, child in parent._modules.items():  # noqa: SLF001 - `named_children` names each child once
            if child is not None and child in found:
                found[child].append((parent, attribute))
    return [(places[0], places[1:]) for places in found.values() if len(places) > 1]


def _without_fast_path(model: nn.Module) -> None:
    """Keeps torch from its fused layer of a transformer, which reads weights in float32, and from what feeds it.

    An encoder feeds it with nested tensors where a mask says what is padding, and int8 layers take none.
    """
    for layer in model.modules():
        if isinstance(layer, nn.TransformerEncoderLayer):
            layer.activation_relu_or_gelu = 0
        elif isinstance(layer, nn.TransformerEncoder):
            layer.use_nested_tensor = False
