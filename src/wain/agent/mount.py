"""Mounts recovery points through libfuse: read-only, from one thread.

libfuse calls back from the thread that runs `serve` and from no other (`-s`): Python runs one thread at a time anyway,
and a `PointView` belongs to one. What takes time (reading, decrypting, decompressing) is done by `mount_pipeline`.

Importing this module loads libfuse.

Raises (importing):
    OSError: there is no libfuse.
"""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from wain.agent.libfuse import mfusepy
from wain.agent.mount_files import OpenFile
from wain.agent.mount_pipeline import SegmentPool
from wain.agent.mount_view import MountView, Node
from wain.agent.reading import KINDS
from wain.base.errors import WainError, WriteFailed
from wain.tree.entry import Kind

MESSAGES_CAP: Final = 1000
"""So many different errors are said; then silence."""
_FOREVER_S: Final = 86_400.0
"""How long the kernel may believe names and attributes: they never change."""
_BLOCK_BYTES: Final = 512
_ENDED_BY_SIGNAL: Final = 8
"""What libfuse's main loop returns then; the mount is gone."""
_TYPE_BITS: Final = {kind: bits for bits, kind in KINDS.items()}

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class MountOptions:
    """`said` gets what goes wrong, each thing once; `ready` is called when the tree can be used."""

    said: Callable[[str], None]
    ready: Callable[[], None]
    allow_other: bool = False


@dataclass(slots=True)
class _Listing:
    """An open directory: `entries` go on behind position `at`; `held` is the entry before it, should it be needed."""

    entries: Iterator[tuple[bytes, Node]]
    at: int = 0
    held: tuple[bytes, Node] | None = None

    def step(self) -> tuple[bytes, Node] | None:
        """Take the next entry."""
        found = next(self.entries, None)
        if found is not None:
            self.held = found
            self.at += 1
        return found


class _Operations(mfusepy.Operations):  # type: ignore[misc]
    """The calls of the kernel. Writing needs no answer: the mount is read-only, and the kernel says EROFS."""

    use_ns = True

    def __init__(self, view: MountView, pool: SegmentPool, options: MountOptions) -> None:
        self._view = view
        self._pool = pool
        self._options = options
        self._files: dict[int, OpenFile] = {}
        self._listings: dict[int, _Listing] = {}
        self._handle = 0
        self._told: set[str] = set()

    # Once

    def init(self, path: str) -> None:
        self._options.ready()

    # Names

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        with self._failing(path):
            return _attributes(self._node(path))

    def readlink(self, path: str) -> str:
        with self._failing(path):
            return os.fsdecode(self._node(path).entry.target)

    def opendir(self, path: str) -> int:
        with self._failing(path):
            return self._open(self._listings, self._listing(path))

    def readdir_with_offset(self, path: str, offset: int, fh: int) -> Iterator[tuple[str, dict[str, Any], int]]:
        listing = self._listings[fh]
        if offset not in (listing.at, listing.at - 1):
            with self._failing(path):
                listing = self._listings[fh] = self._listing(path)
                while listing.at < offset and listing.step() is not None:
                    pass
        if listing.held is not None and offset == listing.at - 1:
            yield _directory_row(listing.held, listing.at)
        while True:
            with self._failing(path):
                found = listing.step()
            if found is None:
                return
            yield _directory_row(found, listing.at)

    def releasedir(self, path: str, fh: int) -> int:
        self._listings.pop(fh, None)
        return 0

    # Attributes

    def listxattr(self, path: str) -> list[str]:
        with self._failing(path):
            return [os.fsdecode(name) for name, _ in self._node(path).entry.xattrs]

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        with self._failing(path):
            for have, value in self._node(path).entry.xattrs:
                if have == os.fsencode(name):
                    return value
        raise mfusepy.FuseOSError(errno.ENODATA)

    # Content

    def open(self, path: str, flags: int) -> int:
        with self._failing(path):
            node = self._node(path)
            if node.view is None or node.entry.kind is not Kind.FILE:
                raise mfusepy.FuseOSError(errno.EINVAL)
            return self._open(self._files, OpenFile(node.view, node.entry, self._pool))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._failing(path):
            return self._files[fh].read(offset, size)

    def lseek(self, path: str, offset: int, whence: int, fh: int) -> int:
        layout = self._files[fh].layout
        found = (layout.next_data if whence == os.SEEK_DATA else layout.next_hole)(offset)
        if found is None:
            raise mfusepy.FuseOSError(errno.ENXIO)
        return found

    def release(self, path: str, fh: int) -> int:
        self._files.pop(fh, None)
        return 0

    # Parts

    def _node(self, path: str) -> Node:
        node = self._view.find(os.fsencode(path))
        if node is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return node

    def _listing(self, path: str) -> _Listing:
        return _Listing(self._view.list(os.fsencode(path), self._node(path)))

    def _open(self, table: dict[int, _Thing], thing: _Thing) -> int:
        self._handle += 1
        table[self._handle] = thing
        return self._handle

    @contextmanager
    def _failing(self, path: str) -> Iterator[None]:
        """Turn an error of ours into EIO, and say it once."""
        try:
            yield
        except WainError as error:
            message = f"{path}: {error}"
            if message not in self._told and len(self._told) < MESSAGES_CAP:
                self._told.add(message)
                self._options.said(message)
            raise mfusepy.FuseOSError(errno.EIO) from error


class _Fuse(mfusepy.FUSE):  # type: ignore[misc]
    """Adds the one call that the binding leaves out: where the holes of a file are."""

    def lseek(self, path: bytes | None, offset: int, whence: int, fip: Any) -> int:
        name = "" if path is None else os.fsdecode(path)
        return int(self.operations.lseek(name, offset, whence, fip.contents.fh))


def serve(view: MountView, pool: SegmentPool, directory: Path, options: MountOptions) -> None:
    """Mount `view` at an empty directory and answer until it is unmounted or a signal (INT, TERM, HUP) comes.

    Raises:
        WriteFailed: libfuse could not mount; it has said why on standard error.
    """
    wanted = {"ro": True, "use_ino": True, "fsname": "wain", "subtype": "wain", "nothreads": True, "foreground": True}
    if options.allow_other:
        # Then the kernel judges everybody by the recorded owners and modes.
        wanted |= {"allow_other": True, "default_permissions": True}
    times = dict.fromkeys(("entry_timeout", "attr_timeout", "negative_timeout"), _FOREVER_S)
    with _signals_for_libfuse():
        try:
            _Fuse(_Operations(view, pool, options), os.fsdecode(directory), kernel_cache=True, **times, **wanted)
        except RuntimeError as error:
            if error.args != (_ENDED_BY_SIGNAL,):
                raise WriteFailed(str(directory), f"libfuse could not mount there (it ended with {error})") from error


@contextmanager
def _signals_for_libfuse() -> Iterator[None]:
    """Leave the signals that end a mount to libfuse, which unmounts: it takes those alone that nobody else took."""
    ours = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _directory_row(found: tuple[bytes, Node], at: int) -> tuple[str, dict[str, Any], int]:
    name, node = found
    return os.fsdecode(name), {"st_mode": _TYPE_BITS[node.entry.kind], "st_ino": node.inode}, at


def _attributes(node: Node) -> dict[str, Any]:
    """Return what `lstat` shows. Directories have one link, which by custom means that nobody counted."""
    entry, stat = node.entry, node.entry.stat
    extents = entry.content.extents
    data = sum(length for _, length in extents) if extents else stat.size
    return {
        "st_ino": node.inode,
        "st_mode": _TYPE_BITS[entry.kind] | stat.mode,
        "st_nlink": 1 if entry.kind is Kind.DIRECTORY else stat.links,
        "st_uid": stat.uid,
        "st_gid": stat.gid,
        "st_rdev": os.makedev(*entry.rdev),
        "st_size": stat.size,
        "st_blocks": -(-data // _BLOCK_BYTES) if entry.kind is Kind.FILE else 0,
        "st_blksize": 4096,
        "st_atime": stat.mtime_ns,
        "st_mtime": stat.mtime_ns,
        "st_ctime": stat.ctime_ns,
    }
