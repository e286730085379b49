"""The tools above a ranking: what to look for, in which order, with which columns; and what to do with the rest.

Everything that is chosen is in the URL: `filter`, `sort` and `cols`. Choices write the same text that a person types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from velodrome.board.exporting import sheet_csv, sheet_json, sheet_markdown
from velodrome.board.narrowing import BadFilter, column_of, narrow, no_hit, order_of
from velodrome.board.page import ObjectivePage
from velodrome.board.sheet import Sheet, SheetColumn, SheetRow
from velodrome.results.objectives import BoardObjective
from velodrome.store import Board
from velodrome.text import counted
from velodrome_leaderboard import links, markup
from velodrome_leaderboard.data import ResultSource

_RESETS = ("page", "unranked")
_MOST_VALUES = 50  # of a column, to choose from
MOST_COMPARED = 8


@dataclass(frozen=True, slots=True)
class NarrowedView:
    """What a person asked for: the sheet with the rows that are left, and the columns that are shown besides."""

    sheet: Sheet
    rows: tuple[SheetRow, ...]
    columns: tuple[SheetColumn, ...]


def tools(source: ResultSource, board: Board, page: ObjectivePage) -> NarrowedView | None:
    """Shows the tools. Returns what was asked for, or None for the plain ranking."""
    objective = page.head.objective
    cohort = page.head.cohort.cohort_id if page.head.cohort else None

    def sheet() -> Sheet:
        return source.sheet(board.name, objective, cohort)

    with st.container(horizontal=True, vertical_alignment="bottom"):
        text, bound = links.search("filter", _RESETS, older="find")
        st.text_input("Find entries", placeholder="a name, or: optimizer = AdamW, params < 1e6", width=420, **bound)
        _view(sheet)
        _compare(board, page)
        _export(board, objective, sheet)
    asked = text, st.query_params.get("sort", ""), tuple(st.query_params.get_all("cols"))
    if not any(one.strip() for one in (asked[0], asked[1], *asked[2])):
        return None
    return _asked(sheet(), *asked)


def _asked(sheet: Sheet, filtered: str, sorted_by: str, names: Sequence[str]) -> NarrowedView:
    """What these texts ask for. What can't be read is shown, and left out."""
    columns: list[SheetColumn] = []
    for name in dict.fromkeys(names):
        try:
            columns.append(column_of(sheet, name))
        except BadFilter as error:
            st.html(markup.alert("A column of this address is not here.", [str(error)], "busy"))
    try:
        order_of(sheet, sorted_by)
    except BadFilter as error:
        st.html(markup.alert("The order can't be read.", [str(error)], "busy"))
        sorted_by = ""
    try:
        rows = narrow(sheet, filtered, sorted_by)
    except BadFilter as error:
        st.html(markup.alert("The filter can't be read, so all entries are shown.", [str(error)], "busy"))
        filtered = ""
        rows = narrow(sheet, "", sorted_by)
    if not rows:
        st.html(markup.note(no_hit(sheet, filtered)))
    elif len(rows) < len(sheet.rows) or sorted_by.strip():
        order = [f"{column.name}{', falling' if falling else ''}" for column, falling in order_of(sheet, sorted_by)]
        parts = [f"{len(rows)} of {counted(len(sheet.rows), 'entry', 'entries')}"]
        parts += [f"sorted by {'; '.join(order)}"] if order else []
        st.html(markup.lines(("meta", [*parts, "ranks are those of all entries"])))
    return NarrowedView(sheet, rows, tuple(columns))


def _view(sheet: Callable[[], Sheet]) -> None:
    """Columns, order, and conditions to choose from. The sheet is read when somebody opens it."""
    popover = st.popover("Columns and order", icon=":material/tune:", key="view-tools", on_change="rerun")
    if not popover.open:
        return
    found = sheet()
    names = [one.name for one in found.columns]
    with popover:
        _, bound = links.several("cols", names, [])
        extra = [name for name in names if name not in _SHOWN]
        st.multiselect("Columns besides the ranking", extra, format_func=markup.plain, **bound)
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        column, falling = _order_now(found)
        chosen = left.selectbox(
            "Sort by",
            ["", *names],
            index=["", *names].index(column),
            format_func=lambda name: markup.plain(name) if name else "the ranking",
            key=f"sort-column-{column}",
        )
        down = right.segmented_control(
            "Order",
            ["rising", "falling"],
            default="falling" if falling else "rising",
            key=f"sort-order-{column}{falling}",
        )
        _sort(chosen, falling=down == "falling", now=(column, falling))
        _condition(found)


_SHOWN = frozenset({"entry", "rank", "worst_rank", "mean", "delta", "low", "high", "n", "trend", "updated", "status"})


def _order_now(sheet: Sheet) -> tuple[str, bool]:
    """The first column of the order in the URL, and whether it falls."""
    try:
        order = order_of(sheet, st.query_params.get("sort", ""))
    except BadFilter:
        order = ()
    return (order[0][0].name, order[0][1]) if order else ("", False)


def _sort(column: str, *, falling: bool, now: tuple[str, bool]) -> None:
    if (column, falling) == now or (not column and not now[0]):
        return
    for name in ("sort", *_RESETS):
        st.query_params.pop(name, None)
    if column:
        st.query_params["sort"] = f"{'-' if falling else ''}{_quoted(column)}"
    st.rerun()


def _quoted(text: str) -> str:
    return f'"{text}"' if any(character in text for character in '=<>!~,;|{} "') else text


def _condition(sheet: Sheet) -> None:
    """Makes a condition from choices, and adds it to the text of the filter."""
    st.markdown("**Add a condition**")
    names = [one.name for one in sheet.columns if one.name != "entry"]
    left, middle, right = st.columns([4, 2, 4], vertical_alignment="bottom")
    name = left.selectbox("Column", names, format_func=markup.plain, key="condition-column")
    column = sheet.column(name)
    signs = ["=", "!=", "~"] if column.kind == "text" else ["<", "<=", ">", ">=", "=", "!="]
    sign = middle.selectbox("is", signs, key=f"condition-sign-{column.kind}")
    values = sorted({str(row.values[name]) for row in sheet.rows if row.values.get(name) is not None})
    if column.kind == "text" and len(values) <= _MOST_VALUES:
        value = right.selectbox("Value", values, format_func=markup.plain, key=f"condition-value-{name}") or ""
    else:
        unit = f" in {column.unit}" if column.unit else ""
        value = right.text_input(f"Value{unit}", key=f"condition-value-{name}")
    if st.button("Add it to the filter", disabled=not value, key="condition-add"):
        before = st.query_params.get("filter", st.query_params.get("find", "")).strip()
        added = f"{_quoted(name)} {sign} {_quoted(value) if column.kind == 'text' else value}"
        for gone in (*_RESETS, "find"):
            st.query_params.pop(gone, None)
        st.query_params["filter"] = f"{before}, {added}" if before else added
        st.rerun()


def _compare(board: Board, page: ObjectivePage) -> None:
    names = page.head.names
    if len(names) < 2:
        return
    popover = st.popover("Compare", icon=":material/compare_arrows:", key="compare-tools", on_change="rerun")
    if not popover.open:
        return
    with popover:
        chosen = st.multiselect(
            "Two to eight entries",
            names,
            default=list(names[:2]),
            max_selections=MOST_COMPARED,
            format_func=markup.plain,
            key="compare-entries",
        )
        if len(chosen) > 1:
            where = links.compare(board.name, chosen)
            st.html(markup.lines(("lead", [markup.Cell(f"Compare these {len(chosen)}", where)])))


def _export(board: Board, objective: BoardObjective, sheet: Callable[[], Sheet]) -> None:
    popover = st.popover("Export", icon=":material/download:", key="export-tools", on_change="rerun")
    if not popover.open:
        return
    found = sheet()
    filtered, sorted_by = (
        st.query_params.get("filter", st.query_params.get("find", "")),
        st.query_params.get("sort", ""),
    )
    try:
        rows = narrow(found, filtered, sorted_by)
        columns = [column_of(found, name) for name in st.query_params.get_all("cols")]
    except BadFilter:  # the page says what is wrong
        rows, columns = found.rows, []
    with popover:
        st.html(markup.note(f"The {len(rows)} entries that are chosen here, with the columns that are shown."))
        kinds = (
            ("CSV", "csv", "text/csv", sheet_csv),
            ("JSON", "json", "application/json", sheet_json),
            ("Markdown for a pull request", "md", "text/markdown", sheet_markdown),
        )
        for label, ending, kind, write in kinds:
            st.download_button(
                label,
                write(board.name, found, rows, columns),
                f"{links.file_word(board.name)}-{links.file_word(objective.name)}.{ending}",
                kind,
                on_click="ignore",
                key=f"export-{ending}",
            )
        st.html(markup.note("A badge with the leader, for a README:"))
        st.code(f"![best {objective.name}]({links.badge(board.name, objective.name)})", language=None, wrap_lines=True)
        st.html(markup.note("Charts are saved as SVG or PNG by the menu ⋯ in their corner."))
