"""Where the bytes of a file lie: its holes, and which chunk holds which offset. Nothing here reads content.

A file has up to many millions of chunks, and only the index knows how long each is. So lengths are looked up in blocks
of `LIST_CHUNKS` chunks, in order, as far as somebody has read; a few blocks are kept, and of the others only where they
end.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from wain.agent.point_packs import StillTravelling
from wain.base.errors import Corrupt, DataError, WainError
from wain.base.ids import ChunkId
from wain.pack.index import Location
from wain.tree.entry import Content, Entry
from wain.tree.lists import LIST_CHUNKS

KEPT_BLOCKS: Final = 4
"""1.3 MiB each."""

HOLE: Final = -1
_WHAT: Final = "the file"


class Run(NamedTuple):
    """`length` bytes of a file: a hole when `data` is `HOLE`, else where they begin in the file's data."""

    data: int
    length: int


class Layout:
    """The holes of a file. Offsets are the file's; data is what its chunks hold end to end."""

    def __init__(self, entry: Entry) -> None:
        self.size = entry.stat.size
        self._starts = array("Q", [offset for offset, _ in entry.content.extents] or [0])
        self._lengths = array("Q", [length for _, length in entry.content.extents] or [self.size])
        self._data = array("Q", [0])
        for length in self._lengths:
            self._data.append(self._data[-1] + length)

    @property
    def data_bytes(self) -> int:
        """How many bytes are no hole."""
        return self._data[-1]

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        """Iterate over what makes up `length` bytes from `offset`, cut off at the end of the file."""
        at, end = offset, min(offset + length, self.size)
        number = max(bisect_right(self._starts, at) - 1, 0)
        while at < end:
            start = self._starts[number] if number < len(self._starts) else self.size
            stop = start + self._lengths[number] if number < len(self._starts) else self.size
            if at < start:
                yield Run(HOLE, min(start, end) - at)
                at = min(start, end)
            elif at < stop:
                yield Run(self._data[number] + at - start, min(stop, end) - at)
                at = min(stop, end)
            else:
                number += 1

    def next_data(self, offset: int) -> int | None:
        """Return the first offset from `offset` that is no hole, or None."""
        at = offset
        for run in self.runs(offset, self.size):
            if run.data != HOLE:
                return at
            at += run.length
        return None

    def next_hole(self, offset: int) -> int | None:
        """Return the first offset from `offset` in a hole (the end of the file is one), or None behind the end."""
        if offset >= self.size:
            return None
        at = offset
        for run in self.runs(offset, self.size):
            if run.data == HOLE:
                return at
            at += run.length
        return self.size


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to `end` (excluded) of one chunk, which lies at `home`."""

    chunk: ChunkId
    home: Location
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Block:
    """Some chunks of a file, and where each ends in its data. `error` says why there are no more of them."""

    chunks: Sequence[ChunkId]
    ends: "array[int]"
    error: WainError | None = None


class ChunkMap:
    """Finds the chunks of a range of a file's data. `read_list` returns the ids of a chunk list.

    Raises (all methods):
        DataError: lists or index are wrong, or the chunks do not add up to the file.
        StillTravelling, RemoteError: the lists, or this part of the index, are not at hand.
    """

    def __init__(
        self,
        content: Content,
        data_bytes: int,
        locate: Callable[[ChunkId], Location],
        read_list: Callable[[ChunkId], Sequence[ChunkId]],
    ) -> None:
        self._content = content
        self._data_bytes = data_bytes
        self._locate = locate
        self._read_list = read_list
        self._count = len(content.chunks) if content.listed else -(-len(content.chunks) // LIST_CHUNKS)
        self._ends = array("Q")
        """Where each block ends, as far as is known."""
        self._blocks: OrderedDict[int, _Block] = OrderedDict()

    def parts(self, start: int, end: int) -> Iterator[Part]:
        """Iterate over the parts of chunks that hold the data from `start` to `end` (excluded)."""
        at = start
        while at < end:
            number = self._find(at)
            block = self._block(number)
            place = bisect_right(block.ends, at)
            if place == len(block.ends):
                raise block.error or self._wrong(f"its chunks end at {at}")
            before = block.ends[place - 1] if place else self._start(number)
            stop = min(end, block.ends[place])
            chunk = block.chunks[place]
            yield Part(chunk, self._locate(chunk), at - before, stop - before)
            at = stop

    def _find(self, at: int) -> int:
        """Return the block that holds the data at `at`, looking up lengths as far as needed."""
        while not self._ends or self._ends[-1] <= at:
            number = len(self._ends)
            if number == self._count:
                raise self._wrong(f"its chunks hold {self._start(number)} bytes where it has {self._data_bytes}")
            block = self._block(number)
            if block.error is not None:
                return number
            self._ends.append(block.ends[-1])
        return bisect_right(self._ends, at)

    def _start(self, number: int) -> int:
        return self._ends[number - 1] if number else 0

    def _block(self, number: int) -> _Block:
        found = self._blocks.get(number)
        if found is not None:
            self._blocks.move_to_end(number)
            return found
        found = self._measure(self._chunks(number), self._start(number))
        if number == self._count - 1 and found.error is None and found.ends[-1] != self._data_bytes:
            raise self._wrong(f"its chunks hold {found.ends[-1]} bytes where it has {self._data_bytes}")
        self._blocks[number] = found
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return found

    def _chunks(self, number: int) -> Sequence[ChunkId]:
        chunks = self._content.chunks
        if self._content.listed:
            return self._read_list(chunks[number])
        return chunks[number * LIST_CHUNKS : (number + 1) * LIST_CHUNKS]

    def _measure(self, chunks: Sequence[ChunkId], start: int) -> _Block:
        """Add up the lengths of chunks, as far as the index knows them: what lies before a gap can be read."""
        ends, at = array("Q"), start
        try:
            for chunk in chunks:
                at += self._locate(chunk).length
                ends.append(at)
        except (DataError, StillTravelling) as error:
            return _Block(chunks, ends, error)
        return _Block(chunks, ends)

    def _wrong(self, where: str) -> Corrupt:
        return Corrupt(_WHAT, where)
