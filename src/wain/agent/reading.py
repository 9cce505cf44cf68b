"""Reads one file or one small thing of the source. The only code that touches the source's content.

Every `OSError` here is the source's fault and becomes `SourceError`; nothing that a target does can look like one.
"""

import errno
import os
import stat as modes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wain.agent.walk import Found, words
from wain.chunk.cutter import SMALL_BYTES, Cutter
from wain.tree.entry import Kind

WINDOW_BYTES: Final = 24 << 20
"""How much of a large file is in memory at once."""

KINDS: Final = {
    modes.S_IFREG: Kind.FILE,
    modes.S_IFDIR: Kind.DIRECTORY,
    modes.S_IFLNK: Kind.SYMLINK,
    modes.S_IFCHR: Kind.CHAR_DEVICE,
    modes.S_IFBLK: Kind.BLOCK_DEVICE,
    modes.S_IFIFO: Kind.FIFO,
    modes.S_IFSOCK: Kind.SOCKET,
}

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NO_XATTRS: Final = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM})


@dataclass(eq=False)
class SourceError(Exception):
    """Something of the source could not be read. `reason` is for people."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class Moved(SourceError):
    """The name stands for another file than when it was listed."""


class FileReader:
    """One open regular file, read once from its beginning to its end.

    Use as a context manager. `changed()` tells whether the file was touched since it was listed.
    """

    def __init__(self, directory_fd: int, found: Found) -> None:
        self._found = found
        self._fd = _open(directory_fd, found.name)

    def __enter__(self) -> "FileReader":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def stat(self) -> os.stat_result:
        """Return the stat of the open file.

        Raises:
            Moved: it is not the regular file that was listed.
        """
        here = os.fstat(self._fd)
        if here.st_ino != self._found.stat.st_ino or not modes.S_ISREG(here.st_mode):
            raise Moved("it was replaced while being read")
        return here

    def changed(self, before: os.stat_result) -> bool:
        """Return True when content or attributes moved since `before`."""
        now = self.stat()
        return (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (
            before.st_size,
            before.st_mtime_ns,
            before.st_ctime_ns,
        )

    def xattrs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the extended attributes, sorted by name."""
        return _xattrs(self._fd)

    def small(self, size: int) -> bytes:
        """Return the whole content of a dense file that is expected to have `size` bytes."""
        try:
            body = os.read(self._fd, size + 1)
            while len(body) < size and (more := os.read(self._fd, size + 1 - len(body))):
                body += more
        except OSError as error:
            raise SourceError(words(error)) from None
        return body

    def pieces(self, cutter: Cutter, extents: tuple[tuple[int, int], ...]) -> Iterator[memoryview]:
        """Yield the chunks of the given data extents, read end to end."""
        rest = b""
        runs = _runs(extents)
        for last, want in runs:
            window = bytearray(len(rest) + sum(length for _, length in want))
            window[: len(rest)] = rest
            at = len(rest)
            for offset, length in want:
                at += self._read_into(memoryview(window)[at : at + length], offset)
            view = memoryview(window)[:at]
            done = 0
            for length in cutter.cut(view, last):
                yield view[done : done + length]
                done += length
            rest = bytes(view[done:])

    def extents(self, size: int) -> tuple[tuple[int, int], ...]:
        """Return (offset, length) of the data in a sparse file; `((size, 0),)` when it is one hole."""
        found: list[tuple[int, int]] = []
        at = 0
        try:
            while at < size:
                try:
                    start = os.lseek(self._fd, at, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:
                        break
                    raise
                at = min(os.lseek(self._fd, start, os.SEEK_HOLE), size)
                if start < size:
                    found.append((start, at - start))
        except OSError as error:
            raise SourceError(words(error)) from None
        return tuple(found) or ((size, 0),)

    def _read_into(self, room: memoryview, offset: int) -> int:
        done = 0
        try:
            while done < len(room):
                got = os.preadv(self._fd, [room[done:]], offset + done)
                if not got:
                    break
                done += got
        except OSError as error:
            raise SourceError(words(error)) from None
        return done


def _runs(extents: tuple[tuple[int, int], ...]) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
    """Group extents into reads of at most `WINDOW_BYTES`; the flag marks the last group."""
    group: list[tuple[int, int]] = []
    room = WINDOW_BYTES
    for offset, length in extents:
        start, end = offset, offset + length
        while start < end:
            take = min(room, end - start)
            group.append((start, take))
            start += take
            room -= take
            if not room:
                yield False, group
                group, room = [], WINDOW_BYTES
    yield True, group


def is_sparse(stat: os.stat_result) -> bool:
    """Return True when a file occupies fewer blocks than its size needs, so that it may have holes."""
    return stat.st_size > SMALL_BYTES // 32 and stat.st_blocks * 512 < stat.st_size


def link_target(directory_fd: int, name: bytes) -> bytes:
    """Return a symbolic link's text."""
    try:
        return os.readlink(name, dir_fd=directory_fd)
    except OSError as error:
        raise SourceError(words(error)) from None


def xattrs_of(directory_fd: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes of a name that is not opened: a link, a device, a FIFO, a socket."""
    return _xattrs(b"/proc/self/fd/%d/%s" % (directory_fd, name), follow=False)


def directory_xattrs(fd: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes of an open directory."""
    return _xattrs(fd)


def _xattrs(target: int | bytes, *, follow: bool = True) -> tuple[tuple[bytes, bytes], ...]:
    try:
        names = os.listxattr(target, follow_symlinks=follow) if isinstance(target, bytes) else os.listxattr(target)
        ordered = sorted(os.fsencode(name) for name in names)
        found = [(name, _xattr(target, name, follow=follow)) for name in ordered]
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return ()
        raise SourceError(f"extended attributes: {words(error)}") from None
    return tuple(found)


def _xattr(target: int | bytes, name: bytes, *, follow: bool) -> bytes:
    if isinstance(target, bytes):
        return os.getxattr(target, name, follow_symlinks=follow)
    return os.getxattr(target, name)


def _open(directory_fd: int, name: bytes) -> int:
    try:
        return os.open(name, _OPEN | os.O_NOATIME, dir_fd=directory_fd)
    except PermissionError:
        pass  # O_NOATIME is for the file's owner and root alone; others read like everybody.
    except OSError as error:
        raise SourceError(words(error)) from None
    try:
        return os.open(name, _OPEN, dir_fd=directory_fd)
    except OSError as error:
        raise SourceError(words(error)) from None
