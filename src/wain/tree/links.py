"""Which names stand for one hard-linked file."""

from typing import Final

from blake3 import blake3

from wain.tree.entry import Entry, Kind

LINK_KEY_BYTES: Final = 16


def link_key(entry: Entry) -> bytes | None:
    """Return what all names of one hard-linked file have in common, 16 bytes; None for what has one name.

    Device and inode will not do: while a backup runs, a file may go and its number be given to another, or its
    content change between two of its names. So only names of which everything else agrees belong together: all but the
    name, the number of links, and the time of the last change, which moves with that number.
    """
    stat = entry.stat
    if stat.links < 2 or entry.kind is Kind.DIRECTORY:
        return None
    file = stat.device, stat.inode, int(entry.kind), stat.mode, stat.uid, stat.gid, stat.size, stat.mtime_ns
    held = entry.content.chunks, entry.content.extents, entry.content.listed, entry.target, entry.rdev, entry.xattrs
    return blake3(repr((file, held)).encode()).digest(LINK_KEY_BYTES)
