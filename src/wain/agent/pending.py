"""Small local files of the chunk store (agent/FORMAT.md): the log of the running job, and lists of packs.

The log is append-only. Each record is framed and hashed; a torn tail, which a crash can leave, ends the replay.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Corrupt
from wain.base.ids import HASH_BYTES, ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.format import MAX_CHUNKS, MAX_PACK_BYTES, PackedChunk
from wain.storage.durable import writing
from wain.tree.manifest import MAX_PACKS, PackRef

LOG_MAGIC: Final = b"WLOG"
REFS_MAGIC: Final = b"WAINREFS"
VERSION: Final = 1
_FRAME: Final = struct.Struct("<4sI16s")
_HEAD: Final = struct.Struct("<32sBII")
_CHUNK: Final = struct.Struct("<32sIII")
_REF: Final = struct.Struct("<32sBI")
_RECORD_CAP: Final = _HEAD.size + MAX_CHUNKS * _CHUNK.size


class PendingLog:
    """The packs of a job that is not finished, with the chunks in each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self.packs: list[PackRef] = []
        """What the log holds."""

    def replay(self) -> Iterator[tuple[PackRef, tuple[PackedChunk, ...]]]:
        """Yield what was logged, in order, up to the first record that is not whole; cut off what follows it."""
        if not self._path.exists():
            return
        good = 0
        with open(self._path, "rb") as file:
            while (body := _next_record(file.read(_FRAME.size), file.read)) is not None:
                ref, chunks = _decode(body)
                good = file.tell()
                self.packs.append(ref)
                yield ref, chunks
        os.truncate(self._path, good)

    def append(self, ref: PackRef, chunks: Iterable[PackedChunk]) -> None:
        """Write a record and make it durable."""
        rows = b"".join([_CHUNK.pack(one.chunk, one.segment, one.offset, one.length) for one in chunks])
        body = _HEAD.pack(ref.id, ref.kind, ref.stored_bytes, len(rows) // _CHUNK.size) + rows
        with writing(str(self._path)):
            if self._fd is None:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            record = memoryview(_FRAME.pack(LOG_MAGIC, len(body), blake3(body).digest(16)) + body)
            while record:
                record = record[os.write(self._fd, record) :]
            os.fdatasync(self._fd)
        self.packs.append(ref)

    def clear(self) -> None:
        """Empty the log: everything in it is in a table by now."""
        self.close()
        with writing(str(self._path)):
            self._path.unlink(missing_ok=True)
        self.packs = []

    def close(self) -> None:
        """Release the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _next_record(frame: bytes, read: Callable[[int], bytes]) -> bytes | None:
    if len(frame) < _FRAME.size:
        return None
    magic, size, digest = _FRAME.unpack(frame)
    if magic != LOG_MAGIC or size > _RECORD_CAP:
        return None
    body = read(size)
    return body if len(body) == size and blake3(body).digest(16) == digest else None


def _decode(body: bytes) -> tuple[PackRef, tuple[PackedChunk, ...]]:
    pack, kind, stored, count = _HEAD.unpack_from(body)
    rows = _CHUNK.iter_unpack(body[_HEAD.size : _HEAD.size + count * _CHUNK.size])
    chunks = tuple([PackedChunk(ChunkId(chunk), segment, at, size) for chunk, segment, at, size in rows])
    return PackRef(PackId(pack), ChunkType(kind), stored), chunks


def encode_refs(refs: Iterable[PackRef]) -> bytes:
    """Return a list of packs as a file's bytes."""
    rows = [_REF.pack(ref.id, ref.kind, ref.stored_bytes) for ref in refs]
    body = Encoder(REFS_MAGIC, VERSION).uint(len(rows), 4).raw(b"".join(rows)).finish()
    return body + blake3(body).digest()


def decode_refs(stored: bytes) -> list[PackRef]:
    """Return the packs that `encode_refs` wrote.

    Raises:
        DataError: it is not whole.
    """
    body = Decoder("pack list", stored, REFS_MAGIC, VERSION)
    count = body.count(_REF.size, MAX_PACKS, "the pack count")
    rows = body.take(count * _REF.size)
    digest = body.take(HASH_BYTES)
    body.finish()
    if blake3(stored[:-HASH_BYTES]).digest() != digest:
        raise Corrupt("pack list", "its hash does not match")
    assert MAX_PACK_BYTES < 1 << 32
    return [PackRef(PackId(pack), ChunkType(kind), size) for pack, kind, size in _REF.iter_unpack(rows)]
