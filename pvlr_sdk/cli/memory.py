"""Keeps the memory of commands that run for months flat."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt, from glibc's malloc.h."""
_LARGE = 256 * 1024
_ARENAS = 2


def return_freed_memory() -> None:
    """Make glibc return large blocks to the system when they are freed; call it before threads start.

    By default glibc raises both thresholds to the largest block freed so far, up to 32 MB, and keeps a heap for each of
    many threads. Images of many sizes, decoded in several threads, then leave gaps that nothing fits into. Elsewhere
    than on glibc it does nothing.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE), (_ARENA_MAX, _ARENAS)):
            mallopt(parameter, value)
