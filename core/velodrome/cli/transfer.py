"""`export` and `import`: results as JSON lines, the backup and the way to another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome import text
from velodrome.cli.console import complain, say, write_record
from velodrome.cli.ending import FAILED
from velodrome.cli.options import RedisUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from velodrome.store import ImportReport, Store

EXPORT_EXAMPLES = """\
  velodrome export backup.jsonl
  velodrome export --board digits | ssh other velodrome import -
"""
IMPORT_EXAMPLES = """\
  velodrome import backup.jsonl
"""

_SHOWN_REJECTIONS = 20


def export(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where to write; - or nothing for standard output.")
    ] = Path("-"),
    board: Annotated[str | None, typer.Option(metavar="BOARD", help="Only this board.")] = None,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only this job, by name (the newest) or uid.")] = None,
    redis: RedisUrl = None,
) -> None:
    """Write jobs and results as JSON lines: a backup, or something to import on another machine."""
    from velodrome.cli.connecting import results_store

    with results_store(redis) as store:
        uid = None
        if job is not None:
            from velodrome.cli.finding import found_job

            uid = found_job(store, job).uid
        lines = store.export_lines(board, uid)
        if str(file) == "-":
            for line in lines:
                write_record(line)
        else:
            count = write_file(file, lines)
            complain(f"{file}: {count} lines")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote; - for standard input.")],
    redis: RedisUrl = None,
) -> None:
    """Take jobs and results from JSON lines. Importing the same lines again changes nothing."""
    from velodrome.cli.connecting import results_store

    with results_store(redis) as store:
        report = _read(store, file)
    say(
        f"imported {report.imported}, already there {report.duplicates}, superseded {report.superseded}, "
        f"conflicts {report.conflicts}, refused {report.rejected_count}"
    )
    for line in report.rejected[:_SHOWN_REJECTIONS]:
        complain(f"{file}: line {line.line}: {text.line(line.why)}")
    if report.rejected_count > _SHOWN_REJECTIONS:
        complain(f"{file}: and {report.rejected_count - _SHOWN_REJECTIONS} more lines")
    if report.rejected_count:
        raise typer.Exit(FAILED)


def _read(store: Store, file: Path) -> ImportReport:
    import sys

    if str(file) == "-":
        return store.import_lines(sys.stdin)
    try:
        with file.open(encoding="utf-8") as lines:
            return store.import_lines(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} can't be read: {error}", param_hint="FILE") from error


def write_file(file: Path, lines: Iterable[str]) -> int:
    """Writes beside the file first: an export that fails half-way leaves an older one as it was.

    How many lines were written; they are on the disk when this returns.
    """
    import os

    from velodrome.errors import LocalError

    beside = file.with_name(file.name + ".part")
    count = 0
    try:
        with beside.open("w", encoding="utf-8") as stream:
            for line in lines:
                stream.write(f"{text.escaped_json(line)}\n")
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise LocalError(f"{file}: can't be written ({error.strerror or error}): choose another place") from error
    return count
