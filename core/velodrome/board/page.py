"""One page of an objective: what stands above its tables, and the rows of one page of each table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from velodrome.board.reading import ObjectiveReading
from velodrome.ranking.places import RankedRow, UnrankedRow
from velodrome.ranking.sentences import about_means
from velodrome.results.objectives import BoardObjective
from velodrome.store.types import CohortSummary
from velodrome.trends.regressions import Comparison

# The number of rows in one page.
PAGE = 25


@dataclass(frozen=True, slots=True)
class ObjectiveHead:
    """What stands above the tables of an objective, and how long these are.

    `objective`, `cohorts` and `cohort` are those of the reading; `alpha` and `logs` are those of its ranking, and
    `means` says what its means are, if that needs saying. `names` are the ranked entries, best first, and `leaders`
    those that may have rank 1. `unranked` is the number of unranked entries.
    """

    objective: BoardObjective
    cohorts: tuple[CohortSummary, ...]
    cohort: CohortSummary | None
    alpha: float
    logs: bool
    summary: str
    means: str
    names: tuple[str, ...]
    leaders: tuple[str, ...]
    unranked: int

    @property
    def pages(self) -> int:
        """How many pages the ranking has; at least one."""
        return pages(len(self.names))

    @property
    def unranked_pages(self) -> int:
        """How many pages the table of unranked entries has; at least one."""
        return pages(self.unranked)


@dataclass(frozen=True, slots=True)
class ObjectivePage:
    """A page of an objective's ranking, and a page of its unranked entries.

    `verdicts` are those of the reading for these ranked rows, or None if they were not asked for.
    """

    head: ObjectiveHead
    ranked: tuple[RankedRow, ...]
    unranked: tuple[UnrankedRow, ...]
    verdicts: Mapping[str, Comparison] | None


def pages(rows: int) -> int:
    """How many pages this number of rows takes; at least one."""
    return max(1, -(-rows // PAGE))


def head_of(reading: ObjectiveReading) -> ObjectiveHead:
    """The head of an objective that was read whole."""
    ranking = reading.ranking
    return ObjectiveHead(
        reading.objective,
        reading.cohorts,
        reading.cohort,
        ranking.alpha,
        ranking.logs,
        reading.summary,
        about_means(ranking),
        tuple(row.entry for row in ranking.ranked),
        ranking.leaders,
        len(ranking.unranked),
    )


def page_of(reading: ObjectiveReading, ranked: int = 1, unranked: int = 1) -> ObjectivePage:
    """These pages of an objective that was read whole. Pages count from 1; behind the last one is the last one."""
    head, verdicts = head_of(reading), reading.verdicts
    ranked, unranked = min(ranked, head.pages), min(unranked, head.unranked_pages)
    rows = reading.ranking.ranked[(ranked - 1) * PAGE : ranked * PAGE]
    return ObjectivePage(
        head,
        rows,
        reading.ranking.unranked[(unranked - 1) * PAGE : unranked * PAGE],
        None if verdicts is None else {row.entry: verdicts[row.entry] for row in rows if row.entry in verdicts},
    )
