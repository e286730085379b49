"""What rich draws for the command line. Strings in it are text, and never rich's markup or terminal commands.

Every string goes through `velodrome.text`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.progress import Progress, ProgressColumn, TaskID
from rich.table import Table
from rich.text import Text

from velodrome.text import line, lines

_LEAST_WIDTH = 20  # of a paragraph: in a narrower terminal, the terminal wraps


class Screen(Console):
    """A console that shows every string as it was written."""

    def __init__(self, file: TextIO, width: int | None) -> None:
        super().__init__(file=file, width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but strings go through `velodrome.text`."""
        super().print(*(lines(item) if isinstance(item, str) else item for item in objects), **options)

    def paragraph(self, words: str, indent: int = 2, *, style: str | None = None) -> None:
        """Prints one line of text. Where it is longer than the terminal, what follows begins in the column `indent`."""
        room = max(self.width - indent, _LEAST_WIDTH)
        for number, part in enumerate(Text(line(words)[indent:]).wrap(self, room)):
            lead = line(words)[:indent] if number == 0 else " " * indent
            self.print(Text(lead) + part, style=style, soft_wrap=True)

    def marked(self, mark: str, style: str, words: str) -> None:
        """Prints a mark in its style, and words after it."""
        self.print(Text.assemble((line(mark), style), " ", lines(words)))


class HangingTable(Table):
    """A table in which each cell that is a string is one line of text."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """As rich's, but strings go through `velodrome.text`."""
        super().add_row(*(Text(line(item)) if isinstance(item, str) else item for item in cells), **options)

    def add_column(self, header: Any = "", *arguments: Any, **options: Any) -> None:
        """As rich's, but a heading that is a string goes through `velodrome.text`."""
        super().add_column(Text(line(header)) if isinstance(header, str) else header, *arguments, **options)


class Meters(Progress):
    """Bars, whose words go through `velodrome.text`."""

    def add_task(self, description: str, *arguments: Any, **fields: Any) -> TaskID:
        """As rich's."""
        return super().add_task(line(description), *arguments, **_clean(fields))

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """As rich's."""
        super().update(task_id, **_clean(fields))


def sheet(columns: Iterable[str], numbers: frozenset[str]) -> HangingTable:
    """A plain table. The columns in `numbers` are right-aligned."""
    shown = HangingTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return shown


def meters(screen: Console, *columns: ProgressColumn) -> Meters:
    """Bars that are drawn only on request, and removed at the end."""
    return Meters(*columns, console=screen, auto_refresh=False, transient=True)


def _clean(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: line(value) if isinstance(value, str) else value for name, value in fields.items()}
