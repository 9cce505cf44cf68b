"""One entry of a directory: everything a POSIX file has."""

from dataclasses import dataclass
from enum import IntEnum

from wain.base.ids import ChunkId


class Kind(IntEnum):
    """What an entry is. The values are on disk (tree/FORMAT.md)."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    CHAR_DEVICE = 4
    BLOCK_DEVICE = 5
    FIFO = 6
    SOCKET = 7


@dataclass(frozen=True, slots=True)
class Stat:
    """What `lstat` tells. Times in nanoseconds since 1970 (may be negative), size in bytes.

    `inode`, `device` and `links` find hard links and unchanged files; `device` is the order in which the walk met
    the file system (0 is the first), because kernel device numbers change between boots.
    """

    mode: int
    """Permission bits only, 0o7777."""
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    links: int


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes, or a directory's pieces.

    `chunks` in order. `extents` lists (offset, length) of the data when the file has holes, and is empty when the
    file is dense; a file that is one hole has `extents == ((size, 0),)`. The chunks hold the extents' bytes end to end.
    For a directory the chunks are its tree pieces, in name order. A file of very many chunks is `listed`: its `chunks`
    are tree chunks, each of which is a list of the file's own chunk ids (`tree.lists`).
    """

    chunks: tuple[ChunkId, ...] = ()
    extents: tuple[tuple[int, int], ...] = ()
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory. `target` is a symlink's text; `rdev` a device's (major, minor)."""

    name: bytes
    kind: Kind
    stat: Stat
    content: Content = Content()
    target: bytes = b""
    rdev: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    """Sorted by name. ACLs are here: `system.posix_acl_access`, `system.posix_acl_default`."""
