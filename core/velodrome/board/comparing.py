"""Compares two to eight entries of a board: by how much they differ in each objective, in parameters, in environment.

The tests are those of the ranking, of all its entries, so a comparison never contradicts the ranks. Terminal, browser,
API and report show this reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from velodrome.board.parameters import Setting, differing_settings, parameters_of
from velodrome.board.reading import ObjectiveReading
from velodrome.board.viewing import read_objectives
from velodrome.errors import NotThere
from velodrome.ranking.places import ObjectiveRanking, RankedRow, UnrankedRow
from velodrome.results.conditions import fact_words, facts, shown
from velodrome.results.objectives import BoardObjective
from velodrome.spec.wording import suggestion
from velodrome.stats import Sample, rank
from velodrome.text import line, percent
from velodrome.units import quantity

if TYPE_CHECKING:
    from velodrome.results.records import Environment, JobInfo
    from velodrome.store import Reader

MOST_COMPARED: Final = 8


@dataclass(frozen=True, slots=True)
class PairDifference:
    """`a` against `b` in one objective: a minus b in the unit, or with `logs` the factor a / b less 1.

    `better` is the entry that is significantly better by the tests of the ranking, or None. `low` and `high` bound the
    difference at the level that the correction for all pairs of the board leaves to this pair, so they exclude 0
    exactly if the two are told apart. They are None without spread. `paired` says that common seeds were compared.
    """

    a: str
    b: str
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    paired: bool
    logs: bool
    better: str | None


@dataclass(frozen=True, slots=True)
class ComparedObjective:
    """One objective: the row of each entry that is ranked or listed there, and the differences of all ranked pairs."""

    reading: ObjectiveReading
    rows: Mapping[str, RankedRow | UnrankedRow]
    pairs: tuple[PairDifference, ...]


@dataclass(frozen=True, slots=True)
class ComparedEntry:
    """One entry: the job that its settings and its environment are of, and both."""

    entry: str
    job: JobInfo
    settings: Mapping[str, Setting]
    environment: Environment | None


@dataclass(frozen=True, slots=True)
class ComparedEntries:
    """Entries of a board, side by side. `settings` names the parameters in which they differ. `environments` has the
    facts of the machines in which they differ: the fact, and its value for each entry.
    """

    board: str
    entries: tuple[ComparedEntry, ...]
    objectives: tuple[ComparedObjective, ...]
    settings: tuple[str, ...]
    environments: tuple[tuple[str, tuple[str, ...]], ...]


def read_comparison(
    reader: Reader, board: str, entries: Sequence[str], objectives: Sequence[BoardObjective]
) -> ComparedEntries:
    """The comparison of these entries of the board, in these objectives, each in its newest cohort.

    Raises:
        NotThere: there are fewer than two or more than eight entries, or one is not on the board. Otherwise as the
            store does.
    """
    names = list(dict.fromkeys(entries))
    if not 2 <= len(names) <= MOST_COMPARED:
        raise NotThere("entry", f"name two to {MOST_COMPARED} different entries to compare, not {len(names)}")
    newest = {state.entry: job for job, state in reader.board_entries(board)}
    for name in names:
        if name not in newest:
            raise NotThere("entry", line(f"{board} has no entry {name!r}: {suggestion(name, newest)}"))
    compared = tuple(compare_in(one, names) for one in read_objectives(reader, board, objectives))
    uids = {name: _job_uid(name, compared) for name in names}
    jobs = {uid: job for uid in set(uids.values()) if uid is not None and (job := reader.job(uid)) is not None}
    found = []
    for name in names:
        job = jobs.get(uids[name] or "") or newest[name]
        settings = parameters_of(job).get(name, {})
        found.append(ComparedEntry(name, job, settings, _environment(reader, job, name)))
    differing = differing_settings([one.settings for one in found])
    return ComparedEntries(board, tuple(found), compared, tuple(differing), _environments(found))


def compare_in(reading: ObjectiveReading, names: Sequence[str]) -> ComparedObjective:
    """The rows and the differences of these entries in one objective. Pure."""
    ranking = reading.ranking
    every: dict[str, RankedRow | UnrankedRow] = {row.entry: row for row in ranking.ranked}
    every |= {row.entry: row for row in ranking.unranked}
    rows = {name: every[name] for name in names if name in every}
    ranked = [name for name in names if isinstance(rows.get(name), RankedRow)]
    return ComparedObjective(reading, rows, _differences(ranking, ranked))


def _differences(ranking: ObjectiveRanking, names: Sequence[str]) -> tuple[PairDifference, ...]:
    if len(names) < 2:
        return ()
    by_entry = {row.entry: row for row in ranking.ranked}
    metric = ranking.metric
    found = rank(
        [Sample(row.entry, row.samples) for row in ranking.ranked],
        metric.direction,
        ranking.alpha,
        deterministic=metric.deterministic,
        scale="ratio" if ranking.logs else "interval",
        limits=metric.range,
        stopping={row.entry: row.stopping for row in ranking.ranked if row.stopping is not None},
    )
    places = {row.entry: place for place, row in enumerate(ranking.ranked)}
    made = []
    for a, b in combinations(names, 2):
        pair = found.comparisons.between(a, b, corrected=True)
        tied = b in by_entry[a].indistinguishable_from
        made.append(
            PairDifference(
                a,
                b,
                _size(pair.difference, logs=pair.logs),
                None if pair.low is None else _size(pair.low, logs=pair.logs),
                None if pair.high is None else _size(pair.high, logs=pair.logs),
                pair.adjusted_p_value,
                pair.n,
                pair.method == "paired",
                pair.logs,
                None if tied else min(a, b, key=places.__getitem__),
            )
        )
    return tuple(made)


def _size(value: float, *, logs: bool) -> float:
    from math import expm1

    return expm1(min(value, 700.0)) if logs else value


def _job_uid(name: str, compared: Sequence[ComparedObjective]) -> str | None:
    return next((one.rows[name].job_uid for one in compared if name in one.rows), None)


def _environment(reader: Reader, job: JobInfo, entry: str) -> Environment | None:
    """The environment of the entry's first finished trial that has one."""
    position, finished = job.entries.index(entry), reader.trials(job.uid)
    own = [index for index in sorted(finished) if index % len(job.entries) == position][:1]
    return next((one.result.environment for one in reader.some_trials(job.uid, own) if one is not None), None)


def _environments(entries: Sequence[ComparedEntry]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The facts in which the entries' environments differ, with the value of each entry. Pure."""
    each: list[dict[Any, Any]] = [
        {} if one.environment is None else dict(facts(one.environment.model_dump(mode="json"))) for one in entries
    ]
    paths = dict.fromkeys(path for found in each for path in found)
    differing = [path for path in paths if len({shown(found.get(path)) for found in each}) > 1]
    return tuple((fact_words(path), tuple(shown(found.get(path)) for found in each)) for path in differing)


def verdict_words(one: PairDifference) -> str:
    """What the tests say of a pair."""
    return f"{one.better} is better" if one.better is not None else "not told apart"


def difference_words(one: PairDifference, unit: str) -> str:
    """The difference with its interval, signed: `+0.3 % (−0.1 to +0.7 %)`."""
    points = " points" if unit == "ratio" and not one.logs else ""
    if one.low is None or one.high is None:
        return f"{signed(one.difference, unit, logs=one.logs)}{points}"
    low, high = (signed(end, unit, logs=one.logs) for end in (one.low, one.high))
    return f"{signed(one.difference, unit, logs=one.logs)}{points} ({low} to {high})"


def signed(value: float, unit: str, *, logs: bool) -> str:
    """A difference with its sign: with `logs` in percent, of a ratio in points, else in the unit."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    if logs:
        return f"{sign}{percent(abs(value), '')}"
    return f"{sign}{100 * abs(value):.2f}" if unit == "ratio" else f"{sign}{quantity(unit, abs(value), 3)}"


@dataclass(frozen=True, slots=True)
class WinMatrix:
    """Who is significantly better than whom: row by row, `+`, `-` or `=` for each column, and "" for the row itself."""

    entries: tuple[str, ...]
    signs: tuple[tuple[str, ...], ...]


def win_matrix(ranking: ObjectiveRanking, most: int = 20) -> WinMatrix:
    """The matrix of the best ranked entries, by the tests of the whole ranking. Pure."""
    rows = ranking.ranked[:most]
    signs = []
    for place, row in enumerate(rows):
        tied = set(row.indistinguishable_from)
        signs.append(
            tuple(
                "" if other == place else "=" if rows[other].entry in tied else "+" if place < other else "-"
                for other in range(len(rows))
            )
        )
    return WinMatrix(tuple(row.entry for row in rows), tuple(signs))
