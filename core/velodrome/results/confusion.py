"""Which classes a model takes for which: the confusion matrices of an entry's trials, added up. Pure.

Stored records are not trusted: a matrix that no test split has is left out, as if the record had none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.results.bounds import MOST_CONFUSED
from velodrome.results.records import TrialRecord

# The largest number of samples that a chart can hold.
_MOST_SAMPLES = 2**53

Counts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """`count` samples of the class `right` were taken for `predicted`, of `total` samples of `right`."""

    right: str
    predicted: str
    count: int
    total: int

    @property
    def share(self) -> float:
        """The part of the samples of `right`, from 0 to 1; 0 if there is none."""
        return self.count / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Confusion:
    """Test samples by right class (rows) and predicted class (columns), over so many trials."""

    classes: tuple[str, ...]
    counts: Counts
    trials: int

    @property
    def pairs(self) -> list[Pair]:
        """Every pair of classes, also of a class with itself, row by row."""
        return [
            Pair(right, predicted, count, sum(row))
            for right, row in zip(self.classes, self.counts, strict=True)
            for predicted, count in zip(self.classes, row, strict=True)
        ]

    def most_confused(self, most: int) -> list[Pair]:
        """The pairs of two classes with the most samples, largest first; equal ones in the order of the classes."""
        size = len(self.classes)
        mistaken = (pair for place, pair in enumerate(self.pairs) if place % (size + 1) and pair.count)
        return sorted(mistaken, key=lambda pair: -pair.count)[:most]


def confusion_of(records: Iterable[TrialRecord]) -> Confusion | None:
    """The sum of the records' matrices; None if there is none. Only matrices of the first one's classes count.

    A class without a name has its number as one.
    """
    classes: tuple[str, ...] | None = None
    counts: Counts = ()
    trials = 0
    for record in records:
        matrix, facts = record.result.confusion, record.result.dataset
        if matrix is None or not is_sound(matrix):
            continue
        known = () if facts is None else facts.classes
        names = known if len(known) == len(matrix) else tuple(map(str, range(len(matrix))))
        if classes is None:
            classes, counts = names, matrix
        elif names == classes:
            counts = tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(counts, matrix, strict=True))
        else:
            continue
        trials += 1
    return None if classes is None or not is_sound(counts) else Confusion(classes, counts, trials)


def is_sound(matrix: Sequence[Sequence[int]]) -> bool:
    """Whether it is square, not too large, and holds numbers of samples."""
    size = len(matrix)
    return (
        1 <= size <= MOST_CONFUSED
        and all(len(row) == size and min(row) >= 0 for row in matrix)
        and sum(map(sum, matrix)) <= _MOST_SAMPLES
    )
