"""Feature selection by scikit-learn: which input values a model gets, learned from the training split."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from velodrome.errors import ConfigurationError
from velodrome.spec import FeatureSelection


def selected(
    selection: FeatureSelection,
    features: NDArray[np.float64],
    targets: NDArray[Any],
    *,
    scores: tuple[str, ...],
    seed: int,
    sample: str,
) -> torch.Tensor:
    """The kept features: a boolean tensor (features,), True where a value is kept.

    `features` (n, features) and `targets` (n,) are those of the training split. Without a score in the selection, the
    first of the task's `scores` counts. Only scores by mutual information are random, and they use `seed`. Messages
    call a sample `sample`.

    Raises:
        ConfigurationError: there are fewer features than requested, or none would be left.
    """
    if selection.k is not None and selection.k > features.shape[1]:
        raise ConfigurationError(
            f"featureSelection: k is {selection.k}, but {sample} has {features.shape[1]} features: write at most that"
        )
    selector = _selector(selection, scores, seed)
    try:
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
            # A constant pixel, as in the corners of digits, gets the worst score, which is right.
            warnings.filterwarnings("ignore", message="Features .* are constant", category=UserWarning)
            selector.fit(features, targets)
            kept = selector.get_support()
    except ValueError as error:
        raise ConfigurationError(f"featureSelection: {selection.method} selects nothing here: {error}") from error
    return torch.from_numpy(kept)


def _selector(selection: FeatureSelection, scores: tuple[str, ...], seed: int) -> Any:
    from sklearn import feature_selection

    name = selection.score or scores[0]
    score = getattr(feature_selection, name)
    if name.startswith("mutual_info"):
        score = partial(score, random_state=seed)
    match selection.method:
        case "SelectKBest":
            return feature_selection.SelectKBest(score, k=selection.k)
        case "SelectPercentile":
            return feature_selection.SelectPercentile(score, percentile=selection.percentile)
        case "RFE":
            return _rfe(selection, scores)
        case "VarianceThreshold":
            return feature_selection.VarianceThreshold(selection.threshold or 0.0)


def _rfe(selection: FeatureSelection, scores: tuple[str, ...]) -> Any:
    """Drops the feature with the smallest coefficient of a linear model on standardised features, one after another."""
    from sklearn import feature_selection, linear_model, pipeline, preprocessing

    classifies = "f_classif" in scores
    model = linear_model.LogisticRegression(max_iter=1000) if classifies else linear_model.Ridge()
    steps = [("scale", preprocessing.StandardScaler()), ("model", model)]
    return feature_selection.RFE(
        pipeline.Pipeline(steps),
        n_features_to_select=selection.k,
        importance_getter="named_steps.model.coef_",
    )
