"""The hold on a device while it is written: one container directory, by descriptor, and whether it is still there.

Every file is reached through descriptors that were opened once, so nothing can ever be written into the empty mount
point of a device that went away.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Final

from wain.base.errors import DeviceLost, OutOfSpace, Refused, WainError
from wain.device.find import DeviceRoot
from wain.storage.durable import GONE, free_bytes, sync_file_system, unlink_at, write_atomic_at, write_error
from wain.storage.uncached import UncachedFile

_LOST: Final = GONE | {errno.EROFS, errno.ESTALE}
"""The device is away, or its file system gave up after an error and went read-only."""
_SYS_BLOCK: Final = "/sys/dev/block"


class _DeviceFile(UncachedFile):
    """A file that tells a device that went away from a damaged one. `lost` raises when it went away."""

    def __init__(self, name: str, where: str, dirfd: int, lost: Callable[[OSError], None]) -> None:
        self._lost = lost
        super().__init__(name, where, dirfd)

    def _read_some(self, view: memoryview, offset: int) -> int:
        try:
            return super()._read_some(view, offset)
        except OSError as error:
            self._lost(error)
            raise


class Medium:
    """The container of one seed on a device. `where` is how messages name the device.

    Raises (on opening):
        Refused: read-only, not permitted, or another process is writing the container.
        DeviceLost, OutOfSpace, WriteFailed: as `wain.storage.durable`.
    """

    def __init__(self, root: DeviceRoot, container: str) -> None:
        self.where = str(root.path)
        self._path = root.pageblob
        self._node: str | None = None
        self._top = -1
        with contextlib.ExitStack() as undo:
            with self.errors():
                self._top = os.open(root.pageblob, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, self._top)
                if os.fstatvfs(self._top).f_flag & os.ST_RDONLY:
                    raise Refused(f"the device at {self.where} is mounted read-only", "Mount it for writing.")
                with contextlib.suppress(FileExistsError):
                    os.mkdir(container, 0o755, dir_fd=self._top)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                self.dirfd = os.open(container, flags, dir_fd=self._top)
                undo.callback(os.close, self.dirfd)
                self._lock(container)
                os.fsync(self._top)
                top = os.fstat(self._top)
            self._identity = (top.st_dev, top.st_ino)
            node = f"{_SYS_BLOCK}/{os.major(top.st_dev)}:{os.minor(top.st_dev)}"
            if os.path.exists(node):
                self._node = node
            undo.pop_all()

    def _lock(self, container: str) -> None:
        try:
            fcntl.flock(self.dirfd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another process is writing {container} on the device at {self.where}") from None
        except OSError as error:
            # Network file systems cannot lock directories; there the agent's own lock is the only one.
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP):
                raise

    def close(self) -> None:
        """Let go of the device."""
        os.close(self.dirfd)
        os.close(self._top)

    def check(self) -> None:
        """Return while the path still leads to the device that was opened.

        Raises:
            DeviceLost: it leads nowhere, or elsewhere.
        """
        try:
            now = os.stat(self._path)
        except OSError as error:
            raise DeviceLost(self.where) from error
        if (now.st_dev, now.st_ino) != self._identity:
            raise DeviceLost(self.where)

    def _is_gone(self, error: OSError) -> bool:
        """Whether more than one file is affected: no block device any more, or a file system that has shut down."""
        if error.errno in _LOST or (self._node is not None and not os.path.exists(self._node)):
            return True
        try:
            if error.errno == errno.EIO and self._top >= 0:
                os.utime(self._top)  # The directory above: a bad sector under a file does not touch it.
                if self._node is None:
                    os.listdir(self._top)  # A share: what is kept in a cache here tells nothing about the server.
        except OSError as probe:
            return probe.errno in _LOST | {errno.EIO}
        return False

    def failure(self, error: OSError, need_bytes: int = 0) -> WainError:
        """Return what a failed write to the device means: `DeviceLost`, `OutOfSpace`, `Refused` or `WriteFailed`."""
        if self._is_gone(error):
            return DeviceLost(self.where)
        return write_error(error, f"the device at {self.where}", need_bytes, None if self._top < 0 else self._top)

    @contextlib.contextmanager
    def errors(self, need_bytes: int = 0) -> Iterator[None]:
        """Turn `OSError` into what `failure` returns."""
        try:
            yield
        except OSError as error:
            raise self.failure(error, need_bytes) from error

    def free_bytes(self) -> int:
        """Return how many bytes may still be written."""
        with self.errors():
            return free_bytes(self._top)

    def names(self) -> list[str]:
        """Return the names in the container, sorted. Raises `OSError`."""
        return sorted(os.listdir(self.dirfd))

    def new_blob(self, name: str) -> int:
        """Make a page blob and return it open for writing; its name is durable. Raises `OSError`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o644, dir_fd=self.dirfd)
        os.fsync(self.dirfd)
        return fd

    def blob(self, name: str) -> int:
        """Return a page blob that exists, open for writing. Raises `OSError`."""
        return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.dirfd)

    def cut_blob(self, name: str, end: int) -> None:
        """Make a page blob end at `end`, durably; a blob with nothing in it is removed. Raises `OSError`."""
        if end == 0:
            unlink_at(self.dirfd, name)
            return
        fd = self.blob(name)
        try:
            if os.fstat(fd).st_size != end:
                os.ftruncate(fd, end)
                os.fsync(fd)
        finally:
            os.close(fd)

    def uncached(self, name: str) -> UncachedFile:
        """Open a blob for reading from the medium. Raises: as `UncachedFile`; `DeviceLost` when all of it is gone."""
        where = f"{name} on the device at {self.where}"
        try:
            return _DeviceFile(name, where, self.dirfd, self._lost)
        except WainError as error:
            if isinstance(error.__cause__, OSError):
                self._lost(error.__cause__)
            raise

    def _lost(self, error: OSError) -> None:
        """Return when only one file is affected by a failed read.

        Raises:
            DeviceLost: the whole device is away: nothing on it is damaged.
        """
        if self._is_gone(error):
            raise DeviceLost(self.where) from error

    def write_small(self, name: str, body: bytes) -> None:
        """Make or replace a small blob, whole and durable.

        Raises:
            OutOfSpace, WriteFailed, DeviceLost, Refused: the old one is still there.
        """
        try:
            write_atomic_at(self.dirfd, name, body, 0o644)
        except OutOfSpace as error:
            raise type(error)(f"the device at {self.where}", error.need_bytes, error.free_bytes) from error
        except WainError as error:
            if isinstance(error.__cause__, OSError):
                raise self.failure(error.__cause__, len(body)) from error
            raise

    def sync(self) -> None:
        """Flush the directories and the whole file system. Raises `OSError`."""
        os.fsync(self.dirfd)
        os.fsync(self._top)
        sync_file_system(self._top)
