"""Repairs a pack from the parity of its group, without any key (FORMAT.md, Parity).

Nothing that is read is trusted: a cell counts when its hash is the one that its pack's footer, or the record, gives;
what comes out counts when it hashes to what the footer says, and a footer when it hashes to the pack's name. A repair
holds one row, and what it has repaired of one pack, in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from wain.base.errors import DataError
from wain.base.ids import PackId
from wain.pack.format import LEAF_BYTES, Footer
from wain.pack.verify import check_footer, leaf_words, pack_words
from wain.pageblob.layout import Placement
from wain.pageblob.names import packs_blob
from wain.pageblob.parity import Cell
from wain.pageblob.parity_code import decode_row
from wain.pageblob.parity_record import Located, locate

MAX_CANDIDATES: Final = 4
"""Records that are looked at for one pack. An honest device has one; a rescue may leave two."""
NAMED_LEAVES: Final = 8

ReadBlob = Callable[[str, int, int], bytes]
"""Returns exactly so many bytes (third) of a page blob from an offset; what cannot be read is zeros."""


@dataclass(eq=False)
class BeyondParity(DataError):
    """There is no parity for a pack, or more was lost than it can repair. `why` is the rest of the sentence."""

    pack: PackId
    why: str

    def __str__(self) -> str:
        return f"parity cannot repair {pack_words(self.pack)}: {self.why}"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was wrong with a pack and is right again: bytes by their offset in the pack."""

    parts: Mapping[int, bytes]
    footer_at: int

    @property
    def words(self) -> str:
        """How messages name what was repaired."""
        leaves = [offset // LEAF_BYTES for offset in self.parts if offset != self.footer_at]
        words = [leaf_words(leaf) for leaf in leaves[:NAMED_LEAVES]]
        words += [f"{len(leaves) - NAMED_LEAVES} more"] if len(leaves) > NAMED_LEAVES else []
        words += ["the footer page"] if self.footer_at in self.parts else []
        return ", ".join(words) or "nothing: it read well the second time"

    def over(self, start: int, body: bytes | memoryview) -> bytes:
        """Return the pack's bytes from `start` with what was repaired in its place."""
        out = bytearray(body)
        for offset, part in self.parts.items():
            first, last = max(offset, start), min(offset + len(part), start + len(body))
            if first < last:
                out[first - start : last - start] = part[first - offset : last - offset]
        return bytes(out)


class Repairer:
    """Repairs packs of one container. `places` are all its packs, `blobs` its parity blobs with their lengths."""

    def __init__(self, read: ReadBlob, places: Mapping[PackId, Placement], blobs: Sequence[tuple[str, int]]) -> None:
        self._read = read
        self._places = places
        self._blobs = blobs
        self._known: dict[PackId, list[tuple[str, int, int]]] | None = None

    def repair(self, pack: PackId) -> Repaired:
        """Return what is wrong with a pack, repaired.

        Raises:
            BeyondParity: it cannot be; names the row that lost too much.
        """
        failure = BeyondParity(pack, "there is none for it")
        for blob, start, end in self._index().get(pack, []):
            for located in self._locate(blob, start, end):
                try:
                    return _Group(self._read, self._places, blob, located).repair(pack)
                except BeyondParity as error:
                    failure = error
        raise failure

    def _locate(self, blob: str, start: int, end: int) -> Iterator[Located]:
        """Yield the records between two offsets of a blob that are for packs of this container."""
        for found in locate(lambda at, length: self._read(blob, start + at, length), end - start):
            packs = found.record.packs
            if all(pack in self._places and self._places[pack].length == length for pack, length in packs):
                yield Located(found.record, start + found.start)

    def _index(self) -> dict[PackId, list[tuple[str, int, int]]]:
        """Return where the records of each pack lie: only places, because there are as many records as groups."""
        if self._known is None:
            self._known = {}
            for blob, size in self._blobs:
                for found in self._locate(blob, 0, size):
                    for pack, _ in found.record.packs:
                        places = self._known.setdefault(pack, [])
                        if len(places) < MAX_CANDIDATES:
                            places.append((blob, found.start, min(found.end, size)))
        return self._known


class _Group:
    """One group of packs and its parity."""

    def __init__(self, read: ReadBlob, places: Mapping[PackId, Placement], blob: str, located: Located) -> None:
        self._read = read
        self._blob = blob
        self._packs = [pack for pack, _ in located.record.packs]
        self._places = [places[pack] for pack in self._packs]
        self._record = located.record
        self._rows = located.record.rows
        self._cells_at: list[int] = []
        at = located.cells_at
        for length in located.record.cell_lengths:
            self._cells_at.append(at)
            at += length
        self._footers: list[Footer | None] = [None] * len(self._packs)

    def repair(self, pack: PackId) -> Repaired:
        """Return what is wrong with a pack of the group, repaired. Raises `BeyondParity`."""
        if pack not in self._packs:
            raise BeyondParity(pack, "its record reads differently every time")
        wanted = self._packs.index(pack)
        parts: dict[int, bytes] = {}
        self._read_footers(wanted, parts)
        footer = self._footers[wanted]
        if footer is None:
            raise BeyondParity(pack, "its footer page is lost, with too many others")
        for number, row in enumerate(self._rows):
            mine = [at for at, cell in enumerate(row.cells) if cell.pack == wanted and not self._is_footer(cell)]
            if any(self._whole(row.cells[at]) is None for at in mine):
                parts |= self._repair_row(number, wanted)
        return Repaired(dict(sorted(parts.items())), footer.body_bytes)

    def _is_footer(self, cell: Cell) -> bool:
        place = self._places[cell.pack]
        return cell.offset + cell.length == place.length

    def _read_cell(self, cell: Cell) -> bytes:
        place = self._places[cell.pack]
        return self._read(packs_blob(place.blob), place.offset + cell.offset, cell.length)

    def _whole(self, cell: Cell) -> bytes | None:
        """Return a data cell when it is what its pack's footer, or name, says."""
        body = self._read_cell(cell)
        if self._is_footer(cell):
            return body if self._check_footer(cell.pack, body) is not None else None
        footer = self._footers[cell.pack]
        if footer is None or blake3(body).digest() != footer.leaves[cell.offset // LEAF_BYTES]:
            return None
        return body

    def _check_footer(self, number: int, page: bytes) -> Footer | None:
        try:
            footer = check_footer(page, self._packs[number])
        except DataError:
            return None
        return footer if footer.body_bytes + len(page) == self._places[number].length else None

    def _read_footers(self, wanted: int, parts: dict[int, bytes]) -> None:
        """Know the footers of the group: every leaf is judged by one. Lost ones are repaired where that is possible."""
        rows = [(number, row) for number, row in enumerate(self._rows) if self._is_footer(row.cells[0])]
        for number, row in rows:
            for cell in row.cells:
                self._footers[cell.pack] = self._check_footer(cell.pack, self._read_cell(cell))
            if all(self._footers[cell.pack] is not None for cell in row.cells):
                continue
            try:
                cells = self._decode(number, wanted)
            except BeyondParity:
                continue
            for cell, page in zip(row.cells, cells, strict=True):
                if self._footers[cell.pack] is None:
                    self._footers[cell.pack] = self._check_footer(cell.pack, page)
                    if cell.pack == wanted:
                        parts[cell.offset] = page

    def _decode(self, number: int, wanted: int) -> list[bytes]:
        """Return the data cells of a row from what is whole of it."""
        row, parity = self._rows[number], self._record.strength.parity
        there: dict[int, bytes] = {}
        for at, cell in enumerate(row.cells):
            body = self._whole(cell)
            if body is not None:
                there[at] = body
        lost = len(row.cells) - len(there)
        for at in range(parity):
            index = number * parity + at
            body = self._read(self._blob, self._cells_at[index], row.length)
            if blake3(body).digest() == self._record.cells[index]:
                there[len(row.cells) + at] = body
        if len(there) < len(row.cells):
            left = len(there) + lost - len(row.cells)
            raise BeyondParity(
                self._packs[wanted], f"row {number} of its group lost {lost} cells and has {left} whole cells of parity"
            )
        return decode_row(row, parity, there)

    def _repair_row(self, number: int, wanted: int) -> dict[int, bytes]:
        row = self._rows[number]
        footer = self._footers[wanted]
        assert footer is not None
        parts = {}
        for cell, body in zip(row.cells, self._decode(number, wanted), strict=True):
            if cell.pack != wanted:
                continue
            if blake3(body).digest() != footer.leaves[cell.offset // LEAF_BYTES]:
                raise BeyondParity(self._packs[wanted], f"what the parity of row {number} gives is something else")
            parts[cell.offset] = body
        return parts
