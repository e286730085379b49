"""Rankings as a table for people. Pure, except for the printing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from velodrome.cli.console import table
from velodrome.ranking.notes import grouped_notes
from velodrome.ranking.sentences import about_means, would_see
from velodrome.text import counted, line, listed
from velodrome.units import column_scale, quantity

if TYPE_CHECKING:
    from rich.table import Table

    from velodrome.board.reading import ObjectiveReading
    from velodrome.cli.screen import Screen
    from velodrome.ranking.places import ObjectiveRanking, UnrankedRow


def print_rankings(console: Screen, readings: Iterable[ObjectiveReading]) -> None:
    """Prints each objective: what it ranks, the table, which entry is best, and the conditions for which that holds."""
    for ranked in readings:
        ranking = ranked.ranking
        console.print(f"\n{line(ranked.objective.name)}", style="bold", markup=False, end="")
        console.print(f"  {ranking.key.label}, {ranking.direction} is better", markup=False)
        if ranking.ranked:
            console.print(ranking_table(ranked))
        console.paragraph(f"  {ranked.summary}")
        for held in ranking.unranked:
            console.paragraph(f"  not ranked: {held.entry}: {_value(ranking, held)}{held.reason}")
        for note, entries in grouped_notes(ranking.ranked).items():
            console.paragraph(f"  {listed(entries, most=6)}: {note}")
        if ranked.whole is not None:
            count = len(ranking.entries)
            console.paragraph(f"  {count} of {counted(len(ranked.whole.entries), 'entry', 'entries')} shown")
        elif ties := would_see(ranking):
            console.paragraph(f"  {ties}", style="dim")
        if means := about_means(ranking):
            console.paragraph(f"  {means}", style="dim")
        if ranked.cohort is not None:
            others = f"; {ranked.others} more under other conditions: --cohorts" if ranked.others else ""
            console.paragraph(f"  Holds for: {ranked.cohort.words}{others}", style="dim")


def _value(ranking: ObjectiveRanking, held: UnrankedRow) -> str:
    """The value of an entry that has no rank because it is the only one; empty for other reasons."""
    if held.why != "OneTrial":
        return ""
    (value,) = held.samples.values()
    return f"{quantity(ranking.unit, value)}, but "


def ranking_table(ranked: ObjectiveReading) -> Table:
    """The ranks that an entry may have, its mean with the interval, and the number of trials."""
    ranking = ranked.ranking
    scale = column_scale(ranking.unit, [row.interval for row in ranking.ranked])
    value = f"mean, {scale.symbol}" if scale.symbol else "mean"
    level = f"{100 * (1 - ranking.alpha):g} % interval"
    shown = table("rank", "entry", value, level, "n", "can't be told apart from", numbers=frozenset({value, "n"}))
    for row in ranking.ranked:
        interval = row.interval
        known = interval.low is not None and interval.high is not None
        spread = f"{scale.number(interval.low or 0)} to {scale.number(interval.high or 0)}" if known else "unknown"
        others = ", ".join(row.indistinguishable_from)
        shown.add_row(
            row.place,
            row.entry,
            scale.number(interval.mean),
            spread,
            str(interval.n),
            others,
        )
    return shown
