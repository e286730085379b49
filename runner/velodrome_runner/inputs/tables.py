"""Tables: imputation, encoding, feature selection, scaling and reduction, each by scikit-learn.

The steps, in this order, all fitted on the training split alone:

1. a missing number becomes the column's mean (`imputation`);
2. categories become features (`encoding`); one that is missing, or that the training split lacks, becomes zeros;
3. `featureSelection` drops features, by their values before any scaling;
4. the columns of numbers are scaled (`normalize`, `scaling`);
5. `reduction` puts principal components in place of all features.

A model with embeddings gets the scaled numbers and the categories themselves: see `Tables.view`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from velodrome.errors import ConfigurationError
from velodrome.spec import Preprocessing
from velodrome_runner.data import Samples, SampleSource, Schema, whole
from velodrome_runner.inputs.base import Transform, View, parameters
from velodrome_runner.selection import selected

Values = NDArray[np.float64]


class Tables(Transform):
    """Converts the columns of a table to features (n, features) float32, and for embeddings to their parts.

    `told` has `cardinalities`: for each categorical column the number of its categories and one more, the first, for a
    category that is missing or that the training split lacks; and `numeric`, the number of columns of numbers. It is
    empty where features are selected or reduced: then there is nothing to embed.
    """

    kind = "table"

    def __init__(  # noqa: PLR0913 - the fitted steps
        self,
        *,
        imputer: Any,
        encoder: Any,
        keep: NDArray[np.bool_] | None,
        scaler: Any,
        reducer: Any,
        seen: tuple[NDArray[np.int64], ...],
        cardinalities: tuple[int, ...],
        numeric: int,
        features: int,
        device: torch.device,
    ) -> None:
        self.imputer, self.encoder, self.keep, self.scaler, self.reducer = imputer, encoder, keep, scaler, reducer
        self.seen = seen
        self.device = device
        self.shape = (features,)
        self.cardinalities = cardinalities
        self.numeric = numeric

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
    ) -> Tables:
        """Fits every step. Raises as `fit_transform` does."""
        from sklearn import decomposition, impute

        samples = whole(train)
        numeric, codes = samples.inputs["numeric"].numpy(), samples.inputs["categorical"].numpy()
        imputer = impute.SimpleImputer(strategy=preprocessing.imputation or "mean", keep_empty_features=True)
        numeric = imputer.fit_transform(numeric) if numeric.shape[1] else numeric
        sizes = [len(categories) for categories in schema.categorical.values()]
        seen = tuple(np.unique(column[column >= 0]) for column in codes.T)
        encoder = _encoder(preprocessing.encoding, seen)
        features = np.hstack([numeric, encoder(codes)])
        keep, selection = None, preprocessing.feature_selection
        if selection is not None:
            targets = samples.targets.numpy()
            keep = selected(selection, features, targets, scores=scores, seed=seed, sample="a row").numpy()
            features = features[:, keep]
        scaler = _scaler(preprocessing)
        if scaler is not None and numeric.shape[1]:
            scaler.fit(numeric)
        else:
            scaler = None
        made = cls(
            imputer=imputer, encoder=encoder, keep=keep, scaler=scaler, reducer=None, seen=seen,
            cardinalities=tuple(size + 1 for size in sizes), numeric=numeric.shape[1], features=features.shape[1],
            device=device,
        )  # fmt: skip
        if preprocessing.reduction is not None:
            components = preprocessing.reduction.components
            scaled = made.features(samples)
            if components > min(scaled.shape):
                raise ConfigurationError(
                    f"preprocessing.reduction.components is {components}, but {len(scaled)} training rows of "
                    f"{scaled.shape[1]} features have {min(scaled.shape)} at most: write at most that"
                )
            made.reducer = decomposition.PCA(components, svd_solver="full").fit(scaled)
            made.shape = (components,)
        if made.shape == (0,):
            raise ConfigurationError("the table has no columns beside its target: name some", "DatasetCorrupt")
        return made

    @property
    def told(self) -> Mapping[str, Any]:  # type: ignore[override]  # an attribute of the others
        """What a factory is told beside the shape."""
        if self.keep is not None or self.reducer is not None:
            return {}
        return {"cardinalities": self.cardinalities, "numeric": self.numeric}

    def numbers(self, samples: Samples, *, scaled: bool = True) -> Values:
        """The columns of numbers, without missing values."""
        numeric: Values = samples.inputs["numeric"].numpy()
        if not numeric.shape[1]:
            return numeric
        numeric = self.imputer.transform(numeric)
        return self.scaler.transform(numeric) if scaled and self.scaler is not None else numeric

    def features(self, samples: Samples) -> Values:
        """All features, in double precision."""
        features = np.hstack([self.numbers(samples), self.encoder(samples.inputs["categorical"].numpy())])
        if self.keep is not None:
            features = features[:, self.keep]
        return features if self.reducer is None else self.reducer.transform(features)

    def __call__(self, samples: Samples, *, training: bool = False) -> Mapping[str, Tensor]:  # noqa: ARG002
        codes = samples.inputs["categorical"].numpy()
        pairs = zip(codes.T, self.seen, strict=True)
        known = [np.where(np.isin(column, seen), column + 1, 0) for column, seen in pairs]
        categories = np.stack(known, axis=1) if known else np.empty(codes.shape, dtype=np.int64)
        return {
            "features": torch.from_numpy(self.features(samples)).float().to(self.device),
            "numeric": torch.from_numpy(self.numbers(samples)).float().to(self.device),
            "categorical": torch.from_numpy(categories).to(self.device),
        }

    def view(self, model: nn.Module) -> View:
        """`model(features)`, or `model(numeric=…, categorical=…)` for a forward with parameters of these names."""
        if not {"numeric", "categorical"} <= set(parameters(model)):
            return lambda inputs: inputs["features"]  # type: ignore[index]  # a table's inputs have names
        if self.keep is not None or self.reducer is not None:
            raise ConfigurationError(
                "this model embeds categories, which featureSelection and reduction would mix with the other columns: "
                "leave them out of spec.preprocessing, or take another model",
                "ModelForwardFailed",
            )
        return lambda inputs: {name: inputs[name] for name in ("numeric", "categorical")}  # type: ignore[index]

    def nbytes(self, source: SampleSource) -> int:
        columns = int(self.shape[0]) + len(self.cardinalities)
        return 8 * len(source) * (columns + source.take(torch.tensor([0])).inputs["numeric"].shape[1])


def _scaler(preprocessing: Preprocessing) -> Any:
    from sklearn import preprocessing as library

    if not preprocessing.normalize:
        return None
    return getattr(library, preprocessing.scaling or "StandardScaler")()


def _encoder(name: str | None, seen: tuple[NDArray[np.int64], ...]) -> Any:
    """What makes features (n, f) of codes (n, q), where -1 is missing."""
    if not seen:
        return lambda codes: np.empty((len(codes), 0))
    from sklearn import preprocessing as library

    # A column without any category in training gets one that never occurs.
    categories = [values if len(values) else np.array([-2]) for values in seen]
    if name == "OrdinalEncoder":
        encoder = library.OrdinalEncoder(
            categories=categories, handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float64
        )
    else:
        encoder = library.OneHotEncoder(
            categories=categories, handle_unknown="ignore", sparse_output=False, dtype=np.float64
        )
    # scikit-learn refuses unknown values while it fits, so it fits on the categories themselves.
    longest = max(map(len, categories))
    encoder.fit(np.stack([np.resize(values, longest) for values in categories], axis=1))
    return encoder.transform
