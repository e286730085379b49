"""Turns a reading into the document that `results --json` writes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from velodrome.board.reading import ObjectiveReading
from velodrome.metrics.catalogue import Direction
from velodrome.ranking.places import RankedRow, UnrankedRow, Why
from velodrome.store.types import CohortSummary
from velodrome.trends.regressions import Comparison


class DocumentModel(BaseModel):
    """What all documents have in common: they are frozen, and name every field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CohortDocument(DocumentModel):
    """A cohort that has values. `last_at` is when its newest value was accepted."""

    id: str
    words: str
    conditions: dict[str, Any]
    entries: int
    samples: int
    last_at: AwareDatetime


class RankedDocument(DocumentModel):
    """An entry with a rank, some one from `rank` to `worst_rank`. `mean`, `low` and `high` are in the objective's unit;
    `samples` is by seed.

    `detectable` is the true difference to the next entry that four of five such races would find, if the two can't be
    told apart: a share of the smaller mean where the objective's `means` are geometric, else in the unit.

    `verdict` says how the entry's job compares with its baseline, as in `velodrome regressions --json`.
    """

    rank: int
    worst_rank: int
    entry: str
    entry_id: str
    mean: float
    low: float | None
    high: float | None
    n: int
    standard_deviation: float | None
    indistinguishable_from: tuple[str, ...]
    detectable: float | None
    samples: dict[int, float]
    job: str
    job_uid: str
    last_at: AwareDatetime
    note: str
    verdict: Comparison | None


class UnrankedDocument(DocumentModel):
    """An entry without a rank: `why` for programs, `reason` for people."""

    entry: str
    why: Why
    reason: str
    samples: dict[int, float]
    planned: int
    job: str
    job_uid: str


class ObjectiveDocument(DocumentModel):
    """One objective in one cohort. Numbers are in `unit`, not scaled. `confidence` is that of tests and intervals.

    `means` says what the means are: geometric ones belong to values that are compared by factors.
    """

    name: str
    metric: str
    unit: str
    direction: Direction
    confidence: float
    means: Literal["arithmetic", "geometric"]
    summary: str
    cohort: CohortDocument | None
    cohorts: tuple[CohortDocument, ...]
    ranked: tuple[RankedDocument, ...]
    unranked: tuple[UnrankedDocument, ...]


class BoardDocument(DocumentModel):
    """A board with its objectives, which are those of its newest jobs."""

    board: str
    objectives: tuple[ObjectiveDocument, ...]


def board_document(board: str, readings: Iterable[ObjectiveReading]) -> BoardDocument:
    """The document of a board."""
    return BoardDocument(board=board, objectives=tuple(map(objective_document, readings)))


def objective_document(reading: ObjectiveReading) -> ObjectiveDocument:
    """The document of one objective."""
    ranking, verdicts = reading.ranking, reading.verdicts or {}
    return ObjectiveDocument(
        name=reading.objective.name,
        metric=str(ranking.key),
        unit=ranking.unit,
        direction=ranking.direction,
        confidence=1 - ranking.alpha,
        means="geometric" if ranking.logs else "arithmetic",
        summary=reading.summary,
        cohort=None if reading.cohort is None else _cohort(reading.cohort),
        cohorts=tuple(map(_cohort, reading.cohorts)),
        ranked=tuple(_ranked(row, verdicts) for row in ranking.ranked),
        unranked=tuple(_unranked(row) for row in ranking.unranked),
    )


def _cohort(one: CohortSummary) -> CohortDocument:
    return CohortDocument(
        id=one.cohort_id,
        words=one.words,
        conditions=dict(one.conditions),
        entries=one.entries,
        samples=one.samples,
        last_at=one.last_at,
    )


def _ranked(row: RankedRow, verdicts: Mapping[str, Comparison]) -> RankedDocument:
    interval = row.interval
    return RankedDocument(
        rank=row.rank,
        worst_rank=row.worst_rank,
        entry=row.entry,
        entry_id=row.entry_id,
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        standard_deviation=interval.standard_deviation,
        indistinguishable_from=row.indistinguishable_from,
        detectable=row.detectable,
        samples=dict(sorted(row.samples.items())),
        job=row.job_name,
        job_uid=row.job_uid,
        last_at=row.last_at,
        note=row.note,
        verdict=verdicts.get(row.entry),
    )


def _unranked(row: UnrankedRow) -> UnrankedDocument:
    return UnrankedDocument(
        entry=row.entry,
        why=row.why,
        reason=row.reason,
        samples=dict(sorted(row.samples.items())),
        planned=row.planned,
        job=row.job_name,
        job_uid=row.job_uid,
    )
