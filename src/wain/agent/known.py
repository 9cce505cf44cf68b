"""Which chunks exist and in which pack: what makes the second backup small.

Three layers, looked through newest first: `recent` (this job and an interrupted one, in memory, backed by
`pending.log`), then the index tables of earlier jobs, mapped from their files. A pack's chunks go into the log, made
durable, *before* the pack itself is written: so after a crash every pack that exists has its chunks here, and a chunk
whose pack does not exist is told apart by the pack's presence.
"""

import contextlib
import os
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import Final

from wain.agent.index_notes import IndexNote, read_note, write_note
from wain.agent.pending import PendingLog, decode_refs, encode_refs
from wain.agent.table_file import open_table, table_hash, write_table
from wain.base.errors import DataError, WriteFailed
from wain.base.ids import ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.format import PackedChunk
from wain.pack.index import IndexTable, Location, merge_indexes
from wain.pack.writer import FinishedPack
from wain.storage.durable import TEMPORARY_PREFIX, fsync_dir, make_dirs, write_atomic, writing
from wain.tree.manifest import PackRef

SPILL_CHUNKS: Final = 100_000
"""How many chunks of the running job are held in memory before they become a table: about 40 MB."""
TIER_TABLES: Final = 4
"""So many tables of about the same size are merged while a job runs: a lookup goes through few, and each chunk is
written few times, however long the job."""
MAX_TABLES: Final = 12
"""With more tables than this, small ones are merged."""
MERGE_RATIO: Final = 4
"""A table is merged with newer ones when it is at most so many times as large: big tables are rarely sent again."""
INDEX_SUFFIX: Final = ".idx"
PACKS_SUFFIX: Final = ".packs"
STORED_SUFFIX: Final = ".stored"
DAMAGED_SUFFIX: Final = ".damaged"
SIDECARS: Final = (PACKS_SUFFIX, STORED_SUFFIX)
"""Beside each table: the packs it names, and as which index chunks the vault keeps it."""


class KnownChunks:
    """The chunk store's memory.

    `place` and `claim` belong to the reading thread; `log`, `settle` and `spill` to the settling one.

    Raises (all methods that write): `OutOfSpace`, `WriteFailed`, `Refused`: the agent's own disk, never the source.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        make_dirs(directory, 0o700)
        self._log = PendingLog(directory / "pending.log")
        self._recent: dict[ChunkId, Location | int] = {}
        """Where a chunk of the running job lies, or the ordinal of its segment while it is in flight."""
        self._tables: list[tuple[str, IndexTable]] = []
        self._absent: frozenset[PackId] = frozenset()
        self.packs: dict[PackId, PackRef] = {}
        """Every pack that any layer names."""
        with writing(str(directory)):
            self._clean()
            for name in self._table_names():
                self._open(name)
        for ref, chunks in self._log.replay():
            self._learn(ref, chunks)

    def settle_presence(self, absent: Iterable[PackId]) -> None:
        """Forget chunks that lie in these packs: they will be stored again when they are met."""
        self._absent = frozenset(absent)
        if self._absent:
            self._recent = {
                chunk: at
                for chunk, at in self._recent.items()
                if not isinstance(at, int) and at.pack not in self._absent
            }

    def exists(self, pack: PackId) -> bool:
        """Return True when a pack is known and not missing."""
        return pack in self.packs and pack not in self._absent

    def place(self, chunk: ChunkId) -> PackId | int | None:
        """Return the pack that holds a chunk, or the segment's ordinal while it is in flight; None when it is new."""
        at = self._recent.get(chunk)
        if at is not None:
            return at if isinstance(at, int) else at.pack
        for _, table in reversed(self._tables):
            pack = table.pack_of(chunk)
            if pack is not None and pack not in self._absent:
                return pack
        return None

    def pack_of(self, chunk: ChunkId) -> PackId | None:
        """Return the pack that holds a chunk; None when it is unknown or still in flight."""
        at = self.place(chunk)
        return None if isinstance(at, int) else at

    def claim(self, chunk: ChunkId, ordinal: int) -> None:
        """Mark a new chunk as in flight, in the segment with this ordinal."""
        self._recent[chunk] = ordinal

    def log(self, pack: FinishedPack) -> None:
        """Make a pack's chunks known durably. Call before the pack is written anywhere."""
        self._log.append(PackRef(pack.id, pack.kind, pack.stored_bytes), pack.chunks)

    def settle(self, pack: FinishedPack) -> None:
        """Make a pack's chunks findable. Call once the pack was handed to its target."""
        self._learn(PackRef(pack.id, pack.kind, pack.stored_bytes), pack.chunks)

    def crowded(self) -> bool:
        """Return True when `spill` is due."""
        return len(self._recent) >= SPILL_CHUNKS

    def spill(self) -> None:
        """Turn what is durable and recent into a table. Every settled pack must be durable at its target."""
        # copy() takes its copy in one step, without any Python code between: the reading thread may be claiming.
        settled = {chunk: at for chunk, at in self._recent.copy().items() if not isinstance(at, int)}
        if not settled:
            return
        self._write(self._next_name(), sorted(settled.items(), key=itemgetter(0)), (len(settled), self._log.packs))
        # The table is open before the first chunk leaves `recent`: at no moment is a chunk in neither.
        for chunk in settled:
            del self._recent[chunk]
        self._log.clear()
        self._merge_tiers()

    def _merge_tiers(self) -> None:
        """Merge the newest tables while there are many of about the same size; those that a vault keeps stay."""
        while len(self._tables) >= TIER_TABLES:
            start = len(self._tables) - TIER_TABLES
            sizes = [len(table) for _, table in self._tables[start:]]
            if sizes[0] > 2 * min(sizes) or any(self.note(start + at) for at in range(TIER_TABLES)):
                return
            self._merge(start)

    def compact(self) -> None:
        """Merge the tables that no vault keeps yet into one; when there are many, small older ones with them.

        Tables that are much larger than all newer ones together stay as they are: a merged table has to be sent.
        """
        start = len(self._tables)
        while start and self.note(start - 1) is None:
            start -= 1
        entries = sum(len(table) for _, table in self._tables[start:])
        if start >= MAX_TABLES:
            while start and len(self._tables[start - 1][1]) <= MERGE_RATIO * entries:
                start -= 1
                entries += len(self._tables[start][1])
        if len(self._tables) - start > 1:
            self._merge(start)

    def table_count(self) -> int:
        """Return how many tables there are."""
        return len(self._tables)

    def table_path(self, number: int) -> Path:
        """Return the file of a table; 0 is the oldest."""
        return self._directory / self._tables[number][0]

    def note(self, number: int) -> IndexNote | None:
        """Return as what a table is kept, or None when it is not, or when a pack of it is gone."""
        path = self.table_path(number)
        found = read_note(path.with_suffix(STORED_SUFFIX), table_hash(path))
        return found if found is not None and all(self.exists(pack) for pack in found.packs) else None

    def set_note(self, number: int, chunks: tuple[ChunkId, ...], packs: tuple[PackId, ...]) -> IndexNote:
        """Remember as what a table is kept, durably. The packs must be durable."""
        path = self.table_path(number)
        note = IndexNote(table_hash(path), chunks, packs)
        write_note(path.with_suffix(STORED_SUFFIX), note)
        return note

    def close(self) -> None:
        """Release files."""
        self._log.close()
        self._tables.clear()

    def _merge(self, start: int) -> None:
        """Replace the tables from number `start` on by one that says the same, without packs that are gone."""
        old = self._tables[start:]
        tables = [table for _, table in old]
        # Packs of index chunks count only while a note names them: those of the old tables need not be kept.
        noted = {pack for number in range(start) if (note := self.note(number)) for pack in note.packs}
        named = {pack for table in tables for pack in table.packs if self.exists(pack)}
        packs = [self.packs[pack] for pack in named if self.packs[pack].kind is not ChunkType.INDEX or pack in noted]
        self._write(self._next_name(), merge_indexes(tables, self._absent), (sum(map(len, tables)), packs))
        # Another list, put in place in one step: the reading thread may be going through the present one.
        self._tables = [*self._tables[:start], self._tables[-1]]
        with writing(str(self._directory)):
            for name, _ in old:
                # The table goes first, so that no crash leaves one without its packs.
                for suffix in (INDEX_SUFFIX, *SIDECARS):
                    (self._directory / name).with_suffix(suffix).unlink(missing_ok=True)
            fsync_dir(self._directory)

    def _write(
        self, name: str, entries: Iterable[tuple[ChunkId, Location]], about: tuple[int, Iterable[PackRef]]
    ) -> None:
        count, packs = about
        refs = {ref.id: ref for ref in packs}
        path = self._directory / name
        # The table is what makes the rest count, so it comes last.
        write_atomic(path.with_suffix(PACKS_SUFFIX), encode_refs(refs.values()))
        write_table(path, entries, (count, sorted(refs)))
        with writing(str(path)):
            if not self._open(name):
                raise WriteFailed(str(path), "it does not read back as it was written")

    def _open(self, name: str) -> bool:
        path = self._directory / name
        try:
            refs = {ref.id: ref for ref in decode_refs(path.with_suffix(PACKS_SUFFIX).read_bytes())}
            table = open_table(path)
            whole = all(pack in refs for pack in table.packs)
        except (DataError, FileNotFoundError):
            whole = False
        if not whole:
            # A table that is not whole is worth less than none: what it named will be read and stored again.
            path.rename(path.with_suffix(DAMAGED_SUFFIX))
            return False
        self.packs.update(refs)
        self._tables.append((name, table))
        return True

    def _learn(self, ref: PackRef, chunks: Iterable[PackedChunk]) -> None:
        self.packs[ref.id] = ref
        if ref.kind is ChunkType.INDEX:
            return  # Index chunks are found through the manifest, never deduplicated.
        for one in chunks:
            self._recent[one.chunk] = Location(ref.id, one.segment, one.offset, one.length)

    def _clean(self) -> None:
        """Remove what cut writes left, and what outlived its table."""
        names = set(os.listdir(self._directory))
        for name in names:
            stem, suffix = os.path.splitext(name)
            orphan = suffix in SIDECARS and stem + INDEX_SUFFIX not in names
            if orphan or name.startswith(TEMPORARY_PREFIX):
                with contextlib.suppress(IsADirectoryError):
                    (self._directory / name).unlink(missing_ok=True)

    def _table_names(self) -> list[str]:
        return sorted(name for name in os.listdir(self._directory) if name.endswith(INDEX_SUFFIX))

    def _next_name(self) -> str:
        stems = [os.path.splitext(name)[0] for name in os.listdir(self._directory)]
        return f"{max((int(stem) for stem in stems if stem.isdigit()), default=0) + 1:08d}{INDEX_SUFFIX}"
