"""Turns a walk into tree pieces and chunks: the content of one recovery point.

Directories come in walk order. On the way down, a directory's files are compared with what earlier walks saw and read
only when they changed; on the way up, its listing is encoded, and stored when no earlier point has the same one.
"""

import os
import stat as modes
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Final

from wain.agent.file_content import FileContent
from wain.agent.history import HistoryReader, HistoryWriter, Remembered
from wain.agent.known import KnownChunks
from wain.agent.level import HELD_BYTES, Level
from wain.agent.listing import Found
from wain.agent.parts import Part, in_parts
from wain.agent.pipeline import Needs, Pipeline
from wain.agent.reading import (
    KINDS,
    NO_XATTRS,
    FileReader,
    Moved,
    SourceError,
    Xattrs,
    directory_xattrs,
    is_sparse,
    link_target,
    look_again,
    read_small,
    xattrs_of,
)
from wain.agent.unchanged import Unchanged, stat_values
from wain.agent.view import LIVE, View
from wain.agent.walk import Entered, Left, join
from wain.base.errors import DataError
from wain.base.ids import ChunkId, PackId
from wain.base.progress import Progress
from wain.base.sizes import MIB
from wain.chunk.cutter import SMALL_BYTES, Cutter
from wain.chunk.names import ChunkType
from wain.job.job import Problem
from wain.tree.compare import kind_and_size, plain_entry, stat_key
from wain.tree.entry import Content, Entry, Kind, Stat
from wain.tree.format import PIECE_HEADER_BYTES, PIECE_MIN_BYTES, PieceBuilder, encode_entry, encode_piece
from wain.tree.manifest import Counts
from wain.tree.rules import MAX_NAME_BYTES

ATTEMPTS: Final = 3
"""How often a file that changes under the reader is read before it is taken as it is and reported."""
LARGE_BYTES: Final = 64 * MIB
LARGE_ATTEMPTS: Final = 2
"""The same for files larger than that: what is busy all the time is not read three times."""
SETTLE_NS: Final = 2 * 10**9
"""A file touched this shortly before it was read is read again next time: it may change once more within the same tick
of the file system's clock (2 s on FAT), and then look as if it had not."""
_PROGRESS_EVERY: Final = 4 * MIB
_PIECES_EVERY: Final = 16
_FEW: Final = 1000
_SMALL_LISTING: Final = PIECE_MIN_BYTES - PIECE_HEADER_BYTES
"""A listing below this is one piece: no need to look for a place to cut it."""


@dataclass(slots=True)
class Tally:
    """Counts of one run: what is in the tree, and what is not."""

    files: int = 0
    directories: int = 0
    others: int = 0
    source_bytes: int = 0
    unchanged: int = 0
    skipped: int = 0
    selected: int = 0
    """Directories within an include, without those that only lead to one."""
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
    """Newest first."""
    record: HistoryWriter
    progress: Progress
    scratch: Path
    """Where entries of a very large directory may wait."""
    view: View = LIVE


class TreeBackup:
    """Builds one tree. Call `run` once; then `root` and `tally` hold the result."""

    def __init__(self, parts: TreeParts, report: Callable[[Problem], None], tally: Tally) -> None:
        self._parts = parts
        self._report = report
        self.tally = tally
        self.root: tuple[ChunkId, ...] = ()
        self._files = FileContent(parts.pipeline, parts.known, parts.cutter, self._bytes_read)
        self._unchanged = Unchanged(parts.known, parts.pipeline, self._device)
        self._levels: list[Level] = []
        self._devices: dict[int, int] = {}
        self._listed: dict[bytes, tuple[PackId, ...]] = {}
        self._lasting = True
        self._unseen_bytes = 0
        self._unseen_items = 0

    def run(self, walk: Iterable[Entered | Left]) -> None:
        """Store everything the walk meets."""
        for event in walk:
            match event:
                case Entered():
                    self._enter(event)
                case Left():
                    self._leave(event)
        self._tick()

    def _enter(self, event: Entered) -> None:
        self.tally.selected += event.selected
        level = Level(event.path, self._parts.scratch)
        for part in in_parts(event.path, event.leaves, self._parts.histories):
            self._part(event, part, level)
        level.descend()
        self._levels.append(level)

    def _part(self, event: Entered, part: Part, level: Level) -> None:
        """Store files of a directory, all or some of them, and remember them as a part of it."""
        settled = time.time_ns() - SETTLE_NS
        self._listed = {}
        needs = self._parts.pipeline.needs = Needs()
        complete = True
        entries = level.entries
        lasting: list[bytes] = []
        size = 0
        unchanged = self._unchanged.of(part.leaves, part.histories, self._listed)
        for found, old in zip(part.leaves, unchanged, strict=True):
            encoded = self._leaf(event, found, old)
            if encoded is None:
                continue
            entries.append((found.name, encoded))
            size += len(encoded)
            if old is not None or (self._lasting and found.stat.st_ctime_ns < settled):
                lasting.append(encoded)
            else:
                complete = False
            if size >= HELD_BYTES:  # What is needed so far is what these entries need.
                self._remember(event.path, lasting, needs if complete else None)
                level.spill()
                lasting, size = [], 0
        self._remember(event.path, lasting, needs if complete else None)
        level.relieve()

    def _remember(self, directory: bytes, lasting: list[bytes], needs: Needs | None) -> None:
        if lasting:
            self._parts.record.add(directory, Remembered(lasting, self._listed, needs))

    def _leave(self, event: Left) -> None:
        level = self._levels.pop()
        pieces = self._store_listing(level)
        self.tally.directories += 1
        if not self._levels:
            self.root = pieces
            return
        name = event.path[event.path.rindex(b"/") + 1 :]
        xattrs = directory_xattrs(event.fd)
        encoded = self._plain(Kind.DIRECTORY, name, event.stat, pieces) if xattrs is NO_XATTRS else None
        if encoded is None:
            entry = Entry(name, Kind.DIRECTORY, self._stat(event.stat), Content(pieces))
            encoded = self._encode(event.path, entry, xattrs)
        if encoded is not None:
            self._levels[-1].add(name, encoded)

    def _store_listing(self, level: Level) -> tuple[ChunkId, ...]:
        entries = level.entries
        if not level.spilled and len(entries) < _FEW and len({name for name, _ in entries}) == len(entries):
            entries.sort(key=itemgetter(0))
            few = [encoded for _, encoded in entries]
            if sum(map(len, few)) < _SMALL_LISTING:
                return (self._store_tree(encode_piece(few)),)
        builder = PieceBuilder()
        pieces: list[ChunkId] = []
        last = b""
        for number, (name, encoded) in enumerate(level.in_order()):
            if name == last:
                continue  # A name that a directory listed twice, because it was renamed meanwhile.
            last = name
            builder.add(encoded)
            if number % _PIECES_EVERY == 0:
                pieces += [self._store_tree(piece) for piece in builder.take_full()]
        pieces += [self._store_tree(piece) for piece in builder.finish()]
        level.close()
        return tuple(pieces)

    def _leaf(self, event: Entered, found: Found, old: bytes | None) -> bytes | None:
        """Return a file's entry, or None, having said why, when it cannot be kept. `old` is one that still holds."""
        stat = found.stat
        regular = modes.S_ISREG(stat.st_mode)
        encoded = old
        if old is not None:
            self.tally.unchanged += 1
            if regular:
                self._bytes_read(stat.st_size)
        else:
            self._lasting = True
            try:
                encoded = self._small(event.fd, found) if regular else None
                if encoded is None:
                    encoded = self._file(event, found) if regular else self._other(event, found)
            except SourceError as error:
                self._skip(join(event.path, found.name), error.reason)
        self._item_done()
        if encoded is None:
            return None
        size = stat.st_size
        if old is None:  # It may have become something else since it was listed.
            kind, size = kind_and_size(encoded)
            regular = kind == Kind.FILE
        if regular:
            self.tally.files += 1
            self.tally.source_bytes += size
        else:
            self.tally.others += 1
        return encoded

    def _small(self, directory_fd: int, found: Found) -> bytes | None:
        """Read a small plain file in the fewest steps and return its entry; None when it takes the long way.

        That is for what is large, sparse, empty, linked, attributed, or not as it was when it was listed.
        """
        name, stat = found
        size = stat.st_size
        if not 0 < size <= SMALL_BYTES or stat.st_nlink != 1 or is_sparse(stat):
            return None
        body = read_small(directory_fd, found)
        if body is None:
            return None
        chunk = self._parts.pipeline.add(ChunkType.DATA, body)
        self._bytes_read(size)
        return self._plain(Kind.FILE, name, stat, (chunk,))

    def _plain(self, kind: Kind, name: bytes, stat: os.stat_result, chunks: tuple[ChunkId, ...]) -> bytes | None:
        """Return the entry of what has one chunk and nothing odd, in one step; None when it takes the long way."""
        key = stat_key(stat_values(stat, self._device))
        if not key or len(chunks) != 1 or len(name) > MAX_NAME_BYTES:
            return None
        return plain_entry(kind, name, key, chunks[0])

    def _file(self, event: Entered, found: Found) -> bytes | None:
        """Read a regular file, again when it changes meanwhile, and return its entry."""
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or (found.stat.st_size > LARGE_BYTES and attempt >= LARGE_ATTEMPTS)
            try:
                with FileReader(event.fd, found) as reader:
                    before = reader.before
                    content, size, packs = self._files.store(reader, self._device(before.st_dev))
                    xattrs = reader.xattrs()
                    steady = size == before.st_size and not reader.changed()
                if steady or last:
                    break
            except Moved:
                if last:
                    raise
            found = look_again(event.fd, found.name)
            if not modes.S_ISREG(found.stat.st_mode):
                return self._special(event, found)
        self._lasting = steady and attempt == 1
        path = join(event.path, found.name)
        if not steady:
            self._skip(path, "it changed while being read; what was read is kept")
        if content.listed:
            self._listed[found.name] = packs
            self._parts.pipeline.needs.packs.update(packs)
        return self._encode(path, Entry(found.name, Kind.FILE, self._stat(before, size), content), xattrs)

    def _other(self, event: Entered, found: Found) -> bytes | None:
        """Return the entry of what is not a regular file, or has just become one."""
        try:
            return self._special(event, found)
        except Moved:
            found = look_again(event.fd, found.name)
        return self._file(event, found) if modes.S_ISREG(found.stat.st_mode) else self._special(event, found)

    def _special(self, event: Entered, found: Found) -> bytes | None:
        """Return the entry of what is not a regular file."""
        stat = found.stat
        kind = KINDS.get(modes.S_IFMT(stat.st_mode))
        if kind is None or kind is Kind.DIRECTORY:
            raise SourceError("it became a directory while being read" if kind else "it is of an unknown kind")
        target = link_target(event.fd, found.name) if kind is Kind.SYMLINK else b""
        device = kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE)
        rdev = (os.major(stat.st_rdev), os.minor(stat.st_rdev)) if device else (0, 0)
        entry = Entry(found.name, kind, self._stat(stat), target=target, rdev=rdev)
        return self._encode(join(event.path, found.name), entry, xattrs_of(event.fd, found.name))

    def _encode(self, path: bytes, entry: Entry, xattrs: Xattrs) -> bytes | None:
        """Return an entry's bytes. What the format does not take is reported: it never ends the job."""
        if xattrs.reason:
            self._lasting = False
            self._skip(path, xattrs.reason)
        try:
            try:
                return encode_entry(replace(entry, xattrs=xattrs.pairs) if xattrs.pairs else entry)
            except DataError as error:
                if not xattrs.pairs:
                    raise
                encoded = encode_entry(entry)
                self._skip(path, f"its extended attributes were not kept: {error}")
                return encoded
        except DataError as error:
            self._skip(path, str(error))
            return None

    def _store_tree(self, piece: bytes) -> ChunkId:
        return self._parts.pipeline.add(ChunkType.TREE, piece)

    def _stat(self, stat: os.stat_result, size: int | None = None) -> Stat:
        mode, uid, gid, listed, *rest = stat_values(stat, self._device)
        return Stat(mode, uid, gid, listed if size is None else size, *rest)

    def _device(self, number: int) -> int:
        """Return the order in which the walk met a file system."""
        known = self._devices.get(number)
        return self._meet(number) if known is None else known

    def _meet(self, number: int) -> int:
        """Number a file system. A snapshot has the number of its source: else every file in it would look changed."""
        source = self._parts.view.device(number)
        place = self._devices.setdefault(source, len(set(self._devices.values())))
        self._devices[number] = place
        return place

    def _skip(self, path: bytes, reason: str) -> None:
        self._report(Problem(path, reason))

    def _bytes_read(self, done: int) -> None:
        self._unseen_bytes += done
        if self._unseen_bytes >= _PROGRESS_EVERY:
            self._tick()

    def _item_done(self) -> None:
        self._unseen_items += 1
        if self._unseen_items >= 500:
            self._tick()

    def _tick(self) -> None:
        """Report progress, in steps that are worth a call."""
        self._parts.progress.advance(self._unseen_bytes, self._unseen_items)
        self._unseen_bytes = self._unseen_items = 0


def history_files(agent: Path) -> tuple[Path, Path]:
    """Return where the last and the interrupted job's histories lie."""
    trees = agent / "trees"
    return trees / "last.tree", trees / "partial.tree"
