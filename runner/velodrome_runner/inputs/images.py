"""Images: scaling, augmentation, normalisation and feature selection.

The steps, in this order:

1. raw values divided by `peak` (0 to 1);
2. the augmentations, only for training;
3. the normalisation by mean and deviation of the training split;
4. 0, which is the mean, for features that the selection drops.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from torch import Tensor

from velodrome.spec import Preprocessing
from velodrome.vocabulary import DataKind
from velodrome_runner.augmentation import Normalization, Pipeline, compose
from velodrome_runner.data import Samples, SampleSource, Schema
from velodrome_runner.inputs.base import CHUNK, Inputs, Transform, chunks, few_of
from velodrome_runner.selection import selected


class Images(Transform):
    """Converts raw images (n, c, h, w) uint8 to a model's input on the device: float32, channels last.

    A central crop gives images that are not for training the size of the crops.
    """

    kind: ClassVar[DataKind] = "images"

    def __init__(self, peak: int, pipeline: Pipeline, keep: Tensor | None, fitted: int | None = None) -> None:
        self.peak = peak
        self.pipeline = pipeline
        self.keep = keep
        self.normalization = pipeline.normalization
        self.device = pipeline.normalization.mean.device
        self.shape = pipeline.shape
        self.told = {}
        self.augments = bool(pipeline.steps)
        self.fitted = fitted
        self.mixing = pipeline.mixing

    @classmethod
    def fit(
        cls,
        train: SampleSource,
        schema: Schema,
        preprocessing: Preprocessing,
        *,
        scores: tuple[str, ...],
        device: torch.device,
        seed: int,
    ) -> Self:
        """Learns the normalisation and the selected features. Raises as `fit_transform` does."""
        channels, height, width = schema.shape
        few = few_of(train)
        normalization = (
            normalization_of(few, channels, schema.peak) if preprocessing.normalize else _identity(channels)
        ).to(device)
        pipeline = compose(preprocessing.augmentations, (channels, height, width), normalization)
        selection, keep = preprocessing.feature_selection, None
        if selection is not None:
            samples = few.take(torch.arange(len(few)))
            images = _cropped(samples.inputs["images"], pipeline)
            features = images.flatten(1).numpy() / float(schema.peak)
            kept = selected(selection, features, samples.targets.numpy(), scores=scores, seed=seed, sample="an image")
            keep = kept.view(images.shape[1:]).to(device)
        learned = preprocessing.normalize or selection is not None
        return cls(schema.peak, pipeline, keep, len(few) if learned and len(few) < len(train) else None)

    def __call__(self, samples: Samples, *, training: bool = False) -> Tensor:
        images = samples.inputs["images"].to(self.device, non_blocking=True)
        # Bytes are cheaper to crop and flip than the numbers that `augment` makes of them afterwards.
        return images if training and self.pipeline.copying else self._converted(images, training=training)

    def augment(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        assert isinstance(inputs, Tensor)
        done = 0
        if inputs.dtype == torch.uint8:
            inputs = self._converted(self.pipeline.copied(inputs, generator), training=True)
            done = self.pipeline.copying
        return self._masked(self.pipeline(inputs, generator, start=done))

    def _converted(self, images: Tensor, *, training: bool) -> Tensor:
        """Raw images on the device as normalised ones. A central crop comes first, unless they are for training."""
        if not training:
            images = _cropped(images, self.pipeline)
        # In place, because new memory of that size costs more than the arithmetic.
        images = images.to(torch.float32, copy=True).div_(self.peak)
        images = images.sub_(self.normalization.mean).div_(self.normalization.deviation)
        # If images are augmented first, the selection comes last, because its features are positions in the model's
        # input.
        if not (training and self.augments):
            images = self._masked(images)
        # `contiguous` treats grey images as channels-last already. In `whole` they have that layout's strides, by which
        # convolutions choose their algorithm.
        return torch.empty_like(images, memory_format=torch.channels_last).copy_(images)

    def whole(self, source: SampleSource, *, training: bool = False) -> Tensor:
        parts = self._parts(source, training=training)
        first = next(parts)
        images = torch.empty((len(source), *first.shape[1:]), device=self.device, memory_format=torch.channels_last)
        images[: len(first)] = first
        start = len(first)
        for part in parts:
            images[start : start + len(part)] = part
            start += len(part)
        return images

    def nbytes(self, source: SampleSource) -> int:
        return 4 * (source.nbytes - source.targets.nbytes)  # float32 instead of bytes

    def _parts(self, source: SampleSource, *, training: bool) -> Iterator[Tensor]:
        for samples in chunks(source, CHUNK):
            yield self._converted(samples.inputs["images"].to(self.device), training=training)

    def _masked(self, images: Tensor) -> Tensor:
        """The images, with 0 for each feature that was not selected."""
        return images if self.keep is None else images * self.keep


def normalization_of(train: SampleSource, channels: int, peak: int) -> Normalization:
    """Mean and standard deviation of each channel over all its values, scaled to 0 to 1.

    They come from exact counts of the raw values, so they don't depend on the order of summation or on the machine. A
    constant channel is only centred.
    """
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for samples in chunks(train):
        for channel, images in enumerate(samples.inputs["images"].unbind(1)):
            counts[channel] += torch.bincount(images.flatten(), minlength=256)
    values = torch.arange(256, dtype=torch.float64) / peak
    means, deviations = [], []
    for count in counts:
        share = count.double() / int(count.sum())
        mean = (share * values).sum()
        deviation = (share * (values - mean).square()).sum().sqrt()
        means.append(mean)
        deviations.append(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))
    mean, deviation = (torch.stack(each).float().view(1, -1, 1, 1) for each in (means, deviations))
    return Normalization(mean, deviation)


def _identity(channels: int) -> Normalization:
    zeros = torch.zeros(1, channels, 1, 1)
    return Normalization(zeros, torch.ones_like(zeros))


def _cropped(images: Tensor, pipeline: Pipeline) -> Tensor:
    """Only the centre of each image, if crops change the size."""
    for size in pipeline.crops:
        if tuple(images.shape[2:]) != size:
            from torchvision.transforms.v2 import functional

            images = functional.center_crop(images, list(size))
    return images
