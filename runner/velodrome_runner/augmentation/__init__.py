"""Random changes of whole batches, on the device that the batch is on, different for every image. See `compose`.

Each augmentation does what torchvision.transforms.v2 does with the same parameters, to float images from 0 to 1 (to
8-bit images, TrivialAugment), before they are normalised. What comes into an image from outside is black: raw 0.
"""

from __future__ import annotations

from velodrome_runner.augmentation.pipeline import Normalization, Pipeline, compose

__all__ = ["Normalization", "Pipeline", "compose"]
