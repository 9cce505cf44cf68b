"""Reads one file or one small thing of the source. The only code that touches the source's content.

Every `OSError` here is the source's fault and becomes `SourceError`; nothing that a target does can look like one.
"""

import errno
import os
import stat as modes
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from wain.agent.listing import STILL_NS, Found
from wain.agent.walk import words
from wain.agent.windows import Windows
from wain.chunk.cutter import SMALL_BYTES, Cutter
from wain.tree.entry import Kind
from wain.tree.rules import MAX_EXTENTS, MAX_XATTR_BYTES, MAX_XATTRS, tidy_extents

WINDOW_BYTES: Final = 3 << 20
"""How much of a large file is in memory at once."""
COPIES: Final = 3
"""How often a window is read at most when the file changes meanwhile, or did just before. Only the first is slow."""

KINDS: Final = {
    modes.S_IFREG: Kind.FILE,
    modes.S_IFDIR: Kind.DIRECTORY,
    modes.S_IFLNK: Kind.SYMLINK,
    modes.S_IFCHR: Kind.CHAR_DEVICE,
    modes.S_IFBLK: Kind.BLOCK_DEVICE,
    modes.S_IFIFO: Kind.FIFO,
    modes.S_IFSOCK: Kind.SOCKET,
}

Extents = tuple[tuple[int, int], ...]

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NO_XATTRS: Final = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_HOLES: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_OTHER_KIND: Final = frozenset({errno.ELOOP, errno.ENOENT, errno.ENXIO})
"""What opening says of a name that stands for a link, nothing, or a socket by now."""
_SELF_FD: Final = b"/proc/self/fd"


@dataclass(eq=False)
class SourceError(Exception):
    """Something of the source could not be read. `reason` is for people."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False)
class Moved(SourceError):
    """The name stands for another file than when it was listed."""


class Xattrs(NamedTuple):
    """Extended attributes, sorted by name, and why some are not among them (empty when all are)."""

    pairs: tuple[tuple[bytes, bytes], ...] = ()
    reason: str = ""


NO_XATTRS: Final = Xattrs()


class FileReader:
    """One open regular file, read once from its beginning to its end. Use as a context manager.

    `before` is its stat when it was opened; `changed()` tells whether it was touched since.

    Raises (opening):
        Moved: the name stands for another file than the one that was listed.
        SourceError: it cannot be opened.
    """

    __slots__ = ("_ctime", "_fd", "before")

    def __init__(self, directory_fd: int, found: Found) -> None:
        self._fd = _open(directory_fd, found.name)
        try:
            self.before = os.fstat(self._fd)
            if self.before.st_ino != found.stat.st_ino or not modes.S_ISREG(self.before.st_mode):
                raise Moved("it was replaced while being read")
        except OSError as error:
            os.close(self._fd)
            raise SourceError(words(error)) from None
        except Moved:
            os.close(self._fd)
            raise
        self._ctime = self.before.st_ctime_ns

    def __enter__(self) -> "FileReader":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def changed(self) -> bool:
        """Return True when content or attributes moved since the file was opened."""
        before, now = self.before, self._stat()
        return (
            now.st_ctime_ns != before.st_ctime_ns
            or now.st_size != before.st_size
            or now.st_mtime_ns != before.st_mtime_ns
        )

    def size(self) -> int:
        """Return how long the file is now."""
        return self._stat().st_size

    def xattrs(self) -> Xattrs:
        """Return the extended attributes."""
        return _xattrs(self._fd)

    def small(self, size: int) -> bytes:
        """Return the whole content of a dense file that is expected to have `size` bytes; one more if it has grown."""
        for _ in range(COPIES):
            fresh = _is_fresh(self._ctime)
            try:
                body = os.pread(self._fd, size + 1, 0)
                while len(body) < size and (more := os.pread(self._fd, size + 1 - len(body), len(body))):
                    body += more
            except OSError as error:
                raise SourceError(words(error)) from None
            end, still = self._look()
            if still and not fresh:
                break
            _rest(fresh)
        return body[:end]

    def pieces(self, cutter: Cutter, extents: Extents, windows: Windows) -> Iterator[memoryview]:
        """Yield the chunks of the given data extents, read end to end. They end early where the file does."""
        rest = b""
        for last, want in _runs(extents):
            window = windows.take(len(rest) + sum(length for _, length in want))
            room = window.room
            room[: len(rest)] = rest
            at = len(rest)
            for offset, length in want:
                got = self._read_into(room[at : at + length], offset)
                at += got
                if got < length:
                    last = True  # noqa: PLW2901 (it shrank: what comes behind is not there either)
                    break
            done = 0
            for length in cutter.cut(room[:at], last) if at else ():
                yield window.lend(done, done + length)
                done += length
            if last:
                return
            rest = bytes(room[done:at])

    def extents(self, size: int) -> Extents:
        """Return (offset, length) of the data in a sparse file, as entries keep them: nothing when it is dense."""
        found: list[tuple[int, int]] = []
        at = 0
        try:
            while at < size:
                start = self._seek(at, os.SEEK_DATA, size)
                if start >= size:
                    break
                at = min(self._seek(start, os.SEEK_HOLE, size), size)
                if at <= start:
                    return ()  # A file system that contradicts itself; all of it is read.
                found.append((start, at - start))
                if len(found) > 2 * MAX_EXTENTS:
                    found = list(tidy_extents(found, size))
        except OSError as error:
            if error.errno in _NO_HOLES:
                return ()
            raise SourceError(words(error)) from None
        return tidy_extents(found, size)

    def _seek(self, at: int, whence: int, size: int) -> int:
        """Return where the next data or hole begins; `size` behind the end of the file, which may have moved."""
        try:
            return os.lseek(self._fd, at, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return size
            raise

    def _read_into(self, room: memoryview, offset: int) -> int:
        for _ in range(COPIES):
            fresh = _is_fresh(self._ctime)
            done = self._fill(room, offset)
            size, still = self._look()
            if still and not fresh:
                break
            _rest(fresh)
        return max(min(done, size - offset), 0)

    def _fill(self, room: memoryview, offset: int) -> int:
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

    def _look(self) -> tuple[int, bool]:
        """Return how long the file is now, and whether it stood still since the last look.

        Linux zeroes the tail of a file that is cut while a read still copies it, and sets the size before it does so:
        what was read past the size that the file has now may be zeros that it never held. The size does not tell when
        the file has grown again since: so what was read while it changed is read once more.
        """
        now = self._stat()
        still = now.st_ctime_ns == self._ctime
        self._ctime = now.st_ctime_ns
        return now.st_size, still

    def _stat(self) -> os.stat_result:
        try:
            return os.fstat(self._fd)
        except OSError as error:
            raise SourceError(words(error)) from None


def read_small(directory_fd: int, found: Found) -> bytes | None:
    """Return the content of a regular file that is, before and after, exactly what was listed and has no attributes.

    None when it is not, was changed just now, or cannot be read: `FileReader` then finds out why. One descriptor, five
    system calls.
    """
    name, stat = found
    if _is_fresh(stat.st_ctime_ns):
        return None
    try:
        fd = _open(directory_fd, name)
    except SourceError:
        return None
    try:
        body = _read_once(fd, stat.st_size + 1)
        if os.listxattr(fd):
            return None
        now = os.fstat(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    same = (
        len(body) == stat.st_size == now.st_size
        and now.st_ino == stat.st_ino
        and now.st_ctime_ns == stat.st_ctime_ns
        and now.st_mtime_ns == stat.st_mtime_ns
        and now.st_dev == stat.st_dev
        and now.st_mode == stat.st_mode
    )
    return body if same else None


def _is_fresh(ctime_ns: int) -> bool:
    """Tell whether a file changed so shortly ago that the change may be under way still.

    The kernel notes the time of a write before it copies the bytes, so no time tells a file that is half written.
    """
    return abs(time.time_ns() - ctime_ns) < STILL_NS


def _rest(fresh: bool) -> None:  # noqa: FBT001 (what the caller has just asked)
    """Let a write that is under way end."""
    if fresh:
        time.sleep(STILL_NS / 10**9)


def _read_once(fd: int, size: int) -> bytes:
    return os.read(fd, size)


def _runs(extents: Extents) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
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


def cut_extents(extents: Extents, got: int, now: int) -> tuple[Extents, int]:
    """Return the extents that the first `got` bytes of data fill, and the size of the file.

    `now` is how long the file is, at most what it was. Of a hole at its end, as much is kept as is still there; it ends
    at the latest where data was expected and not found.
    """
    kept: list[tuple[int, int]] = []
    end = 0
    for offset, length in extents:
        take = min(length, got)
        if take:
            kept.append((offset, take))
            end = offset + take
        if take < length:
            now = min(now, offset + take)
            break
        got -= take
    size = max(end, now)
    return tidy_extents(kept, size), size


def is_sparse(stat: os.stat_result) -> bool:
    """Return True when a file occupies fewer blocks than its size needs, so that it may have holes."""
    # A small file with some blocks is cheaper to read than to ask for its holes.
    return stat.st_blocks * 512 < stat.st_size and (stat.st_size > SMALL_BYTES // 32 or not stat.st_blocks)


def look_again(directory_fd: int, name: bytes) -> Found:
    """Return what a name stands for now."""
    try:
        return Found(name, os.stat(name, dir_fd=directory_fd, follow_symlinks=False))
    except OSError as error:
        raise SourceError(words(error)) from None


def link_target(directory_fd: int, name: bytes) -> bytes:
    """Return a symbolic link's text.

    Raises:
        Moved: it is no symbolic link any more.
        SourceError: it cannot be read.
    """
    try:
        return os.readlink(name, dir_fd=directory_fd)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise Moved("it was replaced while being read") from None
        raise SourceError(words(error)) from None


def xattrs_of(directory_fd: int, name: bytes) -> Xattrs:
    """Return the extended attributes of a name that is not opened: a link, a device, a FIFO, a socket."""
    return _xattrs(b"%s/%d/%s" % (_SELF_FD, directory_fd, name), follow=False)


def directory_xattrs(fd: int) -> Xattrs:
    """Return the extended attributes of an open directory."""
    return _xattrs(fd)


def _xattrs(target: int | bytes, *, follow: bool = True) -> Xattrs:
    try:
        names = os.listxattr(target) if follow else os.listxattr(target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_XATTRS or (not follow and not os.path.isdir(_SELF_FD)):
            return NO_XATTRS
        return Xattrs((), f"its extended attributes were not kept: {words(error)}")
    if not names:
        return NO_XATTRS
    pairs: list[tuple[bytes, bytes]] = []
    reasons: list[str] = []
    for name in sorted(os.fsencode(name) for name in names):
        shown = name.decode(errors="backslashreplace")
        try:
            value = os.getxattr(target, name) if follow else os.getxattr(target, name, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENODATA:  # Else it was removed between two system calls.
                reasons.append(f"its attribute {shown} was not kept: {words(error)}")
            continue
        if len(value) > MAX_XATTR_BYTES:
            reasons.append(f"its attribute {shown} of {len(value):,} bytes is too large to be kept")
        elif len(pairs) >= MAX_XATTRS:
            reasons.append(f"it has more than {MAX_XATTRS:,} extended attributes; the others were not kept")
            break
        else:
            pairs.append((name, value))
    return Xattrs(tuple(pairs), "; ".join(reasons[:3]))


def _open(directory_fd: int, name: bytes) -> int:
    try:
        try:
            return os.open(name, _OPEN | os.O_NOATIME, dir_fd=directory_fd)
        except PermissionError:
            # O_NOATIME is for the file's owner and root alone; others read like everybody.
            return os.open(name, _OPEN, dir_fd=directory_fd)
    except OSError as error:
        raise (Moved if error.errno in _OTHER_KIND else SourceError)(words(error)) from None
