"""Small real packs for tests: fixed keys, so that a test can say which byte is which."""

from wain.base.ids import ChunkId, RegistrationId
from wain.chunk.names import ChunkType, Namer
from wain.keys.secret import RestoreKey, Secret, restore_key, write_keys
from wain.pack.cipher import PackKey
from wain.pack.segment import Compressor, Segment
from wain.pack.writer import PackFor, PackWriter, SealedPack, SealedSegment

SECRET = Secret(bytes(range(32)))
WRITE = write_keys(SECRET)
RESTORE: RestoreKey = restore_key(SECRET)
NAMER = Namer(WRITE.chunk_keys)
RID = RegistrationId(b"registration 16b")
OWNER = PackFor(RID, WRITE.restore_public)
KEY = PackKey(b"k" * 32)
SALT = b"s" * 32


def segment(bodies: list[bytes], kind: ChunkType = ChunkType.DATA) -> Segment:
    chunks: list[tuple[ChunkId, int]] = [(NAMER.name(kind, body), len(body)) for body in bodies]
    return Compressor().compress(bodies, tuple(chunks))


class WholeWriter:
    """Feeds a `PackWriter` as a pipeline does, and holds everything it gives."""

    def __init__(self, kind: ChunkType, owner: PackFor, key: PackKey, salt: bytes) -> None:
        self.writer = PackWriter(kind, owner, key, salt)
        self.sealed: list[SealedSegment] = []

    def has_room(self, segment: Segment) -> bool:
        return self.writer.has_room(segment)

    def add(self, segment: Segment) -> None:
        self.sealed.append(self.writer.seal(segment))

    def finish(self, namer: Namer) -> SealedPack:
        for one in self.sealed:
            self.writer.prove(one, namer)
        tail, done = self.writer.finish()
        stored = memoryview(b"".join([self.writer.header, *(one.stored for one in self.sealed), tail]))
        assert done.stored_bytes == len(stored)
        return SealedPack(done.id, done.kind, stored, done.chunks)


def pack(
    segments: list[list[bytes]], kind: ChunkType = ChunkType.DATA, key: PackKey = KEY, salt: bytes = SALT
) -> SealedPack:
    writer = WholeWriter(kind, OWNER, key, salt)
    for bodies in segments:
        writer.add(segment(bodies, kind))
    return writer.finish(NAMER)
