"""Overwrites what lies on a device: each file with zeros, read back from the medium, then removed.

A file system that copies on write puts the zeros elsewhere: there files are removed, and then everything that is free
is overwritten, with bytes that no compression makes smaller.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from wain.base.errors import WriteFailed
from wain.base.progress import Progress
from wain.base.sizes import MIB
from wain.databox.names import words
from wain.databox.opened import OpenDevice
from wain.databox.survey import PASSED_OVER
from wain.databox.untrusted import Directory, NotTaken
from wain.device.label import LABEL_FILE
from wain.pageblob.names import PAGE_BLOB_DIR
from wain.storage.durable import (
    FULL,
    TEMPORARY_PREFIX,
    copies_on_write,
    free_bytes,
    sync_file_system,
    write_all,
    writing,
)

STEP_BYTES: Final = 4 * MIB
NAMES_CAP: Final = 10_000_000
DEPTH_CAP: Final = 256

_ZEROS: Final = bytes(STEP_BYTES)
_Remove = Callable[[Directory, bytes, Progress], None]
_KEPT: Final = PASSED_OVER - {LABEL_FILE.encode()}


_FILL: Final = f"{TEMPORARY_PREFIX}free-space".encode()
_LEAST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Method:
    """How a device was erased, in the words of the erasure record."""

    method: str
    verification: str
    limits: str


_ENCRYPTED: Final = "what Wain wrote there was encrypted before it reached the device, and no key was ever on it."
IN_PLACE: Final = Method(
    "overwrite with zeros, 1 pass, then removal",
    "every overwritten byte read back",
    "Every allocated byte of every file was overwritten. Free space, spare sectors and remapped blocks were not; "
    + _ENCRYPTED,
)
FREE_SPACE: Final = Method(
    "removal, then all free space overwritten with random bytes, 1 pass",
    "every overwritten byte read back",
    "The file system copies on write, and says itself what is free. What it keeps for itself, spare sectors and "
    "remapped blocks were not overwritten; " + _ENCRYPTED,
)


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


def wipe(device: OpenDevice, progress: Progress) -> Method:
    """Erase everything in `PageBlob`, durably. Return how.

    Raises:
        WriteFailed: the device could not be written, or did not read back as it was written.
        DeviceLost: it went away.
    """
    pageblob = device.pageblob
    with writing(pageblob.ground.root):
        copying = copies_on_write(pageblob.fd)
        _empty(pageblob, 0, _unlink if copying else _remove, progress)
        sync_file_system(pageblob.fd)
        if not copying:
            return IN_PLACE
        _fill(pageblob, progress)
        sync_file_system(pageblob.fd)
    return FREE_SPACE


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


def _empty(directory: Directory, depth: int, remove: _Remove, progress: Progress) -> None:
    _check_depth(directory, depth)
    for name in directory.names(NAMES_CAP):
        if depth == 0 and name in _KEPT:
            continue
        below = _below(directory, name)
        if below is None:
            remove(directory, name, progress)
        else:
            with below:
                _empty(below, depth + 1, remove, progress)
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


def _unlink(directory: Directory, name: bytes, progress: Progress) -> None:
    os.unlink(name, dir_fd=directory.fd)
    progress.advance(0, 1)


def _fill(directory: Directory, progress: Progress) -> None:
    """Overwrite what is free, read it back, and free it again. What a kill leaves of it is a file like any other."""
    progress.phase("Overwrite free space", free_bytes(directory.fd))
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_FILL, flags, 0o600, dir_fd=directory.fd)
    try:
        noise = secrets.token_bytes(32)
        end = _write_until_full(fd, noise, progress)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for at in range(0, end, STEP_BYTES):
            size = min(STEP_BYTES, end - at)
            if os.pread(fd, size, at) != _noise(noise, at)[:size]:
                where = f"{directory.where}/{words(_FILL)}"
                raise WriteFailed(where, f"bytes {at} to {at + size} do not read back as they were written")
    finally:
        os.close(fd)
    os.unlink(_FILL, dir_fd=directory.fd)


def _write_until_full(fd: int, noise: bytes, progress: Progress) -> int:
    """Write until nothing more fits; return how many bytes did."""
    at, step = 0, STEP_BYTES
    while step >= _LEAST_BYTES:
        block = at - at % STEP_BYTES
        piece = _noise(noise, block)[at - block :][:step]
        try:
            done = os.pwrite(fd, piece, at)
        except OSError as error:
            if error.errno not in FULL:
                raise
            step //= 2
            continue
        at += done
        progress.advance(done)
    return at


def _noise(key: bytes, at: int) -> bytes:
    """Return the `STEP_BYTES` of noise that belong at `at`."""
    return blake3(at.to_bytes(8, "little"), key=key).digest(length=STEP_BYTES)


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
