"""Velodrome's models for sequences: recurrent networks, convolutions over time, and a transformer's encoder.

Each is called with `values` (n, channels, longest) float32 and, where lengths differ, `lengths` (n,) int64: how many
positions of each sequence are real. What lies behind a sequence's end changes nothing: its answer is the same, however
far its batch is padded. Batch normalisation takes its statistics from real positions alone.

Each factory accepts the shape of a sequence, (channels, length) with None where lengths differ, the number of outputs,
the dropout, and its arguments in `velodrome.vocabulary.MODEL_ARGS`.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from velodrome.errors import ConfigurationError

Shape = tuple[int, int | None]


class Recurrent(nn.Module):
    """An LSTM or GRU over a sequence, and a linear layer over its last layer's state after the last real position."""

    def __init__(self, network: nn.LSTM | nn.GRU, dropout: float, outputs: int, *, equal: bool) -> None:
        """`equal` says that all sequences have the same length."""
        super().__init__()
        self.network = network
        self.equal = equal
        self.directions = 2 if network.bidirectional else 1
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.directions * network.hidden_size, outputs)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        steps = values.transpose(1, 2)
        if lengths is None or self.equal:
            _, state = self.network(steps)
        elif not self.network.bidirectional:
            # Forwards, padding comes too late to change what is taken. Packing would skip it, but costs more time.
            outputs, _ = self.network(steps)
            return self._answer(outputs[torch.arange(len(outputs), device=outputs.device), lengths - 1])
        else:
            # torch wants the lengths on the CPU.
            packed = nn.utils.rnn.pack_padded_sequence(steps, lengths.cpu(), batch_first=True, enforce_sorted=False)
            _, state = self.network(packed)
        hidden = state[0] if isinstance(state, tuple) else state
        # Forwards the last real position is seen last, backwards the first one.
        return self._answer(hidden[-self.directions :].transpose(0, 1).flatten(1))

    def _answer(self, last: Tensor) -> Tensor:
        output: Tensor = self.head(self.dropout(last))
        return output


def recurrent(
    kind: type[nn.LSTM | nn.GRU], shape: Shape, outputs: int, dropout: float, hidden: int, layers: int, *, both: bool
) -> nn.Module:
    """An LSTM or GRU over the positions; dropout between layers and before the linear layer at the end."""
    channels, longest = shape
    network = kind(
        channels,
        hidden,
        layers,
        batch_first=True,
        # torch warns about dropout between layers if there is only one layer.
        dropout=dropout if layers > 1 else 0.0,
        bidirectional=both,
    )
    return Recurrent(network, dropout, outputs, equal=longest is not None)


class _Norm(nn.Module):
    """Batch normalisation over real positions. Padding is 0 afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, values: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            whole: Tensor = self.norm(values)
            return whole
        if not self.training:
            real_only: Tensor = self.norm(values) * mask
            return real_only
        positions, real = values.transpose(1, 2), mask[:, 0].bool()
        normed = torch.zeros_like(positions, dtype=values.dtype)
        normed[real] = self.norm(positions[real]).to(values.dtype)
        return normed.transpose(1, 2)


class _Convolution(nn.Module):
    """A convolution that keeps the length, batch normalisation and, unless it is told otherwise, ReLU."""

    def __init__(self, before: int, after: int, kernel: int, *, active: bool = True) -> None:
        super().__init__()
        self.padding = ((kernel - 1) // 2, kernel // 2)
        self.convolution = nn.Conv1d(before, after, kernel, bias=False)
        self.norm = _Norm(after)
        self.active = active

    def forward(self, values: Tensor, mask: Tensor | None) -> Tensor:
        normed: Tensor = self.norm(self.convolution(F.pad(values, self.padding)), mask)
        return normed.relu() if self.active else normed


class Convolutions(nn.Module):
    """Blocks over `values` and the mask of real positions, their mean over real positions, and a linear layer."""

    def __init__(self, blocks: list[nn.Module], width: int, dropout: float, outputs: int, *, equal: bool) -> None:
        """`equal` says that all sequences have the same length."""
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.equal = equal
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None or self.equal else _real(values, lengths)
        values = values if mask is None else values * mask
        for block in self.blocks:
            values = block(values, mask)
        output: Tensor = self.head(self.dropout(_mean(values, mask)))
        return output


def conv1d(shape: Shape, classes: int, dropout: float, width: int = 128) -> nn.Module:
    """Three convolutions over time with 1, 2 and 1 times `width` channels; kernels of 8, 5 and 3.

    Source: Z. Wang, W. Yan, T. Oates, "Time series classification from scratch with deep neural networks: a strong
    baseline" (2017), the fully convolutional network.
    """
    channels, longest = shape
    sizes = [channels, width, 2 * width, width]
    blocks: list[nn.Module] = [
        _Convolution(before, after, kernel) for (before, after), kernel in zip(pairwise(sizes), (8, 5, 3), strict=True)
    ]
    return Convolutions(blocks, width, dropout, classes, equal=longest is not None)


class _Inception(nn.Module):
    """Convolutions of three lengths, and a maximum, side by side."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(before, width, 1, bias=False) if before > 1 else nn.Identity()
        narrow = width if before > 1 else before
        self.kernels = (40, 20, 10)
        self.convolutions = nn.ModuleList(nn.Conv1d(narrow, width, kernel, bias=False) for kernel in self.kernels)
        self.pooled = nn.Conv1d(before, width, 1, bias=False)
        self.norm = _Norm(4 * width)

    def forward(self, values: Tensor, mask: Tensor | None) -> Tensor:
        narrow = self.bottleneck(values)
        branches = [
            convolution(F.pad(narrow, ((kernel - 1) // 2, kernel // 2)))
            for kernel, convolution in zip(self.kernels, self.convolutions, strict=True)
        ]
        # Padding must not win against what is below 0, as nothing does beyond the end of a tensor.
        known = values if mask is None else values.masked_fill(mask == 0, -torch.inf)
        highest = _highest(known)
        highest = highest if mask is None else highest.masked_fill(mask == 0, 0.0)
        normed: Tensor = self.norm(torch.cat([*branches, self.pooled(highest)], dim=1), mask)
        return normed.relu()


def _highest(values: Tensor) -> Tensor:
    """The maximum of each step and its two neighbours."""
    if torch.compiler.is_exporting():  # an exported max_pool1d takes one length alone
        return F.max_pool2d(values[:, :, None], (1, 3), stride=1, padding=(0, 1))[:, :, 0]
    return F.max_pool1d(values, 3, stride=1, padding=1)


class _Residual(nn.Module):
    """Inception modules with a way around them."""

    def __init__(self, modules: list[_Inception], before: int, after: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(modules)
        self.around = _Convolution(before, after, 1, active=False)

    def forward(self, values: Tensor, mask: Tensor | None) -> Tensor:
        inner = values
        for module in self.inner:
            inner = module(inner, mask)
        added: Tensor = inner + self.around(values, mask)
        return added.relu()


def inceptiontime(shape: Shape, classes: int, dropout: float, width: int = 32, depth: int = 6) -> nn.Module:
    """`depth` Inception modules over time with 4 times `width` channels, and a way around every third.

    Source: H. Ismail Fawaz et al., "InceptionTime: finding AlexNet for time series classification" (2020): one of the
    five networks of which the paper takes the mean.
    """
    channels, longest = shape
    blocks: list[nn.Module] = []
    sizes = [channels] + [4 * width] * depth
    for start in range(0, depth, 3):
        modules = [_Inception(before, width) for before in sizes[start : min(start + 3, depth)]]
        whole = len(modules) == 3
        blocks += [_Residual(modules, sizes[start], 4 * width)] if whole else list(modules)
    return Convolutions(blocks, 4 * width, dropout, classes, equal=longest is not None)


class Transformer(nn.Module):
    """A transformer's encoder over the positions, their mean over real positions, and a linear layer."""

    def __init__(
        self, channels: int, outputs: int, dropout: float, width: int, layers: int, heads: int, *, equal: bool
    ) -> None:
        """`equal` says that all sequences have the same length."""
        super().__init__()
        self.width, self.equal = width, equal
        self.embedding = nn.Linear(channels, width)
        self.layers = encoder_layers(width, layers, heads, dropout)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None or self.equal else _real(values, lengths)
        padding = None if mask is None else mask[:, 0] == 0
        steps = self.embedding(values.transpose(1, 2))
        steps = self.dropout(steps + waves(steps.shape[1], self.width, steps))
        for layer in self.layers:
            steps = layer(steps, src_key_padding_mask=padding)
        output: Tensor = self.head(self.dropout(_mean(self.norm(steps).transpose(1, 2), mask)))
        return output


def transformer(
    shape: Shape, classes: int, dropout: float, width: int = 64, layers: int = 3, heads: int = 4
) -> nn.Module:
    """`layers` layers of a transformer's encoder with `heads` heads, norms first, over positions with sine waves.

    Source: A. Vaswani et al., "Attention is all you need" (2017); for series, G. Zerveas et al., "A transformer-based
    framework for multivariate time series representation learning" (2021).

    Raises:
        ConfigurationError: `ModelArguments`, heads do not divide the width.
    """
    channels, longest = shape
    check_width(width, heads)
    return Transformer(channels, classes, dropout, width, layers, heads, equal=longest is not None)


def check_width(width: int, heads: int) -> None:
    """Refuses a width that its heads do not divide, or that has no room for pairs of waves.

    Raises:
        ConfigurationError: `ModelArguments`.
    """
    if width % heads or width % 2:
        raise ConfigurationError(
            f"velodrome/transformer needs an even width that its heads divide, not width {width} and heads {heads}",
            "ModelArguments",
        )


def encoder_layers(width: int, layers: int, heads: int, dropout: float) -> nn.ModuleList:
    """Layers of a transformer's encoder, norms first, with weights of their own."""
    # One by one: nn.TransformerEncoder would start all layers from the same weights.
    return nn.ModuleList(
        nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(layers)
    )


def _real(values: Tensor, lengths: Tensor) -> Tensor:
    """A mask (n, 1, longest) of the values' type: 1 at real positions, 0 behind each sequence's end."""
    positions = torch.arange(values.shape[2], device=values.device)
    return (positions < lengths.to(values.device)[:, None])[:, None].to(values.dtype)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean (n, channels) over real positions of values (n, channels, longest)."""
    return values.mean(2) if mask is None else (values * mask).sum(2) / mask.sum(2)


def waves(longest: int, width: int, like: Tensor) -> Tensor:
    """The position's sines and cosines (longest, width), of A. Vaswani et al. (2017), section 3.5."""
    places = torch.arange(longest, device=like.device, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10_000.0) / width))
    return torch.stack([(places * rates).sin(), (places * rates).cos()], dim=2).flatten(1).to(like.dtype)
