"""Changes an existing file where it lies: only the ranges that differ, and holes where the entry has holes."""

import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from wain.agent.restore_root import punch

IN_PLACE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""`O_NONBLOCK`: a FIFO that took the file's place must not stop us."""
_NOT_HERE: Final = frozenset({errno.EACCES, errno.EPERM, errno.ETXTBSY, errno.ELOOP, errno.ENXIO})


def open_existing(directory: int, name: bytes) -> int | None:
    """Open a regular file with a single name for changes; None when it is no such file or may not be opened.

    A file with a second name is refused: the other name may lie outside the target.
    """
    try:
        fd = os.open(name, IN_PLACE_FLAGS, dir_fd=directory)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return None
        raise
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return fd
    os.close(fd)
    return None


def clear_holes(fd: int, size: int, extents: tuple[tuple[int, int], ...]) -> None:
    """Set the length of a file and make every range between its extents read as zeros."""
    os.ftruncate(fd, size)
    for start, end in gaps(size, extents):
        for at, stop in _data(fd, start, end):
            punch(fd, at, stop - at)


def gaps(size: int, extents: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    """Yield the holes of a file with extents, as (start, end). A file without extents has none."""
    if not extents:
        return
    at = 0
    for offset, length in extents:
        if offset > at:
            yield at, offset
        at = offset + length
    if size > at:
        yield at, size


def _data(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges between `start` and `end` that are not holes yet."""
    at = start
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
            stop = min(os.lseek(fd, at, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: no data from here to the end of the file.
                raise
            return
        if at < end:
            yield at, stop
        at = stop
