"""Filters and sorts a sheet by what a person typed: `optimizer = AdamW, params < 1e6`. Pure.

Conditions have commas or `and` between them, and all of them must hold. A condition is a column, one of
`= != < <= > >= ~`, and a value; `~` means contains. Values with `|` between them are alternatives. A number may have a
unit: `97 %`, `5 ms`, `2 MiB`, `1M`. `none` is an absent value. Words without a comparison are a part of the name.
Names and values with special characters stand in double quotes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from velodrome.board.reading import ObjectiveReading
from velodrome.board.sheet import Sheet, SheetColumn, SheetRow, Value
from velodrome.errors import ActionNeeded
from velodrome.ranking.places import RankedRow, UnrankedRow
from velodrome.spec.wording import close_match
from velodrome.text import line, listed
from velodrome.units import sizes_of

MOST_CHARACTERS = 1000


class BadFilter(ActionNeeded):
    """What was typed can't be read as conditions, as an order or as columns. The message says what to write."""

    reason = "BadFilter"


@dataclass(frozen=True, slots=True)
class FilterCondition:
    """One condition: a column compared with alternatives."""

    column: SheetColumn
    comparison: str
    values: tuple[Value, ...]
    text: str

    def holds(self, row: SheetRow) -> bool:
        """Whether it holds for the row. An absent value is equal to `none`, and different from all else."""
        value = row.values.get(self.column.name)
        if self.comparison == "!=":
            return all(not _equal(value, one) for one in self.values)
        return any(self._compares(value, one) for one in self.values)

    def _compares(self, value: Value, wanted: Value) -> bool:
        if self.comparison == "=":
            return _equal(value, wanted)
        if value is None or wanted is None:
            return False
        if self.comparison == "~":
            return str(wanted).casefold() in str(value).casefold()
        return bool(_ORDERS[self.comparison](value, wanted))


_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _equal(value: Value, wanted: Value) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    if isinstance(value, float) and isinstance(wanted, float):
        return value == wanted or abs(value - wanted) <= 1e-9 * max(abs(value), abs(wanted))
    return value == wanted


_IN_QUOTES = r'"[^"]*"'
_SEPARATOR = re.compile(rf"({_IN_QUOTES}|\{{[^}}]*\}})|\s*[,;]\s*|\s+and\s+", re.IGNORECASE)
_CONDITION = re.compile(
    rf'^\s*(?P<column>{_IN_QUOTES}|[^=<>!~"{{]*(?:\{{[^}}]*\}})?)\s*(?P<comparison><=|>=|!=|==|=|<|>|~)\s*(?P<value>.*)$',
    re.DOTALL,
)


def conditions(sheet: Sheet, text: str) -> tuple[FilterCondition, ...]:
    """The conditions that a person typed. Blank text has none.

    Raises:
        BadFilter: they can't be read; the message names the closest column, or the value that was expected.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadFilter(f"a filter has at most {MOST_CHARACTERS:,} characters, and this one has {len(text):,}")
    return tuple(_condition(sheet, part) for part in _parts(text) if part.strip())


def _parts(text: str) -> Iterator[str]:
    """The text between separators that stand outside quotes and braces."""
    start = 0
    for found in _SEPARATOR.finditer(text):
        if found[1] is None:
            yield text[start : found.start()]
            start = found.end()
    yield text[start:]


def _condition(sheet: Sheet, part: str) -> FilterCondition:
    found = _CONDITION.match(part)
    if found is None or not found["column"].strip():
        name = _unquoted(part)
        return FilterCondition(sheet.column("entry"), "~", (name,), part.strip())
    column = column_of(sheet, _unquoted(found["column"]))
    comparison = found["comparison"].replace("==", "=")
    words = [_unquoted(one) for one in _alternatives(found["value"])]
    if not all(words):
        raise BadFilter(line(f"{part.strip()!r} has no value: write one behind {comparison}, or none"))
    if comparison == "~" and column.kind != "text":
        raise BadFilter(line(f"{column.name} is a {column.kind}: compare it by =, !=, <, <=, > or >=, not by ~"))
    if comparison in _ORDERS and column.kind == "text":
        raise BadFilter(line(f"{column.name} has words as values: compare it by =, != or ~, not by {comparison}"))
    return FilterCondition(column, comparison, tuple(_value(column, word) for word in words), part.strip())


def _alternatives(text: str) -> list[str]:
    return re.findall(rf"(?:{_IN_QUOTES}|[^|])+", text) or [""]


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def column_of(sheet: Sheet, wanted: str) -> SheetColumn:
    """The column that a person means: by its name, another name of it, or the end of a dotted name.

    Raises:
        BadFilter: there is none, or there are several.
    """
    name = wanted.strip().casefold()
    for known in (lambda one: (one.name,), lambda one: one.aliases):
        for column in sheet.columns:
            if name in (each.casefold() for each in known(column)):
                return column
    ends = [one for one in sheet.columns if one.name.casefold().endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        names = listed([one.name for one in ends], most=6)
        raise BadFilter(line(f"{wanted.strip()} may be any of {names}: write one of them"))
    every = [each for one in sheet.columns for each in (one.name, *one.aliases, one.name.rpartition(".")[2])]
    close = close_match(wanted.strip(), every)
    hint = f"did you mean {close}?" if close else f"there are: {', '.join(one.name for one in sheet.columns)}"
    raise BadFilter(line(f"there is no column {wanted.strip()!r}: {hint}"))


_AMOUNT = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\D*)")
_MULTIPLES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


def _value(column: SheetColumn, text: str) -> Value:
    if text.casefold() == "none":
        return None
    if column.kind == "text":
        return text
    if column.kind == "time":
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadFilter(line(f"{column.name} is a time, and {text!r} is none: write 2026-01-31")) from error
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise BadFilter(line(f"{column.name} is a number, and {text!r} is none"))
    number, symbol = float(found[1]), found[2].strip()
    sizes = {**_MULTIPLES, **sizes_of(column.unit)}
    if symbol and symbol not in sizes:
        names = ", ".join(name for name in sizes_of(column.unit) if name) or ", ".join(_MULTIPLES)
        raise BadFilter(line(f"{column.name} has no unit {symbol!r}: write {text[: found.end(1)]} with one of {names}"))
    return number * sizes[symbol] if symbol else number


def order_of(sheet: Sheet, text: str) -> tuple[tuple[SheetColumn, bool], ...]:
    """The columns to sort by, the first one counting most, each with whether it falls: `-mean`, `n desc, entry`.

    Raises:
        BadFilter: it names what is no column.
    """
    found = []
    for part in (part.strip() for part in _parts(text)):
        if not part:
            continue
        words = part.split()
        falling = part.startswith("-") or words[-1].casefold() == "desc"
        name = part.removeprefix("-").strip()
        if len(words) > 1 and words[-1].casefold() in ("asc", "desc"):
            name = name.rsplit(maxsplit=1)[0]
        found.append((column_of(sheet, _unquoted(name)), falling))
    return tuple(found)


def narrow(sheet: Sheet, filtered: str = "", sorted_by: str = "") -> tuple[SheetRow, ...]:
    """The rows for which all conditions hold, in the order that was asked for. Absent values come last.

    Rows that are equal in that order stay in the order of the ranking.

    Raises:
        BadFilter: as `conditions` and `order_of`.
    """
    wanted, order = conditions(sheet, filtered), order_of(sheet, sorted_by)
    rows = [row for row in sheet.rows if all(one.holds(row) for one in wanted)]
    for column, falling in reversed(order):
        there = [row for row in rows if row.values.get(column.name) is not None]
        absent = [row for row in rows if row.values.get(column.name) is None]
        there.sort(key=partial(_sort_key, column.name), reverse=falling)
        rows = there + absent
    return tuple(rows)


def _sort_key(column: str, row: SheetRow) -> Any:
    value = row.values[column]
    return value.casefold() if isinstance(value, str) else value


def narrowed(sheet: Sheet, rows: Iterable[SheetRow]) -> ObjectiveReading:
    """The reading with these rows alone, in their order. Ranks, ties and the summary are those of all entries."""
    shown = [one.row for one in rows]
    ranked = tuple(row for row in shown if isinstance(row, RankedRow))
    unranked = tuple(row for row in shown if isinstance(row, UnrankedRow))
    ranking = replace(sheet.reading.ranking, ranked=ranked, unranked=unranked)
    return replace(sheet.reading, ranking=ranking, whole=sheet.reading.ranking)


def no_hit(sheet: Sheet, filtered: str) -> str:
    """What to say where no row fulfils the conditions: which values the columns have that were compared by words."""
    parts, found = [], conditions(sheet, filtered)
    for one in found:
        if one.comparison == "=" and one.column.kind == "text" and not any(map(one.holds, sheet.rows)):
            there = _distinct(row.values.get(one.column.name) for row in sheet.rows)
            parts.append(f"{one.column.name} is {listed(there, most=6) if there else 'nowhere there'}")
    return line(f"No entry {' and '.join(map(_asks, found))}." + (f" Here {'; '.join(parts)}." if parts else ""))


def _asks(one: FilterCondition) -> str:
    """What a condition asks of an entry, as the end of a sentence."""
    if one.comparison == "~" and one.column.name == "entry":
        return f'has "{one.values[0]}" in its name'
    return f"fulfils {one.text}"


def _distinct(values: Iterable[Value]) -> Sequence[str]:
    return sorted({str(value) for value in values if value is not None})
