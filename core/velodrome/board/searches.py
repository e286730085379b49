"""The search of a job as it is stored: how far it is, what it found, and what its winners gave when they ran again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from velodrome.errors import SpecError
from velodrome.keys import search_uid
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, plan
from velodrome.results.searches import Spent
from velodrome.search.outcomes import Outcome, best_of, front_of, is_better, outcome_of, spent_by
from velodrome.search.reference import expected_best, random_values
from velodrome.search.state import SearchState
from velodrome.search.study import first_points
from velodrome.search.trials import SearchPlan, search_of, search_plan, searched_keys
from velodrome.spec import validate
from velodrome.text import counted

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader

_PAGE = 200


@dataclass(frozen=True, slots=True)
class EntrySearch:
    """One entry's search. `selected` is the best value on validation data, and `confirmed` the mean of the `confirming`
    trials that ran again with its `values`, by the same metric on validation data. The `gap` says by how much the
    selected value is the better one, in the metric's unit; it is negative if the confirmed one is better.

    `course` has the trials that were better than all before them, by how many had run then. `reference` has the
    expected best of so many random trials, as far as its own random trials say it. Without parameters, an entry is not
    `tuned`.
    """

    entry: str
    tuned: bool
    spent: Spent
    number: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    selected: float | None = None
    confirmed: float | None = None
    confirming: int = 0
    gap: float | None = None
    course: tuple[tuple[int, float], ...] = ()
    reference: tuple[float, ...] = ()
    front: tuple[int, ...] = ()
    ended: str = ""


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
    tried = search_plan(made, reader.suggestions(search_uid(job.uid)))
    return search_reading(
        reader, job, made, tried, outcomes_in(reader, tried, search_uid(job.uid), searched_keys(made.job))
    )


def search_reading(
    reader: Reader, job: JobInfo, made: Plan, tried: SearchPlan, outcomes: Mapping[int, Outcome]
) -> SearchReading:
    """The search of a planned job whose trials were read. Raises as the store does."""
    keys = searched_keys(made.job)
    confirmed, info = _confirmed(reader, job, keys[0]), reader.job(search_uid(job.uid))
    points = {} if info is None or info.points is None else info.points
    entries = tuple(
        _entry(entry, job, made, tried, outcomes, confirmed.get(entry, []), points.get(entry, ()))
        for entry in made.configs
    )
    return SearchReading(job.uid, job.name, keys, search_of(made.job).max_trials, job.searched is not None, entries)


def search_state(reader: Reader, made: Plan, uid: str) -> SearchState:
    """The search of a planned and registered job, before anything was suggested. Raises as the store does."""
    info = reader.job(search_uid(uid))
    return SearchState(made, None if info is None else info.points)


def read_studies(reader: Reader, made: Plan, uid: str) -> SearchState:
    """The search of a planned job, as Optuna would know it. Raises as the store does."""
    state = search_state(reader, made, uid)
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


def course_of(key: MetricKey, outcomes: Mapping[int, Outcome]) -> tuple[tuple[int, float], ...]:
    """How many trials had run, and the best value then, each time that a trial was better than all before it."""
    found: list[tuple[int, float]] = []
    for number in sorted(outcomes):
        values = outcomes[number].told.values
        if values and (not found or is_better(key, values[0], found[-1][1])):
            found.append((number + 1, values[0]))
    return tuple(found)


def budget_words(entries: Sequence[EntrySearch]) -> str:
    """Whether entries were searched with equal budgets, and what each took."""
    tuned = [one for one in entries if one.tuned]
    took = ", ".join(f"{one.entry} {counted(one.spent.trials, 'trial')} and {counted(one.spent.epochs, 'epoch')}"
                     for one in tuned)  # fmt: skip
    equal = len({one.spent.trials for one in tuned}) < 2
    how = "as many trials as the others" if equal else "unequal numbers of trials"
    return f"The tuned entries had {how}: {took}." if len(tuned) > 1 else f"It took {took}."


def _entry(
    entry: str,
    job: JobInfo,
    made: Plan,
    tried: SearchPlan,
    outcomes: Mapping[int, Outcome],
    confirmed: list[float],
    points: Sequence[Mapping[str, Any]],
) -> EntrySearch:
    from velodrome.stats import metric_mean  # the operator has no need of the statistics until a search has ended

    search, keys, count = search_of(made.job), searched_keys(made.job), len(made.configs)
    place = tuple(made.configs).index(entry)
    own = {index // count: one for index, one in outcomes.items() if index % count == place}
    mean = metric_mean(keys[0].metric, confirmed) if confirmed else None
    if not search.of(entry):
        return EntrySearch(entry, tuned=False, spent=Spent(), confirmed=mean, confirming=len(confirmed))
    best = best_of(keys, own)
    selected = None if best is None else own[best].told.values[0]
    made_of = {index // count: one for index, one in tried.suggestions.items() if index % count == place}
    drawn = random_values(search, len(first_points(search, entry, points)), made_of, own)
    return EntrySearch(
        entry=entry,
        tuned=True,
        spent=spent_by(list(own.values())),
        number=best,
        values={} if best is None else tried.suggestions[best * count + place].values,
        selected=selected,
        confirmed=mean,
        confirming=len(confirmed),
        gap=None if selected is None or mean is None else _better_by(keys[0], selected, mean),
        course=course_of(keys[0], own),
        reference=tuple(expected_best(keys[0], drawn)),
        front=front_of(keys, own) if len(keys) > 1 else (),
        ended="" if job.searched is None else job.searched.ended.get(entry, ""),
    )


def _better_by(key: MetricKey, value: float, other: float) -> float:
    return value - other if key.metric.direction == "higher" else other - value


def _confirmed(reader: Reader, job: JobInfo, key: MetricKey) -> dict[str, list[float]]:
    """The values of the confirming trials, by entry: the same metric, on validation data too."""
    found: dict[str, list[float]] = {}
    for start in range(0, job.trials, _PAGE):
        for record in reader.records(job.uid, start, min(_PAGE, job.trials - start)):
            outcome = outcome_of((key,), record.result, record.result.curves)
            if outcome.told.values:
                found.setdefault(record.result.entry, []).append(outcome.told.values[0])
    return found
