"""From raw splits to batches: scaling, augmentation, normalisation and feature selection.

The steps, in this order:

1. raw values divided by `peak` (0 to 1);
2. the augmentations, only for training;
3. the normalisation by mean and deviation of the training split;
4. 0, which is the mean, for features that the selection drops.

Everything is learned from the training split, after the validation split has been taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from velodrome.errors import ConfigurationError
from velodrome.spec import Preprocessing
from velodrome_runner.augmentation import Normalization, Pipeline, compose
from velodrome_runner.data import Split, Splits
from velodrome_runner.memory import fits
from velodrome_runner.ranks import ALONE, Ranks
from velodrome_runner.selection import selected

SplitName = Literal["train", "validation", "test"]
Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Batch = tuple[torch.Tensor, torch.Tensor]

# Number of images to convert at once, so that reading a large data set needs little more memory than the result.
_CHUNK = 4096


@dataclass(frozen=True)
class _Conversion:
    """Converts raw images (n, c, h, w) uint8 to a model's input on the device: float32, channels last."""

    peak: int
    normalization: Normalization
    keep: torch.Tensor | None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        scaled = images.to(self.normalization.mean.device, non_blocking=True).float() / self.peak
        images = self.masked(self.normalization.apply(scaled))
        # `contiguous` treats grey images as channels-last already. In `all` they have that layout's strides, by which
        # convolutions choose their algorithm.
        return torch.empty_like(images, memory_format=torch.channels_last).copy_(images)

    def masked(self, images: torch.Tensor) -> torch.Tensor:
        """The images, with 0 for each feature that was not selected."""
        return images if self.keep is None else images * self.keep

    def all(self, split: Split) -> Split:
        """The whole split on the device."""
        device = self.normalization.mean.device
        images = torch.empty(split.images.shape, device=device, memory_format=torch.channels_last)
        for start in range(0, len(split), _CHUNK):
            images[start : start + _CHUNK] = self(split.images[start : start + _CHUNK])
        return Split(images, split.labels.to(device))


@dataclass(frozen=True)
class Prepared:
    """A trial's data, ready to iterate.

    If `in_memory`, the splits contain a model's input, float32 on the device (training images before augmentation).
    Else they contain the raw bytes on the CPU, and batches are converted when needed. `batches` yields the same in both
    cases. `shape` is channels, height and width of its images.
    """

    train: Split
    validation: Split
    test: Split
    shape: tuple[int, int, int]
    classes: int
    augment: Augment | None
    in_memory: bool
    device: torch.device
    _convert: Callable[[torch.Tensor], torch.Tensor]
    _convert_train: Callable[[torch.Tensor], torch.Tensor]

    def batches(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        *,
        split: SplitName = "train",
        ranks: Ranks = ALONE,
    ) -> Iterator[Batch]:
        """One pass over a split: images (n, c, h, w) float32 channels-last and labels (n,) int64, on the device.

        The training split requires a `generator`, which shuffles and augments it (on the CPU or on the device; the same
        state gives the same batches). Its batches have the sizes `lengths(batch_size)`. The other splits keep their
        order, are not augmented, and must not be modified. The last batch may be smaller: no sample is left out.

        If several `ranks` have generators of the same state, each gets its share of every batch, which may be empty.
        The generators keep equal states.

        Raises:
            ValueError: the training split has no generator.
        """
        if split != "train":
            return self._in_order(self.validation if split == "validation" else self.test, batch_size)
        if generator is None:
            raise ValueError("the training split is shuffled: pass a generator")
        order = torch.randperm(len(self.train), generator=generator, device=generator.device)
        whole = order.split(self.lengths(batch_size, ranks.size))
        if ranks.size == 1:
            return self._augmented(whole, generator)
        return self._augmented(tuple(ranks.share(batch) for batch in whole), _own(generator, ranks.rank))

    def lengths(self, batch_size: int, ranks: int = 1) -> list[int]:
        """The number of samples of each batch in one pass over the training split.

        A last batch that would leave a rank a single sample joins the previous batch, because batch normalisation can't
        learn from one sample.

        Raises:
            ConfigurationError: the batch is too small for this many ranks.
        """
        if ranks > 1 and min(batch_size, len(self.train)) < 2 * ranks:
            raise ConfigurationError(
                f"training.batchSize is {batch_size}, shared by the {ranks} pods of spec.runner.nodes: each needs 2 "
                f"samples or more, so write {2 * ranks} or more (there are {len(self.train)})"
            )
        whole, rest = divmod(len(self.train), batch_size)
        if rest >= 2 * ranks or whole == 0:
            return [batch_size] * whole + [rest]
        return [batch_size] * (whole - 1) + [batch_size + rest]

    def _in_order(self, samples: Split, batch_size: int) -> Iterator[Batch]:
        if not self.in_memory:
            yield from self._loaded(samples, torch.arange(len(samples)).split(batch_size), self._convert)
            return
        yield from zip(samples.images.split(batch_size), samples.labels.split(batch_size), strict=True)

    def _augmented(self, order: tuple[torch.Tensor, ...], generator: torch.Generator) -> Iterator[Batch]:
        taken = self._taken(order) if self.in_memory else self._loaded(self.train, order, self._convert_train)
        for images, labels in taken:
            yield (images if self.augment is None else self.augment(images, generator)), labels

    def _taken(self, order: tuple[torch.Tensor, ...]) -> Iterator[Batch]:
        # In a view with the channels last, each image is one contiguous piece of memory.
        images = self.train.images.permute(0, 2, 3, 1)
        for indices in order:
            chosen = indices.to(self.device)
            yield images.index_select(0, chosen).permute(0, 3, 1, 2), self.train.labels.index_select(0, chosen)

    def _loaded(
        self, samples: Split, order: tuple[torch.Tensor, ...], convert: Callable[[torch.Tensor], torch.Tensor]
    ) -> Iterator[Batch]:
        loader = DataLoader(
            _Samples(samples),
            batch_sampler=[indices.tolist() for indices in order],
            collate_fn=_unchanged,
            pin_memory=self.device.type == "cuda",
            # It draws a seed for worker processes. With the global generator, that would change the model's dropout.
            generator=torch.Generator(),
        )
        for images, labels in loader:
            yield convert(images), labels.to(self.device, non_blocking=True)


def _own(generator: torch.Generator, rank: int) -> torch.Generator:
    """A generator for this rank's augmentations, which does not change the one that all ranks share."""
    copy = torch.Generator(generator.device)
    copy.set_state(generator.get_state())
    drawn = torch.randint(2**62, (1,), generator=copy, device=generator.device)
    return torch.Generator(generator.device).manual_seed(int(drawn) + rank)


class _Samples(Dataset[Batch]):
    """Raw samples, fetched a batch at a time."""

    def __init__(self, samples: Split) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = self.samples.take(torch.tensor(indices))
        return chosen.images, chosen.labels


def _unchanged(batch: Any) -> Any:
    return batch


def prepare(
    splits: Splits, preprocessing: Preprocessing, *, device: torch.device, seed: int, in_memory: bool | None = None
) -> Prepared:
    """Learns the preprocessing from the training split and applies it to all three.

    Data stay on the device if they take at most half of its free memory, unless `in_memory` decides. `seed` is for a
    random feature selection. A central crop gives validation and test images the crops' size.

    Raises:
        ConfigurationError: an augmentation or the feature selection does not fit these images.
    """
    train, peak = splits.train, splits.peak
    normalization = (normalization_of(train, peak) if preprocessing.normalize else _identity(train)).to(device)
    pipeline = compose(preprocessing.augmentations, train.shape, normalization)
    validation, test = (_cropped(split, pipeline) for split in (splits.validation, splits.test))
    selection = preprocessing.feature_selection
    keep = None
    if selection is not None:
        keep = selected(selection, _cropped(train, pipeline), peak=peak, seed=seed).to(device)
    convert = _Conversion(peak, normalization, keep)
    # If images are augmented first, the selection comes last, because its features are positions in the model's input.
    convert_train = _Conversion(peak, normalization, None) if pipeline.steps else convert
    if in_memory is None:
        values = sum(split.images.numel() for split in (train, validation, test))
        in_memory = fits(4 * values, device)
    if in_memory:
        train, validation, test = convert_train.all(train), convert.all(validation), convert.all(test)
    return Prepared(
        train,
        validation,
        test,
        shape=pipeline.shape,
        classes=len(splits.facts.classes),
        augment=_augment(pipeline, convert) if pipeline.steps else None,
        in_memory=in_memory,
        device=device,
        _convert=convert,
        _convert_train=convert_train,
    )


def normalization_of(train: Split, peak: int) -> Normalization:
    """Mean and standard deviation of each channel over all its values, scaled to 0 to 1.

    They come from exact counts of the raw values, so they don't depend on the order of summation or on the machine. A
    constant channel is only centred.
    """
    values = torch.arange(256, dtype=torch.float64) / peak
    means, deviations = [], []
    for channel in train.images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = (share * values).sum()
        deviation = (share * (values - mean).square()).sum().sqrt()
        means.append(mean)
        deviations.append(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))
    mean, deviation = (torch.stack(each).float().view(1, -1, 1, 1) for each in (means, deviations))
    return Normalization(mean, deviation)


def _identity(train: Split) -> Normalization:
    zeros = torch.zeros(1, train.shape[0], 1, 1)
    return Normalization(zeros, torch.ones_like(zeros))


def _cropped(split: Split, pipeline: Pipeline) -> Split:
    """The split with only the centre of each image, if crops change the size."""
    images = split.images
    for size in pipeline.crops:
        if tuple(images.shape[2:]) != size:
            from torchvision.transforms.v2 import functional

            images = functional.center_crop(images, list(size))
    return Split(images, split.labels)


def _augment(pipeline: Pipeline, convert: _Conversion) -> Augment:
    def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return convert.masked(pipeline(images, generator))

    return augment
