"""The tables that ship with scikit-learn: iris, wine, breast_cancer and diabetes. They need no files and no network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from velodrome_runner.data.contents import Memory, Samples, Schema
from velodrome_runner.data.format import Description, InMemory, divided

# Every fifth sample of each class (the fifth, the tenth, ...) in the library's order is a test sample; where the target
# is a number, every fifth sample of all.
_EVERY = 5


def read_bundled(name: str) -> InMemory:
    """One of the tables. Its split does not depend on a seed, and no column has a missing value."""
    from sklearn import datasets

    # Diabetes comes scaled by all of its samples, those of the test among them; unscaled it keeps its units.
    found: Any = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    numbers = torch.from_numpy(np.ascontiguousarray(found.data, dtype=np.float64))
    inputs = {"numeric": numbers, "categorical": torch.empty(len(numbers), 0, dtype=torch.int64)}
    classes = None if name == "diabetes" else tuple(str(each) for each in found.target_names)
    targets = torch.from_numpy(found.target).to(torch.float64 if classes is None else torch.int64)
    schema = Schema((numbers.shape[1],), classes, numeric=tuple(map(str, found.feature_names)), target="target")
    labels = torch.zeros(len(targets), dtype=torch.int64) if classes is None else targets
    position = torch.nn.functional.one_hot(labels).cumsum(0).gather(1, labels.unsqueeze(1)).squeeze(1)
    names = ["test" if each % _EVERY == 0 else "train" for each in position.tolist()]
    parts = divided(Memory(Samples(inputs, targets)), names)
    return InMemory(
        Description("table", schema), {name: part for name, part in parts.items() if isinstance(part, Memory)}
    )
