"""The ranking of one objective, as the command line and the pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from velodrome.api.tables import Tabular, ValueTable, html_table
from velodrome.board.reading import ObjectiveReading
from velodrome.board.rows import RankingRow, ValueRow, ranking_rows, value_rows
from velodrome.ranking.places import RankedRow, UnrankedRow
from velodrome.text import line
from velodrome.units import column_scale


@dataclass(frozen=True)
class RankingTable(Tabular):
    """One objective of a board, in one cohort. Means and intervals are in `unit`.

    `ranked` is best first, with each entry's rank, interval, values by seed, and the entries that can't be told apart
    from it. `unranked` has the others, each with the reason. As a table, it has one row an entry: `RankingRow`.
    """

    board: str
    reading: ObjectiveReading

    @property
    def objective(self) -> str:
        """The objective's name, unique on the board."""
        return self.reading.objective.name

    @property
    def metric(self) -> str:
        """The metric key."""
        return str(self.reading.ranking.key)

    @property
    def unit(self) -> str:
        """The unit of every value."""
        return self.reading.ranking.unit

    @property
    def direction(self) -> str:
        """`higher` or `lower`: which values are better."""
        return self.reading.ranking.direction

    @property
    def ranked(self) -> tuple[RankedRow, ...]:
        """The entries with a rank, best first."""
        return self.reading.ranking.ranked

    @property
    def unranked(self) -> tuple[UnrankedRow, ...]:
        """The entries without a rank, each with the reason."""
        return self.reading.ranking.unranked

    @property
    def summary(self) -> str:
        """Which entry is best, in a sentence that claims no more than the tests show."""
        return self.reading.summary

    @property
    def cohort(self) -> str | None:
        """The id of the conditions that the values share. None without values."""
        return None if self.reading.cohort is None else self.reading.cohort.cohort_id

    @property
    def cohorts(self) -> tuple[str, ...]:
        """The ids of all conditions that there are values for, the newest first."""
        return tuple(cohort.cohort_id for cohort in self.reading.cohorts)

    @property
    def holds_for(self) -> str:
        """The conditions in words. Empty without values."""
        return self.reading.cohort.words if self.reading.cohort else ""

    @property
    def columns(self) -> tuple[str, ...]:
        return RankingRow._fields

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return list(ranking_rows(self.board, [self.reading]))

    @property
    def values(self) -> ValueTable[ValueRow]:
        """The value of each seed of each entry."""
        return ValueTable(ValueRow, value_rows(self.board, [self.reading]))

    def __str__(self) -> str:
        scale = column_scale(self.unit, [row.interval for row in self.ranked])
        places = [f"  {row.place:4}{line(row.entry)}  {scale.interval(row.interval)}" for row in self.ranked]
        others = [f"  not ranked: {line(row.entry)}: {line(row.reason)}" for row in self.unranked]
        head = f"{line(self.objective)} on {line(self.board)} ({self.metric}, {self.direction} is better)"
        return "\n".join([head, *places, f"  {line(self.summary)}", *others])

    def _repr_html_(self) -> str:
        """What a notebook shows: the ranking as `velodrome results` prints it, every text escaped."""
        scale = column_scale(self.unit, [row.interval for row in self.ranked])
        value = f"mean, {scale.symbol}" if scale.symbol else "mean"
        cells = [
            (row.place, row.entry, scale.interval(row.interval), row.interval.n, ", ".join(row.indistinguishable_from))
            for row in self.ranked
        ]
        table = html_table(("rank", "entry", value, "n", "can't be told apart from"), cells)
        title = f"{self.objective}: {self.metric}, {self.direction} is better"
        notes = [self.summary, *(f"not ranked: {row.entry}: {row.reason}" for row in self.unranked)]
        notes += [f"Holds for: {self.holds_for}"] if self.holds_for else []
        said = "".join(f"<li>{escape(line(note))}</li>" for note in notes)
        return f"<h4>{escape(line(title))}</h4>{table}<ul>{said}</ul>"
