"""A new file: written and fsynced without a name, then given one that never replaces anything.

Whoever looks sees nothing or the whole file; a cut write leaves nothing, or where the file system knows no nameless
files, a temporary that is recognised by its name. The rules are those of `wain.storage.durable`.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final, Self

from wain.base.errors import Refused
from wain.base.sizes import MIB
from wain.storage.durable import (
    FULL,
    TEMPORARY_PREFIX,
    directory,
    out_of_space,
    start_write_back,
    write_all,
    write_past_cache,
    writing,
)

_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
LARGE_BYTES: Final = 2 * MIB
"""A piece of this size goes past the page cache, if it is aligned. After so many bytes in smaller pieces the medium is
set to work, so that the fsync at the end has little left to wait for."""


class NewFile:
    """One file in the making, in the file system of an open directory. Close it in any case.

    `where` names it in errors.

    Raises (all methods):
        OutOfSpace, WriteFailed, Refused, DeviceLost: nothing got a name.
    """

    def __init__(self, dirfd: int, mode: int, where: str) -> None:
        self._where = where
        self._dirfd = os.dup(dirfd)
        self._temporary: str | None = None
        self._end = self._begun = 0
        try:
            with writing(where):
                self._fd = self._open(mode)
        except BaseException:
            os.close(self._dirfd)
            raise

    def _open(self, mode: int) -> int:
        try:
            return os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=self._dirfd)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
        self._temporary = TEMPORARY_PREFIX + os.urandom(8).hex()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.open(self._temporary, flags, mode, dir_fd=self._dirfd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""
        with writing(self._where):
            try:
                (write_past_cache if len(piece) >= LARGE_BYTES else write_all)(self._fd, piece, self._end)
            except OSError as error:
                if error.errno in FULL:
                    need = self._end + len(piece)
                    taken = min(os.fstat(self._fd).st_size, need)
                    raise out_of_space(self._where, need, taken, self._fd) from error
                raise
        self._end += len(piece)
        if self._end - self._begun >= LARGE_BYTES:
            start_write_back(self._fd, self._begun, self._end - self._begun)
            self._begun = self._end

    def publish(self, dirfd: int, name: str) -> bool:
        """Make the bytes durable, then the name, in an open directory. False, changing nothing, when it is taken."""
        with writing(self._where, self._end, dirfd):
            os.fsync(self._fd)
            created = self._link(dirfd, name)
            os.fsync(dirfd)
        return created

    def _link(self, dirfd: int, name: str) -> bool:
        try:
            if self._temporary is None:
                os.link(f"/proc/self/fd/{self._fd}", name, dst_dir_fd=dirfd, follow_symlinks=True)
            else:
                os.link(self._temporary, name, src_dir_fd=self._dirfd, dst_dir_fd=dirfd, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in _NO_LINKS and self._temporary is not None:
                hint = "Use ext4, XFS, btrfs or ZFS."
                raise Refused(f"cannot write {self._where}: this file system has no hard links", hint) from error
            raise
        return True

    def close(self) -> None:
        """Let go. What was not published is gone. The same call again changes nothing."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._dirfd)
        os.close(self._dirfd)


def write_new_at(dirfd: int, name: str, body: bytes | memoryview, mode: int = 0o600, where: str | None = None) -> bool:
    """Create `name` in an open directory, whole and durable. Return False, changing nothing, when it exists.

    `where` names the file in errors, if not by `name`.

    Raises:
        OutOfSpace, WriteFailed, Refused, DeviceLost: nothing was created.
    """
    with NewFile(dirfd, mode, where or name) as file:
        file.write(body)
        return file.publish(dirfd, name)


def write_new(path: str | Path, body: bytes | memoryview, mode: int = 0o600) -> bool:
    """Create a file, whole and durable. Return False, changing nothing, when it exists. Errors: `write_new_at`."""
    target = Path(path)
    with writing(str(target.parent)), directory(target.parent) as dirfd:
        return write_new_at(dirfd, target.name, body, mode)
