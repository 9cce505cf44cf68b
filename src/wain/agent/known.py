"""Which chunks exist and in which pack: what makes the second backup small.

Three layers, looked through newest first: `recent` (this job and an interrupted one, in memory, backed by
`pending.log`), then the index tables of earlier jobs, mapped from their files. A pack's chunks go into the log, made
durable, *before* the pack itself is written: so after a crash every pack that exists has its chunks here, and a chunk
whose pack does not exist is told apart by the pack's presence.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Final

from wain.agent.pending import PendingLog, decode_refs, encode_refs
from wain.base.errors import DataError
from wain.base.ids import ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.format import PackedChunk
from wain.pack.index import IndexTable, IndexWriter, Location, merge_indexes
from wain.pack.writer import SealedPack
from wain.storage.durable import fsync_dir, write_atomic
from wain.tree.manifest import PackRef

SPILL_CHUNKS: Final = 250_000
"""How many chunks of the running job are held in memory before they become a table: about 100 MB."""
MAX_TABLES: Final = 12
"""More tables than this are merged into one at the end of a job."""
INDEX_SUFFIX: Final = ".idx"
PACKS_SUFFIX: Final = ".packs"
STORED_SUFFIX: Final = ".stored"
SIDECARS: Final = (PACKS_SUFFIX, STORED_SUFFIX)
"""Beside each table: the packs it names, and as which index chunks the vault keeps it."""


class KnownChunks:
    """The chunk store's memory. `find` and `claim` belong to the reading thread, `settle` to the writing thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log = PendingLog(directory / "pending.log")
        self._recent: dict[ChunkId, Location | None] = {}
        self._tables: list[tuple[str, IndexTable]] = []
        self._absent: frozenset[PackId] = frozenset()
        self.packs: dict[PackId, PackRef] = {}
        """Every pack that any layer names."""
        for name in self._table_names():
            self._open(name)
        for ref, chunks in self._log.replay():
            self._learn(ref, chunks)

    def settle_presence(self, absent: Iterable[PackId]) -> None:
        """Forget chunks that lie in these packs: they will be stored again when they are met."""
        self._absent = frozenset(absent)
        if self._absent:
            self._recent = {chunk: at for chunk, at in self._recent.items() if at and at.pack not in self._absent}

    def exists(self, pack: PackId) -> bool:
        """Return True when a pack is known and not missing."""
        return pack in self.packs and pack not in self._absent

    def pack_of(self, chunk: ChunkId) -> PackId | None:
        """Return the pack that holds a chunk; None when it is unknown or still in flight."""
        at = self._recent.get(chunk)
        if at is not None:
            return at.pack
        for _, table in reversed(self._tables):
            found = table.find(chunk)
            if found is not None and found.pack not in self._absent:
                return found.pack
        return None

    def holds(self, chunk: ChunkId) -> bool:
        """Return True when the chunk exists or is in flight in this job."""
        return chunk in self._recent or self.pack_of(chunk) is not None

    def claim(self, chunk: ChunkId) -> bool:
        """Return True, and mark the chunk as in flight, when it has to be stored."""
        if self.holds(chunk):
            return False
        self._recent[chunk] = None
        return True

    def log(self, pack: SealedPack) -> None:
        """Make a pack's chunks known durably. Call before the pack is written anywhere."""
        self._log.append(PackRef(pack.id, pack.kind, len(pack.stored)), pack.chunks)

    def settle(self, pack: SealedPack) -> None:
        """Make a pack's chunks findable. Call once the pack was handed to its target."""
        self._learn(PackRef(pack.id, pack.kind, len(pack.stored)), pack.chunks)

    def crowded(self) -> bool:
        """Return True when `spill` is due."""
        return len(self._recent) >= SPILL_CHUNKS

    def spill(self) -> None:
        """Turn what is durable and recent into a table. Every settled pack must be durable at its target."""
        # list() takes its copy in one step: the reading thread may be claiming chunks.
        settled = {chunk: at for chunk, at in list(self._recent.items()) if at is not None}
        if not settled:
            return
        name = self._next_name()
        self._write(name, sorted(settled.items(), key=itemgetter(0)), (len(settled), self._log.packs))
        for chunk in settled:
            del self._recent[chunk]
        self._log.clear()

    def merge_tables(self) -> None:
        """Merge all tables into one when there are many, leaving out packs that are gone."""
        if len(self._tables) <= MAX_TABLES:
            return
        old = [name for name, _ in self._tables]
        tables = [table for _, table in self._tables]
        packs = [self.packs[pack] for table in tables for pack in table.packs if pack not in self._absent]
        self._tables = []
        self._write(self._next_name(), merge_indexes(tables, self._absent), (sum(map(len, tables)), packs))
        for name in old:
            for suffix in (INDEX_SUFFIX, *SIDECARS):
                (self._directory / name).with_suffix(suffix).unlink(missing_ok=True)
        fsync_dir(self._directory)

    def tables(self) -> list[Path]:
        """Return the file of every table, oldest first."""
        return [self._directory / name for name, _ in self._tables]

    def close(self) -> None:
        """Release files."""
        self._log.close()
        self._tables.clear()

    def _write(
        self, name: str, entries: Iterable[tuple[ChunkId, Location]], about: tuple[int, Iterable[PackRef]]
    ) -> None:
        count, packs = about
        refs = {ref.id: ref for ref in packs}
        path = self._directory / name
        # The table is what makes the rest count, so it comes last.
        write_atomic(path.with_suffix(PACKS_SUFFIX), encode_refs(refs.values()))
        write_atomic(path, b"".join(_index_pieces(entries, count, sorted(refs))))
        self._open(name)

    def _open(self, name: str) -> None:
        path = self._directory / name
        try:
            refs = decode_refs(path.with_suffix(PACKS_SUFFIX).read_bytes())
            table = open_table(path)
        except (DataError, FileNotFoundError):
            # A table that is not whole is worth less than none: what it named will be read and stored again.
            path.rename(path.with_suffix(".damaged"))
            return
        self.packs.update((ref.id, ref) for ref in refs)
        self._tables.append((name, table))

    def _learn(self, ref: PackRef, chunks: Iterable[PackedChunk]) -> None:
        self.packs[ref.id] = ref
        if ref.kind is ChunkType.INDEX:
            return  # Index chunks are found through the manifest, never deduplicated.
        for one in chunks:
            self._recent[one.chunk] = Location(ref.id, one.segment, one.offset, one.length)

    def _table_names(self) -> list[str]:
        return sorted(name for name in os.listdir(self._directory) if name.endswith(INDEX_SUFFIX))

    def _next_name(self) -> str:
        names = self._table_names()
        return f"{int(names[-1][:8]) + 1 if names else 1:08d}{INDEX_SUFFIX}"


def open_table(path: Path) -> IndexTable:
    """Map an index table from its file.

    Raises:
        DataError: it is not whole. The caller drops it: chunks it named are stored again.
    """
    with open(path, "rb") as file:
        return IndexTable(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _index_pieces(entries: Iterable[tuple[ChunkId, Location]], count: int, packs: list[PackId]) -> Iterator[bytes]:
    writer = IndexWriter(count, packs)
    yield from writer.feed(entries)
    yield writer.finish()
