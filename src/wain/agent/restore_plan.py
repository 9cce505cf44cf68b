"""Plans a restore: walks the selected part of a point, makes directories, and gathers which chunks go where.

What is wanted is handed out in batches, so that memory does not grow with the restore. Within a batch, wants are
grouped by pack and segment in the order in which the tree needs them first: a backup writes in tree order, so this
reads packs from front to back, each once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from wain.agent.browse import PointView, split_path
from wain.agent.point_packs import StillTravelling
from wain.agent.restore_landing import Item, Place
from wain.agent.restore_report import Tally
from wain.agent.restore_writer import RestoreWriter
from wain.base.errors import Corrupt, DataError, Malformed, WainError
from wain.base.ids import ChunkId, PackId
from wain.chunk.names import ChunkType
from wain.pack.index import Location
from wain.tree.entry import Entry, Kind

BATCH_CHUNKS: Final = 65_536
BATCH_FILES: Final = 8_192
BATCH_ALONE: Final = 512
"""Links and finished directories, while no content is to be read for which a larger batch would pay."""

Want = tuple[Item, int, int, int, ChunkId]
"""File; bytes of its data before the chunk; offset and length in the segment; the chunk."""


@dataclass(slots=True)
class Batch:
    """A bounded piece of a restore. `packs` maps pack -> segment -> wants, in the order of first need.

    After the wants are written: `links` are to be linked, then `left` directories get their metadata, in this order.
    """

    packs: dict[PackId, dict[int, list[Want]]] = field(default_factory=dict)
    links: list[Item] = field(default_factory=list)
    left: list[Place] = field(default_factory=list)
    chunks: int = 0
    files: int = 0

    @property
    def full(self) -> bool:
        """True when the batch should be run before more is planned."""
        most = BATCH_FILES if self.packs else BATCH_ALONE
        return self.chunks >= BATCH_CHUNKS or max(self.files, len(self.links), len(self.left)) >= most

    def add(self, home: Location, item: Item, at: int, chunk: ChunkId) -> None:
        """Want one chunk, which lies at `home`, for a file whose data has `at` bytes before it."""
        segments = self.packs.setdefault(home.pack, {})
        segments.setdefault(home.segment, []).append((item, at, home.offset, home.length, chunk))
        self.chunks += 1


class Planner:
    """Plans one restore. Directories, nodes and empty files are written while planning; content comes in batches."""

    def __init__(self, view: PointView, writer: RestoreWriter, tally: Tally) -> None:
        self._view = view
        self._writer = writer
        self._tally = tally
        self._batch = Batch()

    def batches(self, paths: Iterable[bytes]) -> Iterator[Batch]:
        """Yield what restoring these paths (all of the point when there are none) takes.

        Raises:
            Refused: a path is not in the point; nothing was written for it.
        """
        for item in self._files(paths):
            if item is not None:
                yield from self._content(item)
            elif self._batch.full:  # Links and empty directories, without any content between them.
                yield self._hand_out()
        yield self._batch

    def again(self, items: Iterable[Item]) -> Iterator[Batch]:
        """Yield what it takes to restore names on their own that could not be linked."""
        kept, self._batch = self._batch, Batch()
        for item in items:
            if item.entry.kind is not Kind.FILE:
                self._writer.nodes.node(item)
            elif self._writer.admit(item):
                yield from self._content(item)
        yield self._batch
        self._batch = kept

    # The tree

    def _files(self, paths: Iterable[bytes]) -> Iterator[Item | None]:
        """Walk the selected paths; write what has no content; yield the files that want some, and None for the rest."""
        stack = [Place(b"", b"")]
        for names in selection(paths):
            self._unwind(stack, b"/" + b"/".join(names[:-1]) if names[:-1] else b"")
            if self._lead_to(stack, names):
                yield from self._below(stack, b"/" + b"/".join(names))
        self._unwind(stack, b"")

    def _unwind(self, stack: list[Place], wanted: bytes) -> None:
        """Leave every open directory that does not lead to `wanted`."""
        while len(stack) > 1 and not _within(wanted, stack[-1].shown):
            self._batch.left.append(stack.pop())

    def _lead_to(self, stack: list[Place], names: tuple[bytes, ...]) -> bool:
        """Make the directories above a selected path; False when one of them is blocked."""
        for depth in range(len(stack), len(names)):
            shown = b"/" + b"/".join(names[:depth])
            place = self._writer.enter(stack[-1], self._view.entry(shown), shown, selected=False)
            if place is None:
                return False
            stack.append(place)
        return True

    def _below(self, stack: list[Place], path: bytes) -> Iterator[Item | None]:
        blocked = b""
        for shown, entry in self._view.walk(path, self._damaged):
            if blocked and _within(shown, blocked):
                continue
            self._unwind(stack, shown[: shown.rindex(b"/")])
            if entry.kind is Kind.DIRECTORY:
                place = self._enter(stack[-1], entry, shown)
                blocked = b"" if place else shown
                if place:
                    stack.append(place)
                yield None
            else:
                yield self._leaf(Item(stack[-1], entry, shown))

    def _enter(self, parent: Place, entry: Entry, shown: bytes) -> Place | None:
        try:
            return self._writer.enter(parent, entry, shown)
        except Malformed as error:
            self._tally.damage(shown, str(error))
            return None

    def _leaf(self, item: Item) -> Item | None:
        """Treat what is not a directory; return a file whose content is wanted."""
        key = item.link_key
        if key is not None and self._writer.links.meet(key, item.entry.stat.links):
            self._batch.links.append(item)
            return None
        try:
            if item.entry.kind is not Kind.FILE:
                self._writer.nodes.node(item)
                return None
            return item if self._writer.admit(item) else None
        except Malformed as error:
            self._tally.damage(item.shown, str(error))
            return None

    def _damaged(self, path: bytes, error: WainError) -> None:
        """Take note of a directory whose listing cannot be read: a part of what is below it is not restored."""
        record = self._tally.problem if isinstance(error, StillTravelling) else self._tally.damage
        record(path, f"its listing cannot be read: {error}")

    # Content

    def _content(self, item: Item) -> Iterator[Batch]:
        """Add a file's chunks to the batch, and yield the batch whenever it is full."""
        if item.data == 0:
            self._without_data(item)
            return
        self._batch.files += 1
        at = 0
        try:
            for chunk in self._view.file_chunks(item.entry):
                at += self._want(item, at, chunk)
                if self._batch.full:
                    yield self._hand_out()
                if item.failed:
                    return
            if at != item.data:
                raise Corrupt("the file", f"its chunks hold {at} bytes where it has {item.data}")
        except (DataError, StillTravelling) as error:
            self._writer.fail(item, str(error), damage=not isinstance(error, StillTravelling))

    def _want(self, item: Item, at: int, chunk: ChunkId) -> int:
        home = self._view.locate(chunk)
        if at + home.length > item.data:
            raise Corrupt("the file", f"its chunks hold more than its {item.data} bytes")
        if item.in_place:
            body = self._writer.existing(item, at, home.length)
            if len(body) == home.length and self._view.namer.name(ChunkType.DATA, body) == chunk:
                self._writer.passed(item, home.length)
                return home.length
        self._batch.add(home, item, at, chunk)
        return home.length

    def _without_data(self, item: Item) -> None:
        if item.in_place or item.starts:
            self._writer.finish(item)
        else:
            self._writer.whole(item, b"")

    def _hand_out(self) -> Batch:
        full, self._batch = self._batch, Batch()
        return full


def selection(paths: Iterable[bytes]) -> list[tuple[bytes, ...]]:
    """Return the components of the paths, in path order, without those that lie below another; all when empty.

    Raises:
        Refused: a path climbs with `..`.
    """
    chosen: list[tuple[bytes, ...]] = []
    for names in sorted({split_path(path) for path in paths}):
        if not chosen or names[: len(chosen[-1])] != chosen[-1]:
            chosen.append(names)
    return chosen or [()]


def _within(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory + b"/")
