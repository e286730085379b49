"""The table of ranked entries, with the chart beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from velodrome.board.exporting import shown_value
from velodrome.board.page import ObjectivePage
from velodrome.board.sheet import SheetColumn, SheetRow, delta
from velodrome.ranking.notes import grouped_notes
from velodrome.ranking.places import RankedRow
from velodrome.ranking.sentences import seen
from velodrome.stats.detectable import POWER
from velodrome.text import counted, listed, percent
from velodrome.trends.regressions import Comparison
from velodrome.units import Scale, column_scale
from velodrome_leaderboard import charts, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import now, palette, zone
from velodrome_leaderboard.views.drawing import draw
from velodrome_leaderboard.views.trend import badge


def ranking(
    source: ResultSource,
    board: str,
    page: ObjectivePage,
    best: float,
    extra: Sequence[tuple[SheetColumn, Mapping[str, SheetRow]]] = (),
) -> None:
    """Shows one page of ranked entries. `best` is the best mean of all; `extra` are further columns of the sheet."""
    objective, count = page.head.objective, page.head.pages
    metric, rows = objective.key.metric, page.ranked
    _, bound = links.page_number(count)
    scale = column_scale(metric.unit, [row.interval for row in rows])
    found = _verdicts(source, page)
    _together(found)
    cohort = page.head.cohort.cohort_id if page.head.cohort else ""
    sparks = source.sparks(board, str(objective.key), cohort, tuple(row.entry for row in rows))
    badges = {row.entry: badge(found.get(row.entry), board, row.entry, objective.name) for row in rows}
    notes = grouped_notes(rows)
    st.html(_table(page, scale, board, badges, sparks, list(notes), best, extra))
    if count > 1:
        st.pagination(count, **bound)
    for number, (note, entries) in enumerate(notes.items(), start=1):
        st.html(markup.note(f"{_mark(number)} {listed(entries, most=6)}: {note}."))
    part = st.expander("As a chart", icon=":material/bar_chart:", key="chart", on_change="rerun")
    if part.open:
        title = f"{objective.name}, {scale.symbol}" if scale.symbol else objective.name
        with part:
            chart = charts.intervals(rows, scale, title, metric.direction, palette())
            draw(chart, f"Means and intervals by {objective.name}")


def _mark(number: int) -> str:
    return f"({number})"


def _verdicts(source: ResultSource, page: ObjectivePage) -> Mapping[str, Comparison]:
    """For each entry, its comparison with the level before: as it was kept, or else from its job."""
    found, rows = page.verdicts, page.ranked
    if found is None:
        key = str(page.head.objective.key)
        judged = {
            (one.job_uid, one.entry): one
            for uid in dict.fromkeys(row.job_uid for row in rows)
            for one in source.verdicts(uid)
            if one.metric_key == key
        }
        places = [(row.job_uid, row.entry) for row in rows]
        found = {entry: judged[uid, entry] for uid, entry in places if (uid, entry) in judged}
    return found


def _together(found: Mapping[str, Comparison]) -> None:
    """Says once what entries have in common."""
    for words in dict.fromkeys(one.together for one in found.values() if one.together and not one.acknowledged):
        st.html(markup.alert("The entries changed together.", [words]))


def _table(
    page: ObjectivePage,
    scale: Scale,
    board: str,
    badges: Mapping[str, markup.Cell],
    sparks: Mapping[str, tuple[float, ...]],
    notes: Sequence[str],
    best: float,
    extra: Sequence[tuple[SheetColumn, Mapping[str, SheetRow]]],
) -> str:
    rows, key = page.ranked, page.head.objective.key
    columns = [
        markup.Column("Rank", numeric=True, short=True, hint="The ranks that the entry may have"),
        markup.Column("Entry"),
        markup.Column("Mean", scale.symbol, numeric=True),
        markup.Column("95 %", numeric=True, hint="The confidence interval of the mean, same unit"),
        markup.Column("n", numeric=True, hint="Trials, each with its own seed"),
        markup.Column("Interval", minor=True, hint="The mean and its interval; a tick is one seed"),
        markup.Column("Trend", short=True, hint="Against its baseline, an earlier job under the same conditions"),
        markup.Column("To the best", hint="How far the mean is from the best mean, and why the rank is a range"),
        *(markup.Column(one.name, numeric=one.kind == "number", minor=True, hint=one.about) for one, _ in extra),
        markup.Column("History", minor=True, short=True, hint="The means of its newest jobs, oldest first"),
        markup.Column("Updated", minor=True, short=True),
        markup.Column("Again", minor=True, short=True, unseen=True),
    ]
    at, where, cells, span = now(), zone(), [], charts.span_of(rows)
    for row in rows:
        marks = _mark(notes.index(row.note) + 1) if row.note else ""
        cells.append(
            [
                markup.Cell(row.place, hint=_rank_hint(page, row)),
                markup.Cell(row.entry, links.entry(board, row.entry), detail=marks),
                markup.Cell(scale.number(row.interval.mean)),
                markup.Cell(scale.margin(row.interval) or "one trial", tone="quiet"),
                markup.Cell(str(row.interval.n)),
                markup.Cell("", tone="busy" if row.rank == 1 else "", reach=_reach(row, scale, span)),
                badges[row.entry],
                markup.Cell(_to_the_best(page, scale, row, best), detail=_tie(page, row)),
                *(markup.Cell(shown_value(one, of[row.entry].values.get(one.name))) for one, of in extra),
                markup.Cell("", spark=sparks.get(row.entry, ())),
                markup.moment(row.last_at, at, where),
                markup.Cell("Run again", links.again(row.job_uid, row.entry), tone="quiet"),
            ]
        )
    return markup.table(columns, cells, f"Ranking by {key}", [row.place for row in rows])


def _reach(row: RankedRow, scale: Scale, span: tuple[float, float]) -> markup.Reach:
    """The row's interval within the values that the table shows."""
    low, high = span
    wide = (high / 2 - low / 2) or 1.0  # halves, as the whole may be too large for a double

    def place(value: float | None) -> float:
        return 0.0 if value is None else 0.02 + 0.96 * (value / 2 - low / 2) / wide

    found = row.interval
    ends = (found.mean, found.mean) if found.low is None or found.high is None else (found.low, found.high)
    words = f"{scale.interval(found)}, {counted(found.n, 'seed')}"
    return markup.Reach(place(found.mean), place(ends[0]), place(ends[1]), [*map(place, row.samples.values())], words)


def _tie(page: ObjectivePage, row: RankedRow) -> str:
    """Why the rank is a range, in a few words."""
    others = len(row.indistinguishable_from)
    if not others:
        return ""
    level = f"{100 * page.head.alpha:g} %"
    return f"tied with {counted(others, 'other')}: not told apart at {level}, n = {row.interval.n}"


def _to_the_best(page: ObjectivePage, scale: Scale, row: RankedRow, best: float) -> str:
    found = delta(row.interval.mean, best, logs=page.head.logs)
    if not found:
        return "best" if found == 0 else ""
    sign = "+" if found > 0 else "−"
    return f"{sign}{percent(abs(found), '')}" if page.head.logs else f"{sign}{scale.number(abs(found))}"


def _rank_hint(page: ObjectivePage, row: RankedRow) -> str:
    """What the row can't be told apart from, and the difference to the next row that would have been found."""
    if not row.indistinguishable_from:
        return "Significantly different from every other entry"
    size = seen(page.head.objective.key.metric, page.head.logs, row)
    found = (
        f". A difference of {size} to the next entry would be found in {100 * POWER:g} % of such races" if size else ""
    )
    return f"Not told apart from {listed(row.indistinguishable_from, most=3)}{found}"
