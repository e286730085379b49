"""Feature selection by scikit-learn: which input values a model gets, learned from the training split."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch

from velodrome.errors import ConfigurationError
from velodrome.spec import FeatureSelection
from velodrome_runner.data import Split


def selected(selection: FeatureSelection, train: Split, *, peak: int, seed: int) -> torch.Tensor:
    """The kept features: a boolean tensor (channels, height, width), True where a value is kept.

    A feature is one channel of one pixel, scaled to 0 to 1 (a variance threshold is in that unit, squared). Only
    `mutual_info_classif` is random, and it uses `seed`.

    Raises:
        ConfigurationError: there are fewer features than requested, or none would be left.
    """
    features = train.images.flatten(1).numpy() / np.float64(peak)
    if selection.k is not None and selection.k > features.shape[1]:
        raise ConfigurationError(
            f"featureSelection: k is {selection.k}, but an image has {features.shape[1]} features: write at most that"
        )
    selector = _selector(selection, seed)
    try:
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
            # A constant pixel, as in the corners of digits, gets the worst score, which is right.
            warnings.filterwarnings("ignore", message="Features .* are constant", category=UserWarning)
            selector.fit(features, train.labels.numpy())
            kept = selector.get_support()
    except ValueError as error:
        raise ConfigurationError(f"featureSelection: {selection.method} selects nothing here: {error}") from error
    return torch.from_numpy(kept).view(train.shape)


def _selector(selection: FeatureSelection, seed: int) -> Any:
    from sklearn import feature_selection

    score = getattr(feature_selection, selection.score or "f_classif")
    if selection.score == "mutual_info_classif":
        score = partial(score, random_state=seed)
    match selection.method:
        case "SelectKBest":
            return feature_selection.SelectKBest(score, k=selection.k)
        case "SelectPercentile":
            return feature_selection.SelectPercentile(score, percentile=selection.percentile)
        case "VarianceThreshold":
            return feature_selection.VarianceThreshold(selection.threshold or 0.0)
