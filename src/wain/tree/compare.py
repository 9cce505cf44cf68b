"""Looks into encoded entries without decoding them: what an unchanged backup does a million times.

The offsets are those of FORMAT.md, "Entry"; `tests/unit/tree/test_compare.py` holds them against the codec.
"""

import struct
from typing import Final

from wain.base.errors import Truncated
from wain.base.ids import HASH_BYTES, ChunkId
from wain.tree.entry import Kind
from wain.tree.format import ENTRY_FIXED_BYTES, entry_name

_LENGTH: Final = struct.Struct("<I")
_KEY: Final = struct.Struct("<IIIQqIqIQHI")
_KIND_AT: Final = 4
_LISTED_AT: Final = 5
_STAT_AT: Final = 8
_STAT_END: Final = _STAT_AT + _KEY.size
_COUNTS: Final = struct.Struct("<II")
_COUNTS_AT: Final = 82
_EXTENT_BYTES: Final = 16
_SECOND: Final = 10**9


def stat_key(values: tuple[int, int, int, int, int, int, int, int, int]) -> bytes:
    """Return the bytes that an encoded entry of this stat carries.

    `values` are mode, uid, gid, size, mtime_ns, ctime_ns, inode, device, links, as in `Stat`. A stat that no entry can
    carry gives a key that no entry has.
    """
    mode, uid, gid, size, mtime_ns, ctime_ns, inode, device, links = values
    mtime, ctime = divmod(mtime_ns, _SECOND), divmod(ctime_ns, _SECOND)
    try:
        return _KEY.pack(mode, uid, gid, size, *mtime, *ctime, inode, device, links)
    except struct.error:
        return b""


def same(encoded: bytes, kind: Kind, key: bytes) -> bool:
    """Return True when an encoded entry is of this kind and has exactly this stat."""
    return encoded[_STAT_AT:_STAT_END] == key and encoded[_KIND_AT] == kind


def is_listed(encoded: bytes) -> bool:
    """Return True when an encoded entry's chunks are lists of chunks (`tree.lists`)."""
    return encoded[_LISTED_AT] == 1


def chunks_of(encoded: bytes) -> tuple[ChunkId, ...]:
    """Return the chunk ids in an encoded entry."""
    chunks, extents = _COUNTS.unpack_from(encoded, _COUNTS_AT)
    end = len(encoded) - extents * _EXTENT_BYTES
    start = end - chunks * HASH_BYTES
    if chunks == 1:
        return (ChunkId(encoded[start:end]),)
    return tuple([ChunkId(encoded[at : at + HASH_BYTES]) for at in range(start, end, HASH_BYTES)])


def split_entries(body: bytes) -> dict[bytes, bytes]:
    """Return encoded entries that lie end to end, by name.

    Raises:
        Truncated: the last one is cut short.
    """
    found: dict[bytes, bytes] = {}
    at, size = 0, len(body)
    while at < size:
        end = at + 4 + _LENGTH.unpack_from(body, at)[0] if size - at >= ENTRY_FIXED_BYTES else size + 1
        if end > size:
            raise Truncated("directory history", want=end, have=size)
        one = body[at:end]
        found[entry_name(one)] = one
        at = end
    return found
