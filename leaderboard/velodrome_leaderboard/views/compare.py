"""Two to eight entries side by side: differences, parameters, curves, classes and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from velodrome.board.comparing import (
    MOST_COMPARED,
    ComparedEntries,
    ComparedObjective,
    difference_words,
    verdict_words,
)
from velodrome.board.details import CurveAxis, EntryDetails, band, per_class, series_of
from velodrome.board.parameters import Setting
from velodrome.errors import NotThere
from velodrome.ranking.places import RankedRow
from velodrome.store import Board
from velodrome.text import line, listed
from velodrome.units import column_scale
from velodrome_leaderboard import charts, compare_chart, links, markup
from velodrome_leaderboard.data import ResultSource
from velodrome_leaderboard.faults import part_of_page
from velodrome_leaderboard.viewer import palette
from velodrome_leaderboard.views import live
from velodrome_leaderboard.views.drawing import draw

AXES: tuple[CurveAxis, ...] = ("epoch", "seconds", "samples")
_CLASSES = 40
_MATRIX_CLASSES = 30


def render(source: ResultSource) -> None:
    """Shows the page of the board and the entries that the URL names."""
    name = st.query_params.get("board", "")
    board = {one.name: one for one in source.boards()}.get(name)
    if board is None:
        st.html(markup.heading("Compare entries", [("Leaderboards", links.HOME)]))
        st.html(markup.alert("There is no such board.", [f'No job has reported to a board called "{name}".']))
        return
    st.set_page_config(page_title=line(f"Compare · {name} · Velodrome"))
    steps = [("Leaderboards", links.HOME), (name, links.board(name))]
    live.watch(source, source.markers([name]), lambda: source.version(name), source.version(name))
    st.html(markup.heading("Compare entries", steps))
    chosen = _chosen(source, board)
    if len(chosen) < 2:
        st.html(markup.note(f"Choose two to {MOST_COMPARED} entries."))
        return
    try:
        found = source.comparison(name, tuple(chosen))
    except NotThere as error:
        st.html(markup.alert("These entries can't be compared.", [str(error)]))
        return
    details = {one.entry: source.details(one.job, one.entry) for one in found.entries}
    for show in (_objectives, _settings):
        with part_of_page():
            show(found)
    with part_of_page():
        curves(list(details.values()))
    with part_of_page():
        _classes(details)
    with part_of_page():
        _environments(found)


def _chosen(source: ResultSource, board: Board) -> list[str]:
    names = source.entry_names(board.name)
    wanted = st.query_params.get_all("entry")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        st.html(markup.alert("Some entries are not on this board.", [f"There is no {listed(unknown)}."], "busy"))
    chosen, bound = links.several("entry", names, names[:2] if not wanted else [], ordered=True)
    st.multiselect("Entries", names, max_selections=MOST_COMPARED, format_func=markup.plain, **bound)
    return chosen[:MOST_COMPARED]


def _objectives(found: ComparedEntries) -> None:
    for one in found.objectives:
        if not one.rows:
            continue
        st.header(markup.plain(one.reading.objective.name), anchor=False)
        left, right = st.columns([2, 3], gap="medium")
        left.html(_means(found.board, one))
        if one.pairs:
            right.html(_pairs(one))
    st.html(markup.note(_EXPLANATION))


_EXPLANATION = (
    "Differences are seed by seed where both entries have the same seeds. The tests are those of the ranking, with a "
    "correction for all pairs of the board. Each interval is at the level that this leaves to its pair, so it leaves "
    "out 0 exactly where the two are told apart."
)


def _means(board: str, one: ComparedObjective) -> str:
    ranking = one.reading.ranking
    ranked = [row.interval for row in one.rows.values() if isinstance(row, RankedRow)]
    scale = column_scale(ranking.unit, ranked)
    columns = [
        markup.Column("Rank", numeric=True, short=True),
        markup.Column("Entry"),
        markup.Column("Mean", scale.symbol, numeric=True),
        markup.Column("n", numeric=True),
    ]
    cells = []
    for name, row in one.rows.items():
        who = markup.Cell(name, links.entry(board, name))
        if isinstance(row, RankedRow):
            mean = f"{scale.number(row.interval.mean)} {scale.margin(row.interval)}".strip()
            cells.append([markup.Cell(row.place), who, markup.Cell(mean), markup.Cell(str(row.interval.n))])
        else:
            why = markup.Cell(name, links.entry(board, name), detail=f"not ranked: {row.reason}")
            cells.append([markup.Cell("–"), why, markup.Cell(""), markup.Cell(str(len(row.samples)))])
    return markup.table(columns, cells, f"Means by {one.reading.objective.name}")


def _pairs(one: ComparedObjective) -> str:
    columns = [
        markup.Column("Pair"),
        markup.Column("Difference", hint="The first less the second, with its interval"),
        markup.Column("The tests say"),
        markup.Column("n", numeric=True, hint="Seeds that both have, or the trials of the shorter side"),
    ]
    unit = one.reading.ranking.unit
    cells = [
        [
            markup.Cell(f"{pair.a} − {pair.b}"),
            markup.Cell(difference_words(pair, unit)),
            markup.Cell(verdict_words(pair), tone="quiet" if pair.better is None else "good"),
            markup.Cell(str(pair.n), hint="seed by seed" if pair.paired else "not seed by seed"),
        ]
        for pair in one.pairs
    ]
    return markup.table(columns, cells, f"Differences by {one.reading.objective.name}")


def _settings(found: ComparedEntries) -> None:
    st.header("Parameters that differ", anchor=False)
    if not found.settings:
        st.html(markup.note("Their parameters are the same."))
        return
    rows = [(name, [setting_words(one.settings.get(name)) for one in found.entries]) for name in found.settings]
    st.html(_side_by_side("Parameter", found, rows, "Parameters that differ"))


def setting_words(value: Setting | None) -> str:
    """A parameter for people; a dash for an absent one."""
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else value


def _environments(found: ComparedEntries) -> None:
    st.header("Environments that differ", anchor=False)
    if found.environments:
        st.html(_side_by_side("Fact", found, found.environments, "Environments that differ"))
    else:
        st.html(markup.note("Machine, software and granted resources are the same."))


def _side_by_side(head: str, found: ComparedEntries, rows: Sequence[tuple[str, Sequence[str]]], label: str) -> str:
    columns = [markup.Column(head), *(markup.Column(one.entry) for one in found.entries)]
    cells = [[markup.Cell(name), *(markup.Cell(value) for value in values)] for name, values in rows]
    return markup.table(columns, cells, label)


def curves(details: Sequence[EntryDetails]) -> None:
    """Shows the curves of these entries on one axis, which the URL names."""
    series = series_of(details)
    if not series:
        return
    st.header("Curves over the seeds", anchor=False)
    axis, bound = links.choice("axis", AXES, "epoch")
    st.segmented_control("Axis", AXES, required=True, **bound)
    chosen: CurveAxis = next(one for one in AXES if one == axis)
    each = min(3, len(series))
    for start in range(0, len(series), each):
        for column, name in zip(st.columns(each, gap="medium"), series[start : start + each], strict=False):
            found = {one.entry: band(one, name, chosen) for one in details}
            found = {entry: points for entry, points in found.items() if points}
            if found:
                chart = compare_chart.bands(found, name, chosen, palette())
                draw(chart, f"{name} of {listed(list(found))} by {chosen}", at=column)
    st.html(markup.note("A line is the mean of the seeds, and its band holds all of them."))


def _classes(details: Mapping[str, EntryDetails]) -> None:
    matrices = {name: one.confusion for name, one in details.items()}
    known = {name: found for name, found in matrices.items() if found is not None}
    if not known:
        return
    st.header("Class by class", anchor=False)
    shares = {name: per_class(found) for name, found in known.items()}
    classes = list(dict.fromkeys(each for of in shares.values() for each in of))
    apart = {one: _spread([of[one] for of in shares.values() if one in of]) for one in classes}
    shown = set(sorted(classes, key=lambda one: -apart[one])[:_CLASSES])
    columns = [
        markup.Column("Class"),
        *(markup.Column(name, "%", numeric=True) for name in known),
        markup.Column("Apart", "points", numeric=True, hint="The largest less the smallest share"),
    ]
    rows = [
        [
            markup.Cell(one),
            *(markup.Cell(f"{100 * of[one]:.1f}" if one in of else "–") for of in shares.values()),
            markup.Cell(f"{100 * apart[one]:.1f}"),
        ]
        for one in classes
        if one in shown
    ]
    st.html(markup.table(columns, rows, "Recognised samples of each class"))
    more = f" The {_CLASSES} classes that differ most of {len(classes)}." if len(classes) > _CLASSES else ""
    st.html(markup.note(f"The share of a class's test samples that were recognised, over all seeds.{more}"))
    if all(len(found.classes) <= _MATRIX_CLASSES for found in known.values()):
        with st.expander("Confusion matrices side by side"):
            for start in range(0, len(known), 2):
                some = list(known.items())[start : start + 2]
                for column, (name, found) in zip(st.columns(2), some, strict=False):
                    column.markdown(f"**{markup.plain(name)}**")
                    words = f"Test samples of {name} by right and by predicted class"
                    draw(charts.confusion(found, palette()), words, "content", column)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values) if values else 0.0
