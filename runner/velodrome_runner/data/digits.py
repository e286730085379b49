"""scikit-learn's handwritten digits, which ship with the library: no files, no network."""

from __future__ import annotations

import torch

from velodrome_runner.data.samples import Raw, Split

# Of each class, every fifth sample (the fifth, the tenth, ...) in the library's order is a test sample.
_EVERY = 5


def read_digits() -> Raw:
    """1,797 images of 8x8, values 0 to 16 kept as they are.

    The data have no official test split. This one is stratified and fixed: of each class, the samples at positions
    5, 10, 15, ... in scikit-learn's order are the test split. No seed moves it.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).to(torch.int64)
    # The how-manieth of its class each sample is, counted from 1.
    position = torch.nn.functional.one_hot(labels).cumsum(0).gather(1, labels.unsqueeze(1)).squeeze(1)
    test = position % _EVERY == 0
    whole = Split(images, labels)
    classes = tuple(str(name) for name in digits.target_names)
    return Raw(whole.take(torch.where(~test)[0]), whole.take(torch.where(test)[0]), classes, peak=16)
