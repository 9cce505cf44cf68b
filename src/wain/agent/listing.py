"""Lists a directory that others are working in.

A name that is replaced by renaming another over it, as editors save, may be in no listing that is read meanwhile: POSIX
allows that, and btrfs does it, now and then without a trace in the directory's times. So a directory that is at work is
listed again, and what any of the listings found counts, if it is still there.
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

LISTINGS: Final = 3
"""How often a directory that does not stand still is listed at most."""
RECENT_NS: Final = 20 * 10**6
"""A change so shortly before may have a twin of the same time, within one tick of the kernel's clock (4 to 10 ms)."""
_UNKNOWN: Final = -1


class Found(NamedTuple):
    """One name in a directory, as `lstat` saw it."""

    name: bytes
    stat: os.stat_result


def settled(fd: int, scan: Callable[[], list[Found]]) -> tuple[list[Found], bool]:
    """Return what `scan` finds in the open directory, and whether the directory stood still during the last scan."""
    found: list[Found] = []
    for _ in range(LISTINGS):
        before, now = _changed_ns(fd), time.time_ns()
        _rewind(fd)
        found = _joined(fd, found, scan())
        still = _changed_ns(fd) == before
        if still and now - before > RECENT_NS:
            break
    return found, still


def _rewind(fd: int) -> None:
    """Begin at the beginning as it is now: btrfs does not list what was renamed since the directory was opened."""
    with contextlib.suppress(OSError):
        os.lseek(fd, 0, os.SEEK_SET)


def _changed_ns(fd: int) -> int:
    try:
        return os.fstat(fd).st_ctime_ns
    except OSError:
        return _UNKNOWN  # The listing has its own word on a disk that fails.


def _joined(fd: int, earlier: list[Found], later: list[Found]) -> list[Found]:
    """Return the later listing, and of the earlier one what only it has and is still there."""
    listed = {one.name for one in later} if earlier else ()
    for one in earlier:
        if one.name not in listed:
            with contextlib.suppress(FileNotFoundError):
                later.append(_again(fd, one))
    return later


def _again(fd: int, one: Found) -> Found:
    """Return what a name stands for now. Raises `FileNotFoundError`."""
    try:
        return Found(one.name, os.stat(one.name, dir_fd=fd, follow_symlinks=False))
    except FileNotFoundError:
        raise
    except OSError:
        return one  # Whoever reads it will say what is wrong.
