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
from velodrome_runner.log import first_line

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
    weights = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    total = sum(parameter.numel() for parameter in whole.parameters())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces torchao in its place, which is slower here
            from torch.ao.quantization import quantize_dynamic

            made: nn.Module = quantize_dynamic(whole, set(_KINDS), dtype=torch.qint8, inplace=True)
    except Exception as error:
        raise ConfigurationError(
            f"{name} can't be quantized: {type(error).__name__}: {first_line(error)}", "OptimizeFailed"
        ) from error
    _without_fast_path(made)
    return made, f"quantize int8-dynamic: {counted(len(layers), 'layer')} with {weights:,} of {total:,} parameters"


def _without_fast_path(model: nn.Module) -> None:
    """Keeps torch from its fused layer of a transformer, which reads weights in float32."""
    for layer in model.modules():
        if isinstance(layer, nn.TransformerEncoderLayer):
            layer.activation_relu_or_gelu = 0
