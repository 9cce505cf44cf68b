"""Fills one pack. Feed compressed segments with `add`, then `finish`; the result is immutable and already verified.

There is no way to encrypt twice under one key: a pack that could not be written is written again byte for byte, or
built anew with a new key.
"""

from dataclasses import dataclass
from mmap import mmap

from wain.base.errors import Corrupt, IllegalMove
from wain.base.ids import ChunkId, PackId, RegistrationId
from wain.base.sizes import BLOCK_BYTES, round_up
from wain.chunk.names import ChunkType, Namer
from wain.pack.cipher import PackCipher, PackKey, make_header
from wain.pack.format import (
    FOOTER_BYTES,
    HEADER_BYTES,
    MAX_PACK_BYTES,
    PACK_BYTES,
    TAG_BYTES,
    Footer,
    PackedChunk,
    PackIndex,
    SegmentRow,
    encode_footer,
    encode_header,
    encode_index,
    pack_id,
)
from wain.pack.reader import PackReader
from wain.pack.segment import Segment, check_chunks
from wain.pack.verify import leaf_hashes, pack_words

_INDEX_BYTES_PER_CHUNK = 36
_INDEX_BYTES_PER_SEGMENT = 13


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A finished pack: its name, its stored bytes, and where its chunks lie (known to the writer alone)."""

    id: PackId
    kind: ChunkType
    stored: memoryview
    """Read-only. A view, because a copy of 64 MiB is memory that a backup does not need."""
    chunks: tuple[PackedChunk, ...]


@dataclass(frozen=True, slots=True)
class PackFor:
    """Whom packs are sealed for, and how many bytes they aim at."""

    registration: RegistrationId
    restore_public: bytes
    pack_bytes: int = PACK_BYTES


class PackWriter:
    """One open pack. `key` (32 bytes) and `salt` (32 bytes) must be fresh random bytes, used for nothing else."""

    def __init__(self, kind: ChunkType, owner: PackFor, key: PackKey, salt: bytes) -> None:
        self._kind = kind
        self._owner = owner
        self._key = key
        self._cipher = PackCipher(key, salt, owner.registration, kind)
        header = make_header(key, salt, (owner.registration, kind), owner.restore_public)
        # Address space, not memory: a page costs something only once it is written, and nothing is ever moved.
        self._room = memoryview(mmap(-1, MAX_PACK_BYTES + FOOTER_BYTES))
        self._end = 0
        self._append(encode_header(header))
        self._finished = False
        self._rows: list[SegmentRow] = []
        self._chunks: list[PackedChunk] = []
        self._index_bytes = 8 + TAG_BYTES

    @property
    def chunk_count(self) -> int:
        """How many chunks were added."""
        return len(self._chunks)

    @property
    def empty(self) -> bool:
        """True while nothing was added."""
        return not self._rows

    def has_room(self, segment: Segment) -> bool:
        """True when the pack stays within its size with this segment; an empty pack always has room."""
        index = self._index_bytes + _INDEX_BYTES_PER_SEGMENT + _INDEX_BYTES_PER_CHUNK * len(segment.chunks)
        end = self._end + len(segment.body) + TAG_BYTES + index
        return self.empty or round_up(end, BLOCK_BYTES) + FOOTER_BYTES <= self._owner.pack_bytes

    def add(self, segment: Segment) -> None:
        """Encrypt a segment into the pack.

        Raises:
            IllegalMove: the pack is finished: its key is spent.
        """
        self._check_open()
        number, offset, size = len(self._rows), self._end, len(segment.body) + TAG_BYTES
        room = self._room[offset : offset + size]
        self._cipher.seal_segment(number, segment.plain, segment.codec, (segment.body, room))
        self._end += size
        self._rows.append(SegmentRow(offset, size, segment.plain, segment.codec))
        at = 0
        for chunk, length in segment.chunks:
            self._chunks.append(PackedChunk(ChunkId(chunk), number, at, length))
            at += length
        self._index_bytes += _INDEX_BYTES_PER_SEGMENT + _INDEX_BYTES_PER_CHUNK * len(segment.chunks)

    def finish(self, namer: Namer) -> SealedPack:
        """Close the pack, open it again from its bytes, and return it.

        Raises:
            Corrupt: what was sealed does not open to what was added (bad memory): nothing may be written.
            IllegalMove: it is finished already.
        """
        self._check_open()
        self._finished = True
        index_offset = self._end
        index = PackIndex(tuple(self._rows), tuple(self._chunks))
        sealed = self._cipher.seal_index(encode_index(index))
        self._append(sealed)
        self._append(bytes(-self._end % BLOCK_BYTES))
        leaves = leaf_hashes(self._room[: self._end])
        footer = encode_footer(Footer(self._kind, self._end, index_offset, len(sealed), leaves))
        self._append(footer)
        pack = SealedPack(pack_id(footer), self._kind, self._room[: self._end].toreadonly(), index.chunks)
        prove(pack, self._key, namer)
        return pack

    def _append(self, part: bytes) -> None:
        self._room[self._end : self._end + len(part)] = part
        self._end += len(part)

    def _check_open(self) -> None:
        if self._finished:
            raise IllegalMove("a pack", "finished", "being filled")


def prove(pack: SealedPack, key: PackKey, namer: Namer) -> None:
    """Decrypt, decompress and name again everything in a finished pack (verify before write).

    Its leaves were hashed a moment ago from the same memory; whoever stores the pack hashes them again.

    Raises:
        Corrupt, Malformed, CommitmentMismatch: the bytes in memory are not the pack that was meant.
    """
    view = pack.stored
    reader = PackReader(lambda at, size: view[at : at + size], len(view), pack.id, key)
    if reader.kind is not pack.kind or reader.index.chunks != pack.chunks:
        raise Corrupt(pack_words(pack.id), "its index does not say what was packed")
    wanted: list[list[tuple[ChunkId, int]]] = [[] for _ in reader.index.segments]
    for chunk in pack.chunks:
        wanted[chunk.segment].append((chunk.chunk, chunk.length))
    for number, chunks in enumerate(wanted):
        check_chunks(reader.segment(number), pack.kind, chunks, namer)


assert HEADER_BYTES % BLOCK_BYTES == 0
