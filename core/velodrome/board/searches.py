"""The search of a job as it is stored: how far it is, what it found, and what its winners gave when they ran again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from velodrome.errors import SpecError
from velodrome.keys import search_uid
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, plan
from velodrome.results.searches import Spent
from velodrome.search.outcomes import Outcome, best_of, front_of, is_better, outcome_of, spent_by
from velodrome.search.state import SearchState
from velodrome.search.trials import SearchPlan, search_of, search_plan, searched_keys
from velodrome.spec import validate

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader

_PAGE = 200
_STEPS = 6


@dataclass(frozen=True, slots=True)
class EntrySearch:
    """One entry's search. `selected` is the best value on validation data, and `confirmed` the mean of the `confirming`
    trials that ran again with its `values`, by the same metric on validation data.

    `course` has the best value after so many trials, a few times on the way. Without parameters, it is not `tuned`.
    """

    entry: str
    tuned: bool
    spent: Spent
    number: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    selected: float | None = None
    confirmed: float | None = None
    confirming: int = 0
    course: tuple[tuple[int, float], ...] = ()
    front: tuple[int, ...] = ()
    ended: str = ""

    @property
    def gap(self) -> float | None:
        """What the selected value was better or worse by than the confirmed one, in the metric's unit."""
        return None if self.selected is None or self.confirmed is None else self.selected - self.confirmed


@dataclass(frozen=True, slots=True)
class SearchReading:
    """The search of a job. `keys` are what it improves, `most` is maxTrials, and `over` says whether it has winners."""

    uid: str
    name: str
    keys: tuple[MetricKey, ...]
    most: int
    over: bool
    entries: tuple[EntrySearch, ...]


def read_search(reader: Reader, job: JobInfo) -> SearchReading | None:
    """The search of a job; None if it has none, or its document can't be read. Raises as the store does."""
    made = planned(job)
    if made is None:
        return None
    keys = searched_keys(made.job)
    tried = search_plan(made, reader.suggestions(search_uid(job.uid)))
    outcomes = outcomes_in(reader, tried, search_uid(job.uid), keys)
    confirmed = _confirmed(reader, job, keys[0])
    entries = tuple(_entry(entry, job, made, tried, outcomes, confirmed.get(entry, [])) for entry in made.configs)
    return SearchReading(job.uid, job.name, keys, search_of(made.job).max_trials, job.searched is not None, entries)


def read_studies(reader: Reader, made: Plan, uid: str) -> SearchState:
    """The search of a planned job, as Optuna would know it. Raises as the store does."""
    state = SearchState(made)
    tried = search_plan(made, reader.suggestions(search_uid(uid)))
    state.resume(tried.suggestions, outcomes_in(reader, tried, search_uid(uid), state.keys))
    return state


def planned(job: JobInfo) -> Plan | None:
    """The plan of a stored job that has a search; None if it has none, or can't be read."""
    if not job.document.get("spec", {}).get("search"):
        return None
    try:
        return plan(validate(dict(job.document), source=job.name))
    except SpecError:
        return None


def outcomes_in(reader: Reader, tried: SearchPlan, uid: str, keys: Sequence[MetricKey]) -> dict[int, Outcome]:
    """What became of the search trials that ended, by index. Raises as the store does."""
    found: dict[int, Outcome] = {}
    most = max(tried.suggestions, default=-1) + 1
    for start in range(0, most, _PAGE):
        for record in reader.records(uid, start, min(_PAGE, most - start)):
            if record.result.index in tried.suggestions:
                found[record.result.index] = outcome_of(keys, record.result, record.result.curves)
    return found


def best_so_far(key: MetricKey, outcomes: Mapping[int, Outcome]) -> list[float | None]:
    """The best value after each trial, by number, as far as there is one."""
    best: float | None = None
    found: list[float | None] = []
    for number in range(max(outcomes, default=-1) + 1):
        values = outcomes[number].told.values if number in outcomes else ()
        if values and (best is None or is_better(key, values[0], best)):
            best = values[0]
        found.append(best)
    return found


def _entry(
    entry: str, job: JobInfo, made: Plan, tried: SearchPlan, outcomes: Mapping[int, Outcome], confirmed: list[float]
) -> EntrySearch:
    search, keys, count = search_of(made.job), searched_keys(made.job), len(made.configs)
    place = tuple(made.configs).index(entry)
    own = {index // count: one for index, one in outcomes.items() if index % count == place}
    mean = fmean(confirmed) if confirmed else None
    if not search.of(entry):
        return EntrySearch(entry, tuned=False, spent=Spent(), confirmed=mean, confirming=len(confirmed))
    best, course = best_of(keys, own), best_so_far(keys[0], own)
    ends = [len(course) * step // _STEPS for step in range(1, _STEPS + 1)]
    return EntrySearch(
        entry=entry,
        tuned=True,
        spent=spent_by(list(own.values())),
        number=best,
        values={} if best is None else tried.suggestions[best * count + place].values,
        selected=None if best is None else own[best].told.values[0],
        confirmed=mean,
        confirming=len(confirmed),
        course=tuple((end, value) for end in dict.fromkeys(ends) if end and (value := course[end - 1]) is not None),
        front=front_of(keys, own) if len(keys) > 1 else (),
        ended="" if job.searched is None else job.searched.ended.get(entry, ""),
    )


def _confirmed(reader: Reader, job: JobInfo, key: MetricKey) -> dict[str, list[float]]:
    """The values of the confirming trials, by entry: the same metric, on validation data too."""
    found: dict[str, list[float]] = {}
    for start in range(0, job.trials, _PAGE):
        for record in reader.records(job.uid, start, min(_PAGE, job.trials - start)):
            outcome = outcome_of((key,), record.result, record.result.curves)
            if outcome.told.values:
                found.setdefault(record.result.entry, []).append(outcome.told.values[0])
    return found
