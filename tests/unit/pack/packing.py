"""Small real packs for tests: fixed keys, so that a test can say which byte is which."""

from collections.abc import Iterable

from wain.base.ids import ChunkId, RegistrationId
from wain.chunk.names import ChunkType, Namer
from wain.keys.secret import RestoreKey, Secret, restore_key, write_keys
from wain.pack.cipher import PackKey
from wain.pack.segment import Compressor, Segment
from wain.pack.writer import PackFor, PackWriter, SealedPack

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


def whole(writer: PackWriter, segments: Iterable[Segment], namer: Namer = NAMER) -> SealedPack:
    """Feed a writer as a pipeline does, and hold everything it gives."""
    pieces = [writer.header]
    for one in segments:
        sealed = writer.seal(one)
        writer.prove(sealed, namer)
        pieces.append(sealed.stored)
    tail, done = writer.finish()
    stored = memoryview(b"".join([*pieces, tail]))
    assert done.stored_bytes == len(stored)
    return SealedPack(done.id, done.kind, stored, done.chunks)


def pack(
    segments: list[list[bytes]], kind: ChunkType = ChunkType.DATA, key: PackKey = KEY, salt: bytes = SALT
) -> SealedPack:
    return whole(PackWriter(kind, OWNER, key, salt), [segment(bodies, kind) for bodies in segments])
