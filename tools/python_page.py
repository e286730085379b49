"""Writes the reference of the Python API from its docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

from velodrome.api import jobs, racing, rankings, results, tables
from velodrome.board import rows
from velodrome.errors import NotThere, VelodromeError
from velodrome.machine.race.executor import Finish
from velodrome.ranking.places import RankedRow, UnrankedRow
from velodrome.results.objectives import BoardObjective
from velodrome.stats import Interval
from velodrome.store import Board
from velodrome.trends.regressions import Comparison

FUNCTIONS = (jobs.read_jobs, racing.run, results.open_results)
CLASSES = (results.Results, rankings.RankingTable, tables.ValueTable)
VALUES = (
    Finish, Board, BoardObjective, results.JobRow, results.EntryRow, RankedRow, UnrankedRow, Interval, rows.RankingRow,
    rows.ValueRow, results.HistoryRow, Comparison,
)  # fmt: skip
ERRORS = (VelodromeError, NotThere)


def python_page(notice: str) -> str:
    """The page: functions, classes with their public members, values with their fields, errors."""
    lines = [notice, "# Python", "", "How to use these: [results in Python](../python.md).", "", "## Functions"]
    for function in FUNCTIONS:
        lines += ["", f"### velodrome.{function.__name__}", "", *_signature(function), "", _text(function)]
    lines += ["", "## Classes"]
    for kind in CLASSES:
        lines += ["", f"### {kind.__name__}", "", _text(kind), "", "| member | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in _members(kind)]
    lines += ["", "## Values"]
    for value in VALUES:
        lines += ["", f"### {value.__name__}", "", _text(value), "", f"Fields: {', '.join(_fields(value))}."]
    lines += ["", "## Errors"]
    for error in ERRORS:
        lines += ["", f"### {error.__name__}", "", _text(error)]
    return "\n".join(lines) + "\n"


def _signature(function: Any) -> list[str]:
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(str(parameter))
    inner = "".join(f"\n    {part}," for part in parts)
    return ["```python", f"velodrome.{function.__name__}({inner}\n)", "```"]


def _text(thing: Any) -> str:
    """A docstring as Markdown: its list of errors becomes a list."""
    text = inspect.getdoc(thing) or ""
    before, _, errors = text.partition("Raises:\n")
    listed = re.sub(r"^ {4}(\w[\w, ]*): ", r"- *\1*: ", errors, flags=re.MULTILINE)
    listed = re.sub(r"\n {8}", " ", listed)
    return before.strip() + (f"\n\nRaises:\n\n{listed.strip()}" if errors else "")


def _members(kind: type) -> Iterator[tuple[str, str]]:
    for name, member in inspect.getmembers(kind):
        if name.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        text = inspect.getdoc(member) or ""
        call = "" if isinstance(member, property) else _call(member)
        meaning = " ".join(text.partition("\n\nRaises:")[0].split())
        if meaning:
            yield f"{name}{call}", meaning.replace("|", "\\|")


def _call(member: Any) -> str:
    parameters = list(inspect.signature(member).parameters.values())[1:]
    shown = (one.name if one.default is one.empty else f"{one.name}={one.default!r}" for one in parameters)
    return f"({', '.join(shown)})"


def _fields(kind: Any) -> list[str]:
    named = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    return [f"`{name}`" for name in named]
