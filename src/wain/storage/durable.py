"""The one home of "make it durable": writing, syncing and naming files so that a power cut cannot lie.

The rules, and why (reproduced on ext4, XFS and btrfs; also Rebello et al., "Can Applications Recover from fsync
Failures?", ATC 2020):

* a body is complete and fsynced before its final name appears, and the directory is fsynced after;
* a failed `fsync` is never repeated on the same file: the kernel drops the pages and reports success the second time;
* `close` proves nothing, and a buffered read-back proves nothing (see `wain.storage.uncached`).

Operating-system errors become errors of `wain.base.errors` here, by `write_error`.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wain.base.errors import (
    Corrupt,
    DeviceLost,
    Missing,
    OutOfFiles,
    OutOfSpace,
    Refused,
    RemoteError,
    WainError,
    WriteFailed,
)

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The target has no room."""
GONE: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESHUTDOWN, errno.ENOMEDIUM})
"""The device behind the target is no longer there."""
NOT_DIRECT: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
"""What a file system without `O_DIRECT`, or one that wants another alignment, says."""
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM})
_DIR_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

TEMPORARY_PREFIX: Final = ".new-"
"""Names that begin so are leftovers of a cut write, never content."""


class ReadFailed(RemoteError):
    """Something stored could not be read for a reason other than damage."""

    def __init__(self, where: str, why: str) -> None:
        self.where = where
        self.why = why
        super().__init__(where, why)

    def __str__(self) -> str:
        return f"cannot read {self.where}: {self.why}"


def free_bytes(fd: int) -> int:
    """Return how many bytes an unprivileged writer may still write to the file system of `fd`."""
    room = os.fstatvfs(fd)
    return room.f_bavail * room.f_frsize


def out_of_space(where: str, need_bytes: int, taken_bytes: int, fd: int | None) -> OutOfSpace:
    """Return the error for a write of `need_bytes` of which the file system took `taken_bytes` before it was full.

    What is free counts what was taken, because a cut write is undone. A file system that reports free bytes it will
    not give (metadata, quota, reserved blocks) is not believed: then only what it took counts.
    """
    left = 0
    if fd is not None:
        with contextlib.suppress(OSError):
            left = free_bytes(fd)
            if not taken_bytes and left > need_bytes and _no_inodes(fd):
                return OutOfFiles(where, need_bytes, left)
    room = taken_bytes + left
    return OutOfSpace(where, need_bytes, room if room < need_bytes else min(taken_bytes, need_bytes))


def _no_inodes(fd: int) -> bool:
    found = os.fstatvfs(fd)
    return found.f_files > 0 and found.f_favail == 0  # btrfs, which has no such number, says 0 of 0.


def write_error(error: OSError, where: str, need_bytes: int = 0, fd: int | None = None) -> WainError:
    """Return what a failed write to `where` means to the caller. `fd` is any descriptor on the target."""
    if error.errno in FULL:
        return out_of_space(where, need_bytes, 0, fd)
    if error.errno in GONE:
        return DeviceLost(where)
    why = error.strerror or str(error)
    if error.errno in _DENIED:
        return Refused(f"cannot write {where}: {why}", "Give the account that runs Wain the right to write there.")
    return WriteFailed(where, why)


def read_error(error: OSError, where: str) -> WainError:
    """Return what a failed read of `where` means: missing, damaged (EIO names the medium), gone, or unreadable."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Missing(where)
    if error.errno == errno.EIO:
        return Corrupt(where, "the medium cannot be read (input/output error)")
    if error.errno in GONE:
        return DeviceLost(where)
    return ReadFailed(where, error.strerror or str(error))


@contextlib.contextmanager
def writing(where: str, need_bytes: int = 0, fd: int | None = None) -> Iterator[None]:
    """Turn `OSError` into the errors of `write_error`."""
    try:
        yield
    except OSError as error:
        raise write_error(error, where, need_bytes, fd) from error


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn `OSError` into the errors of `read_error`."""
    try:
        yield
    except OSError as error:
        raise read_error(error, where) from error


@contextlib.contextmanager
def directory(path: str | Path, dirfd: int | None = None) -> Iterator[int]:
    """Hold a directory open. Raises `OSError`."""
    fd = os.open(path, _DIR_FLAGS, dir_fd=dirfd)
    try:
        yield fd
    finally:
        os.close(fd)


def fsync_dir(path: str | Path) -> None:
    """Make the entries of a directory durable. Raises `OSError`."""
    with directory(path) as fd:
        os.fsync(fd)


def sync_file_system(fd: int) -> None:
    """Flush the whole file system of `fd` (Linux, syncfs). Raises `OSError`; also for a write-back that failed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        os.sync()
    elif libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_COPYING: Final = frozenset({0x9123683E, 0xCA451A4E, 0x2FC12FC1, 0x3434})
"""btrfs, bcachefs, ZFS, NILFS2 (linux/magic.h, and their own headers)."""
_STATFS_BYTES: Final = 512
"""More than any `struct statfs`."""


def copies_on_write(fd: int) -> bool:
    """Return whether the file system of `fd` writes new blocks where a file is overwritten (Linux, fstatfs).

    Raises `OSError`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if libc.fstatfs(fd, found) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ctypes.c_long.from_buffer(found).value in _COPYING


_SYNC_FILE_RANGE_WRITE: Final = 2


def start_write_back(fd: int, offset: int, length: int) -> None:
    """Set the medium to work on dirty pages, so that a later fsync has little left to wait for.

    It promises nothing: what it fails to do, or cannot do on this system, the fsync does or reports.
    """
    if _LIBC is not None:
        _LIBC.sync_file_range(fd, ctypes.c_longlong(offset), ctypes.c_longlong(length), _SYNC_FILE_RANGE_WRITE)


def _libc_with_sync_file_range() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "sync_file_range") else None


_LIBC: Final = _libc_with_sync_file_range()


def write_all(fd: int, body: bytes | memoryview, offset: int = 0) -> None:
    """Write every byte of `body` at `offset`, without copying it. Raises `OSError`.

    A file system that takes nothing and reports nothing is treated as failing (EIO) rather than asked for ever.
    """
    view = memoryview(body).cast("B")
    done = 0
    while done < len(view):
        count = os.pwrite(fd, view[done:], offset + done)
        if count <= 0:
            raise OSError(errno.EIO, "the file system took no bytes")
        done += count


def write_past_cache(fd: int, body: bytes | memoryview, offset: int) -> None:
    """Write every byte of `body` at `offset`, past the page cache (`O_DIRECT`) where that can be. Raises `OSError`.

    It can be where the file system allows it and address, offset and length are aligned; elsewhere it is `write_all`.
    It spares the processor a copy of every byte and the cache what nobody will read from it. Durable after a sync.
    """
    plain = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, plain | os.O_DIRECT)
        try:
            write_all(fd, body, offset)
        finally:
            fcntl.fcntl(fd, fcntl.F_SETFL, plain)
    except OSError as error:
        if error.errno not in NOT_DIRECT:
            raise
        write_all(fd, body, offset)


def read_exactly(fd: int, length: int, offset: int) -> bytes:
    """Return up to `length` bytes from `offset`; fewer only at the end of the file. Raises `OSError`."""
    first = os.pread(fd, length, offset)
    if len(first) == length or not first:
        return first
    pieces = [first]
    have = len(first)
    while have < length:
        piece = os.pread(fd, length - have, offset + have)
        if not piece:
            break
        pieces.append(piece)
        have += len(piece)
    return b"".join(pieces)


def make_dirs(path: str | Path, mode: int = 0o700) -> None:
    """Make a directory and the missing ones above it, each durable before anything is put into it.

    Raises:
        OutOfSpace, WriteFailed, Refused, DeviceLost: the file system refused.
    """
    missing: list[Path] = []
    here = Path(os.path.abspath(path))
    while not here.is_dir():
        missing.append(here)
        here = here.parent
    for made in reversed(missing):
        with writing(str(made)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(made, mode)
            fsync_dir(made.parent)


def _write_and_sync(fd: int, body: bytes | memoryview, where: str) -> None:
    try:
        write_all(fd, body)
        os.fsync(fd)
    except OSError as error:
        if error.errno in FULL:
            taken = min(os.fstat(fd).st_size, len(body))
            raise out_of_space(where, len(body), taken, fd) from error
        raise


def write_atomic_at(dirfd: int, name: str, body: bytes | memoryview, mode: int = 0o600) -> None:
    """Create or replace `name` in an open directory: readers and power cuts see the old or the new, nothing else.

    The temporary is `.new-<name>`, the same each time, so that a cut write leaves one file that the next one reuses.

    Raises:
        OutOfSpace, WriteFailed, Refused, DeviceLost: the old content is still there.
    """
    temporary = TEMPORARY_PREFIX + name
    with writing(name, len(body), dirfd):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=dirfd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, mode, dir_fd=dirfd)
        try:
            _write_and_sync(fd, body, name)
            os.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=dirfd)
            raise
        finally:
            os.close(fd)
        os.fsync(dirfd)


def write_atomic(path: str | Path, body: bytes | memoryview, mode: int = 0o600) -> None:
    """Create or replace a file atomically and durably. Errors: `write_atomic_at`."""
    target = Path(path)
    with writing(str(target.parent)), directory(target.parent) as dirfd:
        write_atomic_at(dirfd, target.name, body, mode)


def unlink_at(dirfd: int, name: str) -> None:
    """Remove `name` from an open directory durably; nothing happens when it is not there. Raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dirfd)
    os.fsync(dirfd)
