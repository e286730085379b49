"""`doctor`: what this machine or a cluster has, what it lacks, and how to fix that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.cli.cluster.commands import Context, Kubeconfig
from velodrome.cli.console import say, write_json
from velodrome.cli.exit_codes import NOT_HERE
from velodrome.cli.options import Json, RedisUrl
from velodrome.text import line

if TYPE_CHECKING:
    from velodrome.machine.checks import Check

EXAMPLES = """\
  velodrome doctor
  velodrome doctor --json
  velodrome doctor --cluster
"""

_MARKS = {"ok": "OK     ", "warning": "WARNING", "missing": "MISSING"}


def doctor(
    json: Json = False,
    redis: RedisUrl = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Check the cluster that kubectl reaches instead of this machine.")
    ] = False,
    installed_in: Annotated[
        str, typer.Option("--installed-in", metavar="NS", help="Namespace that Velodrome was installed in.")
    ] = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Check this machine: Python, torch and its accelerator, CPUs, Redis, the data folder, free disk.

    With --cluster: the API server, the CRD, your rights and the operator's, the images, Redis, the leaderboard.

    MISSING stops a race (exit code 3), WARNING does not. Each is shown with its fix.
    """
    if cluster:
        from velodrome.cli.cluster.checks import examine as examine_cluster
        from velodrome.cli.cluster.kubectl import Kubectl

        checks = examine_cluster(Kubectl(None, context, kubeconfig), installed_in)
    else:
        from velodrome.machine.checks import examine

        checks = examine(redis)
    if json:
        from dataclasses import asdict

        write_json({"checks": [asdict(check) for check in checks]})
    else:
        show_checks(checks)
    if any(check.status == "missing" for check in checks):
        raise typer.Exit(NOT_HERE)


def show_checks(checks: Sequence[Check]) -> None:
    """Shows the results of checks, one a line, each with its fix below it."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        say(f"{_MARKS[check.status]}  {check.name:{width}}  {line(check.found)}")
        if check.fix:
            say(f"         {'':{width}}  fix: {line(check.fix)}")
