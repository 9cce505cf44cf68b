"""The journal of a device that is being written: 512-byte records, each bound to the one before (FORMAT.md, Journal).

A pack exists on the device from the moment its record is durable. Whatever is cut off, the records up to the first
bad one are a valid prefix: it can be resumed.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import google_crc32c
from blake3 import blake3

from wain.base.codec import Decoder, Encoder
from wain.base.errors import Malformed
from wain.base.ids import HASH_BYTES, UUID_BYTES, DeviceId, PackId, RegistrationId, SeedId
from wain.base.sizes import BLOCK_BYTES
from wain.chunk.names import ChunkType
from wain.pack.format import FOOTER_BYTES, MAX_PACK_BYTES
from wain.pageblob.layout import MAX_BLOB_LIMIT_BYTES, Placement
from wain.pageblob.names import MAX_BLOB_NUMBER

MAGIC: Final = b"WJNL"
VERSION: Final = 1
RECORD_BYTES: Final = 512
MAX_STORED_PACK: Final = MAX_PACK_BYTES + FOOTER_BYTES

_PREVIOUS_BYTES: Final = 16
_CRC_AT: Final = RECORD_BYTES - 4
_WHAT: Final = "device journal"


class RecordKind(IntEnum):
    """What a record says. The values are on disk."""

    START = 1
    PACK = 2
    END = 3


@dataclass(frozen=True, slots=True)
class Start:
    """Whose seed the container holds. `order_hash` is the BLAKE3 of the order's name."""

    device: DeviceId
    seed: SeedId
    registration: RegistrationId
    order_hash: bytes


@dataclass(frozen=True, slots=True)
class JournalPack:
    """A pack that is durable on the device."""

    id: PackId
    kind: ChunkType
    placement: Placement


@dataclass(frozen=True, slots=True)
class End:
    """All packs are there, and this manifest (BLAKE3, length in bytes) goes with them."""

    manifest_hash: bytes
    manifest_bytes: int


@dataclass(frozen=True, slots=True)
class Journal:
    """A replayed journal: its valid prefix. `start` is None when not even the first record is good."""

    start: Start | None
    packs: tuple[JournalPack, ...]
    end: End | None
    records: int
    head: bytes
    """What the next record is chained to."""


def _crc(body: bytes) -> bytes:
    crc: int = google_crc32c.value(body)
    return crc.to_bytes(4, "little")


def intact(record: bytes | memoryview) -> bool:
    """Whether the checksum of a record is that of its bytes."""
    return bytes(record[_CRC_AT:]) == _crc(bytes(record[:_CRC_AT]))


def order_hash(order: str) -> bytes:
    """Return how a journal names an order."""
    return blake3(order.encode()).digest()


class Chain:
    """Makes records, each holding its number and 16 bytes of the BLAKE3 of the one before."""

    def __init__(self, records: int = 0, head: bytes = bytes(_PREVIOUS_BYTES)) -> None:
        self.records = records
        self.head = head

    def _record(self, kind: RecordKind, fields: bytes) -> bytes:
        record = Encoder().raw(MAGIC).uint(VERSION, 2).uint(kind, 2).uint(self.records, 8).fixed(self.head, 16)
        body = record.raw(fields).finish()
        body += bytes(_CRC_AT - len(body))
        body += _crc(body)
        self.records += 1
        self.head = blake3(body).digest(_PREVIOUS_BYTES)
        return body

    def start(self, start: Start) -> bytes:
        """Return the first record."""
        fields = Encoder().fixed(start.device, UUID_BYTES).fixed(start.seed, UUID_BYTES)
        fields.fixed(start.registration, UUID_BYTES).fixed(start.order_hash, HASH_BYTES)
        return self._record(RecordKind.START, fields.finish())

    def pack(self, pack: JournalPack) -> bytes:
        """Return the record of one pack."""
        fields = Encoder().fixed(pack.id, HASH_BYTES).uint(pack.kind, 1).uint(pack.placement.blob, 4)
        fields.uint(pack.placement.offset, 8).uint(pack.placement.length, 4)
        return self._record(RecordKind.PACK, fields.finish())

    def end(self, end: End) -> bytes:
        """Return the last record."""
        fields = Encoder().fixed(end.manifest_hash, HASH_BYTES).uint(end.manifest_bytes, 8)
        return self._record(RecordKind.END, fields.finish())


def check_placement(previous: Placement | None, placement: Placement, what: str) -> None:
    """Check that a pack lies right after the one before, or at the start of a later blob.

    Raises:
        Malformed: it does not, is not whole blocks, or is out of range.
    """
    whole = placement.offset % BLOCK_BYTES == 0 and placement.length % BLOCK_BYTES == 0
    sized = FOOTER_BYTES < placement.length <= MAX_STORED_PACK and placement.end <= MAX_BLOB_LIMIT_BYTES
    if not whole or not sized or placement.blob > MAX_BLOB_NUMBER:
        raise Malformed(what, f"a pack at {placement.offset} of {placement.length} bytes cannot be")
    if previous is not None and placement.blob == previous.blob:
        follows = placement.offset == previous.end
    else:
        follows = placement.offset == 0 and (previous is None or placement.blob > previous.blob)
    if not follows:
        raise Malformed(what, f"a pack at {placement.offset} of blob {placement.blob} does not follow the one before")


def read_pack(decoder: Decoder) -> JournalPack:
    """Read the fields of one pack: id, type, blob, offset, length.

    Raises:
        Malformed: the type is unknown.
    """
    pack = PackId(decoder.take(HASH_BYTES))
    kind = decoder.uint(1)
    if not 1 <= kind <= len(ChunkType):
        raise decoder.refuse(f"chunk type {kind} is unknown")
    return JournalPack(pack, ChunkType(kind), Placement(decoder.uint(4), decoder.uint(8), decoder.uint(4)))


class _Replay:
    """Reads record after record; a bad one ends it, a good one that makes no sense is refused."""

    def __init__(self) -> None:
        self.start: Start | None = None
        self.packs: list[JournalPack] = []
        self.end: End | None = None
        self.chain = Chain()
        self._known: set[PackId] = set()

    def holds(self, record: memoryview) -> bool:
        """Whether `record` was completely written and is the next one."""
        return (
            bytes(record[:4]) == MAGIC
            and intact(record)
            and int.from_bytes(record[8:16], "little") == self.chain.records
            and bytes(record[16:32]) == self.chain.head
        )

    def take(self, record: memoryview) -> None:
        """Take in a record that `holds`."""
        decoder = Decoder(_WHAT, record[4:_CRC_AT])
        version, kind = decoder.uint(2), decoder.uint(2)
        decoder.take(24)
        if version != VERSION:
            raise Malformed(_WHAT, f"record {self.chain.records} has version {version}")
        if (self.start is None) != (kind == RecordKind.START) or self.end is not None:
            raise Malformed(_WHAT, f"record {self.chain.records} of kind {kind} is out of order")
        if kind == RecordKind.START:
            ids = (decoder.take(UUID_BYTES), decoder.take(UUID_BYTES), decoder.take(UUID_BYTES))
            self.start = Start(DeviceId(ids[0]), SeedId(ids[1]), RegistrationId(ids[2]), decoder.take(HASH_BYTES))
        elif kind == RecordKind.PACK:
            self._take_pack(read_pack(decoder))
        elif kind == RecordKind.END:
            self.end = End(decoder.take(HASH_BYTES), decoder.uint(8))
        else:
            raise Malformed(_WHAT, f"record {self.chain.records} has unknown kind {kind}")
        decoder.zeros(decoder.left)
        self.chain = Chain(self.chain.records + 1, blake3(record).digest(_PREVIOUS_BYTES))

    def _take_pack(self, pack: JournalPack) -> None:
        check_placement(self.packs[-1].placement if self.packs else None, pack.placement, _WHAT)
        if pack.id in self._known:
            raise Malformed(_WHAT, f"pack {pack.id.hex()} is there twice")
        self._known.add(pack.id)
        self.packs.append(pack)


def replay(body: bytes | memoryview) -> Journal:
    """Return the valid prefix of a journal; it ends before the first record that is torn, absent or not chained.

    Raises:
        Malformed: a record is complete and chained, but no writer of ours would write it.
    """
    view = memoryview(body)
    state = _Replay()
    for at in range(0, len(view) - RECORD_BYTES + 1, RECORD_BYTES):
        record = view[at : at + RECORD_BYTES]
        if not state.holds(record):
            break
        state.take(record)
    return Journal(state.start, tuple(state.packs), state.end, state.chain.records, state.chain.head)
