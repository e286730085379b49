"""Where this process reports, kept from the code of an entry that runs in it, under it or beside it. Imports no torch.

Two things can be promised. Nothing that was `withdrawn` is in an environment any more: not in this process's, not in a
child's, and not in /proc/PID/environ, which shows what a process was started with. And once it is `sealed`, no other
process of the same user sees into this one: not its memory, not its open files. Code that runs inside of this process
(a model's factory) can search its memory all the same, and root can do everything.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from velodrome import keys

# Both URLs may hold a password.
_SECRET = (keys.ENV_REDIS_URL, keys.ENV_PUSHGATEWAY)
_PR_SET_DUMPABLE = 4
# Positions, behind the name of the program, of env_start and env_end: fields 50 and 51 of proc(5)'s /proc/PID/stat.
_ENV_START, _ENV_END = 47, 48


def withdrawn(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Takes what an entry must not know out of `environ`, and returns all that was in it.

    Where `environ` is this process's own, its other copies are wiped too: see `_wipe`.
    """
    whole = dict(environ)
    for name in _SECRET:
        environ.pop(name, None)
    if environ is os.environ:
        import posix

        for name in _SECRET:
            posix.environ.pop(name.encode(), None)
        _wipe([f"{name}=".encode() for name in _SECRET])
    return whole


def seal() -> None:
    """Makes this process, and what is forked from it, opaque to every other one of its user. On Linux alone.

    It dumps no core then, and can't be traced. Its own files in /proc belong to root from then on, so that it can't
    write them either: who measures its own memory by /proc/self/clear_refs must not be sealed. A program that it starts
    begins unsealed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _wipe(beginnings: list[bytes]) -> None:
    """Overwrites the variables that begin so where the kernel put them when this process was started.

    The C library's environment no longer points there once they are unset. What the kernel does not tell is left: a
    system other than Linux has no /proc to read it from either.
    """
    start, end = _first_environment()
    block = ctypes.string_at(start, end - start) if end > start else b""
    at = start
    for item in block.split(b"\0"):
        if any(item.startswith(beginning) for beginning in beginnings):
            ctypes.memset(at, 0, len(item))
        at += len(item) + 1


def _first_environment(stat: Path = Path("/proc/self/stat")) -> tuple[int, int]:
    """From where to where this process's first environment lies in its memory; twice 0 where nothing tells."""
    try:
        fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return int(fields[_ENV_START]), int(fields[_ENV_END])
    except (OSError, ValueError, IndexError):
        return 0, 0
