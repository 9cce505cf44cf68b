"""Chunk lists: where the ids of a file's chunks go when they are too many for its entry (FORMAT.md, "Chunk list").

An entry holds up to `format.MAX_CHUNKS` ids. A larger file collects `LIST_CHUNKS` ids at a time, stores each list as a
tree chunk, and its entry names the lists: `Content(lists, extents, listed=True)`. No file is too large for an entry.
"""

from collections.abc import Sequence
from typing import Final

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Malformed
from wain.base.ids import HASH_BYTES, ChunkId

LIST_MAGIC: Final = b"WAINLIST"
LIST_VERSION: Final = 1
LIST_HEADER_BYTES: Final = 14
LIST_CHUNKS: Final = 1 << 15
"""Ids in a full list: 1 MiB. All lists of a file but the last are full."""

_WHAT: Final = "chunk list"


def encode_list(chunks: Sequence[ChunkId]) -> bytes:
    """Return the list of 1 to `LIST_CHUNKS` chunk ids.

    Raises:
        Malformed: none, or too many.
    """
    if not 1 <= len(chunks) <= LIST_CHUNKS:
        raise Malformed(_WHAT, f"{len(chunks)} ids")
    ids = b"".join(chunks)
    return Encoder(LIST_MAGIC, LIST_VERSION).uint(len(chunks), 4).fixed(ids, len(chunks) * HASH_BYTES).finish()


def decode_list(body: bytes | memoryview) -> tuple[ChunkId, ...]:
    """Return the chunk ids of a list.

    Raises:
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not a chunk list of ours.
    """
    read = Decoder(_WHAT, body, LIST_MAGIC, LIST_VERSION)
    count = read.count(HASH_BYTES, LIST_CHUNKS, "id count")
    if not count:
        raise read.refuse("it is empty")
    ids = read.take(count * HASH_BYTES)
    read.finish()
    return tuple([ChunkId(ids[at : at + HASH_BYTES]) for at in range(0, len(ids), HASH_BYTES)])
