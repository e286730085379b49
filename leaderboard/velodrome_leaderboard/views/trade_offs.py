"""The trade-offs between the objectives of a board's entries."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from velodrome.ranking.places import TradeOff, listed, pareto
from velodrome.results.objectives import BoardObjective
from velodrome.store import Board
from velodrome.text import line
from velodrome.units import column_scale
from velodrome_leaderboard import charts, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import palette

_PAGE = 25


def trade_off_tab(source: ResultSource, board: Board, objectives: Sequence[BoardObjective]) -> None:
    """Shows the tab that compares two or three objectives, which the URL names."""
    by_name = {objective.name: objective for objective in objectives}
    chosen, bound = links.several("by", list(by_name), list(by_name)[:2])
    st.pills("Objectives", list(by_name), selection_mode="multi", format_func=markup.plain, **bound)
    if not 2 <= len(chosen) <= 3:
        st.html(markup.note("Choose two or three objectives."))
        return
    cohort_id = st.query_params.get("cohort")
    found = pareto([source.objective(board.name, by_name[name], cohort_id).ranking for name in chosen])
    if not found.points:
        st.html(markup.lines(("lead", ["No entry is ranked by each of these objectives yet."])))
        return
    st.html(markup.lines(("lead", [_front_words(found)])))
    label = line(f"Entries by {listed(chosen)}")
    st.altair_chart(charts.trade_off(found, chosen, palette()), width="stretch", alt=label)
    st.html(_table(found, chosen))
    left_out = "".join(f" {name}: {why}." for name, why in list(found.left_out.items())[:_PAGE])
    st.html(markup.note(_FRONT_EXPLANATION, f" Left out:{left_out}" if left_out else ""))


_FRONT_EXPLANATION = (
    "An entry is on the front when no other one is at least as good at all of these and better at one. The front is "
    "made of means: look at the intervals before you drop an entry that lies close to it."
)


def _front_words(found: TradeOff) -> str:
    if len(found.front) == 1:
        return f"{found.front[0]} is best at all of them, by the means."
    return f"{listed(found.front, most=6)} are on the front: no entry beats any of them at everything."


def _table(found: TradeOff, titles: Sequence[str]) -> str:
    scales = [
        column_scale(key.metric.unit, [point.intervals[axis] for point in found.points])
        for axis, key in enumerate(found.keys)
    ]
    columns = [
        markup.Column("Entry"),
        markup.Column(""),
        *(markup.Column(title, scale.symbol, numeric=True) for title, scale in zip(titles, scales, strict=True)),
    ]
    rows = [
        [
            markup.Cell(point.entry, links.job(point.job_uid, point.entry)),
            markup.Cell("on the front" if point.on_front else "", tone="good"),
            *(
                markup.Cell(f"{scale.number(interval.mean)} {scale.margin(interval)}".strip())
                for interval, scale in zip(point.intervals, scales, strict=True)
            ),
        ]
        for point in found.points[:_PAGE]
    ]
    return markup.table(
        columns, rows, f"Entries by {listed(titles)}", [point.on_front for point in found.points[:_PAGE]]
    )
