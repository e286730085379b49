"""Reading and writing the data folder's small files."""

from __future__ import annotations

import os
from pathlib import Path

from velodrome.machine.home import cannot_write


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file in one step. Only its owner can read it.

    Raises:
        LocalError: it can't be written.
    """
    beside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def tail(path: Path, start: int = 0, limit: int = 2000) -> str:
    """The end of a log: at most `limit` bytes, and only what follows byte `start`. Empty if there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - limit))
            return file.read(limit).decode(errors="replace").strip()
    except OSError:
        return ""
