"""Turns a walk into tree pieces and chunks: the content of one recovery point.

Directories come in walk order. On the way down, a directory's files are compared with what earlier walks saw and read
only when they changed; on the way up, its listing is encoded, and stored when no earlier point has the same one.
"""

import os
import stat as modes
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wain.agent.history import HistoryReader, HistoryWriter
from wain.agent.known import KnownChunks
from wain.agent.pipeline import Pipeline
from wain.agent.reading import (
    KINDS,
    FileReader,
    SourceError,
    directory_xattrs,
    is_sparse,
    link_target,
    xattrs_of,
)
from wain.agent.walk import Entered, Found, Left, Walk, join
from wain.base.ids import ChunkId, PackId
from wain.base.progress import Progress
from wain.chunk.cutter import SMALL_BYTES, Cutter
from wain.chunk.names import ChunkType
from wain.job.job import Problem
from wain.tree.compare import chunks_of, is_listed, same, stat_key
from wain.tree.entry import Content, Entry, Kind, Stat
from wain.tree.format import PieceBuilder, encode_entry
from wain.tree.lists import LIST_CHUNKS, encode_list
from wain.tree.manifest import Counts
from wain.tree.rules import MAX_CHUNKS

ATTEMPTS: Final = 3
"""How often a file that changes under the reader is read before it is taken as it is and reported."""
_PROGRESS_EVERY: Final = 4 << 20


@dataclass(slots=True)
class _Level:
    """A directory on the way: its encoded entries so far, by name."""

    path: bytes
    entries: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Tally:
    """Counts of one run."""

    files: int = 0
    directories: int = 0
    others: int = 0
    source_bytes: int = 0
    unchanged: int = 0
    skipped: int = 0
    problems: list[Problem] = field(default_factory=list)

    def counts(self, new_bytes: int, stored_bytes: int) -> Counts:
        """Return the counts as a recovery point keeps them."""
        return Counts(
            self.files, self.directories, self.others, self.source_bytes, new_bytes, stored_bytes, self.skipped
        )


@dataclass(frozen=True, slots=True)
class TreeParts:
    """What building a tree works with."""

    pipeline: Pipeline
    known: KnownChunks
    cutter: Cutter
    histories: tuple[HistoryReader, ...]
    """Newest first; what the first one knows, later ones are not asked for."""
    record: HistoryWriter
    progress: Progress


class TreeBackup:
    """Builds one tree. Call `run` once; then `root`, `used` and `tally` hold the result."""

    def __init__(self, parts: TreeParts, report: Callable[[Problem], None], tally: Tally) -> None:
        self._parts = parts
        self._report = report
        self.tally = tally
        self.root: tuple[ChunkId, ...] = ()
        self._levels: list[_Level] = []
        self._links: dict[tuple[int, int], Content] = {}
        self._devices: dict[int, int] = {}
        self._old_listed: dict[bytes, tuple[PackId, ...]] = {}
        self._listed: dict[bytes, tuple[PackId, ...]] = {}
        self._unseen_bytes = 0
        self._unseen_items = 0

    def run(self, walk: Walk) -> None:
        """Store everything the walk meets."""
        for event in walk:
            match event:
                case Entered():
                    self._enter(event)
                case Left():
                    self._leave(event)
        self._tick(0, flush=True)

    def _enter(self, event: Entered) -> None:
        old: dict[bytes, bytes] = {}
        self._old_listed, self._listed = {}, {}
        for history in reversed(self._parts.histories):
            old.update(history.entries(event.path))
            self._old_listed.update(history.listed())
        entries: list[tuple[bytes, bytes]] = []
        for found in event.leaves:
            encoded = self._leaf(event, found, old.get(found.name))
            if encoded is not None:
                entries.append((found.name, encoded))
        self._parts.record.add(event.path, [encoded for _, encoded in entries], self._listed)
        self._levels.append(_Level(event.path, entries))

    def _leave(self, event: Left) -> None:
        level = self._levels.pop()
        level.entries.sort()
        builder = PieceBuilder()
        for _, encoded in level.entries:
            builder.add(encoded)
        pieces = tuple([self._store_tree(piece) for piece in builder.finish()])
        self.tally.directories += 1
        if not self._levels:
            self.root = pieces
            return
        name = event.path[event.path.rindex(b"/") + 1 :]
        try:
            xattrs = directory_xattrs(event.fd)
        except SourceError as error:
            self._skip(event.path, error.reason)
            xattrs = ()
        entry = Entry(name, Kind.DIRECTORY, self._stat(event.stat), Content(pieces), xattrs=xattrs)
        self._levels[-1].entries.append((name, encode_entry(entry)))

    def _leaf(self, event: Entered, found: Found, old: bytes | None) -> bytes | None:
        stat = found.stat
        regular = modes.S_ISREG(stat.st_mode)
        if regular:
            self.tally.files += 1
            self.tally.source_bytes += stat.st_size
        else:
            self.tally.others += 1
        if old is not None and self._unchanged(found, old):
            self.tally.unchanged += 1
            self._tick(stat.st_size if regular else 0)
            return old
        try:
            encoded = self._file(event, found) if regular else encode_entry(self._special(event, found))
        except SourceError as error:
            self._skip(join(event.path, found.name), error.reason)
            return None
        self._tick(0)
        return encoded

    def _unchanged(self, found: Found, old: bytes) -> bool:
        """Return True, noting the packs it needs, when an earlier entry still holds and all its chunks exist."""
        stat = found.stat
        if not same(old, KINDS[modes.S_IFMT(stat.st_mode)], stat_key(self._values(stat))):
            return False
        known = self._parts.known
        packs = {known.pack_of(chunk) for chunk in chunks_of(old)}
        if is_listed(old):
            packs.update(self._old_listed.get(found.name, (None,)))
        present = {pack for pack in packs if pack is not None}
        if len(present) != len(packs) or not all(known.exists(pack) for pack in present):
            return False
        self._parts.pipeline.used |= present
        if is_listed(old):
            self._listed[found.name] = self._old_listed[found.name]
        return True

    def _file(self, event: Entered, found: Found) -> bytes:
        """Read a regular file, again when it changes meanwhile, and return its entry."""
        for attempt in range(1, ATTEMPTS + 1):
            with FileReader(event.fd, found) as reader:
                before = reader.stat()
                content, size = self._content(found.name, reader, before)
                xattrs = reader.xattrs()
                steady = size == before.st_size and not reader.changed(before)
                if steady or attempt == ATTEMPTS:
                    break
        if not steady:
            path = join(event.path, found.name)
            if content.extents:
                raise SourceError("it changed while being read")
            self._skip(path, "it changed while being read; what was read is kept")
        stat = self._stat(before, size)
        if before.st_nlink > 1 and steady:
            self._links[stat.device, stat.inode] = content
        return encode_entry(Entry(found.name, Kind.FILE, stat, content, xattrs=xattrs))

    def _content(self, name: bytes, reader: FileReader, before: os.stat_result) -> tuple[Content, int]:
        """Store a file's bytes. Return its content and how many bytes it really has."""
        size = before.st_size
        if before.st_nlink > 1:
            linked = self._links.get((self._device(before.st_dev), before.st_ino))
            if linked is not None:
                return linked, size
        if size <= SMALL_BYTES and not is_sparse(before):
            body = reader.small(size)
            self._tick(len(body))
            return (Content((self._parts.pipeline.add(ChunkType.DATA, body),)) if body else Content()), len(body)
        extents = reader.extents(size) if is_sparse(before) else ((0, size),)
        dense = extents == ((0, size),)
        chunks: list[ChunkId] = []
        got = 0
        for piece in reader.pieces(self._parts.cutter, extents):
            chunks.append(self._parts.pipeline.add(ChunkType.DATA, piece))
            got += len(piece)
            self._tick(len(piece))
        if dense:
            return self._named(name, chunks, ()), got
        whole = got == sum(length for _, length in extents)
        return self._named(name, chunks, extents), size if whole else got

    def _named(self, name: bytes, chunks: list[ChunkId], extents: tuple[tuple[int, int], ...]) -> Content:
        if len(chunks) <= MAX_CHUNKS:
            return Content(tuple(chunks), extents)
        lists = range(0, len(chunks), LIST_CHUNKS)
        pieces = [self._store_tree(encode_list(chunks[at : at + LIST_CHUNKS])) for at in lists]
        # Which packs hold the chunks is settled only once they are written; files of this size are rare.
        self._parts.pipeline.flush()
        packs = {self._parts.known.pack_of(chunk) for chunk in chunks}
        self._listed[name] = tuple(sorted(pack for pack in packs if pack is not None))
        return Content(tuple(pieces), extents, listed=True)

    def _special(self, event: Entered, found: Found) -> Entry:
        stat = found.stat
        kind = KINDS[modes.S_IFMT(stat.st_mode)]
        target = link_target(event.fd, found.name) if kind is Kind.SYMLINK else b""
        device = kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE)
        rdev = (os.major(stat.st_rdev), os.minor(stat.st_rdev)) if device else (0, 0)
        xattrs = xattrs_of(event.fd, found.name)
        return Entry(found.name, kind, self._stat(stat), target=target, rdev=rdev, xattrs=xattrs)

    def _store_tree(self, piece: bytes) -> ChunkId:
        return self._parts.pipeline.add(ChunkType.TREE, piece)

    def _stat(self, stat: os.stat_result, size: int | None = None) -> Stat:
        mode, uid, gid, listed, *rest = self._values(stat)
        return Stat(mode, uid, gid, listed if size is None else size, *rest)

    def _values(self, stat: os.stat_result) -> tuple[int, int, int, int, int, int, int, int, int]:
        """Return what `Stat` keeps, in its order. A link's size is its text's; others but files have none."""
        kind = modes.S_IFMT(stat.st_mode)
        return (
            modes.S_IMODE(stat.st_mode),
            stat.st_uid,
            stat.st_gid,
            stat.st_size if kind in (modes.S_IFREG, modes.S_IFLNK) else 0,
            stat.st_mtime_ns,
            stat.st_ctime_ns,
            stat.st_ino,
            self._device(stat.st_dev),
            stat.st_nlink if kind != modes.S_IFDIR else 1,
        )

    def _device(self, number: int) -> int:
        """Return the order in which the walk met a file system."""
        return self._devices.setdefault(number, len(self._devices))

    def _skip(self, path: bytes, reason: str) -> None:
        self._report(Problem(path, reason))

    def _tick(self, done: int, *, flush: bool = False) -> None:
        """Report progress in steps that are worth a call."""
        self._unseen_bytes += done
        self._unseen_items += 1
        if flush or self._unseen_bytes >= _PROGRESS_EVERY or self._unseen_items >= 500:
            self._parts.progress.advance(self._unseen_bytes, self._unseen_items)
            self._unseen_bytes = self._unseen_items = 0


def history_files(agent: Path) -> tuple[Path, Path]:
    """Return where the last and the interrupted job's histories lie."""
    trees = agent / "trees"
    return trees / "last.tree", trees / "partial.tree"
