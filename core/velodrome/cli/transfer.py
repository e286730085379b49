"""`export` and `import`: results as JSON lines, for a backup or for another machine; and as runs of MLflow."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome import text
from velodrome.cli import completion
from velodrome.cli.console import answer, complain, standard_input, write_json, write_record
from velodrome.cli.exit_codes import FAILED
from velodrome.cli.importing import import_document, import_words
from velodrome.cli.options import Json, RedisUrl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from velodrome.results.records import JobInfo
    from velodrome.store import ImportReport, Store

EXPORT_EXAMPLES = """\
  velodrome export backup.jsonl
  velodrome export --optuna journal.log --job digits-search
  velodrome export --board digits | ssh other velodrome import -
  velodrome export --mlflow http://127.0.0.1:5000 --board digits
"""
IMPORT_EXAMPLES = """\
  velodrome import backup.jsonl
  velodrome import /backups/velodrome-20260301T020000Z.jsonl.gz
"""

_GZIP = b"\x1f\x8b"  # how a backup begins
_SHOWN_REJECTIONS = 20


def export(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where to write; - or nothing for standard output.")
    ] = Path("-"),
    board: Annotated[
        str | None, typer.Option(metavar="BOARD", help="Only this board.", autocompletion=completion.boards)
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(metavar="JOB", help="Only this job, by name (the newest) or uid.", autocompletion=completion.jobs),
    ] = None,
    optuna: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the search of a job as an Optuna journal instead, a study an entry."),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Write them as runs of MLflow instead: to a server (http://…) or a database (sqlite:///FILE). "
            "A repetition adds only what is new.",
        ),
    ] = None,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Write jobs and results as JSON lines, as a backup or to import them on another machine; or as runs of MLflow.

    With --optuna, write the search trials of --job, or of the newest job, as a journal that Optuna and its dashboard
    read: JournalStorage(JournalFileBackend(FILE)).

    The exported lines are the same with and without --json, which tells what was written to a file or to MLflow.
    """
    if optuna is not None:
        if str(file) != "-" or board is not None or mlflow is not None:
            raise typer.BadParameter("it takes --job alone, and the file beside it", param_hint="--optuna")
        _export_optuna(optuna, job, redis, json=json)
        return
    from velodrome.cli.connection import results_store
    from velodrome.cli.lookup import chosen_board, found_job
    from velodrome.store import export_lines

    if mlflow is not None and (not mlflow.strip() or str(file) != "-"):
        why = "it is empty: write http://HOST:PORT or sqlite:///FILE" if not mlflow.strip() else "it takes no FILE"
        raise typer.BadParameter(why, param_hint="--mlflow")
    with results_store(redis) as store:
        chosen = None if board is None else chosen_board(store, board)
        found = None if job is None else found_job(store, job)
        if found is not None and chosen not in (None, found.board):
            raise typer.BadParameter(text.line(f"{found.name} is of board {found.board}"), param_hint="--job")
        if mlflow is not None:
            _to_mlflow(store, mlflow.strip(), [found] if found is not None else list(store.each_job(chosen)), json=json)
            return
        lines = export_lines(store, chosen, None if found is None else found.uid)
        if str(file) == "-":
            for line in lines:
                write_record(line)
        else:
            count = write_file(file, lines)
            complain(f"{file}: {text.counted(count, 'line')}")
            if json:
                write_json({"file": str(file), "lines": count})


def _export_optuna(file: Path, job: str | None, redis: str | None, *, json: bool) -> None:
    from velodrome.board.searches import planned, read_studies
    from velodrome.cli.connection import results_store
    from velodrome.cli.lookup import found_job
    from velodrome.search.journal import write_journal

    if file.exists():
        raise typer.BadParameter(f"{file} is there already: choose another name, or remove it", param_hint="--optuna")
    with results_store(redis) as store:
        found = found_job(store, job)
        made = planned(found)
        if made is None:
            raise typer.BadParameter(text.line(f"{found.name} has no search"), param_hint="--job")
        count = write_journal(file, found.name, read_studies(store, made, found.uid))
    complain(f"{file}: {text.counted(count, 'trial')}")
    if json:
        write_json({"optuna": str(file), "job": found.name, "trials": count})


def _to_mlflow(store: Store, uri: str, jobs: list[JobInfo], *, json: bool) -> None:
    from velodrome.bridge.mlflow import Exported, export_runs, shown

    def tell(done: Exported) -> None:
        complain(f"{text.counted(done.jobs, 'job')} of {len(jobs):,}: {text.counted(done.added, 'run')} added")

    if not jobs:
        complain("there are no jobs to export")
        done = Exported()
    else:
        done = export_runs(store, uri, jobs, tell)
    answer(
        f"{shown(uri)}: {text.listed(done.experiments)}: added {done.added}, completed {done.completed}, "
        f"already there {done.there}, deleted in MLflow and left so {done.deleted}"
        + (f". Files: {text.listed(done.artifacts)}" if done.artifacts else ""),
        {
            "mlflow": shown(uri),
            "experiments": list(done.experiments),
            "artifacts": list(done.artifacts),
            "added": done.added,
            "completed": done.completed,
            "already_there": done.there,
            "deleted": done.deleted,
        },
        json=json,
    )


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote; - for standard input.")],
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Import jobs and results from JSON lines. If you import the same lines again, nothing changes."""
    from velodrome.cli.connection import results_store

    with results_store(redis, writes=True) as store:
        report = _read(store, file)
    if report.rejected and not report.known_lines:
        first = report.rejected[0]
        raise typer.BadParameter(
            f"{file} is no export of Velodrome, so nothing is imported: line {first.line}: {text.line(first.why, 300)}",
            param_hint="FILE",
        )
    answer(import_words(report), {"file": str(file), **import_document(report)}, json=json)
    for line in report.rejected[:_SHOWN_REJECTIONS]:
        complain(f"{file}: line {line.line}: {text.line(line.why)}")
    if report.rejected_count > _SHOWN_REJECTIONS:
        complain(f"{file}: and {text.counted(report.rejected_count - _SHOWN_REJECTIONS, 'more line')}")
    if report.rejected_count:
        raise typer.Exit(FAILED)


def _read(store: Store, file: Path) -> ImportReport:
    from velodrome.store import import_lines

    try:
        if str(file) == "-":
            return import_lines(store, _decoded(standard_input()))
        with file.open("rb") as lines:
            packed = lines.read(len(_GZIP)) == _GZIP
            lines.seek(0)
            with gzip.open(lines) if packed else lines as unpacked:
                return import_lines(store, _decoded(unpacked))
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise typer.BadParameter(f"{file} can't be read: {why}", param_hint="FILE") from error


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines as UTF-8 text, in every locale. A line that is not UTF-8 is refused later, and alone."""
    for line in lines:
        yield line.decode("utf-8-sig", "surrogateescape")


def write_file(file: Path, lines: Iterable[str]) -> int:
    """Writes lines to a file, and returns their number. They are on the disk when this returns.

    It writes to a file beside it first, so that an export that fails half-way does not change an older one.
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
