"""Tells the C library to give memory back: without it, a backup holds what its largest moment needed."""

import contextlib
import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 256 * 1024
"""Blocks from this size on are mapped, and unmapped when they are freed (mallopt(3), M_MMAP_THRESHOLD)."""


def keep_memory_flat() -> None:
    """Set the limits of glibc's allocator for this process; other C libraries are left as they are.

    glibc raises its own threshold to 32 MiB once such blocks are freed, and then keeps them in a heap for each thread:
    measured, a first backup peaked a quarter higher.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _LARGE_BYTES), (_ARENA_MAX, 2)):
            libc.mallopt(option, value)
