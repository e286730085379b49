"""Keeps the process as small as what it remembers. glibc alone has these settings; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import gc

# mallopt's names for its settings, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 128 * 1024

_LIBC = ctypes.CDLL(None)


def keep_small() -> None:
    """To be called before anything is listed.

    glibc by itself learns from large blocks to keep them, and gives each thread an arena of its own. What was imported
    is never garbage, and looking through it took half of what a sweep did.
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
    """To be called after something large was looked through: what it left free between other blocks is given back."""
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
