"""Page blobs in a directory: what an embedded storage account keeps.

`<root>/<container>/<blob>` are sparse files; a `/` in a blob name is a directory. Everything whose name starts with a
dot below the root is unfinished or on its way out and never listed.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wain.base.errors import Refused, Truncated, WriteFailed
from wain.base.sizes import MIB, PAGE_BYTES
from wain.pageblob.layout import MAX_BLOB_LIMIT_BYTES
from wain.pageblob.names import check_blob, check_container
from wain.storage.api import PageBlob
from wain.storage.durable import (
    fsync_dir,
    make_dirs,
    read_exactly,
    reading,
    write_all,
    write_error,
    write_past_cache,
    writing,
)
from wain.storage.uncached import UncachedFile

MAX_WRITE_BYTES: Final = 4 * MIB
"""Azure, Put Page: at most 4 MiB."""
_MOST_OPEN: Final = 32
_EARLY_BYTES: Final = MIB
"""Writes of this size and more go past the page cache, if they are aligned, or else are written back at once."""
_GOING: Final = ".gone-"
_COMING: Final = ".new-"


def check_pages(offset: int, length: int) -> None:
    """Check one Put Page.

    Raises:
        Refused: not 512-aligned, empty, or over 4 MiB.
    """
    if offset % PAGE_BYTES or length % PAGE_BYTES or offset < 0 or length <= 0:
        raise Refused(f"pages at {offset}, {length} bytes, are not multiples of {PAGE_BYTES}")
    if length > MAX_WRITE_BYTES:
        raise Refused(f"{length} bytes are over the {MAX_WRITE_BYTES} of one page write")


def check_length(length: int) -> None:
    """Check the size of a page blob.

    Raises:
        Refused: not a multiple of 512, or over 4 TiB.
    """
    if length % PAGE_BYTES or not 0 <= length <= MAX_BLOB_LIMIT_BYTES:
        raise Refused(f"a page blob of {length} bytes is not a multiple of {PAGE_BYTES} up to {MAX_BLOB_LIMIT_BYTES}")


class DirectoryPageBlobs:
    """`wain.storage.api.PageBlobs` in the directory `root`, which is made when it is missing.

    Blobs that were written stay open until they are flushed, so that a failed write-back is reported there. After a
    failed write or flush the blob refuses every further one from this object: what the pages hold is unknown, and
    whoever goes on must write again, through a new object, all that came after the last good flush.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))
        make_dirs(self._root)
        self._open: dict[tuple[str, str], int] = {}
        self._failed: dict[tuple[str, str], str] = {}
        for leftover in os.listdir(self._root):
            if leftover.startswith(_GOING):
                shutil.rmtree(self._root / leftover, ignore_errors=True)

    def _path(self, container: str, blob: str) -> Path:
        check_container(container)
        check_blob(blob)
        if any(part.startswith(".") for part in blob.split("/")):
            raise Refused(f"blob name {blob!r} has a segment that starts with a dot, which this store keeps for itself")
        return self._root.joinpath(container, *blob.split("/"))

    def containers(self) -> list[str]:
        """Return the container names, sorted."""
        with reading(str(self._root)), os.scandir(self._root) as found:
            return sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False) and entry.name[0] != ".")

    def blobs(self, container: str) -> list[PageBlob]:
        """Return the blobs of a container, sorted by name; empty when there is no such container."""
        check_container(container)
        top = self._root / container
        listed = []
        with reading(container):
            for here, _, files in os.walk(top):
                for file in files:
                    path = Path(here, file)
                    if not file.startswith("."):
                        listed.append(PageBlob(path.relative_to(top).as_posix(), path.lstat().st_size))
        return sorted(listed, key=lambda blob: blob.name)

    def create(self, container: str, blob: str, length: int) -> None:
        """Make a zero-filled blob of `length` bytes. The same call again changes nothing; another length is refused."""
        path = self._path(container, blob)
        check_length(length)
        make_dirs(path.parent)
        new = path.parent / (_COMING + os.urandom(8).hex())
        with writing(f"{container}/{blob}"):
            if path.exists():
                self._check_same(path, length, f"{container}/{blob}")
                fsync_dir(path.parent)
                return
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(fd, length)
                os.fsync(fd)
                with contextlib.suppress(FileExistsError):
                    os.link(new, path)
            finally:
                os.close(fd)
                os.unlink(new)
            fsync_dir(path.parent)
        self._check_same(path, length, f"{container}/{blob}")

    @staticmethod
    def _check_same(path: Path, length: int, where: str) -> None:
        have = path.stat().st_size
        if have != length:
            raise Refused(f"page blob {where} exists with {have} bytes, not {length}")

    def _written(self, container: str, blob: str) -> int:
        """Return a descriptor for writing that stays open until `flush`."""
        key = (container, blob)
        if key in self._failed:
            raise WriteFailed(f"{container}/{blob}", f"an earlier write failed ({self._failed[key]})")
        if key not in self._open:
            if len(self._open) >= _MOST_OPEN:
                self.flush(*next(iter(self._open)))
            with reading(f"{container}/{blob}"):
                self._open[key] = os.open(self._path(container, blob), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        return self._open[key]

    def write_pages(self, container: str, blob: str, offset: int, body: bytes | memoryview) -> None:
        """Write whole pages: `offset` and size are multiples of 512, at most 4 MiB. Durable after `flush`."""
        check_pages(offset, len(body))
        fd = self._written(container, blob)
        size = os.fstat(fd).st_size
        if offset + len(body) > size:
            raise Refused(f"pages up to {offset + len(body)} lie outside {container}/{blob} of {size} bytes")
        with self._failing(container, blob, len(body)):
            (write_past_cache if len(body) >= _EARLY_BYTES else write_all)(fd, body, offset)
            if len(body) >= _EARLY_BYTES:
                # Where it went into the cache after all: the flush then has little left to wait for.
                os.posix_fadvise(fd, offset, len(body), os.POSIX_FADV_DONTNEED)

    def flush(self, container: str, blob: str) -> None:
        """Return when everything written to the blob is durable."""
        fd = self._written(container, blob)
        with self._failing(container, blob, 0):
            os.fsync(fd)
        os.close(self._open.pop((container, blob)))

    @contextlib.contextmanager
    def _failing(self, container: str, blob: str, need: int) -> Iterator[None]:
        """Remember a failure: the blob is never synced again from here."""
        try:
            yield
        except OSError as error:
            fd = self._open.pop((container, blob))
            failure = write_error(error, f"{container}/{blob}", need, fd)
            os.close(fd)
            self._failed[container, blob] = error.strerror or str(error)
            raise failure from error

    def read(self, container: str, blob: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        where = f"{container}/{blob}"
        with reading(where):
            fd = os.open(self._path(container, blob), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                size = os.fstat(fd).st_size
                if offset + length > size:
                    raise Truncated(where, want=offset + length, have=size)
                body = read_exactly(fd, length, offset)
            finally:
                os.close(fd)
        if len(body) != length:
            raise Truncated(where, want=offset + length, have=offset + len(body))
        return body

    def uncached(self, container: str, blob: str) -> UncachedFile:
        """Open a blob for reading from its medium, past the page cache. Close it."""
        return UncachedFile(self._path(container, blob), f"{container}/{blob}")

    def delete_container(self, container: str) -> None:
        """Remove a container and its blobs; nothing happens when it is not there."""
        check_container(container)
        for key in [key for key in self._open if key[0] == container]:
            os.close(self._open.pop(key))
        self._failed = {key: why for key, why in self._failed.items() if key[0] != container}
        going = self._root / f"{_GOING}{os.urandom(8).hex()}"
        with writing(container):
            try:
                os.rename(self._root / container, going)
            except FileNotFoundError:
                return
            fsync_dir(self._root)
            shutil.rmtree(going)

    def close(self) -> None:
        """Close what is still open. Pages that were not flushed are not promised."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
