"""`backup` and `restore`: all results in one checked file, in a folder or in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from velodrome import text
from velodrome.cli.console import answer, complain, output, say, table, write_json
from velodrome.cli.exit_codes import FAILED
from velodrome.cli.importing import import_document, import_words
from velodrome.cli.options import Json, RedisUrl

if TYPE_CHECKING:
    from velodrome.backup.rotation import ListedBackup

BACKUP_EXAMPLES = """\
  velodrome backup /backups --keep 14
  velodrome backup s3://results-of-ml/velodrome --keep 30
"""
RESTORE_EXAMPLES = """\
  velodrome restore /backups
  velodrome restore s3://results-of-ml/velodrome --list
  velodrome restore /backups --backup velodrome-20260301T020000Z.jsonl.gz
"""

Place = Annotated[
    str,
    typer.Argument(
        metavar="PLACE",
        help="A folder, or a bucket: s3://BUCKET/PREFIX, gs://… or az://…. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
        "AWS_REGION and, for a store that is not Amazon's, AWS_ENDPOINT_URL hold what S3 needs.",
    ),
]


def backup(
    place: Place,
    keep: Annotated[
        int, typer.Option(metavar="N", min=0, help="Keep the newest N backups, and remove older ones; 0 keeps all.")
    ] = 0,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Write all results, marks and owners of boards into one new file of PLACE, and read it again.

    A file of PLACE is a whole backup, however this command ends. Older ones are removed last.
    """
    from datetime import UTC, datetime

    from velodrome.backup.places import place_at
    from velodrome.backup.rotation import make_backup
    from velodrome.cli.connection import results_store

    at = place_at(place, make=True)
    with results_store(redis) as store:
        made = make_backup(store, at, datetime.now(UTC), keep)
        if store.left_out:
            complain(f"{text.counted(len(store.left_out), 'item')} can't be read, so the backup lacks them:")
    if json:
        write_json(
            {
                "place": place,
                "backup": made.name,
                "jobs": made.contents.jobs,
                "results": made.contents.results,
                "bytes": made.bytes,
                "removed": list(made.removed),
                "left_out": len(store.left_out),
            }
        )
        return
    jobs, results = text.counted(made.contents.jobs, "job"), text.counted(made.contents.results, "result")
    say(f"{made.name}: {jobs}, {results}, {made.bytes:,} bytes")
    for name in made.removed:
        say(f"removed {name}")


def restore(
    place: Place,
    name: Annotated[
        str | None, typer.Option("--backup", metavar="NAME", help="This backup instead of the newest one.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List all backups, check each one, and change nothing.")] = False,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """Import a backup, if it is whole. What is in the store stays. The same restore again changes nothing."""
    from velodrome.backup.places import place_at
    from velodrome.backup.rotation import newest_backup, restore_backup
    from velodrome.cli.connection import results_store

    at = place_at(place)
    if show:
        _list(place, json=json)
        return
    chosen = newest_backup(at, name)
    with results_store(redis, writes=True) as store:
        report = restore_backup(store, at, chosen)
    answer(f"{chosen}: {import_words(report)}", {"backup": chosen, **import_document(report)}, json=json)
    for line in report.rejected[:20]:
        complain(f"{chosen}: line {line.line}: {text.line(line.why)}")
    if report.rejected_count:
        raise typer.Exit(FAILED)


def _list(place: str, *, json: bool) -> None:
    from velodrome.backup.places import place_at
    from velodrome.backup.rotation import listed_backups

    found = list(listed_backups(place_at(place)))
    rows = table("backup", "jobs", "results", "bytes", "state", numbers=frozenset({"jobs", "results", "bytes"}))
    for one in found:
        held = one.contents
        counts = ("", "") if held is None else (f"{held.jobs:,}", f"{held.results:,}")
        rows.add_row(one.name, *counts, f"{one.bytes:,}", "whole" if held else one.damage)
    if json:
        write_json({"place": place, "backups": [_backup_document(one) for one in found]})
    else:
        output().print(rows)
    if any(one.contents is None for one in found):
        raise typer.Exit(FAILED)


def _backup_document(one: ListedBackup) -> dict[str, Any]:
    held = one.contents
    return {
        "backup": one.name,
        "bytes": one.bytes,
        "jobs": None if held is None else held.jobs,
        "results": None if held is None else held.results,
        "damage": one.damage or None,
    }
