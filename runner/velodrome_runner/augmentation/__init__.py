"""Random changes of whole batches, on the batch's device, different for every image. See `compose`.

Each augmentation does the same as torchvision.transforms.v2 with the same parameters. It works on float images from 0
to 1 before the normalisation (TrivialAugment works on 8-bit images). Pixels from outside an image are black: raw 0.
"""

from __future__ import annotations

from velodrome_runner.augmentation.pipeline import Normalization, Pipeline, compose

__all__ = ["Normalization", "Pipeline", "compose"]
