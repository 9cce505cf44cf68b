"""Tells which names are names of one file: hard links, as a tree records them."""

from typing import Final

from blake3 import blake3

from wain.tree.entry import Entry, Kind

LINK_KEY_BYTES: Final = 16


def link_key(entry: Entry) -> bytes | None:
    """Return what all names of one hard-linked entry have in common; None for a directory and for what has one name.

    Device and inode alone would not do: when a file is deleted during the backup, its inode number may be given to
    another one at once, and both are in the tree. So the key covers everything that names of one file share, content
    included. Only what a further name changes by itself, the count of names and the ctime, is left out.
    """
    stat = entry.stat
    if stat.links < 2 or entry.kind is Kind.DIRECTORY:
        return None
    content = entry.content
    digest = blake3()
    shared = (stat.device, stat.inode, entry.kind.value, stat.mode, stat.uid, stat.gid, stat.size, stat.mtime_ns)
    digest.update(repr((shared, entry.target, entry.rdev, entry.xattrs, content.listed, content.extents)).encode())
    digest.update(b"".join(content.chunks))
    return digest.digest(LINK_KEY_BYTES)
