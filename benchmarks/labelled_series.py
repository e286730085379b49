"""Series whose steps are known: made with several steps, or measured and marked by people.

The measured ones are a file of people's marks, which is not part of the project: a JSON list, gzipped, of `{"name",
"values", "marks", "consensus"}`. `marks` holds, for each person, the indexes at which that person saw a change;
`consensus` those that three of five agree on. It is made from SAP/performance-regression-data-set (HANA large 2022, CC
BY 4.0) and from the replication package of "Evaluating Change Point Detection Methods for Software Performance
Regression Analysis" (mtucci/changepoint-performance-regression-study).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NEAR = 5  # a change point this many values from a step, or nearer, finds it
_PEOPLE = 5


def up_then_back(rng: np.random.Generator) -> list[int]:
    """The places of a step and of its way back, in 120 values."""
    up = int(rng.integers(25, 45))
    return [up, up + int(rng.integers(25, 50))]


def staircase(rng: np.random.Generator) -> list[int]:
    """The places of five steps up, in 200 values."""
    return [33 * step + int(rng.integers(-4, 5)) for step in range(1, 6)]


def alternating(rng: np.random.Generator) -> list[int]:
    """The places of three steps, up, down and up, in 120 values."""
    return [30 * step + int(rng.integers(-5, 6)) for step in range(1, 4)]


def newest(rng: np.random.Generator) -> list[int]:
    """The place of a step that the last one, two or three of 120 values show."""
    return [120 - int(rng.integers(1, 4))]


SHAPES: dict[str, Callable[[np.random.Generator], list[int]]] = {
    "up, then back": up_then_back,
    "staircase": staircase,
    "alternating": alternating,
    "the last 3": newest,
}


def stepped(shape: str, noise: NDArray[np.float64], rng: np.random.Generator, size: float) -> list[list[int]]:
    """Adds steps of this size to each row of `noise`, and says where."""
    places = [SHAPES[shape](rng) for _ in noise]
    for row, steps in zip(noise, places, strict=True):
        for order, place in enumerate(steps):
            row[place:] += size if shape == "staircase" or order % 2 == 0 else -size
    return places


@dataclass(frozen=True, slots=True)
class Recall:
    """How many steps are found, how many of these within 2 values, and how many change points are false.

    `early` counts the series in which a change point comes before the first step.
    """

    found: float
    within_two: float
    false: int
    early: float


def recall(found: Sequence[Sequence[int]], places: Sequence[Sequence[int]]) -> Recall:
    """The figures of a detector for series with known steps."""
    away = [
        min((abs(step - one) for one in ones), default=10**9)
        for ones, steps in zip(found, places, strict=True)
        for step in steps
    ]
    hits = [distance for distance in away if distance <= NEAR]
    pairs = list(zip(found, places, strict=True))
    false = sum(min(abs(step - one) for step in steps) > NEAR for ones, steps in pairs for one in ones)
    early = sum(any(one < steps[0] for one in ones) for ones, steps in pairs)
    within = sum(distance <= 2 for distance in hits) / max(len(hits), 1)
    return Recall(len(hits) / len(away), within, false, early / len(pairs))


@dataclass(frozen=True, slots=True)
class Labelled:
    """A measured series, the changes that people agree on, and whether all of them saw none."""

    name: str
    values: list[float]
    consensus: list[int]
    unmarked: bool


def read_labelled(path: Path) -> list[Labelled]:
    """The series that five people marked."""
    with gzip.open(path, "rt") as file:
        known = json.load(file)
    return [
        Labelled(one["name"], one["values"], one["consensus"], not any(one["marks"].values()))
        for one in known
        if len(one["marks"]) == _PEOPLE
    ]


@dataclass(frozen=True, slots=True)
class Tally:
    """Change points that are right, all change points, changes that people agree on, and alarms on unmarked series."""

    hits: int
    claims: int
    changes: int
    alarms: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.hits / max(self.claims + self.changes, 1)

    def __str__(self) -> str:
        precision, found = self.hits / max(self.claims, 1), self.hits / max(self.changes, 1)
        return f"F1 {self.f1:.3f} (precision {precision:.3f}, recall {found:.3f}), {self.alarms} alarms"


def tally(one: Labelled, found: Sequence[int]) -> Tally:
    """Each change point is right for the nearest free change within 5 values; each change counts once."""
    free, hits = list(one.consensus), 0
    for index in sorted(found):
        near = [change for change in free if abs(change - index) <= NEAR]
        if near:
            free.remove(min(near, key=lambda change: abs(change - index)))
            hits += 1
    return Tally(hits, len(found), len(one.consensus), len(found) if one.unmarked else 0)


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of the tallies."""
    hits, claims, changes, alarms = np.sum(
        [(one.hits, one.claims, one.changes, one.alarms) for one in tallies], axis=0, dtype=int
    ).tolist()
    return Tally(hits, claims, changes, alarms)
