"""Velodrome's own models for images: a multilayer perceptron, a small CNN, ResNet-9."""

from __future__ import annotations

import torch
from torch import nn

Shape = tuple[int, int, int]


def mlp(shape: Shape, classes: int, dropout: float, hidden: int = 256, layers: int = 2) -> nn.Module:
    """`layers` hidden layers of `hidden` units, ReLU and dropout after each."""
    channels, height, width = shape
    sizes = [channels * height * width] + [hidden] * layers
    body: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in zip(sizes, sizes[1:], strict=False):
        body += [nn.Linear(wide, narrow), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*body, nn.Linear(sizes[-1], classes))


def cnn(shape: Shape, classes: int, dropout: float, width: int = 32) -> nn.Module:
    """Three convolutions of width, 2 and 4 times width, each halving the image; then the mean over what is left."""
    sizes = [shape[0], width, 2 * width, 4 * width]
    body: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        # Rounding up keeps a pixel of an image that is smaller than three halvings.
        body += [_convolution(before, after), nn.MaxPool2d(2, ceil_mode=True)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width, classes))


def _convolution(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.body(images)


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * self.factor


def resnet9(shape: Shape, classes: int, dropout: float, width: int = 64) -> nn.Module:
    """ResNet-9: eight convolutions and a linear layer, its outputs times 0.125.

    Source: D. Page, "How to train your ResNet" (2018), the network of the fast DAWNBench entries. Its last pooling is
    written as a maximum over the whole image, which on 32x32 is the same and works for every size.
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
