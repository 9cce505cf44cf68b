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
_HEAD: Final = struct.Struct("<IBBH")
_KEY: Final = struct.Struct("<IIIQqIqIQHI")
_KIND_AT: Final = 4
_LISTED_AT: Final = 5
_STAT_AT: Final = 8
_SIZE: Final = struct.Struct("<Q")
_SIZE_AT: Final = _STAT_AT + 12
_STAT_END: Final = _STAT_AT + _KEY.size
_COUNTS: Final = struct.Struct("<II")
_COUNTS_AT: Final = 82
_ONE_CHUNK: Final = _COUNTS.pack(1, 0)
_NO_RDEV_TARGET_XATTRS: Final = bytes(_COUNTS_AT - _STAT_END)
_EXTENT_BYTES: Final = 16
_SECOND: Final = 10**9


def stat_key(values: tuple[int, int, int, int, int, int, int, int, int]) -> bytes:
    """Return the bytes that an encoded entry of this stat carries.

    `values` are mode, uid, gid, size, mtime_ns, ctime_ns, inode, device, links, as in `Stat`. A stat that no entry can
    carry gives a key that no entry has.
    """
    mode, uid, gid, size, mtime_ns, ctime_ns, inode, device, links = values
    mtime, ctime = mtime_ns // _SECOND, ctime_ns // _SECOND
    try:
        return _KEY.pack(
            mode, uid, gid, size, mtime, mtime_ns - mtime * _SECOND, ctime, ctime_ns - ctime * _SECOND,
            inode, device, links,
        )  # fmt: skip
    except struct.error:
        return b""


def same(encoded: bytes, kind: Kind, key: bytes) -> bool:
    """Return True when an encoded entry is of this kind and has exactly this stat."""
    return encoded[_STAT_AT:_STAT_END] == key and encoded[_KIND_AT] == kind


def kind_and_size(encoded: bytes) -> tuple[int, int]:
    """Return the kind and the size of an encoded entry."""
    size: int = _SIZE.unpack_from(encoded, _SIZE_AT)[0]
    return encoded[_KIND_AT], size


def is_listed(encoded: bytes) -> bool:
    """Return True when an encoded entry's chunks are lists of chunks (`tree.lists`)."""
    return encoded[_LISTED_AT] == 1


def plain_entry(kind: Kind, name: bytes, key: bytes, chunk: ChunkId) -> bytes:
    """Return what `encode_entry` would for a file or directory of one chunk without attributes, with this stat's key.

    For names, stats and sizes that come from the kernel. A file's chunk holds 1 to `MAX_CHUNK_BYTES`, without holes;
    a directory's is its only piece. Nothing is checked.
    """
    length = ENTRY_FIXED_BYTES - 4 + len(name) + HASH_BYTES
    return b"".join((_HEAD.pack(length, kind, 0, len(name)), key, _NO_RDEV_TARGET_XATTRS, _ONE_CHUNK, name, chunk))


def single_chunk(encoded: bytes) -> ChunkId | None:
    """Return the chunk of an entry that has exactly one and no extents, as most files do; else None."""
    return ChunkId(encoded[-HASH_BYTES:]) if encoded[_COUNTS_AT : _COUNTS_AT + 8] == _ONE_CHUNK else None


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
