"""Files of what a page or a command shows of a sheet: CSV, JSON, and Markdown for a pull request. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from velodrome.board.document import objective_document
from velodrome.board.narrowing import narrowed
from velodrome.board.reading import ObjectiveReading
from velodrome.board.rows import RankingRow, ranking_rows
from velodrome.board.sheet import Sheet, SheetColumn, SheetRow, Value
from velodrome.text import cell, json_line, line
from velodrome.units import column_scale, quantity


def sheet_csv(board: str, sheet: Sheet, rows: Sequence[SheetRow], columns: Sequence[SheetColumn] = ()) -> str:
    """The rows as `velodrome results --csv` writes them, with these columns of the sheet behind. Numbers are unrounded,
    in the columns' units.
    """
    shown = {row.entry: row for row in rows}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(cell, (*RankingRow._fields, *(one.name for one in columns))))
    for found in ranking_rows(board, [narrowed(sheet, rows)]):
        values = [_plain(shown[found.entry].values.get(one.name)) for one in columns]
        writer.writerow(map(cell, (*found, *values)))
    return text.getvalue()


def sheet_json(board: str, sheet: Sheet, rows: Sequence[SheetRow], columns: Sequence[SheetColumn] = ()) -> str:
    """The rows as `velodrome results --json` writes an objective; `columns` has these columns' values by entry."""
    document: dict[str, Any] = {
        "board": board,
        "objective": objective_document(narrowed(sheet, rows)).model_dump(mode="json"),
        "columns": {one.name: {row.entry: _plain(row.values.get(one.name)) for row in rows} for one in columns},
    }
    return json_line(document, indent=2) + "\n"


def sheet_markdown(
    board: str, sheet: Sheet, rows: Sequence[SheetRow], columns: Sequence[SheetColumn] = (), link: str = ""
) -> str:
    """A table for a pull request, with the sentence above it and the conditions below it. `link` leads to the board."""
    found = narrowed(sheet, rows)
    scale = column_scale(found.ranking.unit, [row.interval for row in sheet.reading.ranking.ranked])
    heads = ["rank", "entry", f"{found.objective.name}, {scale.symbol}".removesuffix(", "), "n"]
    lines = [
        f"**{markdown(board)} · {markdown(found.objective.name)}**: {markdown(found.summary)}",
        "",
        _table_line([*heads, *(one.name for one in columns)]),
        _table_line(["---:", "---", "---:", "---:", *("---" for _ in columns)], escaped=False),
    ]
    for row in rows:
        ranked = row.ranked
        numbers = ["–", row.row.entry, f"not ranked: {getattr(row.row, 'reason', '')}", f"{len(row.row.samples)}"]
        if ranked is not None:
            numbers = [ranked.place, ranked.entry, scale.interval(ranked.interval), str(ranked.interval.n)]
        lines.append(_table_line([*numbers, *(shown_value(one, row.values.get(one.name)) for one in columns)]))
    return "\n".join([*lines, "", *_below(found, len(sheet.rows), len(rows), link)]) + "\n"


def _below(found: ObjectiveReading, entries: int, shown: int, link: str) -> list[str]:
    part = f"{shown} of {entries} entries are shown. " if shown < entries else ""
    conditions = "" if found.cohort is None else f"Measured under: {markdown(found.cohort.words)}. "
    level = f"{100 * (1 - found.ranking.alpha):g} %"
    words = (
        f"{part}{conditions}Means with {level} intervals; a rank is what it may be, with a correction for all pairs."
    )
    return [f"{words} [The board]({link})" if link else words]


def shown_value(column: SheetColumn, value: Value) -> str:
    """A value for people, with its unit; empty for an absent one."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, str):
        return value
    if column.name == "delta" and column.unit == "ratio":
        return f"{100 * value:+.2g} %" if value else "0 %"
    return quantity(column.unit, value) if column.unit else f"{value:g}"


def _plain(value: Value) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _table_line(cells: Sequence[str], *, escaped: bool = True) -> str:
    return f"| {' | '.join(markdown(one) if escaped else one for one in cells)} |"


_MARKDOWN = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]()<>#|~&!"})


def markdown(text: str) -> str:
    """The text in one line of Markdown, with nothing that Markdown or HTML would read as markup."""
    return line(text).translate(_MARKDOWN)
