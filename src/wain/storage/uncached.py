"""Reading past the page cache, at the speed of the medium.

A read-back that may come from the page cache proves nothing about the disk. `UncachedFile` reads with `O_DIRECT` into
an aligned buffer where the file system can; elsewhere it drops the cached pages first (`posix_fadvise(DONTNEED)`).
The next pieces are read by threads while the caller works on the present one.
"""

import contextlib
import errno
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wain.base.errors import TooLarge, Truncated
from wain.base.sizes import BLOCK_BYTES, MIB
from wain.storage.buffers import mapped
from wain.storage.durable import NOT_DIRECT, reading

PIECE_BYTES: Final = 8 * MIB
"""One read request: large enough that a rotating disk streams."""
_AHEAD: Final = 2
"""Reads under way while the caller works: a medium that is never idle, and some depth for its queue."""


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
                if error.errno not in NOT_DIRECT:
                    os.close(self._plain)
                    raise
                self._direct = None
        self._buffers = [mapped(PIECE_BYTES) for _ in range(_AHEAD + 1)]
        self._use_direct = self._direct is not None
        self._ahead = ThreadPoolExecutor(_AHEAD, thread_name_prefix="read-ahead")

    @property
    def direct(self) -> bool:
        """Whether the kernel reads straight from the medium (`O_DIRECT`)."""
        return self._use_direct

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
        self._use_direct = False

    def _fill(self, view: memoryview, offset: int) -> None:
        """Fill `view` from `offset`. Raises `OSError`, `Truncated`."""
        done = 0
        while done < len(view):
            count = self._read_some(view[done:], offset + done)
            if count == 0:
                raise Truncated(self.where, want=offset + len(view), have=offset + done)
            done += count

    def _read_some(self, view: memoryview, offset: int) -> int:
        if self._use_direct and self._direct is not None and offset % BLOCK_BYTES == 0 and len(view) % BLOCK_BYTES == 0:
            try:
                return os.preadv(self._direct, [view], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._use_direct = False
        os.posix_fadvise(self._plain, offset, len(view), os.POSIX_FADV_DONTNEED)
        return os.preadv(self._plain, [view], offset)

    def pieces(self, offset: int, length: int) -> Iterator[memoryview]:
        """Yield `length` bytes from `offset` in pieces of at most `PIECE_BYTES`.

        A piece is valid only until the next one is asked for: the buffers are used again. Ask for one range at a
        time, and take it to its end or close it.
        """
        starts = range(offset, offset + length, PIECE_BYTES)
        futures: deque[Future[memoryview]] = deque()

        def read(number: int) -> memoryview:
            start = starts[number]
            size = min(PIECE_BYTES, offset + length - start)
            view = self._buffers[number % len(self._buffers)][:size]
            self._fill(view, start)
            return view

        try:
            with reading(self.where):
                for number in range(len(starts)):
                    while len(futures) < _AHEAD + 1 and (coming := number + len(futures)) < len(starts):
                        futures.append(self._ahead.submit(read, coming))
                    # The piece before is done with: its buffer is the one that was just given out again.
                    yield futures.popleft().result()
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
