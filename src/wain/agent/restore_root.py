"""The one door into a restore target: every name is resolved below a directory descriptor, through no symbolic link.

A path is never handed to the kernel as a whole from outside. Directories are opened relative to their parent's
descriptor (`O_NOFOLLOW`), or below the root with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`, and kept open in a
small cache. Whoever swaps a directory for a symbolic link meanwhile gets an error, not a write elsewhere
(reliability A11).
"""

import ctypes
import errno
import fcntl
import os
import re
from collections import OrderedDict
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

from wain.base.errors import Malformed, Refused, WriteFailed

OPEN_DIRECTORIES: Final = 256
PIECE_BYTES: Final = 3500
"""Longer relative paths are opened in pieces: the kernel takes at most PATH_MAX (4,096) bytes at once."""
NAME_BYTES: Final = 255

_SYS_OPENAT2: Final = 437
"""The same number on every Linux architecture (asm-generic)."""
_RESOLVE: Final = 0x02 | 0x04 | 0x08
"""RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH (linux/openat2.h)."""
_RENAME_NOREPLACE: Final = 1
_PUNCH_HOLE_KEEP_SIZE: Final = 0x02 | 0x01
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STALE: Final = re.compile(r"\.wain-part-[0-9a-f]{16}-[0-9a-f]+")
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP})


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _failure(what: bytes) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)


@cache
def _openat2_works() -> bool:
    """Say whether kernel and sandbox let us use openat2 (Linux 5.6; some seccomp profiles refuse it)."""
    fd = os.open("/", _DIRECTORY)
    try:
        os.close(_openat2(fd, b"."))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        return False
    finally:
        os.close(fd)
    return True


def _openat2(fd: int, path: bytes) -> int:
    how = _OpenHow(_DIRECTORY, 0, _RESOLVE)
    for _ in range(16):  # EAGAIN: somebody renamed something above; the kernel asks for another try.
        opened = _libc().syscall(
            ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(fd), path, ctypes.byref(how), ctypes.c_size_t(24)
        )
        if opened >= 0:
            return int(opened)
        if ctypes.get_errno() != errno.EAGAIN:
            break
    raise _failure(path)


def open_beneath(fd: int, path: bytes, *, resolver: bool = True) -> int:
    """Open the directory `path` below `fd` without passing a symbolic link or leaving `fd`.

    With `resolver` the kernel does it (openat2) where it can; without, each component is opened on its own.

    Raises:
        OSError: ELOOP or ENOTDIR where something else took the directory's place; others as `open` gives them.
    """
    if resolver and _openat2_works():
        return _in_pieces(fd, path)
    return _by_component(fd, path.split(b"/"))


def _in_pieces(fd: int, path: bytes) -> int:
    if len(path) <= PIECE_BYTES:
        return _openat2(fd, path)
    cut = path.rindex(b"/", 0, PIECE_BYTES)
    between = _openat2(fd, path[:cut])
    try:
        return _in_pieces(between, path[cut + 1 :])
    finally:
        os.close(between)


def _by_component(fd: int, names: list[bytes]) -> int:
    for name in names:
        check_name(name)
    now = os.dup(fd)
    for name in names:
        try:
            child = os.open(name, _DIRECTORY, dir_fd=now)
        finally:
            os.close(now)
        now = child
    return now


def check_name(name: bytes) -> None:
    """Refuse a name that is not one plain component. The tree decoder refuses it too; this is the last door.

    Raises:
        Malformed: empty, `.`, `..`, too long, or holding `/` or NUL.
    """
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or len(name) > NAME_BYTES:
        raise Malformed(f"the name {name!r}", "it is not one component of a path")


def rename_new(fd: int, old: bytes, new: bytes) -> None:
    """Rename within one directory; an existing `new` is never replaced.

    Raises:
        FileExistsError: `new` is taken.
        OSError: as `rename` gives it.
    """
    libc = _libc()
    if hasattr(libc, "renameat2"):
        if libc.renameat2(fd, old, fd, new, _RENAME_NOREPLACE) == 0:
            return
        failure = _failure(new)
        if failure.errno not in _UNSUPPORTED:
            raise failure
    try:
        os.link(old, new, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # Neither the call nor hard links: a file system such as FAT. Look, then rename.
        if _exists(fd, new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        os.rename(old, new, src_dir_fd=fd, dst_dir_fd=fd)
        return
    os.unlink(old, dir_fd=fd)


def _exists(fd: int, name: bytes) -> bool:
    try:
        os.lstat(name, dir_fd=fd)
    except FileNotFoundError:
        return False
    return True


def punch(fd: int, offset: int, length: int) -> None:
    """Make a range of an open file read as zeros, as a hole where the file system has holes."""
    libc = _libc()
    done = libc.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(length))
    if done == 0:
        return
    failure = _failure(b"")
    if failure.errno not in _UNSUPPORTED:
        raise failure
    zeros = bytes(min(length, 1 << 20))
    at, end = offset, offset + length
    while at < end:
        at += os.pwrite(fd, zeros[: end - at], at)


class TargetRoot:
    """An open restore target. Directories below it are named by their `/`-joined path without a leading slash.

    Raises:
        Refused: the target is not a directory, or another restore is writing into it.
    """

    def __init__(self, path: Path, *, resolver: bool = True) -> None:
        self.path = path
        self._resolver = resolver
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._token = b".wain-part-" + os.urandom(8).hex().encode() + b"-"
        self._count = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(f"{path} cannot be a restore target: {error.strerror}") from None
        self._lock()
        self.folds_case = self._probe_case()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor, and with them the lock."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.fd)
            reason = f"another restore is writing into {self.path}"
            raise Refused(reason, "Wait for it, or choose another target.") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):  # Some network file systems.
                raise

    def temporary_name(self) -> bytes:
        """Return a name that no other restore uses."""
        self._count += 1
        return self._token + b"%x" % self._count

    def directory(self, path: bytes) -> int:
        """Return a descriptor of a directory. It stays open until `OPEN_DIRECTORIES` others were asked for."""
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        if not path:
            return self.fd
        parent, _, name = path.rpartition(b"/")
        near = self._open.get(parent) if parent else self.fd
        if near is not None:
            return self._keep(path, os.open(name, _DIRECTORY, dir_fd=near))
        return self._keep(path, open_beneath(self.fd, path, resolver=self._resolver))

    def make(self, parent: bytes, name: bytes) -> bool:
        """Make sure that a directory is there, usable by us, and open. True when it is new (mode 0700).

        Raises:
            OSError: FileExistsError when something other than a directory has the name.
        """
        check_name(name)
        inside = self.directory(parent)
        try:
            os.mkdir(name, 0o700, dir_fd=inside)
            new = True
        except FileExistsError:
            new = False
        path = parent + b"/" + name if parent else name
        if path in self._open:
            return new
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=inside)
        except PermissionError:
            fd = _force_open(inside, name)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise FileExistsError(errno.EEXIST, "something that is not a directory has this name", name) from None
            raise
        self._keep(path, fd)
        if new:
            _drop_inherited_acl(fd)
        else:
            _drop_stale(fd)
        return new

    def sync(self) -> None:
        """Return when everything written to the root's file system is durable.

        Raises:
            WriteFailed: it is not; nothing that was restored should be relied on.
        """
        if _libc().syncfs(self.fd) != 0:
            raise WriteFailed(str(self.path), os.strerror(ctypes.get_errno()))

    def _keep(self, path: bytes, fd: int) -> int:
        self._open[path] = fd
        if len(self._open) > OPEN_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def _probe_case(self) -> bool:
        """Say whether the root takes `A` and `a` for one name. A root that cannot be written is found out later."""
        name = self.temporary_name()
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=self.fd))
        except OSError:
            return False
        try:
            return _exists(self.fd, name.upper())
        finally:
            os.unlink(name, dir_fd=self.fd)


def _force_open(parent: int, name: bytes) -> int:
    """Open a directory of our own that an earlier, killed run already closed to us (mode 000)."""
    pinned = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{pinned}", 0o700)
        return os.open(name, _DIRECTORY, dir_fd=parent)
    finally:
        os.close(pinned)


def _drop_inherited_acl(fd: int) -> None:
    """A directory made below one with a default ACL inherits it; the tree alone says which ACLs there are."""
    try:
        os.removexattr(fd, "system.posix_acl_default")
        os.removexattr(fd, "system.posix_acl_access")
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise


def _drop_stale(fd: int) -> None:
    """Remove what a killed restore left under temporary names. The lock on the root says that none is running."""
    with os.scandir(fd) as names:
        stale = [one.name for one in names if _STALE.fullmatch(one.name)]
    for name in stale:
        with suppress(OSError):
            os.unlink(name, dir_fd=fd)
