"""The reference page of `--json`, and the JSON schema of all documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tools.json_output.commands import COMMANDS
from tools.json_output.objects import OBJECTS
from tools.json_output.types import Fields, object_schema

HEAD = """# What `--json` writes

Every command has `--json`. It then writes one JSON object to standard output, or one object a line where that is said.
Each object begins with `schema`, the version of this page: **1**. Fields are only added within a version. A field that
is renamed or removed makes a new version, and is in the [changelog](../../CHANGELOG.md).

- Numbers are in the unit that stands beside them, not scaled. A number that is not known is null.
- Times are in ISO 8601 with their zone.
- A command that asks a person first, such as `delete`, asks nobody. It needs `--yes`.
- [output.schema.json](output.schema.json) is the JSON schema of all of these objects, by command.
- The [API](../api.md) on the leaderboard's port has the same objects for boards and rankings. CSV has the rows of
  [Python's frames](../python.md).

## Errors

If an error ends a command, its last line on standard output is `{"schema": 1, "error": …}` with an [Error](#error).
Standard error has the text for people. Exit codes are those of the [command line](command-line.md).

## Commands
"""


def output_schema() -> dict[str, Any]:
    """A JSON schema with one definition for each object, and one for each command under `commands`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {name: object_schema(fields) for name, fields in OBJECTS.items()},
        "error": object_schema({"error": ("Error", "the error that ended the command")}, versioned=True),
        "commands": {
            name: {"anyOf": [object_schema(shape.fields, versioned=True) for shape in output.shapes]}
            for name, output in COMMANDS.items()
        },
    }


def schema_file() -> str:
    """The schema as a file."""
    return json.dumps(output_schema(), indent=1, ensure_ascii=False) + "\n"


def json_page(notice: str) -> str:
    """The reference page."""
    return "\n".join([notice, HEAD, *_commands(), "## Objects", "", *_objects()]).rstrip("\n") + "\n"


def _commands() -> Iterator[str]:
    for name, output in COMMANDS.items():
        yield f"### velodrome {name}\n"
        for shape in output.shapes:
            each = "One object a line" if shape.lines else "One object"
            yield f"{each}{f', {shape.options}' if shape.options else ''}:\n"
            yield from _table(shape.fields)
        if output.note:
            yield f"{output.note}\n"


def _objects() -> Iterator[str]:
    for name, fields in OBJECTS.items():
        yield f"### {name}\n"
        yield from _table(fields)


def _table(fields: Fields) -> Iterator[str]:
    yield "| field | type | what it is |"
    yield "|---|---|---|"
    for name, (kind, words) in fields.items():
        more = "; left out where there is none" if name.endswith("?") else ""
        yield f"| `{name.rstrip('?')}` | {_linked(kind)} | {words}{more} |"
    yield ""


def _linked(kind: str) -> str:
    return " ".join(f"[{word}](#{word.lower()})" if word in OBJECTS else word for word in kind.split())
