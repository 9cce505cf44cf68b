"""The bytes of a pack: header page, segments, sealed index, footer page (pack/FORMAT.md).

Everything here is layout; `segment` compresses, `writer` seals, `reader` opens, `verify` checks without keys.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Malformed
from wain.base.ids import HASH_BYTES, UUID_BYTES, ChunkId, PackId, RegistrationId
from wain.base.sizes import BLOCK_BYTES, MIB
from wain.chunk.names import ChunkType

HEADER_MAGIC: Final = b"WAINPACK"
FOOTER_MAGIC: Final = b"WAINFOOT"
VERSION: Final = 1
SUITE: Final = 1
"""HPKE MLKEM768-X25519 / HKDF-SHA256 / AES-256-GCM for the pack key, AES-256-GCM inside, zstd or nothing."""

PACK_BYTES: Final = 64 * MIB
"""A pack is closed when the next segment would take it past this."""
MAX_PACK_BYTES: Final = 80 * MIB
"""What a reader accepts: a pack that began small and ends with one segment of a largest chunk."""
LEAF_BYTES: Final = MIB
HEADER_BYTES: Final = BLOCK_BYTES
FOOTER_BYTES: Final = BLOCK_BYTES
TAG_BYTES: Final = 16
SALT_BYTES: Final = 32
CAPSULE_CAP: Final = 2048
MAX_SEGMENT_PLAIN: Final = 16 * MIB
MAX_SEGMENTS: Final = 1 << 20
MAX_CHUNKS: Final = 1 << 21

_SEGMENT_ROW: Final = struct.Struct("<IIBI")
_CHUNK_ROW: Final = struct.Struct("<32sI")


class Codec(IntEnum):
    """How a segment's plaintext was packed before encryption."""

    RAW = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class Header:
    """The first page. The capsule is the pack key, sealed to the registration's restore key."""

    kind: ChunkType
    registration: RegistrationId
    salt: bytes
    commitment: bytes
    capsule: bytes


@dataclass(frozen=True, slots=True)
class Footer:
    """The last page. `body_bytes` is everything before it; `leaves` are the BLAKE3 of each MiB of the body."""

    kind: ChunkType
    body_bytes: int
    index_offset: int
    index_bytes: int
    leaves: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """Where a segment lies in the pack. `stored` counts the tag; lengths in bytes."""

    offset: int
    stored: int
    plain: int
    codec: Codec


class PackedChunk(NamedTuple):
    """Where a chunk lies: segment number, and offset and length in that segment's plaintext, in bytes."""

    chunk: ChunkId
    segment: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PackIndex:
    """What a pack holds, as its sealed index says."""

    segments: tuple[SegmentRow, ...]
    chunks: tuple[PackedChunk, ...]


def pack_id(footer_page: bytes | memoryview) -> PackId:
    """Return the name of the pack that ends with this page (FORMAT.md, Name)."""
    return PackId(blake3(footer_page).digest())


def encode_header(header: Header) -> bytes:
    """Return the header page."""
    out = Encoder(HEADER_MAGIC, VERSION).uint(header.kind, 1).uint(SUITE, 1)
    out.fixed(header.registration, UUID_BYTES).fixed(header.salt, SALT_BYTES).fixed(header.commitment, HASH_BYTES)
    return out.blob(header.capsule, 2).pad_to(HEADER_BYTES).finish()


def decode_header(page: bytes) -> Header:
    """Decode a header page."""
    what = "pack header"
    body = Decoder(what, page, HEADER_MAGIC, VERSION)
    kind = _kind(what, body.uint(1))
    suite = body.uint(1)
    if suite != SUITE:
        raise body.refuse(f"cipher suite {suite} is unknown")
    registration = RegistrationId(body.take(UUID_BYTES))
    salt, commitment = body.take(SALT_BYTES), body.take(HASH_BYTES)
    capsule = body.blob(CAPSULE_CAP, 2, "the capsule")
    body.zeros(HEADER_BYTES - body.at)
    body.finish()
    return Header(kind, registration, salt, commitment, capsule)


def encode_footer(footer: Footer) -> bytes:
    """Return the footer page."""
    out = Encoder(FOOTER_MAGIC, VERSION).uint(footer.kind, 1).uint(footer.body_bytes, 8)
    out.uint(footer.index_offset, 8).uint(footer.index_bytes, 4).uint(len(footer.leaves), 4)
    for leaf in footer.leaves:
        out.fixed(leaf, HASH_BYTES)
    return out.pad_to(FOOTER_BYTES).finish()


def decode_footer(page: bytes | memoryview) -> Footer:
    """Decode a footer page. The caller has compared its hash with the pack's name, or does not trust it."""
    what = "pack footer"
    body = Decoder(what, page, FOOTER_MAGIC, VERSION)
    kind = _kind(what, body.uint(1))
    body_bytes = body.uint(8, MAX_PACK_BYTES, "the body length")
    index_offset = body.uint(8, MAX_PACK_BYTES, "the index offset")
    index_bytes = body.uint(4, MAX_PACK_BYTES, "the index length")
    count = body.count(HASH_BYTES, MAX_PACK_BYTES // LEAF_BYTES, "the leaf count")
    leaves = tuple(body.take(HASH_BYTES) for _ in range(count))
    body.zeros(FOOTER_BYTES - body.at)
    body.finish()
    if body_bytes % BLOCK_BYTES or not body_bytes:
        raise Malformed(what, f"a body of {body_bytes} bytes is not whole blocks")
    if count != -(-body_bytes // LEAF_BYTES):
        raise Malformed(what, f"{count} leaves do not cover {body_bytes} bytes")
    end = index_offset + index_bytes
    if index_offset < HEADER_BYTES or index_bytes < TAG_BYTES or -(-end // BLOCK_BYTES) * BLOCK_BYTES != body_bytes:
        raise Malformed(what, f"an index at {index_offset} of {index_bytes} bytes does not end the body")
    return Footer(kind, body_bytes, index_offset, index_bytes, leaves)


def encode_index(index: PackIndex) -> bytes:
    """Return the plaintext of a pack's index. Offsets are not written: they follow from the lengths."""
    counts = [0] * len(index.segments)
    for chunk in index.chunks:
        counts[chunk.segment] += 1
    rows = [
        _SEGMENT_ROW.pack(row.stored, row.plain, row.codec, count)
        for row, count in zip(index.segments, counts, strict=True)
    ]
    chunks = [_CHUNK_ROW.pack(chunk.chunk, chunk.length) for chunk in index.chunks]
    return b"".join([len(rows).to_bytes(4, "little"), *rows, len(chunks).to_bytes(4, "little"), *chunks])


def decode_index(plain: bytes, index_offset: int) -> PackIndex:
    """Decode a pack's index; segments must fill the pack from the header to `index_offset` exactly."""
    body = Decoder("pack index", plain)
    segments: list[SegmentRow] = []
    counts: list[int] = []
    offset = HEADER_BYTES
    for _ in range(body.count(_SEGMENT_ROW.size, MAX_SEGMENTS, "the segment count")):
        stored, size, codec, count = _SEGMENT_ROW.unpack(body.take(_SEGMENT_ROW.size))
        if (
            codec not in (Codec.RAW, Codec.ZSTD)
            or not 0 < size <= MAX_SEGMENT_PLAIN
            or not count
            or stored <= TAG_BYTES
        ):
            raise body.refuse(f"segment {len(segments)} makes no sense")
        segments.append(SegmentRow(offset, stored, size, Codec(codec)))
        counts.append(count)
        offset += stored
    if offset != index_offset:
        raise body.refuse("the segments do not end where the index begins")
    total = body.count(_CHUNK_ROW.size, MAX_CHUNKS, "the chunk count")
    if total != sum(counts):
        raise body.refuse("the chunk count differs from the segments' counts")
    chunks = tuple(_chunk_rows(body, segments, counts))
    body.finish()
    return PackIndex(tuple(segments), chunks)


def _chunk_rows(body: Decoder, segments: list[SegmentRow], counts: list[int]) -> list[PackedChunk]:
    chunks: list[PackedChunk] = []
    for number, (row, count) in enumerate(zip(segments, counts, strict=True)):
        at = 0
        for chunk, length in _CHUNK_ROW.iter_unpack(body.take(_CHUNK_ROW.size * count)):
            if not length:
                raise body.refuse(f"segment {number} holds an empty chunk")
            chunks.append(PackedChunk(ChunkId(chunk), number, at, length))
            at += length
        if at != row.plain:
            raise body.refuse(f"the chunks of segment {number} do not fill it")
    return chunks


def _kind(what: str, value: int) -> ChunkType:
    try:
        return ChunkType(value)
    except ValueError:
        raise Malformed(what, f"chunk type {value} is unknown") from None
