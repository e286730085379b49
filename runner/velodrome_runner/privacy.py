"""Hides the address for reports from an entry's code in, under or beside this process. Does not import torch.

It promises two things:

- What was `withdrawn` is in no environment any more: of this process, of a child, or in /proc/PID/environ, which shows
  the environment that a process was started with.
- After `seal`, no other process of the same user can read this process's memory or its open files.

Code inside this process (a model's factory) can still search its memory, and root can do everything.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from velodrome import keys

# Both URLs may contain a password, and the file does.
_SECRET = (keys.ENV_REDIS_URL, keys.ENV_REDIS_USERNAME, keys.ENV_REDIS_PASSWORD_FILE, keys.ENV_PUSHGATEWAY)
_PR_SET_DUMPABLE = 4
# Positions of env_start and env_end after the program's name: fields 50 and 51 of proc(5)'s /proc/PID/stat.
_ENV_START, _ENV_END = 47, 48


def withdrawn(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Removes from `environ` what an entry must not know, and returns all that was in it.

    If `environ` is this process's own environment, its other copies are wiped too: see `_wipe`.
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
    """Makes this process and its forks unreadable for all other processes of its user. Only on Linux.

    A sealed process dumps no core and can't be traced. Its files in /proc then belong to root, so that the process
    itself can't write them either: a process that measures its memory by /proc/self/clear_refs must not be sealed. A
    program that it starts begins unsealed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _wipe(beginnings: list[bytes]) -> None:
    """Overwrites variables with these beginnings where the kernel put them when this process was started.

    Once they are unset, the C library's environment no longer points there. If the kernel does not report the place,
    nothing is overwritten: a system other than Linux has no /proc from which others could read it.
    """
    start, end = _first_environment()
    block = ctypes.string_at(start, end - start) if end > start else b""
    at = start
    for item in block.split(b"\0"):
        if any(item.startswith(beginning) for beginning in beginnings):
            ctypes.memset(at, 0, len(item))
        at += len(item) + 1


def _first_environment(stat: Path = Path("/proc/self/stat")) -> tuple[int, int]:
    """The start and end of this process's first environment in its memory; twice 0 if unknown."""
    try:
        fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return int(fields[_ENV_START]), int(fields[_ENV_END])
    except (OSError, ValueError, IndexError):
        return 0, 0
