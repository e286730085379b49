"""Reads the trade-off between two or three objectives of a board, under conditions that a person can choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from velodrome.board.cohorts import chosen_cohort
from velodrome.board.reading import BoardReader, ObjectiveReading, differing
from velodrome.board.rounds import stopping_of
from velodrome.board.viewing import read_objectives
from velodrome.ranking.places import rank_objective
from velodrome.ranking.trade_offs import TradeOff, pareto
from velodrome.results.cohorts import Cohort
from velodrome.results.objectives import BoardObjective
from velodrome.store.types import CohortSummary, Row
from velodrome.text import listed

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader
    from velodrome.trends.history import BoardHistory, Point


@dataclass(frozen=True, slots=True)
class TradeOffReading:
    """A trade-off, and the conditions that it can be read under.

    An entry stands there by the newest job in which all of its trials have a value of each objective under the chosen
    conditions. `conditions` are all that some job has values of each objective under, newest first; their ids join
    those of the objectives' cohorts. `chosen` is one of them, or None without values. `jobs` names each entry's job.
    """

    objectives: tuple[BoardObjective, ...]
    conditions: tuple[CohortSummary, ...]
    chosen: CohortSummary | None
    trade_off: TradeOff
    jobs: Mapping[str, str]


def read_trade_off(
    reader: Reader, board: str, objectives: Sequence[BoardObjective], conditions_id: str | None = None
) -> TradeOffReading:
    """The trade-off of the board's entries, under the conditions with this id if there are such, else the newest.

    It looks through the jobs that the board's verdicts look through.

    Raises:
        ValueError: there are fewer than two or more than three objectives, or one is there twice. Otherwise as the
            store does.
    """
    readings = read_objectives(reader, board, objectives)
    if _of_one_job_each(readings):
        return _as_ranked(readings)
    here = BoardReader(reader, board)
    names = [state.entry for _, state in here.states]
    found = _by_conditions(here.history, names, [str(one.key) for one in objectives])
    conditions = tuple(_summary(reader, ids, of) for ids, of in found.items())
    chosen = chosen_cohort(conditions, conditions_id)
    taken = {} if chosen is None else found[tuple(chosen.cohort_id.split(_BETWEEN))]
    apart = _apart(reader, taken)
    jobs: dict[str, JobInfo | None] = {job.uid: job for job in here.history.jobs}
    rankings = []
    for place, objective in enumerate(objectives):
        rows = [_row(points[place]) for points in taken.values()]
        rankings.append(rank_objective(objective.key, rows, differing=apart, stopping=stopping_of(jobs, rows)))
    off = pareto(rankings)
    why = f"no job has all its values of {listed([one.name for one in objectives])} under these conditions"
    missing = {name: why for name in names if name not in taken}
    off = replace(off, left_out={**off.left_out, **missing})
    return TradeOffReading(
        tuple(objectives), conditions, chosen, off, {name: points[0].job_name for name, points in taken.items()}
    )


def _of_one_job_each(readings: Sequence[ObjectiveReading]) -> bool:
    """Whether the rankings of the objectives are those of the trade-off: the board has one cohort for each, and each
    entry is ranked by the values of one job. Most boards are so, and need no older jobs.
    """
    jobs = [{row.entry: row.job_uid for row in one.ranking.ranked} for one in readings]
    return all(len(one.cohorts) == 1 and not one.ranking.unranked for one in readings) and all(
        found == jobs[0] for found in jobs
    )


def _as_ranked(readings: Sequence[ObjectiveReading]) -> TradeOffReading:
    cohorts = [one.cohort for one in readings if one.cohort is not None]
    conditions = _joined(cohorts)
    chosen = replace(cohorts[0], cohort_id=_BETWEEN.join(one.cohort_id for one in cohorts), conditions=conditions)
    chosen = replace(chosen, words=Cohort(chosen.cohort_id, conditions).words)
    off = pareto([one.ranking for one in readings])
    jobs = {row.entry: row.job_name for row in readings[0].ranking.ranked}
    return TradeOffReading(tuple(one.objective for one in readings), (chosen,), chosen, off, jobs)


def _joined(cohorts: Iterable[CohortSummary]) -> dict[str, Any]:
    return {name: value for one in cohorts for name, value in one.conditions.items()}


# No cohort's id has it.
_BETWEEN = "+"

Points = tuple["Point", ...]


def _by_conditions(
    history: BoardHistory, names: Iterable[str], keys: Sequence[str]
) -> dict[tuple[str, ...], dict[str, Points]]:
    """By the cohorts of these metric keys, and then by entry: the values of its newest job that has all of each."""
    names = list(names)
    found: dict[tuple[str, ...], dict[str, Points]] = {}
    for place in range(len(history.jobs) - 1, -1, -1):
        for name in names:
            points = [history.point(place, name, key) for key in keys]
            whole = tuple(point for point in points if point is not None and point.complete)
            if len(whole) == len(keys):
                found.setdefault(tuple(point.cohort_id for point in whole), {}).setdefault(name, whole)
    return found


def _summary(reader: Reader, ids: tuple[str, ...], of: Mapping[str, Points]) -> CohortSummary:
    """The conditions of several cohorts as one: trials that have values in each of them share all of these."""
    conditions = {name: value for one in ids for name, value in reader.conditions(one).items()}
    cohort_id = _BETWEEN.join(ids)
    newest = max(points[0].at for points in of.values())
    samples = sum(len(points[0].values) for points in of.values())
    return CohortSummary(cohort_id, conditions, Cohort(cohort_id, conditions).words, len(of), samples, newest)


def _apart(reader: Reader, taken: Mapping[str, Points]) -> dict[tuple[str, str], str]:
    uids = list(dict.fromkeys(points[0].job_uid for points in taken.values()))
    return differing(dict(zip(uids, reader.samples(uids), strict=True)))


def _row(point: Point) -> Row:
    return Row(point.entry, "", point.job_uid, point.job_name, point.planned, point.values, point.at, point.mixed_code)
