"""Reads a board for a page or a command: the kept reading, or else one that is computed here. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from velodrome.board.kept import kept_objective, kept_objectives, kept_page
from velodrome.board.page import ObjectivePage, page_of
from velodrome.board.reading import BoardReader, ObjectiveReading
from velodrome.results.objectives import BoardObjective

if TYPE_CHECKING:
    from velodrome.store import Reader


def objectives_of(reader: Reader, board: str) -> tuple[BoardObjective, ...]:
    """The board's objectives. Raises as the store does."""
    kept = kept_objectives(reader, board)
    return BoardReader(reader, board).objectives if kept is None else kept


def read_objectives(
    reader: Reader,
    board: str,
    chosen: Iterable[BoardObjective],
    cohort_id: str | None = None,
    *,
    verdicts: bool = False,
) -> tuple[ObjectiveReading, ...]:
    """Objectives of a board, each in the cohort with this id if it has it, else in the newest cohort.

    With `verdicts` they say how each ranked entry compares with its baseline. Kept readings always do.

    Raises:
        As the store does.
    """
    here = BoardReader(reader, board)
    found = []
    for objective in chosen:
        reading = kept_objective(reader, board, str(objective.key))
        shown = reading.cohort.cohort_id if reading and reading.cohort else None
        if reading is None or cohort_id not in (None, shown):
            reading = here.objective(objective, cohort_id)
            reading = here.judged(reading) if verdicts else reading
        found.append(reading)
    return tuple(found)


def read_page(
    reader: Reader,
    board: str,
    objective: BoardObjective,
    cohort_id: str | None,
    pages: tuple[int, int],
    whole: Callable[[], ObjectiveReading],
) -> ObjectivePage:
    """One page of an objective's ranking and one of its unranked entries, in the cohort as `read_objectives` has it.

    `pages` are their numbers, from 1. `whole` reads all of the objective, and is called only if no page of this cohort
    is kept. A kept page takes one round trip.

    Raises:
        As the store does.
    """
    found = kept_page(reader, board, str(objective.key), *pages)
    shown = found.head.cohort.cohort_id if found and found.head.cohort else None
    if found is None or cohort_id not in (None, shown):
        return page_of(whole(), *pages)
    return found
