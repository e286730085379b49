"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from velodrome.cli import completion
from velodrome.keys import ENV_REDIS_URL

RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        envvar=ENV_REDIS_URL,
        help="Use this Redis (redis://, rediss:// or unix://) instead of the one that Velodrome starts by itself. "
        "Where it names no user, VELODROME_REDIS_USERNAME and VELODROME_REDIS_PASSWORD_FILE do.",
    ),
]
OnCluster = Annotated[
    bool, typer.Option("--cluster", help="Results of the cluster that kubectl reaches, instead of this machine's.")
]
InstalledIn = Annotated[
    str, typer.Option("--installed-in", metavar="NS", help="With --cluster: where Velodrome was installed.")
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="N", min=1, max=65535, help="The leaderboard's port [default: 8501 or the next free one]."
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address", metavar="ADDRESS", help="Address the leaderboard listens on; 0.0.0.0 lets other machines in."
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open the leaderboard in this machine's browser.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, for programs.")]
JobFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML with one or more BenchmarkJobs; - for standard input.")
]
BoardArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[BOARD]",
        help="Which leaderboard; the newest one where it is left out.",
        autocompletion=completion.boards,
    ),
]
BoardAlways = Annotated[
    str, typer.Argument(metavar="BOARD", help="Which leaderboard.", autocompletion=completion.boards)
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Only this objective, by its name or its metric key.",
        autocompletion=completion.objectives,
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="VELODROME_DATA",
        help="Folder below which dataset.source paths lie [default: data in Velodrome's own folder].",
    ),
]
