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
from wain.base.errors import Corrupt, DataError, Malformed
from wain.base.ids import HASH_BYTES, ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.format import FOOTER_BYTES, MAX_CHUNKS, MAX_PACK_BYTES, PackedChunk
from wain.storage.durable import fsync_dir, writing
from wain.tree.manifest import MAX_PACKS, PackRef

RECORD_MAGIC: Final = b"WLOG"
REFS_MAGIC: Final = b"WAINREFS"
REFS_VERSION: Final = 1
REFS_FIXED_BYTES: Final = 46
RECORD_VERSION: Final = 1
RECORD_FRAME_BYTES: Final = 26
RECORD_FIXED_BYTES: Final = 67
"""A record without its chunks: the frame, then 41 bytes of body."""
_FRAME: Final = struct.Struct("<4sHI16s")
_HEAD: Final = struct.Struct("<32sBII")
_CHUNK: Final = struct.Struct("<32sIII")
_REF: Final = struct.Struct("<32sBI")
_RECORD_CAP: Final = _HEAD.size + MAX_CHUNKS * _CHUNK.size
_WHAT: Final = "pending log"


class PendingLog:
    """The packs of a job that is not finished, with the chunks in each.

    Raises (all methods): `OutOfSpace`, `WriteFailed`, `Refused`: the agent's own disk, never the source.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self.packs: list[PackRef] = []
        """What the log holds."""

    def replay(self) -> Iterator[tuple[PackRef, tuple[PackedChunk, ...]]]:
        """Yield what was logged, in order, up to the first record that is not whole; cut off what follows it."""
        with writing(str(self._path)):
            if not self._path.exists():
                return
            good = 0
            with open(self._path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                while (body := _next_record(file.read(_FRAME.size), file.read)) is not None:
                    try:
                        ref, chunks = decode_record(body)
                    except DataError:
                        break
                    good = file.tell()
                    self.packs.append(ref)
                    yield ref, chunks
            if good < size:
                os.truncate(self._path, good)

    def append(self, ref: PackRef, chunks: Iterable[PackedChunk]) -> None:
        """Write a record and make it durable."""
        body = encode_record(ref, chunks)
        with writing(str(self._path), len(body)):
            if self._fd is None:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                fsync_dir(self._path.parent)
            record = memoryview(_FRAME.pack(RECORD_MAGIC, RECORD_VERSION, len(body), blake3(body).digest(16)) + body)
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
    magic, version, size, digest = _FRAME.unpack(frame)
    if magic != RECORD_MAGIC or version != RECORD_VERSION or size > _RECORD_CAP:
        return None
    body = read(size)
    return body if len(body) == size and blake3(body).digest(16) == digest else None


def encode_record(ref: PackRef, chunks: Iterable[PackedChunk]) -> bytes:
    """Return the body of a record: a pack and its chunks."""
    rows = b"".join([_CHUNK.pack(one.chunk, one.segment, one.offset, one.length) for one in chunks])
    return _HEAD.pack(ref.id, ref.kind, ref.stored_bytes, len(rows) // _CHUNK.size) + rows


def decode_record(body: bytes) -> tuple[PackRef, tuple[PackedChunk, ...]]:
    """Return what `encode_record` wrote.

    Raises:
        DataError: it is not that.
    """
    read = Decoder(_WHAT, body)
    ref = _ref(_WHAT, *_HEAD.unpack(read.take(_HEAD.size))[:3])
    count = int.from_bytes(body[_HEAD.size - 4 : _HEAD.size], "little")
    rows = read.take(count * _CHUNK.size)
    read.finish()
    return ref, tuple([PackedChunk(ChunkId(chunk), *where) for chunk, *where in _CHUNK.iter_unpack(rows)])


def encode_refs(refs: Iterable[PackRef]) -> bytes:
    """Return a list of packs as a file's bytes."""
    rows = [_REF.pack(ref.id, ref.kind, ref.stored_bytes) for ref in refs]
    body = Encoder(REFS_MAGIC, REFS_VERSION).uint(len(rows), 4).raw(b"".join(rows)).finish()
    return body + blake3(body).digest()


def decode_refs(stored: bytes) -> list[PackRef]:
    """Return the packs that `encode_refs` wrote.

    Raises:
        DataError: it is not whole.
    """
    what = "pack list"
    body = Decoder(what, stored, REFS_MAGIC, REFS_VERSION)
    count = body.count(_REF.size, MAX_PACKS, "the pack count")
    rows = body.take(count * _REF.size)
    digest = body.take(HASH_BYTES)
    body.finish()
    if blake3(stored[:-HASH_BYTES]).digest() != digest:
        raise Corrupt(what, "its hash does not match")
    return [_ref(what, *row) for row in _REF.iter_unpack(rows)]


def _ref(what: str, pack: bytes, kind: int, stored_bytes: int) -> PackRef:
    if kind not in ChunkType._value2member_map_ or not 0 < stored_bytes <= MAX_PACK_BYTES + FOOTER_BYTES:
        raise Malformed(what, f"pack {pack.hex()} of type {kind} and {stored_bytes} bytes")
    return PackRef(PackId(pack), ChunkType(kind), stored_bytes)
