"""A sheet: the entries of a board for one objective as rows, and everything that is known of them as columns.

People filter and sort a sheet (`velodrome.board.narrowing`). Ranks are those of the whole ranking, whatever is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from velodrome.board.parameters import Setting, parameters_of
from velodrome.board.reading import ObjectiveReading
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.metrics.catalogue import MetricKey
from velodrome.ranking.places import ALPHA, ObjectiveRanking, RankedRow, UnrankedRow
from velodrome.results.objectives import BoardObjective

if TYPE_CHECKING:
    from velodrome.store import Reader

Value = float | str | datetime | None
ColumnKind = Literal["number", "text", "time"]
Group = Literal["standing", "objective", "parameter"]


@dataclass(frozen=True, slots=True)
class SheetColumn:
    """A column. Numbers are in `unit`. `aliases` are other names that people may write for it."""

    name: str
    kind: ColumnKind
    group: Group
    unit: str = ""
    aliases: tuple[str, ...] = ()
    about: str = ""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """An entry: its row in the ranking or among the unranked, and its values by column. Absent values are None."""

    entry: str
    row: RankedRow | UnrankedRow
    values: Mapping[str, Value]

    @property
    def ranked(self) -> RankedRow | None:
        """Its row in the ranking."""
        return self.row if isinstance(self.row, RankedRow) else None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The sheet of an objective. Rows are in the order of the ranking, then unranked ones."""

    reading: ObjectiveReading
    columns: tuple[SheetColumn, ...]
    rows: tuple[SheetRow, ...]

    def column(self, name: str) -> SheetColumn:
        """The column of exactly this name. Raises KeyError."""
        return next((one for one in self.columns if one.name == name), None) or _no_column(name)


def _no_column(name: str) -> SheetColumn:
    raise KeyError(name)


def read_sheet(
    reader: Reader, board: str, objective: BoardObjective, cohort_id: str | None = None, *, verdicts: bool = False
) -> Sheet:
    """The sheet of an objective in the cohort with this id if it has it, else in the newest cohort.

    Columns of other objectives have the means of their newest cohorts. With `verdicts`, each ranked row says how it
    compares with its baseline; kept readings always do.

    Raises:
        As the store does.
    """
    (reading,) = read_objectives(reader, board, [objective], cohort_id, verdicts=verdicts)
    (sheet,) = sheets_of(reader, board, [reading])
    return sheet


def sheets_of(reader: Reader, board: str, readings: Sequence[ObjectiveReading]) -> list[Sheet]:
    """The sheet of each of these readings of a board.

    Raises:
        As the store does.
    """
    every = objectives_of(reader, board)
    whole = dict(zip(every, read_objectives(reader, board, every), strict=True))
    uids = dict.fromkeys(row.job_uid for reading in readings for row in _rows(reading.ranking))
    jobs = (job for uid in uids if (job := reader.job(uid)) is not None)
    settings = {job.uid: parameters_of(job) for job in jobs}
    sizes = {} if any(one.key == PARAMETERS for one in every) else _sizes(reader, board)
    return [
        make_sheet(one, [other for of, other in whole.items() if of.key != one.objective.key], settings, sizes)
        for one in readings
    ]


PARAMETERS = MetricKey.of("parameters")


def _sizes(reader: Reader, board: str) -> dict[str, float]:
    """By entry, its number of parameters, where no objective ranks that."""
    cohorts = reader.cohorts(board, str(PARAMETERS))
    rows = reader.ranking_rows(board, str(PARAMETERS), cohorts[0].cohort_id) if cohorts else []
    return {row.entry: max(row.samples.values()) for row in rows if row.samples}


def make_sheet(
    reading: ObjectiveReading,
    others: Sequence[ObjectiveReading] = (),
    settings: Mapping[str, Mapping[str, Mapping[str, Setting]]] | None = None,
    sizes: Mapping[str, float] | None = None,
) -> Sheet:
    """The sheet of these readings. `settings` has the parameters by job uid and entry, `sizes` the number of weights
    by entry, where no objective ranks that. Pure.
    """
    ranking, settings, sizes = reading.ranking, settings or {}, sizes or {}
    means = {one.objective.name: _means(one.ranking) for one in others}
    known = {row.entry: settings.get(row.job_uid, {}).get(row.entry, {}) for row in _rows(ranking)}
    columns = [*_standing(reading), *map(_objective_column, others)]
    if sizes:
        about = PARAMETERS.metric.description
        columns.append(SheetColumn(str(PARAMETERS), "number", "objective", "count", _SHORT["parameters"], about))
    taken = {one.name for one in columns}
    names = dict.fromkeys(name for found in known.values() for name in found)
    columns += [_parameter(name, taken, known.values()) for name in names]
    best = ranking.ranked[0].interval.mean if ranking.ranked else None
    rows = []
    for row in _rows(ranking):
        values: dict[str, Value] = {**_ranked_values(reading, row, best)}
        values |= {name: found.get(row.entry) for name, found in means.items()}
        if sizes:
            values[str(PARAMETERS)] = sizes.get(row.entry)
        values |= {_parameter_name(name, taken): known[row.entry].get(name) for name in names}
        rows.append(SheetRow(row.entry, row, values))
    return Sheet(reading, tuple(columns), tuple(rows))


# What people call a metric in short.
_SHORT: Mapping[str, tuple[str, ...]] = {"parameters": ("params",)}


def _rows(ranking: ObjectiveRanking) -> tuple[RankedRow | UnrankedRow, ...]:
    return (*ranking.ranked, *ranking.unranked)


def _standing(reading: ObjectiveReading) -> list[SheetColumn]:
    """The columns that every sheet has: what the ranking says of an entry."""
    unit, objective = reading.ranking.unit, reading.objective
    delta = "ratio" if reading.ranking.logs else unit
    level = f"{100 * (1 - (reading.ranking.alpha or ALPHA)):g} %"
    return [
        SheetColumn("entry", "text", "standing", aliases=("name",), about="The entry's name."),
        SheetColumn("status", "text", "standing", about="ranked, or why it is not."),
        SheetColumn("rank", "number", "standing", aliases=("best_rank",), about="The best rank that it may have."),
        SheetColumn("worst_rank", "number", "standing", about="The worst rank that it may have."),
        SheetColumn("mean", "number", "standing", unit, _names(objective), "The mean over its trials."),
        SheetColumn("delta", "number", "standing", delta, about="How far its mean is from the best mean."),
        SheetColumn("low", "number", "standing", unit, about=f"The lower end of its {level} interval."),
        SheetColumn("high", "number", "standing", unit, about=f"The upper end of its {level} interval."),
        SheetColumn("n", "number", "standing", aliases=("trials", "seeds"), about="Trials with a value."),
        SheetColumn("trend", "text", "standing", aliases=("verdict",), about="Against its baseline."),
        SheetColumn("job", "text", "standing", about="The job that its values come from."),
        SheetColumn("updated", "time", "standing", about="When its newest value was accepted."),
    ]


def _names(objective: BoardObjective) -> tuple[str, ...]:
    key = objective.key
    return tuple(dict.fromkeys((objective.name, str(key), key.label, key.name, *_SHORT.get(key.name, ()))))


def _objective_column(other: ObjectiveReading) -> SheetColumn:
    objective, unit = other.objective, other.ranking.unit
    return SheetColumn(objective.name, "number", "objective", unit, _names(objective)[1:], "The mean of an objective.")


def _parameter_name(name: str, taken: set[str]) -> str:
    return f"training.{name}" if name in taken else name


def _parameter(name: str, taken: set[str], known: Iterable[Mapping[str, Setting]]) -> SheetColumn:
    values = [found[name] for found in known if name in found]
    kind: ColumnKind = "number" if all(isinstance(value, float) for value in values) else "text"
    own = name.split(".", maxsplit=1)[0] in ("model", "command", "image", "budget", "optimize")
    aliases = () if own else (f"training.{name}",)
    return SheetColumn(_parameter_name(name, taken), kind, "parameter", "", aliases, "A parameter of the entry.")


def _means(ranking: ObjectiveRanking) -> dict[str, float]:
    return {row.entry: row.interval.mean for row in ranking.ranked}


def _ranked_values(reading: ObjectiveReading, row: RankedRow | UnrankedRow, best: float | None) -> Mapping[str, Value]:
    verdict = (reading.verdicts or {}).get(row.entry)
    if isinstance(row, UnrankedRow):
        why = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in row.why).strip()
        return {"entry": row.entry, "status": why, "n": float(len(row.samples)), "job": row.job_name}
    interval = row.interval
    return {
        "entry": row.entry,
        "status": "ranked",
        "rank": float(row.rank),
        "worst_rank": float(row.worst_rank),
        "mean": interval.mean,
        "delta": delta(interval.mean, best, logs=reading.ranking.logs),
        "low": interval.low,
        "high": interval.high,
        "n": float(interval.n),
        "trend": None if verdict is None else verdict.verdict.lower(),
        "job": row.job_name,
        "updated": row.last_at,
    }


def delta(mean: float, best: float | None, *, logs: bool) -> float | None:
    """How far a mean is from the best mean: in the unit, or with `logs` as a share of the best mean."""
    if best is None:
        return None
    return mean / best - 1 if logs and best else mean - best
