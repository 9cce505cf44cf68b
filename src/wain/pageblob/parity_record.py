"""The parity of one group of packs as it lies in a page blob: header, cells, header again (FORMAT.md, Parity).

A record describes itself and needs no signature: a leaf that was repaired counts only when it hashes to what its pack's
footer says, and a footer only when it hashes to the pack's name.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Corrupt, DataError, Truncated
from wain.base.ids import HASH_BYTES, PackId
from wain.base.sizes import BLOCK_BYTES, round_up
from wain.pack.format import FOOTER_BYTES, LEAF_BYTES, MAX_PACK_BYTES
from wain.pageblob.parity import MAX_GROUP_PACKS, MAX_PARITY_CELLS, MAX_ROW_CELLS, Row, Strength, rows

MAGIC: Final = b"WAINPRTY"
VERSION: Final = 1

_FIXED_BYTES: Final = 8 + 2 + 1 + 1 + 1 + 2
_PACK_BYTES: Final = HASH_BYTES + 4
_NAMED: Final = 8
_WHAT: Final = "parity record"


class Place(IntEnum):
    """Which of its two headers one is. The values are on disk."""

    BEFORE = 1
    BEHIND = 2


@dataclass(frozen=True, slots=True)
class ParityRecord:
    """What a header says. `packs` are the group's ids and stored lengths in order, `cells` the BLAKE3 of each cell."""

    strength: Strength
    packs: tuple[tuple[PackId, int], ...]
    cells: tuple[bytes, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows, in the order their parity cells lie."""
        return rows([length for _, length in self.packs], self.strength.data)

    @property
    def cell_lengths(self) -> list[int]:
        """The length of every parity cell, in the order they lie."""
        return [row.length for row in self.rows for _ in range(self.strength.parity)]

    @property
    def header_bytes(self) -> int:
        """What each of the two headers takes."""
        return _header_bytes(len(self.packs), len(self.cells))

    @property
    def stored_bytes(self) -> int:
        """What the whole record takes, with both headers."""
        return 2 * self.header_bytes + sum(self.cell_lengths)


def _header_bytes(packs: int, cells: int) -> int:
    return round_up(_FIXED_BYTES + _PACK_BYTES * packs + HASH_BYTES * cells + HASH_BYTES, BLOCK_BYTES)


def blank_record(packs: Sequence[tuple[PackId, int]], strength: Strength) -> ParityRecord:
    """Return the record of a group before its cells are known: it tells how long everything will be."""
    count = strength.parity * len(rows([length for _, length in packs], strength.data))
    return ParityRecord(strength, tuple(packs), (bytes(HASH_BYTES),) * count)


def encode_header(record: ParityRecord, place: Place) -> bytes:
    """Return one of the two headers, whole blocks long."""
    assert 1 <= len(record.packs) <= MAX_GROUP_PACKS
    out = Encoder(MAGIC, VERSION).uint(place, 1).uint(record.strength.data, 1).uint(record.strength.parity, 1)
    out.uint(len(record.packs), 2)
    for pack, length in record.packs:
        out.fixed(pack, HASH_BYTES).uint(length, 4)
    for cell in record.cells:
        out.fixed(cell, HASH_BYTES)
    body = out.finish()
    return Encoder().raw(body).fixed(blake3(body).digest(), HASH_BYTES).pad_to(BLOCK_BYTES).finish()


def _read_group(decoder: Decoder) -> tuple[Place, Strength, tuple[tuple[PackId, int], ...]]:
    """Read the fields up to the hashes of the cells: all of them lie in the first block."""
    place, data, parity = decoder.uint(1), decoder.uint(1), decoder.uint(1)
    if place not in (Place.BEFORE, Place.BEHIND):
        raise decoder.refuse(f"place {place} is unknown")
    if not 1 <= data <= MAX_ROW_CELLS or not 1 <= parity <= MAX_PARITY_CELLS:
        raise decoder.refuse(f"rows of {data} and {parity} cells cannot be")
    count = decoder.uint(2, MAX_GROUP_PACKS, "the pack count")
    packs = tuple((PackId(decoder.take(HASH_BYTES)), decoder.uint(4)) for _ in range(count))
    if not packs or len({pack for pack, _ in packs}) != count:
        raise decoder.refuse("it is for no pack, or for one twice")
    for _, length in packs:
        if length % BLOCK_BYTES or not FOOTER_BYTES < length <= MAX_PACK_BYTES + FOOTER_BYTES:
            raise decoder.refuse(f"a pack of {length} bytes cannot be")
    return Place(place), Strength(data, parity), packs


def header_bytes(first_block: bytes | memoryview) -> int:
    """Return how long the header is that begins with this block, so that a reader asks for no more.

    Raises:
        DataError: no header begins so.
    """
    _, strength, packs = _read_group(Decoder(_WHAT, first_block, MAGIC, VERSION))
    cells = strength.parity * len(rows([length for _, length in packs], strength.data))
    return _header_bytes(len(packs), cells)


def decode_header(body: bytes | memoryview) -> tuple[ParityRecord, Place]:
    """Return what a header says, and which of the two it is.

    Raises:
        DataError: not what `encode_header` writes; `Corrupt` when its hash does not match.
    """
    decoder = Decoder(_WHAT, body, MAGIC, VERSION)
    place, strength, packs = _read_group(decoder)
    count = strength.parity * len(rows([length for _, length in packs], strength.data))
    cells = tuple(decoder.take(HASH_BYTES) for _ in range(count))
    end = decoder.at
    if decoder.take(HASH_BYTES) != blake3(memoryview(body)[:end]).digest():
        raise Corrupt(_WHAT, "the hash of its header does not match")
    decoder.zeros(-decoder.at % BLOCK_BYTES)
    decoder.finish()
    return ParityRecord(strength, packs, cells), place


class ParityVerifier:
    """Checks parity records while they stream past, one or many end to end, in pieces of any size.

    `known` are the packs that there may be parity for, with their stored lengths; `start` is where in its blob the
    stream begins. Memory: a header or a cell. `feed` every byte in order, then `finish`.
    """

    def __init__(self, known: Mapping[PackId, int], start: int = 0) -> None:
        self._known = known
        self._at = start
        self._record = start
        self._bad: list[str] = []
        self._part = bytearray()
        self._steps = self._judge()
        self._want = next(self._steps)

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(piece)
        while view:
            more = view[: self._want - len(self._part)]
            self._part += more
            self._at += len(more)
            view = view[len(more) :]
            if len(self._part) == self._want:
                part = bytes(self._part)
                self._part.clear()
                self._want = self._steps.send(part)

    def _judge(self) -> Generator[int, bytes, None]:
        """Ask for a number of bytes, judge them, and so on. Behind a bad header nothing can be told any more."""
        while True:
            self._record = self._at
            header = yield BLOCK_BYTES
            try:
                size = header_bytes(header)
                if size > BLOCK_BYTES:
                    header += yield size - BLOCK_BYTES
                record, place = decode_header(header)
            except DataError as error:
                self._note(str(error))
                break
            if place is not Place.BEFORE:
                self._note("it begins with its second header")
                break
            yield from self._judge_record(record)
        while True:
            yield LEAF_BYTES

    def _judge_record(self, record: ParityRecord) -> Generator[int, bytes, None]:
        strangers = [pack.hex() for pack, length in record.packs if self._known.get(pack) != length]
        if strangers:
            self._note(f"it is for pack {strangers[0]}, which is not here like that")
        bad = []
        for number, (length, digest) in enumerate(zip(record.cell_lengths, record.cells, strict=True)):
            cell = yield length
            if blake3(cell).digest() != digest:
                bad.append(str(number))
        if bad:
            self._note(f"cell {', '.join(bad[:_NAMED])}" + (" and more" if len(bad) > _NAMED else ""))
        second = yield record.header_bytes
        if second != encode_header(record, Place.BEHIND):
            self._note("its second header")

    def _note(self, words: str) -> None:
        if len(self._bad) < _NAMED:
            self._bad.append(f"record at byte {self._record}: {words}")

    def finish(self) -> None:
        """Judge.

        Raises:
            Corrupt: names what is damaged.
            Truncated: the last record is cut short.
        """
        if self._bad:
            raise Corrupt("parity", "; ".join(self._bad))
        inside = self._at - self._record
        if inside:
            raise Truncated(_WHAT, want=inside + self._want - len(self._part), have=inside)


@dataclass(frozen=True, slots=True)
class Located:
    """A record, and where in its blob it begins."""

    record: ParityRecord
    start: int

    @property
    def cells_at(self) -> int:
        """Where its first cell begins."""
        return self.start + self.record.header_bytes

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.record.stored_bytes


Read = Callable[[int, int], bytes]
"""Returns exactly so many bytes (second) from an offset (first) of a blob; what cannot be read is zeros."""


def locate(read: Read, size: int) -> Iterator[Located]:
    """Yield the records of a blob of `size` bytes. One whole header of the two is enough to find a record."""
    at = end = 0
    while at < size:
        found = _header_at(read, at, size)
        if found is None or found.start < end:
            at = _next_mark(read, at + BLOCK_BYTES, size)
            continue
        yield found
        at = end = found.end


def _header_at(read: Read, at: int, size: int) -> Located | None:
    try:
        first = read(at, min(BLOCK_BYTES, size - at))
        length = header_bytes(first)
        record, place = decode_header(first if length == BLOCK_BYTES else read(at, min(length, size - at)))
    except DataError:
        return None
    return Located(record, at if place is Place.BEFORE else at + record.header_bytes - record.stored_bytes)


def _next_mark(read: Read, at: int, size: int) -> int:
    """Return the next block that begins like a header, or the end."""
    while at < size:
        window = read(at, min(LEAF_BYTES, size - at))
        mark = window.find(MAGIC)
        while mark >= 0 and mark % BLOCK_BYTES:
            mark = window.find(MAGIC, mark + 1)
        if mark >= 0:
            return at + mark
        at += len(window)
    return size
