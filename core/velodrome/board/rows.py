"""A board as rows, for CSV files and frames: one row an entry and objective, or one row a value. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from velodrome.board.reading import ObjectiveReading


class RankingRow(NamedTuple):
    """An entry in the ranking of an objective. `mean`, `low` and `high` are in `unit`.

    `low` and `high` are None for a single value. An unranked entry has a reason in `unranked` instead of a rank.
    """

    board: str
    objective: str
    metric: str
    unit: str
    direction: str
    cohort: str | None
    rank: int | None
    worst_rank: int | None
    entry: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    job: str
    job_uid: str
    unranked: str | None


class ValueRow(NamedTuple):
    """The value of one seed of an entry, in `unit`. `ranked` says whether the entry has a rank."""

    board: str
    objective: str
    metric: str
    unit: str
    direction: str
    cohort: str | None
    entry: str
    ranked: bool
    seed: int
    value: float
    job: str
    job_uid: str


def ranking_rows(board: str, readings: Iterable[ObjectiveReading]) -> Iterator[RankingRow]:
    """One row for each entry of each objective, ranked entries first."""
    for reading in readings:
        start = _start(board, reading)
        for row in reading.ranking.ranked:
            found = row.interval
            numbers = (found.mean, found.low, found.high, found.n)
            yield RankingRow(*start, row.rank, row.worst_rank, row.entry, *numbers, row.job_name, row.job_uid, None)
        for held in reading.ranking.unranked:
            count, job = len(held.samples), (held.job_name, held.job_uid)
            yield RankingRow(*start, None, None, held.entry, None, None, None, count, *job, held.reason)


def value_rows(board: str, readings: Iterable[ObjectiveReading]) -> Iterator[ValueRow]:
    """One row for each seed of each entry that has a value, also of unranked entries."""
    for reading in readings:
        start, ranking = _start(board, reading), reading.ranking
        for row in ranking.ranked:
            for seed, value in sorted(row.samples.items()):
                yield ValueRow(*start, row.entry, True, seed, value, row.job_name, row.job_uid)
        for held in ranking.unranked:
            for seed, value in sorted(held.samples.items()):
                yield ValueRow(*start, held.entry, False, seed, value, held.job_name, held.job_uid)


def _start(board: str, reading: ObjectiveReading) -> tuple[str, str, str, str, str, str | None]:
    ranking = reading.ranking
    cohort = None if reading.cohort is None else reading.cohort.cohort_id
    return board, reading.objective.name, str(ranking.key), ranking.unit, ranking.direction, cohort
