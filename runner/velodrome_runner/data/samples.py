"""The content of a data set after reading, and its digest. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Split:
    """Samples in their original order: images (n, channels, height, width) uint8, labels (n,) int64, on the CPU."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def take(self, indices: torch.Tensor) -> Split:
        """The samples at those indices, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, slots=True)
class Raw:
    """A data set as it was published: its two splits, and its classes in the order of the labels.

    `peak` is the raw value of full intensity: 255 for 8-bit images, 16 for scikit-learn's digits.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    peak: int = 255


def content_digest(raw: Raw) -> str:
    """`sha256:` and the SHA-256 of all samples and labels, which does not depend on how and where they are stored.

    The hash covers these parts, first of the training split and then of the test split: the name (`train` or `test`) in
    ASCII; n, channels, height and width as little-endian 64-bit integers; the images as n x channels x height x width
    bytes in that order; the labels as n little-endian 64-bit integers.
    """
    hasher = hashlib.sha256()
    for name, split in (("train", raw.train), ("test", raw.test)):
        hasher.update(name.encode("ascii"))
        hasher.update(np.asarray(split.images.shape, dtype="<i8").tobytes())
        hasher.update(split.images.contiguous().numpy().data)
        hasher.update(split.labels.numpy().astype("<i8").tobytes())
    return f"sha256:{hasher.hexdigest()}"
