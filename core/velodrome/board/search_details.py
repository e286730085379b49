"""The search of a job with each of its trials, for charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from velodrome.board.searches import SearchReading, outcomes_in, planned, search_reading
from velodrome.keys import search_uid
from velodrome.results.records import JobInfo
from velodrome.results.searches import TrialState
from velodrome.search.trials import search_of, search_plan, searched_keys
from velodrome.spec import SearchParameter
from velodrome.store import Reader

MOST = 1000  # trials of an entry that have a place in charts: the newest ones


@dataclass(frozen=True, slots=True)
class TriedTrial:
    """A search trial that ended. `objectives` are its values on validation data, if it ran to its end, and `steps`
    those of the first objective after each epoch. `setting` has its parameters.
    """

    number: int
    setting: Mapping[str, Any]
    state: TrialState
    objectives: tuple[float, ...] = ()
    steps: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def value(self) -> float | None:
        """The first objective's value; of a trial that ended early, the last one before that."""
        if self.objectives:
            return self.objectives[0]
        return self.steps[max(self.steps)] if self.steps else None


@dataclass(frozen=True, slots=True)
class SearchDetails:
    """A search with its trials, its parameters, and how much each of them mattered, by entry."""

    reading: SearchReading
    trials: Mapping[str, tuple[TriedTrial, ...]]
    parameters: Mapping[str, tuple[SearchParameter, ...]]
    importances: Mapping[str, Mapping[str, float]]


def read_search_details(reader: Reader, job: JobInfo) -> SearchDetails | None:
    """The search of a job; None if it has none, or its document can't be read. Raises as the store does."""
    made = planned(job)
    if made is None:
        return None
    tried = search_plan(made, reader.suggestions(search_uid(job.uid)))
    outcomes = outcomes_in(reader, tried, search_uid(job.uid), searched_keys(made.job))
    trials: dict[str, list[TriedTrial]] = {entry: [] for entry in made.configs}
    for index in sorted(outcomes):
        suggestion, outcome = tried.suggestions[index], outcomes[index]
        told = outcome.told
        trials[suggestion.entry].append(
            TriedTrial(suggestion.number, suggestion.values, told.state, told.values, told.steps, outcome.reason)
        )
    winners = {} if job.searched is None else job.searched.entries
    return SearchDetails(
        search_reading(reader, job, made, tried, outcomes),
        {entry: tuple(found[-MOST:]) for entry, found in trials.items()},
        {entry: search_of(made.job).of(entry) for entry in made.configs},
        {entry: winner.importances for entry, winner in winners.items()},
    )
