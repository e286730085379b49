"""`doctor`: what this machine has, what it lacks, and the fix for each."""

from __future__ import annotations

import typer

from velodrome.cli.ending import NOT_HERE
from velodrome.cli.options import Json, RedisUrl

EXAMPLES = """\
  velodrome doctor
  velodrome doctor --json
"""

_MARKS = {"ok": "OK     ", "warning": "WARNING", "missing": "MISSING"}


def doctor(json: Json = False, redis: RedisUrl = None) -> None:
    """Check this machine: Python, torch and its accelerator, CPUs, Redis, the data folder, free disk.

    MISSING stops a race (exit code 3); WARNING does not. Each comes with its fix.
    """
    from velodrome.local.examination import examine

    checks = examine(redis)
    if json:
        from dataclasses import asdict
        from json import dumps

        typer.echo(dumps([asdict(check) for check in checks], ensure_ascii=False, indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            typer.echo(f"{_MARKS[check.status]}  {check.name:{width}}  {check.found}")
            if check.fix:
                typer.echo(f"         {'':{width}}  fix: {check.fix}")
    if any(check.status == "missing" for check in checks):
        raise typer.Exit(NOT_HERE)
