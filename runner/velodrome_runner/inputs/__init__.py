"""A model's inputs from raw samples, by kind of data. See `fit_transform`."""

from __future__ import annotations

import torch

from velodrome.errors import ConfigurationError
from velodrome.spec import Preprocessing
from velodrome_runner.data import Kind, SampleSource, Schema
from velodrome_runner.inputs.base import Inputs, Transform

__all__ = ["Inputs", "Transform", "fit_transform"]


def fit_transform(
    kind: Kind,
    train: SampleSource,
    schema: Schema,
    preprocessing: Preprocessing,
    *,
    scores: tuple[str, ...],
    device: torch.device,
    seed: int,
) -> Transform:
    """The preprocessing, fitted on the training split alone.

    `scores` are the task's scores for a selection of features, the first one being the default. `seed` is for those
    that are random.

    Raises:
        ConfigurationError: the preprocessing does not fit these data.
    """
    if kind not in ("images", "scenes", "masks") and preprocessing.augmentations:
        name = preprocessing.augmentations[0].name
        raise ConfigurationError(
            f"{name} is for images, and these data are {'a table' if kind == 'table' else kind}: leave it out of "
            "spec.preprocessing.augmentations"
        )
    match kind:
        case "images":
            from velodrome_runner.inputs.images import Images

            return Images.fit(train, schema, preprocessing, scores=scores, device=device, seed=seed)
        case "scenes":
            from velodrome_runner.inputs.scenes import Scenes

            return Scenes.fit(train, schema, preprocessing, scores=scores, device=device, seed=seed)
        case "masks":
            from velodrome_runner.inputs.masks import Masks

            return Masks.fit(train, schema, preprocessing, scores=scores, device=device, seed=seed)
        case "table":
            from velodrome_runner.inputs.tables import Tables

            return Tables.fit(train, schema, preprocessing, scores=scores, device=device, seed=seed)
        case "sequences":
            from velodrome_runner.inputs.sequences import Sequences

            return Sequences.fit(train, schema, preprocessing, device=device)
        case "text":
            from velodrome_runner.inputs.texts import Windows

            return Windows.fit(schema, device)
        case "documents":
            from velodrome_runner.inputs.documents import Documents

            return Documents.fit(train, schema, preprocessing, device=device)
