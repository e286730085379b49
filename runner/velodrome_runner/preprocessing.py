"""From raw splits to batches: scaling, normalisation, feature selection and augmentation.

What a model sees is, in this order: the raw value over `peak` (0 to 1), the augmentations (training only), the
normalisation by the training split's mean and deviation, and 0 for every feature that the selection drops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from velodrome.spec import Preprocessing
from velodrome_runner.data import Split, Splits

SplitName = Literal["train", "validation", "test"]
Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Prepared:
    """A trial's data, ready to iterate.

    `shape` is channels, height and width of the images that `batches` yields.
    """

    train: Split
    validation: Split
    test: Split
    shape: tuple[int, int, int]
    classes: int
    augment: Augment | None
    in_memory: bool
    device: torch.device

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, *, split: SplitName = "train"
    ) -> Iterator[Batch]:
        """One pass over a split: images (n, c, h, w) float32 channels-last and labels (n,) int64, on the device.

        The training split is shuffled and augmented by `generator`, which it needs (a generator on the CPU or on the
        device; the same state gives the same batches). The others come in their own order, unaugmented. The last batch
        may be smaller; no sample is left out.
        """
        samples: Split = getattr(self, split)
        if split != "train":
            for start in range(0, len(samples), batch_size):
                yield samples.images[start : start + batch_size], samples.labels[start : start + batch_size]
            return
        assert generator is not None  # noqa: S101
        order = torch.randperm(len(samples), generator=generator, device=generator.device).to(self.device)
        for indices in order.split(batch_size):
            images = samples.images[indices]
            if self.augment is not None:
                images = self.augment(images, generator)
            yield images, samples.labels[indices]


def prepare(
    splits: Splits, preprocessing: Preprocessing, *, device: torch.device, seed: int, in_memory: bool | None = None
) -> Prepared:
    """Learns the preprocessing from the training split and applies it to all three."""
    scaled = splits.train.images.float() / splits.peak
    mean, std = scaled.mean((0, 2, 3), keepdim=True), scaled.std((0, 2, 3), keepdim=True)

    def ready(split: Split) -> Split:
        images = split.images.float() / splits.peak
        if preprocessing.normalize:
            images = (images - mean) / std
        return Split(images.to(device, memory_format=torch.channels_last), split.labels.to(device))

    return Prepared(
        ready(splits.train),
        ready(splits.validation),
        ready(splits.test),
        shape=splits.train.shape,
        classes=len(splits.facts.classes),
        augment=None,
        in_memory=True,
        device=device,
    )
