"""Groups of keyless packs with their parity, in blobs in memory that a test damages."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from blake3 import blake3

from device.making import make_pack_of
from wain.base.ids import PackId
from wain.pack.writer import SealedPack
from wain.pageblob.layout import Layout, Placement
from wain.pageblob.names import packs_blob
from wain.pageblob.parity import Cell, Strength
from wain.pageblob.parity_code import encode_group
from wain.pageblob.parity_record import ParityRecord, Place, encode_header
from wain.pageblob.parity_repair import Repaired, Repairer

PARITY_BLOB = "parity-00000"


@cache
def pack_of(body_bytes: int, number: int) -> SealedPack:
    return make_pack_of(body_bytes, number)


def record_of(packs: list[SealedPack], strength: Strength) -> tuple[ParityRecord, list[bytes]]:
    """The record of a group, and its cells."""
    cells = list(encode_group([pack.stored for pack in packs], strength))
    names = tuple((pack.id, len(pack.stored)) for pack in packs)
    return ParityRecord(strength, names, tuple(blake3(cell).digest() for cell in cells)), cells


def stored_record(record: ParityRecord, cells: list[bytes]) -> bytes:
    return encode_header(record, Place.BEFORE) + b"".join(cells) + encode_header(record, Place.BEHIND)


@dataclass
class Group:
    """One group in a container. `bodies` are the packs' body lengths in bytes."""

    bodies: tuple[int, ...]
    strength: Strength
    first: int = 0
    packs: list[SealedPack] = field(init=False)
    places: dict[PackId, Placement] = field(init=False)
    blobs: dict[str, bytearray] = field(init=False)

    def __post_init__(self) -> None:
        self.packs = [pack_of(size, self.first + number) for number, size in enumerate(self.bodies)]
        layout = Layout()
        self.places = {pack.id: layout.place(len(pack.stored)) for pack in self.packs}
        self.record, self.cells = record_of(self.packs, self.strength)
        self.blobs = {
            packs_blob(0): bytearray(b"".join(pack.stored for pack in self.packs)),
            PARITY_BLOB: bytearray(stored_record(self.record, self.cells)),
        }

    def read(self, blob: str, offset: int, length: int) -> bytes:
        body = bytes(self.blobs.get(blob, b"")[offset : offset + length])
        return body + bytes(length - len(body))

    def lose(self, cell: Cell) -> None:
        """Destroy a data cell."""
        place = self.places[self.packs[cell.pack].id]
        self.spoil(packs_blob(0), place.offset + cell.offset, cell.length)

    def lose_parity(self, row: int, number: int) -> None:
        """Destroy a parity cell."""
        lengths = self.record.cell_lengths
        index = row * self.strength.parity + number
        self.spoil(PARITY_BLOB, self.record.header_bytes + sum(lengths[:index]), lengths[index])

    def spoil(self, blob: str, offset: int, length: int) -> None:
        body = self.blobs[blob]
        body[offset : offset + length] = bytes(byte ^ 0x55 for byte in body[offset : offset + length])

    def repairer(self) -> Repairer:
        parity = [(name, len(body)) for name, body in self.blobs.items() if name.startswith("parity-")]
        return Repairer(self.read, self.places, parity)

    def repaired(self, number: int) -> tuple[bytes, Repaired]:
        """A pack as a repair leaves it."""
        pack = self.packs[number]
        found = self.repairer().repair(pack.id)
        place = self.places[pack.id]
        return found.over(0, self.read(packs_blob(0), place.offset, place.length)), found

    def all_repaired(self) -> bool:
        return all(self.repaired(number)[0] == pack.stored for number, pack in enumerate(self.packs))
