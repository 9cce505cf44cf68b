"""Overwrites what lies on a device: each file with zeros, read back from the medium, then removed."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wain.base.errors import WriteFailed
from wain.base.progress import Progress
from wain.base.sizes import MIB
from wain.databox.names import words
from wain.databox.opened import OpenDevice
from wain.databox.survey import PASSED_OVER
from wain.databox.untrusted import Directory, NotTaken
from wain.device.label import LABEL_FILE
from wain.pageblob.names import PAGE_BLOB_DIR
from wain.storage.durable import sync_file_system, write_all, writing

STEP_BYTES: Final = 4 * MIB
NAMES_CAP: Final = 10_000_000
DEPTH_CAP: Final = 256

_ZEROS: Final = bytes(STEP_BYTES)
_KEPT: Final = PASSED_OVER - {LABEL_FILE.encode()}


@dataclass(slots=True)
class Found:
    """What there is to erase. `size` in bytes, by length."""

    files: int = 0
    size: int = 0


def count(device: OpenDevice) -> Found:
    """Return what lies in `PageBlob`."""
    found = Found()
    _count(device.pageblob, 0, found)
    return found


def _count(directory: Directory, depth: int, found: Found) -> None:
    _check_depth(directory, depth)
    for name in directory.names(NAMES_CAP):
        if depth == 0 and name in _KEPT:
            continue
        below = _below(directory, name)
        if below is not None:
            with below:
                _count(below, depth + 1, found)
        else:
            found.files += 1
            found.size += os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_size


def wipe(device: OpenDevice, progress: Progress) -> None:
    """Erase everything in `PageBlob`, durably.

    Raises:
        WriteFailed: the device could not be written, or did not read back as zeros.
        DeviceLost: it went away.
    """
    with writing(device.pageblob.ground.root):
        _empty(device.pageblob, 0, progress)
        sync_file_system(device.pageblob.fd)


def strip(device: OpenDevice) -> None:
    """Remove the label and the emptied `PageBlob`. What a kill leaves of them passes for an empty device.

    Raises:
        WriteFailed, DeviceLost: as `wipe`.
    """
    if device.root is None:
        return
    with writing(device.root.ground.root):
        os.unlink(LABEL_FILE, dir_fd=device.root.fd)
        # What a file system itself keeps in it (lost+found) keeps it.
        if not device.pageblob.names(NAMES_CAP):
            os.rmdir(PAGE_BLOB_DIR, dir_fd=device.root.fd)
        os.fsync(device.root.fd)


def _empty(directory: Directory, depth: int, progress: Progress) -> None:
    _check_depth(directory, depth)
    for name in directory.names(NAMES_CAP):
        if depth == 0 and name in _KEPT:
            continue
        below = _below(directory, name)
        if below is None:
            _remove(directory, name, progress)
        else:
            with below:
                _empty(below, depth + 1, progress)
            os.rmdir(name, dir_fd=directory.fd)
    os.fsync(directory.fd)


def _check_depth(directory: Directory, depth: int) -> None:
    if depth > DEPTH_CAP:
        raise NotTaken(directory.where, f"lies deeper than {DEPTH_CAP} directories")


def _below(directory: Directory, name: bytes) -> Directory | None:
    try:
        return directory.enter(name)
    except NotTaken:
        return None


def _remove(directory: Directory, name: bytes, progress: Progress) -> None:
    """Overwrite and unlink one name. A link, pipe or node is only unlinked, and so is a file that others may share."""
    try:
        with directory.file(name):
            pass
    except NotTaken:
        os.unlink(name, dir_fd=directory.fd)
        return
    fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory.fd)
    try:
        extents = list(_extents(fd))
        for start, end in extents:
            for at in range(start, end, STEP_BYTES):
                write_all(fd, _ZEROS[: min(STEP_BYTES, end - at)], at)
                progress.advance(min(STEP_BYTES, end - at))
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for start, end in extents:
            _check_zero(fd, start, end, f"{directory.where}/{words(name)}")
    finally:
        os.close(fd)
    os.unlink(name, dir_fd=directory.fd)
    progress.advance(0, 1)


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges that hold data: overwriting holes would fill the device instead of clearing it."""
    size, at = os.fstat(fd).st_size, 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # Nothing but a hole follows.
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
        at = end


def _check_zero(fd: int, start: int, end: int, where: str) -> None:
    for at in range(start, end, STEP_BYTES):
        size = min(STEP_BYTES, end - at)
        if os.pread(fd, size, at) != _ZEROS[:size]:
            raise WriteFailed(where, f"bytes {at} to {at + size} do not read back as zeros")
