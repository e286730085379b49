"""Velodrome's own network for masks, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 4


class UNet(nn.Module):
    """A small U-Net: three halvings of the size, and three doublings that take the finer features back in.

    Group normalisation, so that nothing depends on the other images of a batch. Any size of images from 8 pixels on.
    Source: O. Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", 2015.
    """

    def __init__(self, channels: int, outputs: int, width: int, dropout: float) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(
            _double(inputs, each) for inputs, each in zip([channels, *widths], widths, strict=False)
        )
        self.drop = nn.Dropout2d(dropout)
        self.up = nn.ModuleList(_double(3 * each, each) for each in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """A logit for each class at each pixel, (n, outputs, height, width)."""
        finer: list[Tensor] = []
        features = images
        for down in self.down:
            features = down(F.max_pool2d(finer[-1], 2) if finer else features)
            finer.append(features)
        features = self.drop(finer.pop())
        for up in self.up:
            same = finer.pop()
            features = up(torch.cat((same, F.interpolate(features, size=same.shape[2:], mode="nearest")), 1))
        logits: Tensor = self.head(features)
        return logits


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution, nn.GroupNorm(_GROUPS, outputs), nn.ReLU(inplace=True)


def unet(shape: tuple[int, int, int], outputs: int, dropout: float, *, width: int = 16) -> nn.Module:
    """The network for images of this shape. `width` is rounded up to a multiple of 4."""
    return UNet(shape[0], outputs, -(-width // _GROUPS) * _GROUPS, dropout)


SEGMENTING: Mapping[str, Callable[..., nn.Module]] = {"velodrome/unet": unet}
