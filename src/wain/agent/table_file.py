"""Index tables as local files: written in constant memory, mapped for reading, never believed without their hash."""

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Final

from blake3 import blake3

from wain.base.errors import Corrupt, Truncated
from wain.base.ids import HASH_BYTES, ChunkId, PackId
from wain.base.sizes import MIB
from wain.pack.index import INDEX_FIXED_BYTES, IndexTable, IndexWriter, Location
from wain.storage.buffers import mapped
from wain.storage.durable import TEMPORARY_PREFIX, fsync_dir, reading, writing

_PIECE_BYTES: Final = 16 * MIB
"""What is hashed in one call, by all processors: a table of 50 million chunks has 2.4 GB."""


def write_table(path: Path, entries: Iterable[tuple[ChunkId, Location]], about: tuple[int, Sequence[PackId]]) -> None:
    """Write a table durably. `about` is how many entries come at most, and the packs they lie in, by id.

    Raises:
        OutOfSpace, WriteFailed, Refused: nothing of that name was made.
    """
    writer = IndexWriter(*about)
    temporary = path.with_name(TEMPORARY_PREFIX + path.name)
    with writing(str(path)):
        with open(temporary, "wb") as file:
            file.writelines(writer.feed(entries))
            file.write(writer.finish())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_dir(path.parent)


def open_table(path: Path) -> IndexTable:
    """Map a table from its file, after comparing its hash.

    Raises:
        DataError: it is not whole. The caller drops it: chunks it named are stored again.
    """
    with reading(str(path)), open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < INDEX_FIXED_BYTES:
            raise Truncated(str(path), want=INDEX_FIXED_BYTES, have=size)
        _check_hash(path, file, size)
        return IndexTable(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _check_hash(path: Path, file: FileIO, size: int) -> None:
    """Read the whole file, not through the mapping: what a lookup does not touch shall not become resident."""
    state = blake3(max_threads=blake3.AUTO)
    room = mapped(min(size, _PIECE_BYTES))
    left = size - HASH_BYTES
    while left:
        got = file.readinto(room[: min(left, len(room))])
        if not got:
            raise Truncated(str(path), want=size, have=size - HASH_BYTES - left)
        state.update(room[:got])
        left -= got
    if state.digest() != file.read(HASH_BYTES):
        raise Corrupt(str(path), "its hash does not match its bytes")


def table_hash(path: Path) -> bytes:
    """Return the hash in a table's tail."""
    with reading(str(path)), open(path, "rb") as file:
        file.seek(-HASH_BYTES, os.SEEK_END)
        return file.read(HASH_BYTES)


def table_pieces(path: Path, piece_bytes: int) -> Iterator[bytes]:
    """Yield a table's bytes in pieces of `piece_bytes`."""
    with reading(str(path)), open(path, "rb") as file:
        while piece := file.read(piece_bytes):
            yield piece
