"""Objects in a directory, for a vault on a local file system.

A body is written to a nameless file, fsynced, then linked under its name, which never replaces anything; the
directory is fsynced before `create` returns. Damaged objects are renamed into `set-aside/` and never deleted there.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wain.base.errors import Missing, Refused, Truncated
from wain.storage.buffers import mapped
from wain.storage.durable import (
    TEMPORARY_PREFIX,
    directory,
    fsync_dir,
    make_dirs,
    read_exactly,
    reading,
    unlink_at,
    writing,
)
from wain.storage.new_file import LARGE_BYTES, NewFile, write_new_at
from wain.storage.uncached import UncachedFile

SET_ASIDE: Final = "set-aside"
"""The top-level directory of objects that were renamed out of the way."""

_PART: Final = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,199}")
_NAME_CHARACTERS: Final = 1000
_STALE_SECONDS: Final = 3600
"""A temporary this old belongs to no writer that still runs."""


def check_name(name: str) -> tuple[str, ...]:
    """Return the path segments of an object name.

    Raises:
        Refused: not `/`-separated segments of 1 to 200 characters from `[a-z0-9._-]`, none starting with a dot, or
            below `set-aside`, which belongs to the store.
    """
    parts = tuple(name.split("/"))
    if len(name) > _NAME_CHARACTERS or not all(_PART.fullmatch(part) for part in parts):
        raise Refused(f"{name!r} is not an object name: segments of lower-case letters, digits and . _ - are")
    if parts[0] == SET_ASIDE:
        raise Refused(f"{name!r} lies in {SET_ASIDE}, where only set_aside puts objects")
    return parts


def check_prefix(prefix: str) -> tuple[str, ...]:
    """Return the path segments of a listing prefix.

    Raises:
        Refused: neither empty nor an object name followed by `/`.
    """
    if not prefix:
        return ()
    if not prefix.endswith("/"):
        raise Refused(f"prefix {prefix!r} must be empty or end with /")
    return check_name(prefix[:-1])


class DirectoryObjects:
    """`wain.storage.api.Objects` in the directory `root`, which is made when it is missing.

    Several processes may read while one writes. Objects are mode 0400, directories 0700.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))
        make_dirs(self._root)
        self._settled: set[Path] = {self._root}
        """Directories known to be durable."""
        self._remove_stale()

    def _remove_stale(self) -> None:
        """Remove what cut writes left on file systems without nameless files."""
        horizon = time.time() - _STALE_SECONDS
        with writing(str(self._root)):
            for here, _, files in os.walk(self._root):
                for file in files:
                    path = os.path.join(here, file)
                    if file.startswith(TEMPORARY_PREFIX):
                        with contextlib.suppress(FileNotFoundError):
                            if os.lstat(path).st_mtime < horizon:
                                os.unlink(path)

    def _settle(self, parent: Path) -> None:
        """Make `parent` exist durably: once in a process for each directory, even when another process made it."""
        if parent in self._settled:
            return
        self._settle(parent.parent)
        make_dirs(parent)
        with writing(str(parent)):
            fsync_dir(parent.parent)
        self._settled.add(parent)

    def _path(self, name: str) -> Path:
        return self._root.joinpath(*check_name(name))

    def create(self, name: str, body: bytes | memoryview) -> bool:
        """Store `body` durably under `name`. Return False, and change nothing, when `name` exists."""
        path = self._path(name)
        self._settle(path.parent)
        with writing(name), directory(path.parent) as dirfd:
            if path.exists():
                os.fsync(dirfd)  # Its writer may have died before it could.
                return False
            return write_new_at(dirfd, path.name, body, 0o400, name)

    def draft(self) -> "DirectoryDraft":
        """Begin an object whose body comes in pieces and whose name is not known yet."""
        with writing(str(self._root)), directory(self._root) as dirfd:
            return DirectoryDraft(self, NewFile(dirfd, 0o400, str(self._root)))

    def publish(self, file: NewFile, name: str) -> bool:
        """Make a draft durable under `name`. Return False, and change nothing, when `name` exists."""
        path = self._path(name)
        self._settle(path.parent)
        with writing(name), directory(path.parent) as dirfd:
            return file.publish(dirfd, path.name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes (or all) from `offset`. A short object gives `Truncated`."""
        path = self._path(name)
        with reading(name):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                size = os.fstat(fd).st_size
                want = size if length is None else offset + length
                if max(want, offset) > size:
                    raise Truncated(name, want=max(want, offset), have=size)
                body = read_exactly(fd, want - offset, offset)
            finally:
                os.close(fd)
        if len(body) != want - offset:
            raise Truncated(name, want=want, have=offset + len(body))
        return body

    def size(self, name: str) -> int | None:
        """Return the stored size in bytes, or None when there is no such object."""
        try:
            with reading(name):
                return os.stat(self._path(name), follow_symlinks=False).st_size
        except Missing:
            return None

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names below `prefix` (which ends with `/` or is empty), sorted."""
        top = self._root.joinpath(*check_prefix(prefix))
        for name in self._walk(top, prefix):
            if not name.startswith(SET_ASIDE + "/"):
                yield name

    def _walk(self, here: Path, prefix: str) -> Iterator[str]:
        try:
            with reading(prefix), os.scandir(here) as found:
                # A directory sorts as its name with the slash, which is how the full names of its content sort.
                entries = sorted(
                    (entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name) for entry in found
                )
        except Missing:
            return
        for entry in entries:
            if entry.endswith("/"):
                yield from self._walk(here / entry[:-1], prefix + entry)
            elif not entry.startswith("."):
                yield prefix + entry

    def delete(self, name: str) -> None:
        """Remove an object durably; nothing happens when it is not there."""
        path = self._path(name)
        with writing(name):
            try:
                with directory(path.parent) as dirfd:
                    unlink_at(dirfd, path.name)
            except FileNotFoundError:
                return

    def set_aside(self, name: str) -> None:
        """Rename a damaged object to `set-aside/<name>.<number>`, so that a good copy can be created."""
        path = self._path(name)
        if not path.exists():
            raise Missing(name)
        number = 0
        while (aside := self._root.joinpath(SET_ASIDE, f"{name}.{number}")).exists():
            number += 1
        self._settle(aside.parent)
        with writing(name):
            os.rename(path, aside)
            fsync_dir(aside.parent)
            fsync_dir(path.parent)

    def uncached(self, name: str) -> UncachedFile:
        """Open an object for reading from where it really lies, past every cache."""
        return UncachedFile(self._path(name), name)


class DirectoryDraft:
    """`wain.storage.api.Draft` of a `DirectoryObjects`: a file without a name.

    Small pieces are gathered into large, aligned ones, which need not go through the page cache.
    """

    def __init__(self, objects: DirectoryObjects, file: NewFile) -> None:
        self._objects = objects
        self._file = file
        self._room = mapped(LARGE_BYTES)
        self._held = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""
        rest = memoryview(piece)
        while rest:
            part, rest = rest[: LARGE_BYTES - self._held], rest[LARGE_BYTES - self._held :]
            self._room[self._held : self._held + len(part)] = part
            self._held += len(part)
            if self._held == LARGE_BYTES:
                self._send()

    def _send(self) -> None:
        held, self._held = self._held, 0
        self._file.write(self._room[:held])

    def publish(self, name: str) -> bool:
        """Make what was written durable under `name`. Return False, and change nothing, when `name` exists."""
        self._send()
        return self._objects.publish(self._file, name)

    def close(self) -> None:
        """Let go; what was not published is gone."""
        self._file.close()
