"""Fills one pack, piece by piece, so that nobody has to hold it whole.

`seal` encrypts a segment and gives its stored bytes; `prove` opens them again and names every chunk (verify before
write); `finish` gives the last piece and the pack's name. What `header`, every `seal` and `finish` give, end to end, is
the pack. The order of calls is the order of bytes; only `prove` may run elsewhere, before its piece leaves.

There is no way to encrypt twice under one key: a pack that could not be written is built anew with a new key.
"""

from dataclasses import dataclass

from wain.base.errors import Corrupt, DataError, IllegalMove
from wain.base.ids import ChunkId, PackId, RegistrationId
from wain.base.sizes import BLOCK_BYTES, round_up
from wain.chunk.names import ChunkType, Namer
from wain.pack.cipher import PackCipher, PackKey, check_commitment, make_header
from wain.pack.format import (
    FOOTER_BYTES,
    HEADER_BYTES,
    PACK_BYTES,
    TAG_BYTES,
    Footer,
    PackedChunk,
    PackIndex,
    SegmentRow,
    decode_footer,
    decode_header,
    decode_index,
    encode_footer,
    encode_header,
    encode_index,
    pack_id,
)
from wain.pack.segment import Segment, check_chunks, expand
from wain.pack.verify import LeafHasher, pack_words

_INDEX_BYTES_PER_CHUNK = 36
_INDEX_BYTES_PER_SEGMENT = 13


@dataclass(frozen=True, slots=True)
class FinishedPack:
    """A pack whose last byte was given: its name, its stored size in bytes, and where its chunks lie.

    Where the chunks lie is known to the writer alone.
    """

    id: PackId
    kind: ChunkType
    stored_bytes: int
    chunks: tuple[PackedChunk, ...]


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A pack that is whole in memory, for places that take packs whole."""

    id: PackId
    kind: ChunkType
    stored: memoryview
    """Read-only. A view, because a copy of 64 MiB is memory that a backup does not need."""
    chunks: tuple[PackedChunk, ...]

    @property
    def stored_bytes(self) -> int:
        """The stored size in bytes."""
        return len(self.stored)


@dataclass(frozen=True, slots=True)
class PackFor:
    """Whom packs are sealed for, and how many bytes they aim at."""

    registration: RegistrationId
    restore_public: bytes
    pack_bytes: int = PACK_BYTES


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A segment as it will be stored, and what it must open to."""

    number: int
    row: SegmentRow
    stored: bytes
    chunks: tuple[tuple[ChunkId, int], ...]


class PackWriter:
    """One open pack. `key` (32 bytes) and `salt` (32 bytes) must be fresh random bytes, used for nothing else."""

    def __init__(self, kind: ChunkType, owner: PackFor, key: PackKey, salt: bytes) -> None:
        self._kind = kind
        self._owner = owner
        self._cipher = PackCipher(key, salt, owner.registration, kind)
        self.header = encode_header(make_header(key, salt, (owner.registration, kind), owner.restore_public))
        """The first piece of the pack."""
        self._prover = _reopened(self.header, key)
        self._leaves = LeafHasher()
        self._leaves.feed(self.header)
        self._end = len(self.header)
        self._finished = False
        self._rows: list[SegmentRow] = []
        self._chunks: list[PackedChunk] = []
        self._index_bytes = 8 + TAG_BYTES

    @property
    def chunk_count(self) -> int:
        """How many chunks were added."""
        return len(self._chunks)

    def has_room(self, segment: Segment) -> bool:
        """True when the pack stays within its size with this segment; an empty pack always has room."""
        index = self._index_bytes + _INDEX_BYTES_PER_SEGMENT + _INDEX_BYTES_PER_CHUNK * len(segment.chunks)
        end = self._end + len(segment.body) + TAG_BYTES + index
        return not self._rows or round_up(end, BLOCK_BYTES) + FOOTER_BYTES <= self._owner.pack_bytes

    def seal(self, segment: Segment) -> SealedSegment:
        """Encrypt the next segment and return its piece of the pack.

        Raises:
            IllegalMove: the pack is finished: its key is spent.
        """
        self._check_open()
        number = len(self._rows)
        stored = self._cipher.seal_segment(number, segment.plain, segment.codec, segment.body)
        row = SegmentRow(self._end, len(stored), segment.plain, segment.codec)
        self._take(stored)
        self._rows.append(row)
        at = 0
        for chunk, length in segment.chunks:
            self._chunks.append(PackedChunk(ChunkId(chunk), number, at, length))
            at += length
        self._index_bytes += _INDEX_BYTES_PER_SEGMENT + _INDEX_BYTES_PER_CHUNK * len(segment.chunks)
        return SealedSegment(number, row, stored, segment.chunks)

    def prove(self, sealed: SealedSegment, namer: Namer) -> None:
        """Decrypt, decompress and name again everything in a sealed segment. Safe in any thread.

        Raises:
            Corrupt: what was sealed does not open to what was added (bad memory): it may not be written.
        """
        row = sealed.row
        body = self._prover.open_segment(sealed.number, row.plain, row.codec, sealed.stored)
        check_chunks(expand(body, row.codec, row.plain), self._kind, sealed.chunks, namer)

    def finish(self) -> tuple[bytes, FinishedPack]:
        """Close the pack; return its last piece, which was opened and compared, and what the pack is.

        Raises:
            Corrupt, Malformed: the index does not open to what was added (bad memory): nothing may be kept.
            IllegalMove: it is finished already.
        """
        self._check_open()
        self._finished = True
        index_offset = self._end
        index = PackIndex(tuple(self._rows), tuple(self._chunks))
        sealed = self._cipher.seal_index(encode_index(index))
        tail = sealed + bytes(-(index_offset + len(sealed)) % BLOCK_BYTES)
        self._take(tail)
        page = encode_footer(Footer(self._kind, self._end, index_offset, len(sealed), self._leaves.finish()))
        pack = FinishedPack(pack_id(page), self._kind, self._end + len(page), index.chunks)
        self._prove_ends(pack, sealed, page)
        return tail + page, pack

    def _prove_ends(self, pack: FinishedPack, sealed: bytes, page: bytes) -> None:
        try:
            footer = decode_footer(page)
            index = decode_index(self._prover.open_index(sealed), footer.index_offset)
        except DataError as error:
            raise Corrupt(pack_words(pack.id), str(error)) from error
        if footer.kind is not pack.kind or index.chunks != pack.chunks or index.segments != tuple(self._rows):
            raise Corrupt(pack_words(pack.id), "its index does not say what was packed")

    def _take(self, piece: bytes) -> None:
        self._leaves.feed(piece)
        self._end += len(piece)

    def _check_open(self) -> None:
        if self._finished:
            raise IllegalMove("a pack", "finished", "being filled")


def _reopened(page: bytes, key: PackKey) -> PackCipher:
    """Return a cipher made from what a reader will have: the header page and the key its capsule holds."""
    header = decode_header(page)
    check_commitment(header, key)
    return PackCipher(key, header.salt, header.registration, header.kind)


assert HEADER_BYTES % BLOCK_BYTES == 0
