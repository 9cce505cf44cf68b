"""Reading past the page cache, at the speed of the medium.

A read-back that may come from the page cache proves nothing about the disk. `UncachedFile` reads with `O_DIRECT` into
an aligned buffer where the file system can; elsewhere it drops the cached pages first (`posix_fadvise(DONTNEED)`).
The next piece is read by a thread while the caller works on the present one.
"""

import contextlib
import errno
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wain.base.errors import TooLarge, Truncated
from wain.base.sizes import BLOCK_BYTES, MIB
from wain.storage.durable import reading

PIECE_BYTES: Final = 8 * MIB
"""One read request: large enough that a rotating disk streams."""
_BUFFERS: Final = 2


class UncachedFile:
    """A file that is read from its medium. Not for several threads at once.

    Raises (all methods):
        Missing, Corrupt, DeviceLost, ReadFailed: as `wain.storage.durable.read_error` says.
        Truncated: the file is shorter than asked for.
    """

    def __init__(self, name: str | Path, where: str, dirfd: int | None = None) -> None:
        self.where = where
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with reading(where):
            self._plain = os.open(name, flags, dir_fd=dirfd)
            with contextlib.suppress(OSError):  # A read-only medium has nothing to flush.
                os.fdatasync(self._plain)
            os.posix_fadvise(self._plain, 0, 0, os.POSIX_FADV_DONTNEED)
            self.size = os.fstat(self._plain).st_size
            try:
                self._direct: int | None = os.open(name, flags | os.O_DIRECT, dir_fd=dirfd)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    os.close(self._plain)
                    raise
                self._direct = None
        self._buffers = [mmap.mmap(-1, PIECE_BYTES) for _ in range(_BUFFERS)]
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    @property
    def direct(self) -> bool:
        """Whether the kernel reads straight from the medium (`O_DIRECT`)."""
        return self._direct is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back."""
        self._ahead.shutdown(wait=True)
        for fd in (self._plain, self._direct):
            if fd is not None:
                os.close(fd)
        self._direct = None

    def _fill(self, view: memoryview, offset: int) -> None:
        """Fill `view` from `offset`. Raises `OSError`, `Truncated`."""
        done = 0
        while done < len(view):
            count = self._read_some(view[done:], offset + done)
            if count == 0:
                raise Truncated(self.where, want=offset + len(view), have=offset + done)
            done += count

    def _read_some(self, view: memoryview, offset: int) -> int:
        if self._direct is not None and offset % BLOCK_BYTES == 0 and len(view) % BLOCK_BYTES == 0:
            try:
                return os.preadv(self._direct, [view], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                os.close(self._direct)
                self._direct = None
        os.posix_fadvise(self._plain, offset, len(view), os.POSIX_FADV_DONTNEED)
        return os.preadv(self._plain, [view], offset)

    def pieces(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield `length` bytes from `offset` in pieces of at most `PIECE_BYTES`.

        A piece is valid only until the next one is asked for: the buffers are used again. Ask for one range at a
        time, and take it to its end or close it.
        """
        starts = range(offset, offset + length, PIECE_BYTES)
        futures: list[Future[memoryview]] = []

        def read(number: int) -> memoryview:
            start = starts[number]
            size = min(PIECE_BYTES, offset + length - start)
            view = memoryview(self._buffers[number % _BUFFERS])[:size]
            self._fill(view, start)
            return view

        try:
            with reading(self.where):
                for number in range(len(starts)):
                    piece = futures.pop().result() if futures else read(number)
                    if number + 1 < len(starts):
                        futures.append(self._ahead.submit(read, number + 1))
                    yield piece
        finally:
            wait(futures)  # Nobody may still be filling a buffer when the next range begins.

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        return b"".join(bytes(piece) for piece in self.pieces(offset, length))


def read_uncached(name: str | Path, where: str, cap: int, dirfd: int | None = None) -> bytes:
    """Return a whole small file from its medium.

    Raises:
        TooLarge: the file is over `cap` bytes (nothing was read).
        Missing, Corrupt, DeviceLost, ReadFailed: as `UncachedFile`.
    """
    with UncachedFile(name, where, dirfd) as file:
        if file.size > cap:
            raise TooLarge(where, have=file.size, cap=cap)
        return file.read(0, file.size)
