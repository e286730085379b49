"""What is known of a task's samples and outputs when its network is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from velodrome.vocabulary import DataKind


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts. `kind` is that of the data; the others are those that a factory may have parameters for.

    `shape` is (channels, height, width) of images, (channels, length) of sequences with None where lengths differ,
    (features,) of tables, or (window,) of a running text. `cardinalities` has the number of categories of each
    categorical column of a table, and `numeric` the number of its other columns. `vocabulary` is the number of
    different tokens of a text.
    """

    kind: DataKind
    shape: tuple[Any, ...]
    outputs: int
    classes: int | None = None
    cardinalities: tuple[int, ...] | None = None
    numeric: int | None = None
    vocabulary: int | None = None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The facts by the names of a factory's parameters, without those that these data lack."""
        names = ("shape", "classes", "outputs", "cardinalities", "numeric", "vocabulary")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
