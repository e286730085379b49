"""What a search tries early because it was good in other searches.

The points are measured again: the values that they had there belong to other conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from velodrome.board.searches import outcomes_in, planned
from velodrome.canonical import canonical
from velodrome.keys import search_uid
from velodrome.plan import Plan
from velodrome.results.records import JobInfo
from velodrome.search.outcomes import Outcome
from velodrome.search.trials import search_info, search_of, search_plan, searched_keys
from velodrome.spec import SearchParameter
from velodrome.spec.parameter_rules import outside
from velodrome.store import Reader, Store

_PAGE = 100
_MOST_JOBS = 20  # of a board, the newest ones

Point = Mapping[str, Any]


def register_search(store: Store, plan: Plan, info: JobInfo) -> str:
    """Makes room for the search trials of a registered job, with the points that it tries early. The same call again
    changes nothing. Returns a sentence about the warm start, the first time; else an empty one. Raises as the store
    does.
    """
    if store.job(search_uid(info.uid)) is not None:
        return ""
    points = warm_points(store, plan, info.uid)
    store.register_search(search_info(info, plan, points))
    return warm_words(plan, points)


def warm_points(reader: Reader, plan: Plan, uid: str) -> dict[str, tuple[Point, ...]]:
    """The points that `search.from` asks for, by entry: the best ones of the entry of the same name, in searches that
    improve the same metric. The best one of each search comes first, of the newest search before all.

    Values that this search can't try are left out, and chosen. Raises as the store does.
    """
    source = search_of(plan.job).taken_from
    if source is None:
        return {}
    found: dict[str, list[list[Point]]] = {}
    for job in islice(_givers(reader, plan, uid), 1 if source.job else _MOST_JOBS):
        for entry, points in _best(reader, job, plan, source.points).items():
            found.setdefault(entry, []).append(points)
    return {entry: _in_turn(searches)[: source.points] for entry, searches in found.items()}


def warm_words(plan: Plan, points: Mapping[str, tuple[Point, ...]]) -> str:
    """What a person should know of a warm start; empty without one."""
    source = search_of(plan.job).taken_from
    if source is None:
        return ""
    where = f"job {source.job}" if source.job else f"board {source.board}"
    if not points:
        return f"search.from: {where} has no search of these entries that improves the same metric: nothing is taken"
    each = ", ".join(f"{len(own)} of {entry}" for entry, own in points.items())
    return f"the best points of {where} are tried early, and measured again: {each}"


def _givers(reader: Reader, plan: Plan, uid: str) -> Iterator[JobInfo]:
    """The jobs that may be asked, newest first: those with a search in the namespace of this one."""
    source = search_of(plan.job).taken_from
    assert source is not None
    jobs = reader.each_job(source.board or plan.job.board, _PAGE)
    others = [one for one in jobs if one.uid != uid and one.namespace == plan.job.namespace and planned(one)]
    named = [one for one in others if one.uid == source.job] or [one for one in others if one.name == source.job]
    return iter(named if source.job else others)


def _best(reader: Reader, job: JobInfo, plan: Plan, most: int) -> dict[str, list[Point]]:
    """The best points of each entry in one search, best first."""
    made, own = planned(job), search_of(plan.job)
    key = searched_keys(plan.job)[0]
    if made is None or searched_keys(made.job)[0] != key:
        return {}
    tried = search_plan(made, reader.suggestions(search_uid(job.uid)))
    ended = outcomes_in(reader, tried, search_uid(job.uid), searched_keys(made.job))
    sign = -1 if key.metric.direction == "higher" else 1
    order = sorted((sign * one.told.values[0], index) for index, one in ended.items() if _is_complete(one))
    found: dict[str, list[Point]] = {}
    for _, index in order:
        entry = made.entry(index)
        values = _fitting(own.of(entry), tried.suggestions[index].values) if entry in plan.configs else {}
        if values and len(found.setdefault(entry, [])) < most:
            found[entry].append(values)
    return found


def _is_complete(outcome: Outcome) -> bool:
    return bool(outcome.told.values)


def _fitting(parameters: tuple[SearchParameter, ...], values: Point) -> Point:
    """Those of these values that the parameters may have."""
    known = [(one.name, one.model_dump(by_alias=True)) for one in parameters if one.name in values]
    return {name: values[name] for name, item in known if outside(item, values[name]) is None}


def _in_turn(searches: list[list[Point]]) -> tuple[Point, ...]:
    """The best points of all searches, then the second ones, and so on, each point once."""
    longest = max(map(len, searches), default=0)
    every = [points[place] for place in range(longest) for points in searches if place < len(points)]
    return tuple({canonical(point): point for point in reversed(every)}.values())[::-1]
