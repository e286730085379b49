"""Finds where the values of a batch's results rank. Pure: no I/O here.

A value ranks in a cohort of its metric key. Hashing the conditions of a cohort costs more than everything else in
accepting a record. So it is done once for all records with the same conditions.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from velodrome import keys
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.cohorts import Cohort, cohort_of
from velodrome.results.records import TrialRecord, TrialResult

# Entries of one job may differ in these fields. They are no conditions, so no cohort depends on them.
_ENTRYS_OWN = {"model", "training", "command", "optimize"}


@dataclass(frozen=True, eq=False)
class Shape:
    """What records with equal conditions and metric keys have in common: the cohort of each metric key."""

    keys: tuple[str, ...]
    cohorts: tuple[Cohort, ...]


class Shapes:
    """Finds the shape of a record. It remembers the shapes that it made."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._made: dict[tuple[str, ...], Shape] = {}

    def of(self, record: TrialRecord) -> Shape:
        """The record's shape: the same object for equal conditions, or an empty one if no conditions were observed."""
        result = record.result
        if result.dataset is None or result.environment is None or result.outcome == "Failed":
            return _NO_SHAPE
        names = tuple(result.metrics)
        facts = (
            record.config.model_dump_json(exclude=_ENTRYS_OWN),
            result.dataset.model_dump_json(),
            result.environment.model_dump_json(),
            record.observed.model_dump_json(include=_SHARED),
            *names,
        )
        shape = self._made.get(facts)
        if shape is None:
            cohorts = tuple(cohort_of(record, MetricKey.parse(name)) for name in names)
            shape = Shape(names, tuple(cohort for cohort in cohorts if cohort is not None))
            if len(self._made) >= self._size:
                self._made.clear()
            self._made[facts] = shape
        return shape


_NO_SHAPE = Shape((), ())
_SHARED = {"concurrent_trials", "shared"}


class Rankings:
    """Where a batch's values rank. A group is the results of one entry with the same shape."""

    def __init__(self, board: str, names: list[str]) -> None:
        self.conditions: dict[str, str] = {}
        self._board = board
        self._keys = names
        self._positions: dict[str, int] = {}
        self._numbers: dict[Shape, int] = {}
        self._groups: dict[tuple[str, Shape], list[tuple[int, TrialResult]]] = {}

    def add(self, number: int, result: TrialResult, shape: Shape) -> None:
        """Adds the values of one result of the batch. Its number counts from 1."""
        if shape.keys:
            self._numbers.setdefault(shape, len(self._numbers) + 1)
            self._groups.setdefault((result.entry, shape), []).append((number, result))

    def shapes(self) -> list[list[tuple[int, int, str, str]]]:
        """For the script: for each metric key of a shape, the positions of two Redis keys, the cohort, and the key."""
        return [self._places(shape) for shape in self._numbers]

    def groups(self) -> list[dict[str, Any]]:
        """For the script: the entry, the shape's number and the results' numbers of each group."""
        return [
            {"entry": entry, "shape": self._numbers[shape], "results": [number for number, _ in members]}
            for (entry, shape), members in self._groups.items()
        ]

    def values(self) -> Iterator[bytes]:
        """For each group, key by key: seed (int64) and value (double, both little-endian) of each result."""
        for (_, shape), members in self._groups.items():
            seeds = [result.seed for _, result in members]
            flat: list[float] = []
            for column in zip(*(result.metrics.values() for _, result in members), strict=True):
                flat += chain.from_iterable(zip(seeds, column, strict=True))
            yield struct.pack("<" + "qd" * (len(seeds) * len(shape.keys)), *flat)

    def _places(self, shape: Shape) -> list[tuple[int, int, str, str]]:
        places = []
        for key, cohort in zip(shape.keys, shape.cohorts, strict=True):
            self.conditions.setdefault(cohort.id, json.dumps(cohort.conditions))
            place = self._position(keys.board_rows(self._board, key, cohort.id))
            places.append((place, self._position(keys.board_cohorts(self._board, key)), cohort.id, key))
        return places

    def _position(self, name: str) -> int:
        """The position of the key in Lua's KEYS, counted from 1."""
        if name not in self._positions:
            self._keys.append(name)
            self._positions[name] = len(self._keys)
        return self._positions[name]
