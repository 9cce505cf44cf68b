"""The index: a sorted, immutable table from chunk id to where the chunk lies, read in place from a mapped file.

Layout and rules: FORMAT-index.md. One entry takes 48 bytes; the fanout adds at most half a byte, the pack table 32
bytes a pack. A lookup reads two fanout numbers and the handful of entries between them, so that a table of 50 million
chunks costs address space, not memory. Writing streams: only the fanout is held.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import pairwise
from mmap import mmap
from operator import itemgetter
from typing import Final, NamedTuple, overload

from blake3 import blake3

from wain.base.errors import Corrupt, Malformed, TooLarge, Truncated, UnknownVersion, WrongMagic
from wain.base.ids import HASH_BYTES, ChunkId, PackId

INDEX_MAGIC: Final = b"WAININDX"
INDEX_VERSION: Final = 1
HEADER_BYTES: Final = 16
ENTRY_BYTES: Final = 48
TAIL_BYTES: Final = 36
INDEX_FIXED_BYTES: Final = HEADER_BYTES + TAIL_BYTES
MAX_PACKS: Final = 1 << 22
MAX_ENTRIES: Final = (1 << 32) - 1
MAX_FANOUT_BITS: Final = 24

_WHAT: Final = "index"
_LEAST_BYTES: Final = INDEX_FIXED_BYTES + 4
"""An index has at least one fanout number."""
_HEADER: Final = struct.Struct("<8sHHI")
_ENTRY: Final = struct.Struct("<32sIIII")
_PACK: Final = struct.Struct("<32s")
_PLACE: Final = struct.Struct("<IIII")
_PAIR: Final = struct.Struct("<II")
_NUMBER: Final = struct.Struct("<I")
_SCAN_ENTRIES: Final = 64
"""A bucket above this size is halved before it is searched byte by byte; only a forged index has such buckets."""
_BLOCK_ENTRIES: Final = 4096


Touch = Callable[[int, int], None]


class Location(NamedTuple):
    """Where a chunk lies: `offset` and `length` in bytes of the plaintext of one segment of one pack."""

    pack: PackId
    segment: int
    offset: int
    length: int


def fanout_bits(entries: int) -> int:
    """Return how many leading bits of a chunk id the fanout of an index with `entries` entries looks at."""
    return min(MAX_FANOUT_BITS, max(0, entries.bit_length() - 4))


def encode_index(entries: Iterable[tuple[ChunkId, Location]]) -> bytes:
    """Return the index of these entries, in any order; its pack table is exactly the packs they name.

    Raises:
        Malformed, TooLarge: a chunk twice, or a field that the format does not allow.
    """
    ordered = sorted(entries, key=itemgetter(0))
    writer = IndexWriter(len(ordered), sorted({location.pack for _, location in ordered}))
    return b"".join([*writer.feed(ordered), writer.finish()])


class IndexWriter:
    """Writes an index entry by entry, strictly by chunk id, in constant memory.

    `count` is how many entries will come at most (the sum over merged tables will do); `packs` is the pack table,
    strictly by id, with at least every pack that an entry names. What `feed` yields and `finish` returns, end to end,
    is the index.
    """

    def __init__(self, count: int, packs: Sequence[PackId]) -> None:
        if len(packs) > MAX_PACKS:
            raise TooLarge(f"pack count of {_WHAT}", have=len(packs), cap=MAX_PACKS)
        if not 0 <= count <= MAX_ENTRIES:
            raise TooLarge(f"entry count of {_WHAT}", have=count, cap=MAX_ENTRIES)
        if any(len(pack) != HASH_BYTES for pack in packs):
            raise Malformed(_WHAT, "a pack id is not 32 bytes long")
        if any(later <= earlier for earlier, later in pairwise(packs)):
            raise Malformed(_WHAT, "packs are not strictly in order of their ids")
        self._expected = count
        self._ordinals = {pack: ordinal for ordinal, pack in enumerate(packs)}
        self._bits = fanout_bits(count)
        self._buckets = array("I", bytes(4 << self._bits))
        self._count = 0
        self._last = b""
        self._hash = blake3()
        self._unsent = [_HEADER.pack(INDEX_MAGIC, INDEX_VERSION, 0, len(packs)), *packs]

    def feed(self, entries: Iterable[tuple[ChunkId, Location]]) -> Iterator[bytes]:
        """Take entries and yield pieces of the index. May be called again with later entries.

        Raises:
            Malformed: entries out of order or twice, more than announced, or a field that the format does not allow.
        """
        shift = 32 - self._bits
        for chunk, at in entries:
            if chunk <= self._last or len(chunk) != HASH_BYTES:
                raise Malformed(_WHAT, f"chunk {chunk.hex()} does not follow {self._last.hex()}")
            ordinal = self._ordinals.get(at.pack)
            if ordinal is None or not at.length or at.offset + at.length >= 1 << 32 or self._count == self._expected:
                raise self._refused(chunk, at)
            try:
                self._unsent.append(_ENTRY.pack(chunk, ordinal, at.segment, at.offset, at.length))
            except struct.error:
                raise self._refused(chunk, at) from None
            self._buckets[int.from_bytes(chunk[:4], "big") >> shift] += 1
            self._last = chunk
            self._count += 1
            if len(self._unsent) >= _BLOCK_ENTRIES:
                yield self._send()

    def finish(self) -> bytes:
        """Return the last piece of the index: entries not yet yielded, fanout and tail."""
        # The fanout was counted for the announced size; its canonical width follows from the true one.
        step = 1 << (self._bits - fanout_bits(self._count))
        total = 0
        fanout = bytearray()
        for first in range(0, len(self._buckets), step):
            total += sum(self._buckets[first : first + step])
            fanout += _NUMBER.pack(total)
        self._unsent += [bytes(fanout), _NUMBER.pack(self._count)]
        return self._send() + self._hash.digest()

    def _send(self) -> bytes:
        piece = b"".join(self._unsent)
        self._unsent.clear()
        self._hash.update(piece)
        return piece

    def _refused(self, chunk: ChunkId, at: Location) -> Malformed:
        if self._count == self._expected:
            return Malformed(_WHAT, f"more than the announced {self._expected} entries")
        if at.pack not in self._ordinals:
            return Malformed(_WHAT, f"chunk {chunk.hex()} lies in a pack that the table does not list")
        return Malformed(_WHAT, f"chunk {chunk.hex()} cannot lie at {at.segment}, {at.offset}, {at.length}")


class _PackTable(Sequence[PackId]):
    """The packs of an index, read where they lie."""

    def __init__(self, view: "bytes | memoryview | mmap", count: int, touch: "Touch | None") -> None:
        self._view = view
        self._count = count
        self._touch = touch

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> PackId: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[PackId, ...]: ...
    def __getitem__(self, at: int | slice) -> PackId | tuple[PackId, ...]:
        if isinstance(at, slice):
            return tuple(self[ordinal] for ordinal in range(*at.indices(self._count)))
        if not -self._count <= at < self._count:
            raise IndexError(at)
        start = HEADER_BYTES + at % self._count * HASH_BYTES
        if self._touch is not None:
            self._touch(start, start + HASH_BYTES)
        (pack,) = _PACK.unpack_from(self._view, start)
        return PackId(pack)

    def __contains__(self, pack: object) -> bool:
        if not isinstance(pack, bytes):
            return False
        at = bisect_left(self, pack)
        return at < self._count and self[at] == pack


class IndexTable:
    """Reads an index in place. Opening checks header and lengths; `verify` checks every byte.

    `touch(start, end)`, when given, is called before the bytes from `start` to `end` (excluded) of the view are looked
    at, and may put them there first. What it raises goes to the caller.

    Raises (opening):
        Truncated, WrongMagic, UnknownVersion, Malformed, TooLarge: not an index of ours.
    """

    def __init__(self, view: "bytes | memoryview | mmap", touch: Touch | None = None) -> None:
        size = len(view)
        if size < _LEAST_BYTES:
            raise Truncated(_WHAT, want=_LEAST_BYTES, have=size)
        if touch is not None:
            touch(0, HEADER_BYTES)
            touch(size - TAIL_BYTES - 4, size)
        magic, version, reserved, packs = _HEADER.unpack_from(view)
        if magic != INDEX_MAGIC:
            raise WrongMagic(_WHAT, want=INDEX_MAGIC, have=magic)
        if version != INDEX_VERSION:
            raise UnknownVersion(_WHAT, have=version, known=INDEX_VERSION)
        if reserved:
            raise Malformed(_WHAT, "reserved bits are set")
        if packs > MAX_PACKS:
            raise TooLarge(f"pack count of {_WHAT}", have=packs, cap=MAX_PACKS)
        (count,) = _NUMBER.unpack_from(view, size - TAIL_BYTES)
        self._view = view
        self._touch = touch
        self._count: int = count
        self._packs: int = packs
        self._shift = 32 - fanout_bits(count)
        self._base = HEADER_BYTES + packs * HASH_BYTES
        self._fanout = self._base + count * ENTRY_BYTES
        want = self._fanout + (4 << fanout_bits(count)) + TAIL_BYTES
        if size < want:
            raise Truncated(_WHAT, want=want, have=size)
        if size > want:
            raise Malformed(_WHAT, f"{size - want} bytes too long for {packs} packs and {count} entries")
        if _NUMBER.unpack_from(view, size - TAIL_BYTES - 4) != (count,):
            raise Malformed(_WHAT, "the fanout does not end with the entry count")
        self.packs: Sequence[PackId] = _PackTable(view, packs, touch)
        """The packs that entries may name, by id; read lazily."""

    def __len__(self) -> int:
        return self._count

    def __contains__(self, chunk: ChunkId) -> bool:
        return self._position(chunk) >= 0

    def find(self, chunk: ChunkId) -> Location | None:
        """Return where the chunk lies, or None.

        Raises:
            Malformed: the numbers met on the way make no sense; `verify` would have refused the index.
        """
        at = self._position(chunk)
        if at < 0:
            return None
        ordinal, segment, offset, length = _PLACE.unpack_from(self._view, at + HASH_BYTES)
        return self._location(ordinal, segment, offset, length)

    def pack_of(self, chunk: ChunkId) -> PackId | None:
        """Return the pack that holds the chunk, or None: `find`, for those who ask a million times."""
        at = self._position(chunk)
        if at < 0:
            return None
        (ordinal,) = _NUMBER.unpack_from(self._view, at + HASH_BYTES)
        return self._pack(ordinal)

    def items(self) -> Iterator[tuple[ChunkId, Location]]:
        """Iterate over all entries, by chunk id."""
        for chunk, ordinal, segment, offset, length in self._rows():
            yield chunk, self._location(ordinal, segment, offset, length)

    def verify(self) -> None:
        """Check the hash, the order of packs and entries, every number, and the fanout, in constant memory.

        Raises:
            Corrupt: the hash in the tail is not that of the bytes before it.
            Malformed: the hash fits, but our encoder would not have written this.
        """
        self._verify_hash()
        if any(self.packs[at] <= self.packs[at - 1] for at in range(1, len(self.packs))):
            raise Malformed(_WHAT, "packs are not strictly in order of their ids")
        buckets = array("I", bytes(4 << (32 - self._shift)))
        last = b""
        for chunk, ordinal, segment, offset, length in self._rows():
            if chunk <= last:
                raise Malformed(_WHAT, f"chunk {chunk.hex()} does not follow {last.hex()}")
            self._location(ordinal, segment, offset, length)
            buckets[int.from_bytes(chunk[:4], "big") >> self._shift] += 1
            last = chunk
        total = 0
        for prefix, found in enumerate(buckets):
            total += found
            if _NUMBER.unpack_from(self._view, self._fanout + 4 * prefix) != (total,):
                raise Malformed(_WHAT, f"fanout number {prefix} is wrong")

    def _position(self, chunk: bytes) -> int:
        """Return the offset of the chunk's entry, or -1."""
        if len(chunk) != HASH_BYTES:
            return -1
        prefix = int.from_bytes(chunk[:4], "big") >> self._shift
        touch = self._touch
        if touch is not None:
            touch(self._fanout + 4 * max(prefix - 1, 0), self._fanout + 4 * prefix + 4)
        if prefix:
            low, high = _PAIR.unpack_from(self._view, self._fanout + 4 * prefix - 4)
        else:
            low, (high,) = 0, _NUMBER.unpack_from(self._view, self._fanout)
        if low > high or high > self._count:
            raise Malformed(_WHAT, f"fanout number {prefix} is wrong")
        base = self._base
        while high - low > _SCAN_ENTRIES:
            middle = (low + high) // 2
            at = base + middle * ENTRY_BYTES
            if touch is not None:
                touch(at, at + HASH_BYTES)
            if bytes(self._view[at : at + HASH_BYTES]) <= chunk:
                low = middle
            else:
                high = middle
        start, end = base + low * ENTRY_BYTES, base + high * ENTRY_BYTES
        if touch is not None:
            touch(start, end)
        bucket = bytes(self._view[start:end])
        found = bucket.find(chunk)
        # The id's bytes may also turn up astride other fields: only a hit at an entry's start counts.
        while found % ENTRY_BYTES and found >= 0:
            found = bucket.find(chunk, found + 1)
        return start + found if found >= 0 else -1

    def _location(self, ordinal: int, segment: int, offset: int, length: int) -> Location:
        if not length or offset + length >= 1 << 32:
            raise Malformed(_WHAT, f"a chunk at {segment}, {offset}, {length}")
        return Location(self._pack(ordinal), segment, offset, length)

    def _pack(self, ordinal: int) -> PackId:
        if ordinal >= self._packs:
            raise Malformed(_WHAT, f"pack number {ordinal} of {self._packs}")
        at = HEADER_BYTES + ordinal * HASH_BYTES
        if self._touch is not None:
            self._touch(at, at + HASH_BYTES)
        (pack,) = _PACK.unpack_from(self._view, at)
        return PackId(pack)

    def _rows(self) -> Iterator[tuple[ChunkId, int, int, int, int]]:
        for first in range(0, self._count, _BLOCK_ENTRIES):
            last = min(first + _BLOCK_ENTRIES, self._count)
            start, end = self._base + first * ENTRY_BYTES, self._base + last * ENTRY_BYTES
            if self._touch is not None:
                self._touch(start, end)
            yield from _ENTRY.iter_unpack(self._view[start:end])

    def _verify_hash(self) -> None:
        end = len(self._view) - HASH_BYTES
        if self._touch is not None:
            self._touch(0, len(self._view))
        state = blake3()
        for first in range(0, end, 1 << 20):
            state.update(self._view[first : min(first + (1 << 20), end)])
        if state.digest() != bytes(self._view[end:]):
            raise Corrupt(_WHAT, "its hash does not match its bytes")


def merge_indexes(tables: Sequence[IndexTable], dropped: frozenset[PackId]) -> Iterator[tuple[ChunkId, Location]]:
    """Iterate over the union of tables, given oldest first, by chunk id and in constant memory.

    A chunk that several tables hold comes once, from the newest; entries in `dropped` packs do not count.
    """
    last = b""
    for chunk, _, location in merge(*[_ranked(table, -age) for age, table in enumerate(tables)]):
        if chunk != last and location.pack not in dropped:
            yield chunk, location
            last = chunk


def _ranked(table: IndexTable, rank: int) -> Iterator[tuple[ChunkId, int, Location]]:
    # Newest tables have the lowest rank: among equal chunks they come first, and locations are never compared.
    return ((chunk, rank, location) for chunk, location in table.items())
