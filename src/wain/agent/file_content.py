"""Stores the content of one regular file after another: in one chunk, in many, or as lists of very many."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from wain.agent.known import KnownChunks
from wain.agent.listing import STILL_NS
from wain.agent.pipeline import Pipeline
from wain.agent.reading import Extents, FileReader, cut_extents, is_sparse
from wain.agent.windows import Windows
from wain.base.ids import ChunkId, PackId
from wain.chunk.cutter import SMALL_BYTES, Cutter
from wain.chunk.names import ChunkType
from wain.tree import rules
from wain.tree.entry import Content
from wain.tree.lists import LIST_CHUNKS, encode_list

MAX_LINK_IDS: Final = 1 << 17
"""How many ids (a chunk's, or a file's) are kept of files some of whose names were not met yet: below 60 MB. A file
that was forgotten is read again, and nothing of it stored twice."""
_EMPTY: Final = Content()


class Stored(NamedTuple):
    """A file's content, how many bytes it really has, and, when it is listed, the packs that its chunks need."""

    content: Content
    size: int
    packs: tuple[PackId, ...] = ()


@dataclass(slots=True)
class _Linked:
    """What a file with several names held, how it looked then, and how many of its names were not met yet."""

    looks: tuple[int, int, int]
    stored: Stored
    left: int

    @property
    def ids(self) -> int:
        content = self.stored.content
        return 1 + len(content.chunks) + len(content.extents) + len(self.stored.packs)


class FileContent:
    """Reads and stores files. `tick` is told of bytes as they are read."""

    def __init__(self, pipeline: Pipeline, known: KnownChunks, cutter: Cutter, tick: Callable[[int], None]) -> None:
        self._pipeline = pipeline
        self._known = known
        self._cutter = cutter
        self._windows = Windows()
        self._tick = tick
        self._links: OrderedDict[tuple[int, int], _Linked] = OrderedDict()
        """Files with names that were not met yet, by device and inode, oldest first."""
        self._link_ids = 0

    def store(self, reader: FileReader, device: int) -> Stored:
        """Store a file's bytes. One that was read under another name, and looks the same, is not read again.

        Raises:
            SourceError: it cannot be read.
            WainError: the sink failed.
        """
        before = reader.before
        if before.st_nlink == 1:
            return self._store(reader)
        inode, looks = (device, before.st_ino), (before.st_size, before.st_mtime_ns, before.st_ctime_ns)
        linked = self._links.get(inode)
        if linked is not None and linked.looks == looks:
            for chunk in linked.stored.content.chunks:
                self._pipeline.need(chunk)
            linked.left -= 1
            if not linked.left:
                self._forget(inode)
            return linked.stored
        # Right after a change the next one may leave the times as they are, and so may another file with this inode.
        settled = abs(time.time_ns() - before.st_ctime_ns) >= STILL_NS
        stored = self._store(reader)
        self._forget(inode)
        if settled and stored.size == before.st_size and not reader.changed():
            self._remember(inode, _Linked(looks, stored, before.st_nlink - 1))
        return stored

    def _remember(self, inode: tuple[int, int], linked: _Linked) -> None:
        self._links[inode] = linked
        self._link_ids += linked.ids
        while self._link_ids > MAX_LINK_IDS and len(self._links) > 1:
            self._forget(next(iter(self._links)))

    def _forget(self, inode: tuple[int, int]) -> None:
        linked = self._links.pop(inode, None)
        if linked is not None:
            self._link_ids -= linked.ids

    def _store(self, reader: FileReader) -> Stored:
        before = reader.before
        size = before.st_size
        sparse = is_sparse(before)
        if size <= SMALL_BYTES and not sparse:
            body = reader.small(size)
            if not body:
                return Stored(_EMPTY, 0)
            self._tick(len(body))
            return Stored(Content((self._pipeline.add(ChunkType.DATA, body),)), len(body))
        extents = reader.extents(size) if sparse else ()
        naming = Naming(self._pipeline, self._known)
        got = 0
        for piece in reader.pieces(self._cutter, extents or ((0, size),), self._windows):
            naming.add(self._pipeline.add(ChunkType.DATA, piece))
            got += len(piece)
            self._tick(len(piece))
        now = min(reader.size(), size)
        if got < (sum(length for _, length in extents) if extents else size) or (extents and now < size):
            # It shrank: what was read up to there is its content, and no hole at its end that is not there any more.
            extents, size = cut_extents(extents or ((0, size),), got, now)
        return naming.finish(extents, size)


class Naming:
    """Collects the ids of one file's chunks. Memory stays flat: beyond `MAX_CHUNKS` they go into lists as they come."""

    def __init__(self, pipeline: Pipeline, known: KnownChunks) -> None:
        self._pipeline = pipeline
        self._known = known
        self._chunks: list[ChunkId] = []
        self._lists: list[ChunkId] = []
        self._packs: set[PackId] = set()
        self._before = len(pipeline.packs)

    def add(self, chunk: ChunkId) -> None:
        """Take the next chunk of the file."""
        self._chunks.append(chunk)
        if len(self._chunks) > rules.MAX_CHUNKS or (self._lists and len(self._chunks) > LIST_CHUNKS):
            self._put_lists(keep=1)

    def finish(self, extents: Extents, size: int) -> Stored:
        """Return the content that all chunks make."""
        if not self._lists:
            return Stored(Content(tuple(self._chunks), extents), size)
        self._put_lists(keep=0)
        # Which packs hold the newest chunks is settled only once they are written; files of this size are rare.
        self._pipeline.flush()
        self._packs.update(ref.id for ref in self._pipeline.packs[self._before :])
        return Stored(Content(tuple(self._lists), extents, listed=True), size, tuple(sorted(self._packs)))

    def _put_lists(self, keep: int) -> None:
        """Store the ids as lists, all but the last `keep`."""
        while len(self._chunks) > keep:
            ids = self._chunks[: min(LIST_CHUNKS, len(self._chunks) - keep)]
            del self._chunks[: len(ids)]
            # A chunk that is still in flight will be in a pack that this file's reading has yet to write.
            self._packs.update(pack for pack in map(self._known.pack_of, ids) if pack is not None)
            self._lists.append(self._pipeline.add(ChunkType.TREE, encode_list(ids)))
