"""Velodrome's own models by name, and those for images: a multilayer perceptron, a small CNN, ResNet-9, and recurrent
networks over an image's rows. `velodrome_runner.models.sequences` and `velodrome_runner.models.tables` have the others.

Each accepts the shape of a sample, the number of classes (or of outputs), the dropout, and its arguments in
`velodrome.vocabulary.MODEL_ARGS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import nn

from velodrome.errors import ConfigurationError
from velodrome_runner.models import sequences

Shape = tuple[int, int, int]
# The shape of a sample of any kind: of an image, of a sequence (None: lengths differ), or of a table's row.
Sizes = tuple[int | None, ...]


def mlp(shape: Sizes, classes: int, dropout: float, hidden: int = 256, layers: int = 2) -> nn.Module:
    """`layers` hidden layers of `hidden` units, ReLU and dropout after each.

    For a table with categorical columns it is `tables.embedding_mlp`, with an embedding of each.

    Raises:
        ConfigurationError: `ModelForwardFailed`, the sequences have different lengths.
    """
    if None in shape:
        raise ConfigurationError(
            "velodrome/mlp takes sequences of one length, and these differ: use velodrome/gru or velodrome/conv1d",
            "ModelForwardFailed",
        )
    sizes = [math.prod(size for size in shape if size is not None)] + [hidden] * layers
    body: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in pairwise(sizes):
        body += [nn.Linear(wide, narrow), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*body, nn.Linear(sizes[-1], classes))


def cnn(shape: Shape, classes: int, dropout: float, width: int = 32) -> nn.Module:
    """Three convolutions with 1, 2 and 4 times `width` channels, each halving the image; then a mean over the rest."""
    sizes = [shape[0], width, 2 * width, 4 * width]
    body: list[nn.Module] = []
    for before, after in pairwise(sizes):
        # Rounding up keeps at least one pixel of an image that is too small for three halvings.
        body += [_convolution(before, after), nn.MaxPool2d(2, ceil_mode=True)]
    return nn.Sequential(
        *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width, classes)
    )


def _convolution(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.body(images)
        return images + changed


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * self.factor


def resnet9(shape: Shape, classes: int, dropout: float, width: int = 64) -> nn.Module:
    """ResNet-9: eight convolutions and a linear layer, its outputs times 0.125.

    Source: D. Page, "How to train your ResNet" (2018), the network of the fast DAWNBench entries. Its last pooling is
    written as a maximum over the whole image, which is the same for 32x32 and works for every size.
    """
    return nn.Sequential(
        _convolution(shape[0], width),
        _convolution(width, 2 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        _Residual(2 * width),
        _convolution(2 * width, 4 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        _convolution(4 * width, 8 * width),
        nn.MaxPool2d(2, ceil_mode=True),
        _Residual(8 * width),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8 * width, classes, bias=False),
        _Scale(0.125),
    )


class _OverRows(nn.Module):
    """An image as a sequence: each row, with all channels, is one step."""

    def __init__(self, network: nn.LSTM | nn.GRU, dropout: float, classes: int) -> None:
        super().__init__()
        self.network = network
        self.directions = 2 if network.bidirectional else 1
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.directions * network.hidden_size, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.permute(0, 2, 1, 3).flatten(2)
        _, state = self.network(rows)
        hidden = state[0] if isinstance(state, tuple) else state
        # The last layer's state after its last row: the bottom row, and for the backward direction the top row.
        last = hidden[-self.directions :].transpose(0, 1).flatten(1)
        output: torch.Tensor = self.head(self.dropout(last))
        return output


def lstm(
    shape: Sizes, classes: int, dropout: float, hidden: int = 128, layers: int = 1, *, bidirectional: bool = False
) -> nn.Module:
    """An LSTM over a sequence, or over the rows of an image; dropout between layers and before the last, linear one."""
    return _recurrent(nn.LSTM, shape, classes, dropout, hidden, layers, both=bidirectional)


def gru(
    shape: Sizes, classes: int, dropout: float, hidden: int = 128, layers: int = 1, *, bidirectional: bool = False
) -> nn.Module:
    """A GRU over a sequence, or over the rows of an image; dropout between layers and before the last, linear one."""
    return _recurrent(nn.GRU, shape, classes, dropout, hidden, layers, both=bidirectional)


def _recurrent(
    kind: type[nn.LSTM | nn.GRU], shape: Sizes, classes: int, dropout: float, hidden: int, layers: int, *, both: bool
) -> nn.Module:
    if len(shape) == _AXES_OF_SEQUENCES:
        return sequences.recurrent(kind, shape, classes, dropout, hidden, layers, both=both)  # type: ignore[arg-type]
    channels, _, width = (size or 0 for size in shape)
    network = kind(
        channels * width,
        hidden,
        layers,
        batch_first=True,
        # torch warns about dropout between layers if there is only one layer.
        dropout=dropout if layers > 1 else 0.0,
        bidirectional=both,
    )
    return _OverRows(network, dropout, classes)


_AXES_OF_SEQUENCES = 2

NATIVE: Mapping[str, Callable[..., nn.Module]] = {
    "velodrome/mlp": mlp,
    "velodrome/cnn": cnn,
    "velodrome/resnet9": resnet9,
    "velodrome/lstm": lstm,
    "velodrome/gru": gru,
    "velodrome/conv1d": sequences.conv1d,
    "velodrome/inceptiontime": sequences.inceptiontime,
    "velodrome/transformer": sequences.transformer,
}
