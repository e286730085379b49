"""Answers as sequences of values, which can be shown in a notebook and turned into a frame."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from velodrome.errors import LocalError
from velodrome.text import line

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Value = TypeVar("Value")

_MOST_ROWS_SHOWN = 60


class Tabular:
    """Something with rows and columns. Each row has one cell for each column."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""

    @property
    @abstractmethod
    def rows(self) -> list[tuple[Any, ...]]:
        """The cells, row by row."""

    def to_pandas(self) -> pd.DataFrame:
        """A pandas frame of the rows.

        Raises:
            LocalError: pandas is not installed.
        """
        module = library("pandas", "a frame of pandas")
        frame: pd.DataFrame = module.DataFrame.from_records(self.rows, columns=list(self.columns))
        return frame

    def to_polars(self) -> pl.DataFrame:
        """A polars frame of the rows.

        Raises:
            LocalError: polars is not installed.
        """
        module = library("polars", "a frame of polars")
        frame: pl.DataFrame = module.DataFrame(
            self.rows, schema=list(self.columns), orient="row", infer_schema_length=None
        )
        return frame

    def _repr_html_(self) -> str:
        """What a notebook shows: at most 60 rows, every text escaped."""
        return html_table(self.columns, self.rows)


class ValueTable(Tabular, Sequence[Value], Generic[Value]):
    """A sequence of values, which are named tuples or dataclasses of one kind. Its columns are their fields."""

    def __init__(self, kind: type[Value], values: Iterable[Value]) -> None:
        self._kind = kind
        self._values = tuple(values)

    @property
    def columns(self) -> tuple[str, ...]:
        if is_dataclass(self._kind):
            return tuple(field.name for field in fields(self._kind))
        names: tuple[str, ...] = getattr(self._kind, "_fields", ())
        return names

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return [tuple(getattr(value, column) for column in self.columns) for value in self._values]

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, place: int) -> Value: ...
    @overload
    def __getitem__(self, place: slice) -> ValueTable[Value]: ...
    def __getitem__(self, place: int | slice) -> Value | ValueTable[Value]:
        if isinstance(place, slice):
            return ValueTable(self._kind, self._values[place])
        return self._values[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueTable) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        inner = "".join(f"\n  {line(value)}," for value in self._values[:_MOST_ROWS_SHOWN])
        more = len(self._values) - _MOST_ROWS_SHOWN
        rest = f"\n  … and {more:,} more," if more > 0 else ""
        return f"[{inner}{rest}\n]" if self._values else "[]"


def html_table(columns: Iterable[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in HTML, of at most 60 rows. Every text is escaped."""
    head = "".join(f"<th>{escape(line(column))}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows[:_MOST_ROWS_SHOWN]
    )
    more = len(rows) - _MOST_ROWS_SHOWN
    rest = f"<p>… and {more:,} more rows</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return escape(f"{value:.6g}" if isinstance(value, float) else line(value))


def library(name: str, what: str, extra: str | None = None) -> Any:
    """A module that only this answer needs. `extra` is the part of Velodrome that brings it, if it has another name.

    Raises:
        LocalError: it is not installed.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LocalError(
            f"{what} needs {package}, which is not installed here: pip install 'velodrome[{extra or package}]'"
        ) from error
