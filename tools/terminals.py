"""Draws pictures of real terminals, 80 and 120 columns wide, and one without colours: terminals.py [--to FOLDER].

Each command runs on a pseudo-terminal of that width, over a Redis with made-up results. What it wrote to the terminal,
with its colours, becomes an SVG. Look at the pictures before you commit them.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a script's path has only its own folder

from tools.sample_results import fill  # noqa: E402
from velodrome.machine.home import Home  # noqa: E402
from velodrome.machine.redis.server import OwnRedis  # noqa: E402
from velodrome.store import open_store  # noqa: E402

COMMANDS = (
    ("results", "digits", "--objective", "accuracy"),
    ("results", "digits", "--objective", "speed"),
    ("plan", "deploy/examples/digits.yaml"),
    ("jobs", "--limit", "5"),
)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Terminal:
    """A terminal: the name of its picture, its width, and what its shell sets."""

    name: str
    columns: int
    environ: Mapping[str, str]


TERMINALS = (
    Terminal("terminal-80", 80, {}),
    Terminal("terminal-120", 120, {}),
    Terminal("terminal-no-colour", 100, {"NO_COLOR": "1"}),
)


def written(command: Sequence[str], terminal: Terminal, environ: Mapping[str, str]) -> str:
    """All that a command writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, terminal.columns, 0, 0))
    told = {**environ, **terminal.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "velodrome", *command], cwd=ROOT, env=told, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    octets = b""
    try:
        while piece := os.read(ours, 65536):
            octets += piece
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    if process.wait() != 0:
        raise RuntimeError(octets.decode(errors="replace"))
    return octets.decode().replace("\r\n", "\n")


def picture(terminal: Terminal, environ: Mapping[str, str]) -> str:
    """The SVG of a terminal after all commands."""
    console = Console(
        record=True, width=terminal.columns, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for command in COMMANDS:
        console.print(Text(f"$ velodrome {' '.join(command)}", style="bold"))
        # A line is as wide as the terminal at most, so nothing wraps here that did not wrap there.
        console.print(Text.from_ansi(written(command, terminal, environ)), no_wrap=True, overflow="ignore", crop=False)
    title = f"{terminal.columns} columns{', NO_COLOR=1' if terminal.environ else ''}"
    return console.export_svg(title=title, unique_id=terminal.name)


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    folder = parser.parse_args().to
    with tempfile.TemporaryDirectory(prefix="vt-") as name, OwnRedis(Home(Path(name))) as redis:
        with open_store(redis.url) as store:
            fill(store, NOW - timedelta(hours=1))
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("VELODROME_", "COLUMNS"))}
        environ = {**inherited, "VELODROME_REDIS_URL": redis.url, "TZ": "UTC", "PYTHONIOENCODING": "utf-8"}
        for terminal in TERMINALS:
            (folder / f"{terminal.name}.svg").write_text(picture(terminal, environ), encoding="utf-8")
            print(folder / f"{terminal.name}.svg")


if __name__ == "__main__":
    main()
