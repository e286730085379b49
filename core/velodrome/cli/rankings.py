"""A board's rankings, read from the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from velodrome.board.cohorts import chosen_cohort
from velodrome.ranking.places import ObjectiveRanking, rank_objective
from velodrome.results.objectives import BoardObjective, board_objectives
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import CohortSummary, EntryState, Store

# A board's objectives come from its newest jobs.
_JOBS_WITH_OBJECTIVES = 50


@dataclass(frozen=True, slots=True)
class Ranked:
    """One objective of a board in one cohort; `others` counts the cohorts that are not shown."""

    objective: BoardObjective
    ranking: ObjectiveRanking
    cohort: CohortSummary | None
    others: int


def board_rankings(
    store: Store, board: str, objective: str | None = None, cohort: str | None = None
) -> tuple[Ranked, ...]:
    """The rankings of a board, one for each objective, or for the one of that name or metric key.

    Raises:
        BadParameter: the board has no such objective, or none of its objectives has such a cohort.
    """
    known = board_objectives(store.jobs(board, limit=_JOBS_WITH_OBJECTIVES))
    chosen = [found for found in known if objective in (None, found.name, str(found.key))]
    if not chosen:
        names = ", ".join(found.name for found in known) or "none"
        raise typer.BadParameter(
            line(f"{board} has no objective {objective!r}; it has: {names}"), param_hint="--objective"
        )
    states = store.board_entries(board)
    found = [_ranked(store, board, one, cohort, states) for one in chosen]
    if cohort is not None and not any(ranked.cohort and ranked.cohort.cohort_id == cohort for ranked in found):
        said = f"{board} has no values in cohort {cohort!r}; `velodrome results {board} --cohorts` lists what there is"
        raise typer.BadParameter(line(said), param_hint="--cohort")
    if cohort is not None:
        found = [ranked for ranked in found if ranked.cohort and ranked.cohort.cohort_id == cohort]
    return tuple(found)


def _ranked(
    store: Store, board: str, objective: BoardObjective, wanted: str | None, states: list[tuple[JobInfo, EntryState]]
) -> Ranked:
    key = str(objective.key)
    cohorts = store.cohorts(board, key)
    cohort = chosen_cohort(cohorts, wanted)
    rows = store.ranking_rows(board, key, cohort.cohort_id) if cohort else []
    absent = [(job, state) for job, state in states if state.entry not in {row.entry for row in rows}]
    ranking = rank_objective(
        objective.key,
        rows,
        states,
        other_cohorts=len(cohorts) > 1,
        unavailable=_unavailable(store, key, absent),
    )
    return Ranked(objective, ranking, cohort, max(0, len(cohorts) - 1))


def _unavailable(store: Store, key: str, absent: Iterable[tuple[JobInfo, EntryState]]) -> dict[str, str]:
    """Why finished entries have no value, in the words of one of their trials."""
    reasons = {}
    for job, state in absent:
        if state.succeeded and not state.failed:
            done = (index for index, trial in store.trials(job.uid).items() if trial.entry == state.entry)
            record = store.trial(job.uid, next(done))
            if record is not None and key in record.result.unavailable:
                reasons[state.entry] = record.result.unavailable[key]
    return reasons
