"""FCOS of torchvision on a small backbone of Velodrome's own. Import it only for such a model: torchvision is heavy.

Source: Z. Tian et al., "FCOS: fully convolutional one-stage object detection", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork

_STRIDES = (8, 16, 32)
_GROUPS = 8


class MeanOverImages(FCOS):  # type: ignore[misc]  # torchvision has no types
    """FCOS whose losses are means over the images of a batch, so that the mean over ranks is that of one process.

    In the paper they are divided by the number of positive places of a whole batch; here each image's by its own.
    """

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        num_anchors_per_level: list[int],
    ) -> dict[str, Tensor]:
        """The losses by name, from what the heads say at all places of all images."""
        losses = []
        for at, (target, own) in enumerate(zip(targets, anchors, strict=True)):
            said = {name: part[at : at + 1] for name, part in head_outputs.items()}
            losses.append(super().compute_loss([target], said, [own], num_anchors_per_level))
        return {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}


class PyramidFeatures(nn.Module):
    """Convolutions with group normalisation, and a feature pyramid of their outputs at strides of 8, 16 and 32.

    Each image is normalised by itself, so nothing depends on the others of its batch.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half, double = width // 2, 2 * width
        self.stem = nn.Sequential(_block(channels, half, 2), _block(half, width, 2), _block(width, width, 1))
        self.stages = nn.ModuleList(
            nn.Sequential(_block(inputs, double, 2), _block(double, double, 1)) for inputs in (width, double, double)
        )
        self.pyramid = FeaturePyramidNetwork([double] * len(_STRIDES), double)
        self.out_channels = double

    def forward(self, images: Tensor) -> Mapping[str, Tensor]:
        """The features by the place of their stride."""
        features, found = self.stem(images), {}
        for at, stage in enumerate(self.stages):
            features = stage(features)
            found[str(at)] = features
        pyramid: Mapping[str, Tensor] = self.pyramid(found)
        return pyramid


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, outputs), nn.ReLU(inplace=True))


def small_fcos(
    shape: tuple[int, int, int], outputs: int, width: int, normalised: Mapping[str, list[float]]
) -> nn.Module:
    """The network for images in the size that they have. `width` is rounded up to a multiple of 16."""
    channels, height, across = shape
    network: nn.Module = MeanOverImages(
        PyramidFeatures(channels, -(-width // (2 * _GROUPS)) * 2 * _GROUPS),
        outputs,
        min_size=min(height, across),
        max_size=max(height, across),
        anchor_generator=AnchorGenerator(tuple((stride,) for stride in _STRIDES), ((1.0,),) * len(_STRIDES)),
        detections_per_img=100,
        topk_candidates=300,
        **normalised,
    )
    return network
