"""The trade-offs between the objectives of a board's entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from velodrome.board.trading import TradeOffReading
from velodrome.ranking.trade_offs import Standing, TradeOff
from velodrome.results.objectives import BoardObjective
from velodrome.store import Board
from velodrome.text import listed
from velodrome.units import column_scale
from velodrome_leaderboard import charts, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.viewer import palette
from velodrome_leaderboard.views.conditions import choose_conditions
from velodrome_leaderboard.views.drawing import draw

_PAGE = 25


def trade_off_tab(source: ResultSource, board: Board, objectives: Sequence[BoardObjective]) -> None:
    """Shows the tab that compares two or three objectives, which the URL names."""
    by_name = {objective.name: objective for objective in objectives}
    chosen, bound = links.several("by", list(by_name), list(by_name)[:2])
    st.pills("Objectives", list(by_name), selection_mode="multi", format_func=markup.plain, **bound)
    if not 2 <= len(chosen) <= 3:
        st.html(markup.note("Choose two or three objectives."))
        return
    reading = source.trade_off(board.name, [by_name[name] for name in chosen], st.query_params.get("conditions"))
    found = reading.trade_off
    if not found.points:
        st.html(markup.lines(("lead", ["No job has all values of an entry for each of these objectives yet."])))
        _left_out(found)
        return
    conditions = f"Measured under: {reading.chosen.words}" if reading.chosen is not None else ""
    st.html(markup.lines(("lead", [_front_words(found)]), ("note", [conditions])))
    if reading.chosen is not None and len(reading.conditions) > 1:
        choose_conditions(reading.chosen, reading.conditions, "conditions")
    draw(charts.trade_off(found, chosen, palette()), f"Entries by {listed(chosen)}")
    st.html(_table(reading, chosen))
    st.html(markup.note(_FRONT_EXPLANATION))
    _left_out(found)


def _left_out(found: TradeOff) -> None:
    """Says once, for each reason, which entries have no point."""
    by_reason: dict[str, list[str]] = {}
    for name, why in found.left_out.items():
        by_reason.setdefault(why, []).append(name)
    texts = [f"Left out: {listed(names, most=6)}: {why}." for why, names in by_reason.items()]
    if texts:
        st.html(markup.lines(*(("note", [text]) for text in texts)))


_FRONT_EXPLANATION = (
    "Dominated: another entry is significantly better at one of these, and the tests show this entry better at none. "
    "On the front: by the means, no other entry is at least as good at all of these and better at one. Maybe: by the "
    "means some entry is, but that may be chance. If all entries are equal, at most 5 % of races have a dominated one."
)


_WORDS: Mapping[Standing, str] = {"front": "on the front", "maybe": "maybe", "dominated": "dominated"}


def _front_words(found: TradeOff) -> str:
    """Which entries remain to choose from, as far as the tests show."""
    if len(found.points) == 1:
        return f"{found.points[0].entry} is the only entry that is ranked by all of these."
    front, maybe, beaten = (found.standing(standing) for standing in ("front", "maybe", "dominated"))
    parts = [
        f"{listed(front, most=6)} {_are(front)} on the front by the means" if front else "",
        f"{listed(maybe)} may be on it" if maybe else "",
        f"{listed(beaten)} {_are(beaten)} dominated" if beaten else "no entry is shown to be dominated",
    ]
    return f"{'; '.join(part for part in parts if part)}."


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _table(reading: TradeOffReading, titles: Sequence[str]) -> str:
    found = reading.trade_off
    scales = [
        column_scale(key.metric.unit, [point.intervals[axis] for point in found.points])
        for axis, key in enumerate(found.keys)
    ]
    columns = [
        markup.Column("Entry"),
        markup.Column("Standing"),
        *(markup.Column(title, scale.symbol, numeric=True) for title, scale in zip(titles, scales, strict=True)),
        markup.Column("Job", minor=True),
    ]
    rows = [
        [
            markup.Cell(point.entry, links.job(point.job_uid, point.entry)),
            markup.Cell(_WORDS[point.standing], tone="good" if point.standing == "front" else "quiet"),
            *(
                markup.Cell(f"{scale.number(interval.mean)} {scale.margin(interval)}".strip())
                for interval, scale in zip(point.intervals, scales, strict=True)
            ),
            markup.Cell(reading.jobs[point.entry], links.job(point.job_uid), tone="quiet"),
        ]
        for point in found.points[:_PAGE]
    ]
    return markup.table(
        columns, rows, f"Entries by {listed(titles)}", [point.standing for point in found.points[:_PAGE]]
    )
