"""scikit-learn's handwritten digits, which ship with the library. They need no files and no network."""

from __future__ import annotations

import torch

from velodrome_runner.data.samples import Raw, Split

# Every fifth sample of each class (the fifth, the tenth, ...) in the library's order is a test sample.
_EVERY = 5


def read_digits() -> Raw:
    """1,797 images of 8x8 pixels, with their values from 0 to 16.

    The data have no official test split. This one is stratified and fixed: the samples of each class at positions 5,
    10, 15, ... in scikit-learn's order. It does not depend on a seed.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).to(torch.int64)
    # The position of each sample within its class, counted from 1.
    position = torch.nn.functional.one_hot(labels).cumsum(0).gather(1, labels.unsqueeze(1)).squeeze(1)
    test = position % _EVERY == 0
    whole = Split(images, labels)
    classes = tuple(str(name) for name in digits.target_names)
    return Raw(whole.take(torch.where(~test)[0]), whole.take(torch.where(test)[0]), classes, peak=16)
