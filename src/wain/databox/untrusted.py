"""Reads a device that nobody trusts (reliability.md A14, A15): whoever held it may have put anything on it.

Every step down the tree is relative to an open directory, never follows a symbolic link and never leaves the file
system that the device's root lies on. Only regular files are opened, and only after `fstat` said so through the
descriptor that will be read. Every listing has a cap. A sector that cannot be read costs its 64 KiB, not the copy.
"""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from wain.base.errors import DataError, DeviceLost, Refused
from wain.base.sizes import BLOCK_BYTES, KIB, MIB, PAGE_BYTES, round_up
from wain.databox.names import words
from wain.storage.buffers import mapped
from wain.storage.durable import NOT_DIRECT

GONE: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ENOMEDIUM, errno.ESHUTDOWN, errno.EHOSTDOWN}
)
"""What a read says when the whole device went away, rather than one sector of it."""
LARGE_BYTES: Final = MIB
"""Reads of this size and more are worth a buffer of their own."""
STEP_BYTES: Final = 64 * KIB
"""The step in which a range is read again that could not be read at once."""

_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY_FLAGS: Final = _FILE_FLAGS | os.O_DIRECTORY
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
}


@dataclass(eq=False)
class NotTaken(DataError):
    """Something on a device is not what a device may hold. `why` is the rest of the sentence."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} {self.why}"


@dataclass(slots=True)
class Ground:
    """What every directory of a device must agree with: its root by path, and the file system it lies on."""

    root: str
    device_number: int
    is_mount: bool
    """The device is a file system of its own, so a hard link cannot lead out of it."""
    witness: int = -1
    """A descriptor of the first file that was read well: when it cannot be read any more, the device is gone."""

    def remember(self, fd: int) -> None:
        """Keep the file behind `fd` as the witness, unless there is one."""
        if self.witness < 0:
            self.witness = os.dup(fd)

    def still_there(self) -> bool:
        """Say whether the device answers: a disk that was pulled out often says EIO, as a bad sector does."""
        try:
            if os.stat(self.root).st_dev != self.device_number:
                return False
            if self.witness >= 0:
                os.posix_fadvise(self.witness, 0, 0, os.POSIX_FADV_DONTNEED)
                os.pread(self.witness, PAGE_BYTES, 0)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the witness."""
        if self.witness >= 0:
            os.close(self.witness)
            self.witness = -1


@dataclass(frozen=True, slots=True)
class Read:
    """Bytes of a range; what could not be read is zeros, and its ranges (start, end) are listed."""

    body: bytes | memoryview
    holes: tuple[tuple[int, int], ...] = ()


class DeviceFile:
    """An open regular file of a device."""

    def __init__(self, fd: int, where: str, ground: Ground) -> None:
        self._fd = fd
        self._where = where
        self._ground = ground
        self.size = os.fstat(fd).st_size
        # The first read must come from the medium, not from what a writer left in memory.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self._direct = _past_cache(fd)

    def read(self, offset: int, length: int) -> Read:
        """Return exactly `length` bytes from `offset`.

        Raises:
            DeviceLost: the device went away.
        """
        try:
            body = self._large(offset, length) if length >= LARGE_BYTES else self._pread(offset, length)
        except OSError as error:
            self._judge(error)
            return self._read_slowly(offset, length)
        self._ground.remember(self._fd)
        if len(body) == length:
            return Read(body)
        end = offset + length
        return Read(bytes(body) + bytes(length - len(body)), ((offset + len(body), end),))

    def _large(self, offset: int, length: int) -> bytes | memoryview:
        """Read past the page cache where that can be: else the processor copies every byte once more."""
        if self._direct < 0 or offset % BLOCK_BYTES:
            return self._pread(offset, length)
        room = mapped(round_up(length, BLOCK_BYTES))
        done = 0
        try:
            while done < length and (got := os.preadv(self._direct, [room[done:]], offset + done)):
                done += got
                if done % BLOCK_BYTES:
                    break  # The end of the file.
        except OSError as error:
            if error.errno not in NOT_DIRECT:
                raise
            return self._pread(offset, length)
        return room[: min(done, length)]

    def _pread(self, offset: int, length: int) -> bytes:
        body = os.pread(self._fd, length, offset)
        while 0 < len(body) < length:
            more = os.pread(self._fd, length - len(body), offset + len(body))
            if not more:
                break
            body += more
        return body

    def _read_slowly(self, offset: int, length: int) -> Read:
        pieces: list[bytes] = []
        holes: list[tuple[int, int]] = []
        for at in range(offset, offset + length, STEP_BYTES):
            size = min(STEP_BYTES, offset + length - at)
            try:
                piece = self._pread(at, size)
            except OSError as error:
                self._judge(error)
                piece = b""
            if len(piece) < size:
                start = at + len(piece)
                if holes and holes[-1][1] == start:
                    start = holes.pop()[0]
                holes.append((start, at + size))
            pieces.append(piece + bytes(size - len(piece)))
        return Read(b"".join(pieces), tuple(holes))

    def _judge(self, error: OSError) -> None:
        if error.errno in GONE or not self._ground.still_there():
            raise DeviceLost(self._ground.root) from error
        if error.errno != errno.EIO:
            raise NotTaken(self._where, f"cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the file and of what the kernel kept of it."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(self._fd)
        if self._direct >= 0:
            os.close(self._direct)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _past_cache(fd: int) -> int:
    """Return another descriptor of the very same file, which reads past the page cache; -1 where there is none."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1


class Directory:
    """An open directory of a device, with the safe steps down from it."""

    def __init__(self, fd: int, where: str, ground: Ground) -> None:
        self.fd = fd
        self.where = where
        self.ground = ground

    def names(self, cap: int) -> list[bytes]:
        """Return the names in it, sorted.

        Raises:
            NotTaken: there are more than `cap`.
        """
        found: list[bytes] = []
        try:
            with os.scandir(self.fd) as entries:
                for entry in entries:
                    found.append(os.fsencode(entry.name))
                    if len(found) > cap:
                        raise NotTaken(self.where, f"holds more than {cap} names")
        except OSError as error:
            raise self._failed(error, self.where) from error
        return sorted(found)

    def kind(self, name: bytes) -> int:
        """Return the type bits of `name`, of the link itself if it is one; 0 when there is nothing."""
        try:
            return stat.S_IFMT(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._failed(error, self._below(name)) from error

    def has(self, name: bytes) -> bool:
        """Say whether anything at all has this name."""
        return self.kind(name) != 0

    def enter(self, name: bytes) -> "Directory":
        """Open a directory below this one.

        Raises:
            NotTaken: it is anything else, or lies on another file system.
        """
        where = self._below(name)
        self._expect(name, stat.S_IFDIR)
        return Directory(self._open(name, _DIRECTORY_FLAGS, stat.S_IFDIR), where, self.ground)

    def file(self, name: bytes) -> DeviceFile:
        """Open a regular file in this directory.

        Raises:
            NotTaken: it is anything else, lies on another file system, or may lie outside the device as well.
        """
        self._expect(name, stat.S_IFREG)
        return DeviceFile(self._open(name, _FILE_FLAGS, stat.S_IFREG), self._below(name), self.ground)

    def _expect(self, name: bytes, kind: int) -> None:
        # A look before the leap, so that no device node is opened at all; `_open` decides.
        found = self.kind(name)
        if not found:
            raise NotTaken(self._below(name), "is missing")
        if found != kind:
            raise NotTaken(self._below(name), f"is {_KINDS.get(found, 'of an unknown kind')}, not {_KINDS[kind]}")

    def _open(self, name: bytes, flags: int, kind: int) -> int:
        where = self._below(name)
        try:
            fd = os.open(name, flags, dir_fd=self.fd)
        except OSError as error:
            raise self._failed(error, where) from error
        facts = os.fstat(fd)
        why = ""
        if stat.S_IFMT(facts.st_mode) != kind:
            why = f"is not {_KINDS[kind]}"
        elif facts.st_dev != self.ground.device_number:
            why = "lies on another file system"
        elif kind == stat.S_IFREG and facts.st_nlink != 1 and not self.ground.is_mount:
            why = f"has {facts.st_nlink} hard links"
        if why:
            os.close(fd)
            raise NotTaken(where, why)
        return fd

    def _below(self, name: bytes) -> str:
        return f"{self.where}/{words(name)}" if self.where else words(name)

    def _failed(self, error: OSError, where: str) -> DataError | DeviceLost:
        if error.errno in GONE or not self.ground.still_there():
            return DeviceLost(self.ground.root)
        return NotTaken(where or self.ground.root, f"cannot be opened: {error.strerror}")

    def close(self) -> None:
        """Let go of the directory; of the root last."""
        os.close(self.fd)
        if not self.where:
            self.ground.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_root(path: Path) -> Directory:
    """Open a device's root. The operator named this path, so a link in it is followed; nothing below it is.

    Raises:
        Refused: there is no directory.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        hint = "Connect and mount the device, and name the directory it is mounted on."
        raise Refused(f"{path} is not a device: {error.strerror}", hint) from error
    number = os.fstat(fd).st_dev
    above = os.stat(b"..", dir_fd=fd).st_dev
    return Directory(fd, "", Ground(os.fspath(path), number, is_mount=number != above))
