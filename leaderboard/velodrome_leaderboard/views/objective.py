"""One objective of a board: who leads it, under which conditions, and which entries are unranked and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import streamlit as st

from velodrome.board.comparing import win_matrix
from velodrome.board.page import PAGE, ObjectivePage, pages
from velodrome.ranking.places import RankedRow, UnrankedRow
from velodrome.results.objectives import BoardObjective
from velodrome.store import Board
from velodrome.units import mean_of, quantity
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.views.conditions import choose_conditions
from velodrome_leaderboard.views.narrowing import NarrowedView, tools
from velodrome_leaderboard.views.ranking import ranking

T = TypeVar("T")


def objective_tab(source: ResultSource, board: Board, objective: BoardObjective) -> None:
    """Shows the tab of an objective, in the cohort that the URL names."""
    wanted = links.wanted_page(), links.wanted_page("unranked")
    page = source.page(board.name, objective, st.query_params.get("cohort"), wanted)
    cohorts, cohort = page.head.cohorts, page.head.cohort
    metric = objective.key.metric
    conditions = f"Measured under: {cohort.words}" if cohort is not None else "Nothing was measured yet."
    st.html(
        markup.lines(
            ("lead", [page.head.summary]),
            (
                "meta",
                [
                    markup.Cell(objective.key.label, tone="code", hint=str(objective.key)),
                    metric.description,
                    f"{metric.direction} is better",
                ],
            ),
            ("note", [conditions]),
        )
    )
    if cohort is not None and len(cohorts) > 1:
        choose_conditions(cohort, cohorts)
    view = tools(source, board, page) if page.head.names or page.head.unranked else None
    shown = page if view is None else _of_view(page, view)
    if shown.ranked:
        by_entry = {} if view is None else {row.entry: row for row in view.rows}
        columns = () if view is None else view.columns
        ranking(source, board.name, shown, _best(source, board.name, page), [(one, by_entry) for one in columns])
        st.html(markup.note(_EXPLANATION, f" {page.head.means}" if page.head.means else ""))
    if shown.head.unranked:
        _unranked(shown)
    if len(page.head.names) > 1:
        _wins(source, board.name, page)


def _wins(source: ResultSource, board: str, page: ObjectivePage) -> None:
    """Who is significantly better than whom, once somebody opens it."""
    part = st.expander("Who beats whom", icon=":material/grid_on:", key="wins", on_change="rerun")
    if not part.open:
        return
    cohort = page.head.cohort.cohort_id if page.head.cohort else None
    found = win_matrix(source.objective(board, page.head.objective, cohort).ranking)
    columns = [markup.Column("Better than …"), *(markup.Column(name) for name in found.entries)]
    rows = [
        [markup.Cell(name), *(markup.Cell(_SIGNS[sign][0], hint=_SIGNS[sign][1], tone=_TONES[sign]) for sign in signs)]
        for name, signs in zip(found.entries, found.signs, strict=True)
    ]
    with part:
        st.html(markup.table(columns, rows, "Who beats whom"))
        more = len(page.head.names) - len(found.entries)
        rest = f" The best {len(found.entries)} entries; {more} more are ranked." if more else ""
        st.html(
            markup.note(f"Row by row: ✓ is significantly better, ✕ is significantly worse, = is not told apart.{rest}")
        )


_SIGNS = {
    "": ("", ""),
    "+": ("✓", "significantly better"),
    "-": ("✕", "significantly worse"),
    "=": ("=", "not told apart"),
}
_TONES: dict[str, markup.Tone] = {"": "", "+": "good", "-": "bad", "=": "quiet"}


def _of_view(page: ObjectivePage, view: NarrowedView) -> ObjectivePage:
    """The rows that were asked for, in pages like all rows."""
    ranked = [row.row for row in view.rows if isinstance(row.row, RankedRow)]
    unranked = [row.row for row in view.rows if isinstance(row.row, UnrankedRow)]
    head = replace(page.head, names=tuple(row.entry for row in ranked), unranked=len(unranked))
    shown, others = _one_page(ranked, "page"), _one_page(unranked, "unranked")
    return replace(page, head=head, ranked=shown, unranked=others, verdicts=view.sheet.reading.verdicts)


def _one_page(rows: Sequence[T], name: str) -> tuple[T, ...]:
    number, _ = links.page_number(pages(len(rows)), name)
    return tuple(rows[(number - 1) * PAGE : number * PAGE])


def _best(source: ResultSource, board: str, page: ObjectivePage) -> float:
    """The best mean of all entries: that of the first row of the first page."""
    cohort = page.head.cohort.cohort_id if page.head.cohort else None
    return source.page(board, page.head.objective, cohort).ranked[0].interval.mean


_EXPLANATION = (
    "Mean over the trials of an entry, and its 95 % confidence interval (Student's t, n trials); a tick is one seed. "
    "Rows stand in order of the mean. A rank is what it may be: from 1 + the number of entries that are significantly "
    "better, to the number of entries less those that are significantly worse. Entries are tested pairwise on the same "
    "seeds, with a correction for all pairs (95 %). So intervals that overlap may belong to entries that differ."
)


def _unranked(page: ObjectivePage) -> None:
    st.header(f"Not ranked ({page.head.unranked})", anchor=False)
    count, unit = page.head.unranked_pages, page.head.objective.key.metric.unit
    _, bound = links.page_number(count, "unranked")
    so_far = "Mean of the values that there are; what is missing might change it a lot"
    columns = [
        markup.Column("Entry"),
        markup.Column("Why"),
        markup.Column("So far", numeric=True, minor=True, hint=so_far),
        markup.Column("n", numeric=True, hint="Trials with a value under these conditions, of those planned"),
        markup.Column("Job", minor=True),
    ]
    cells = [
        [
            markup.Cell(row.entry, links.job(row.job_uid, row.entry)),
            markup.Cell(row.reason, tone="bad" if row.why in ("Failed", "SeedsDiffer") else ""),
            markup.Cell(quantity(unit, mean_of(row.samples.values())) if row.samples else "", tone="quiet"),
            markup.Cell(f"{len(row.samples)} / {row.planned}"),
            markup.Cell(row.job_name, links.job(row.job_uid), tone="quiet"),
        ]
        for row in page.unranked
    ]
    st.html(markup.table(columns, cells, "Entries without a rank"))
    if count > 1:
        st.pagination(count, **bound)
