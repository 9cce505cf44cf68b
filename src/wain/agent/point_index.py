"""The index of a recovery point: where each of its chunks lies.

A point names the pieces of its index tables. Small tables are read at once; of a large one only those pieces that a
lookup touches: one file of a point of 10 TB takes a few of them, not all of 2.4 GB. What was read is kept in a nameless
scratch file and mapped, so memory does not grow with the point.
"""

import mmap
import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import Final

from wain.agent.point_packs import PointPacks, StillTravelling
from wain.base.errors import Corrupt, DataError, Missing, WainError
from wain.base.ids import ChunkId
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType
from wain.pack.index import IndexTable, Location
from wain.storage.durable import write_all, writing
from wain.wire.vault import Presence

IN_MEMORY_BYTES: Final = 32 * MIB
"""A larger table is read piece by piece, as it is asked."""
_WHERE: Final = "the scratch file for the index"

Home = tuple[ChunkId, Location | None]
"""A piece of a table, and where it lies; None when no pack of the point has it."""
Read = Callable[[ChunkId, Location | None], bytes]
"""Returns a piece, proven by its id. Raises `DataError`, `StillTravelling`, `RemoteError`."""


class PointIndex:
    """Finds the chunks of one point. Use it from one thread.

    Raises (all methods):
        RemoteError: the vault cannot be read now. OutOfSpace, WriteFailed: there is no room for scratch files.
    """

    def __init__(self, packs: PointPacks, tables: Sequence[Sequence[ChunkId]], read: Read) -> None:
        self.damage: list[WainError] = []
        """Why parts of the index are not at hand, as far as they were asked for; empty when all is well."""
        self._packs = packs
        self._read = read
        self._tables: list[IndexTable] = []
        self._rebuilt: dict[ChunkId, Location] = {}
        self._asked_packs = False
        self._on_the_road: StillTravelling | None = None
        homes = self._homes({chunk for table in tables for chunk in table})
        for table in tables:
            try:
                self._tables.append(self._open([(chunk, homes.get(chunk)) for chunk in table]))
            except (DataError, StillTravelling) as error:
                self.damage.append(error)
        if self.damage:
            self._rebuild()

    def close(self) -> None:
        """Let go of tables and scratch files."""
        self._tables.clear()
        self._rebuilt.clear()

    def load(self) -> None:
        """Read every piece that was not read yet, so that `damage` speaks of all of them."""
        for table in list(self._tables):
            try:
                for _ in table.items():
                    pass
            except (DataError, StillTravelling) as error:
                self._lose(table, error)

    def locate(self, chunk: ChunkId) -> Location:
        """Return where a chunk lies; with several places, the newest that belongs to the point.

        The index names one place for each chunk. When that pack does not belong to the point, another one of its packs
        holds the chunk as well (it was stored again while that one was thought lost): then the packs are asked.

        Raises:
            Missing: nowhere. StillTravelling: nowhere, but a part of the index, or a pack, is on a device.
        """
        found = self._in_tables(chunk)
        if found is None and not self._asked_packs:
            self._rebuild()
        found = found or self._rebuilt.get(chunk)
        if found is not None:
            return found
        for error in self.damage:
            if isinstance(error, StillTravelling):
                raise error
        if self._on_the_road is not None:
            raise self._on_the_road
        raise Missing(f"chunk {chunk.hex()} in the index")

    def _homes(self, wanted: set[ChunkId]) -> dict[ChunkId, Location]:
        homes: dict[ChunkId, Location] = {}
        for ref in self._packs.of_kind(ChunkType.INDEX):
            try:
                chunks = self._packs.reader(ref.id).index.chunks
            except (DataError, StillTravelling) as error:
                self.damage.append(error)
                continue
            for one in chunks:
                if one.chunk in wanted:
                    homes[one.chunk] = Location(ref.id, one.segment, one.offset, one.length)
        return homes

    def _open(self, pieces: Sequence[Home]) -> IndexTable:
        size = sum(home.length for _, home in pieces if home is not None)
        if size <= IN_MEMORY_BYTES or any(home is None for _, home in pieces):
            return IndexTable(b"".join([self._read(chunk, home) for chunk, home in pieces]))
        scratch = _Scratch(pieces, self._read)
        return IndexTable(scratch.view, scratch.touch)

    def _in_tables(self, chunk: ChunkId) -> Location | None:
        for table in reversed(self._tables.copy()):
            try:
                found = table.find(chunk)
            except (DataError, StillTravelling) as error:
                self._lose(table, error)
                continue
            if found is not None and found.pack in self._packs.refs:
                return found
        return None

    def _lose(self, table: IndexTable, error: WainError) -> None:
        """Do without a table of which a piece cannot be had: the packs know the same."""
        self._tables.remove(table)
        self.damage.append(error)
        self._asked_packs = False

    def _rebuild(self) -> None:
        """Make up for an index that is lost, or does not know a chunk: every pack also knows its own."""
        self._asked_packs = True
        useful = [ref for ref in self._packs.refs.values() if ref.kind is not ChunkType.INDEX]
        for ref, presence in self._packs.presence(useful):
            if presence is not Presence.IN_VAULT:
                if presence is Presence.IN_TRANSIT:
                    self._on_the_road = StillTravelling(ref.id, self._packs.travelling)
                continue
            try:
                chunks = self._packs.reader(ref.id).index.chunks
            except (DataError, StillTravelling) as error:
                self.damage.append(error)
                continue
            for one in chunks:
                if self._in_tables(one.chunk) is None:
                    self._rebuilt[one.chunk] = Location(ref.id, one.segment, one.offset, one.length)


class _Scratch:
    """A table in a nameless file, in which each piece is put when it is first touched."""

    def __init__(self, pieces: Sequence[Home], read: Read) -> None:
        self._pieces = pieces
        self._read = read
        self._starts = array("Q")
        at = 0
        for _, home in pieces:
            assert home is not None
            self._starts.append(at)
            at += home.length
        self._there = bytearray(len(pieces))
        with writing(_WHERE):
            self._file = TemporaryFile(prefix="wain-index-")  # noqa: SIM115 (it lives as long as the table)
            os.ftruncate(self._file.fileno(), at)
        self.view = mmap.mmap(self._file.fileno(), at, access=mmap.ACCESS_READ)

    def touch(self, start: int, end: int) -> None:
        """See to it that the bytes from `start` to `end` (excluded) are there."""
        for number in range(bisect_right(self._starts, start) - 1, len(self._pieces)):
            if self._starts[number] >= end:
                break
            if not self._there[number]:
                self._fetch(number)

    def _fetch(self, number: int) -> None:
        chunk, home = self._pieces[number]
        assert home is not None
        body = self._read(chunk, home)
        if len(body) != home.length:
            raise Corrupt("index", f"piece {number} has {len(body)} bytes, not {home.length}")
        with writing(_WHERE):
            write_all(self._file.fileno(), body, self._starts[number])
        self._there[number] = 1
