"""Writes text and tables to the terminal. No other module of the command line writes to it.

    say(text)            standard output: the answer of the command
    complain(text)       standard error: problems, and information besides the answer
    ask(question)        a question that is answered with yes or no
    output(), table()    tables, and words with a style, drawn by rich
    write_json(document) JSON for programs; write_json_line(document) on one line, write_record(line) for finished JSON
    answer(…)            the same answer for people or for programs
    write_rows(rows)     CSV
    write_file(content)  a file, byte for byte

All text goes through `velodrome.text`: text of a runner or a stranger can't send commands to the terminal, and rich's
markup in it is shown as text. A value inside a sentence that may hold a newline goes through `text.line` first, so that
it can't forge a line of its own: say(f"{name} has failed: {line(message)}").
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

from velodrome.text import ascii_json, cell, escaped_json, json_line, line, lines

if TYPE_CHECKING:
    from rich.table import Table

    from velodrome.cli.screen import Screen

# The version of all that `--json` writes (docs/reference/json.md): another one where a field is renamed or removed.
JSON_SCHEMA: Final = 1

# Without a terminal there is no width to fit, and a table that is cut to 80 columns would lose numbers.
_WIDTH_WITHOUT_TERMINAL = 200

# The most code points that one call writes. The longest output of a command has far fewer.
_MOST = 4_194_304


def say(text: str = "", *, bold: bool = False, colour: str | None = None) -> None:
    """Writes text and a newline to standard output. The style counts only on a terminal."""
    _write(text, err=False, bold=bold, colour=colour)


def complain(text: str = "", *, bold: bool = False, colour: str | None = None) -> None:
    """Writes text and a newline to standard error. The style counts only on a terminal."""
    _write(text, err=True, bold=bold, colour=colour)


def ask(question: str) -> None:
    """Asks on the terminal whether to go on. Returns for yes, and ends the command with 1 for no."""
    import typer

    typer.confirm(lines(question), abort=True)


def output(stream: TextIO | None = None) -> Screen:
    """A console on standard output, or on `stream`. It prints every string as plain text."""
    from velodrome.cli.screen import Screen

    stream = stream or sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Screen(file=stream, width=width)


def table(*columns: str, numbers: frozenset[str] = frozenset()) -> Table:
    """A plain table, whose cells are text. The columns in `numbers` are right-aligned."""
    from velodrome.cli.screen import sheet

    return sheet(columns, numbers)


def write_json(document: Mapping[str, object]) -> None:
    """Writes a document to standard output as JSON, for programs, after the version of its schema."""
    write_record(json_line({"schema": JSON_SCHEMA, **document}, indent=2))


def write_json_line(document: Mapping[str, object]) -> None:
    """The same on one line."""
    write_record(json_line({"schema": JSON_SCHEMA, **document}))


def answer(words: str, document: Mapping[str, object], *, json: bool) -> None:
    """Tells what a command did: a line for people, or a document for programs."""
    if json:
        write_json(document)
    else:
        say(line(words))


def write_record(record: str) -> None:
    """Writes finished JSON and a newline to standard output.

    JSON is UTF-8. In another encoding, characters outside ASCII are written as JSON escapes, so that every program can
    read it.
    """
    shown = escaped_json(record)
    if sys.stdout.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        shown = ascii_json(shown)
    _put(sys.stdout, f"{shown}\n")


def write_file(content: bytes) -> None:
    """Writes the content of a file to standard output as it is."""
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


def write_rows(rows: Iterable[Iterable[object]]) -> None:
    """Writes CSV to standard output. A spreadsheet does not read any text cell as a formula."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([cell(value) for value in row] for row in rows)


def standard_input() -> BinaryIO:
    """Standard input in bytes, because files are UTF-8 in every terminal.

    Raises:
        BadParameter: standard input is closed.
    """
    if sys.stdin is None:
        import typer

        raise typer.BadParameter("standard input is closed", param_hint="FILE")
    return sys.stdin.buffer


def _write(text: str, *, err: bool, bold: bool, colour: str | None) -> None:
    import typer

    stream = sys.stderr if err else sys.stdout
    shown = lines(text, _MOST)
    if stream.isatty():
        shown = typer.style(shown, bold=bold or None, fg=colour)
    _put(stream, f"{shown}\n")


def _put(stream: TextIO, text: str) -> None:
    """Writes to a stream in its own encoding. In the C locale, click would choose another one."""
    stream.write(text)
    stream.flush()
