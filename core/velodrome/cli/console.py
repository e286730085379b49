"""How tables and words reach the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Where there is no terminal nobody reads along its width, and a table cut to 80 columns would lose its numbers.
_WIDTH_WITHOUT_TERMINAL = 200


def output(stream: TextIO | None = None) -> Console:
    """A console on standard output, or on `stream`."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def write_json(value: object) -> None:
    """Writes a value to standard output as JSON, for programs."""
    from json import dumps

    import typer

    typer.echo(dumps(value, ensure_ascii=False, indent=2))


def table(*columns: str, numbers: frozenset[str] = frozenset()) -> Table:
    """A plain table; the columns named in `numbers` are aligned at their right."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return shown
