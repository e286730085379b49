"""Random changes of whole batches, on the batch's device, different for every image. See `compose`.

Each augmentation does the same as torchvision.transforms.v2 with the same parameters. It works on float images from 0
to 1 before the normalisation (those that draw operations work on 8-bit images). Pixels from outside an image are black:
raw 0. MixUp and CutMix change labels too, in the same way in the whole batch.
"""

from __future__ import annotations

from velodrome_runner.augmentation.mixing import Mixing
from velodrome_runner.augmentation.pipeline import TORCHVISION, Normalization, Pipeline, compose

__all__ = ["TORCHVISION", "Mixing", "Normalization", "Pipeline", "compose"]
