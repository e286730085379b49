"""Keeps the process as small as what it remembers. Only glibc has these settings: elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import gc

# The names of mallopt's settings, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 128 * 1024

_LIBC = ctypes.CDLL(None)


def keep_small() -> None:
    """Sets glibc and the garbage collector to use little memory. Call it before anything is listed.

    By itself, glibc learns from large blocks to keep them, and gives each thread an arena of its own. Imported modules
    are never garbage, and to look through them took half of a sweep's time.
    """
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        for setting, value in (
            (_TRIM_THRESHOLD, _LARGE),
            (_MMAP_THRESHOLD, _LARGE),
            (_ARENA_MAX, 2),
        ):
            mallopt(setting, value)
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Gives free memory between used blocks back to the system. Call it after something large was read."""
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
