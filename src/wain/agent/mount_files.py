"""One open file of a mounted point: any range of it, decoding only the segments that hold it."""

from typing import Final

from wain.agent.browse import PointView
from wain.agent.file_ranges import HOLE, ChunkMap, Layout
from wain.agent.mount_pipeline import SegmentPool
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType
from wain.tree.entry import Entry
from wain.tree.lists import decode_list

LEAST_AHEAD_BYTES: Final = 2 * MIB
MOST_AHEAD_BYTES: Final = 16 * MIB
"""How far ahead of a reader who goes from front to back segments are decoded."""
_NEAR_BYTES: Final = MIB
"""A read that begins within this of where the last one ended goes on; kernels ask a little out of order."""


class OpenFile:
    """Reads one file.

    Raises (reading):
        DataError: stored bytes are wrong or missing; StillTravelling, RemoteError: they are not at hand.
    """

    def __init__(self, view: PointView, entry: Entry, pool: SegmentPool) -> None:
        self._packs = view.packs
        self._pool = pool
        self.layout = Layout(entry)
        self._map = ChunkMap(
            entry.content,
            self.layout.data_bytes,
            view.locate,
            lambda chunk: decode_list(view.read_chunk(ChunkType.TREE, chunk)),
        )
        self._expected = 0
        """Where the data of the next read begins, if the reader goes on."""
        self._window = 0
        self._fetched = 0
        """Up to where segments were asked for ahead."""

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`: fewer than `length` only at the end of the file."""
        out: list[bytes | memoryview] = []
        for run in self.layout.runs(offset, length):
            if run.data == HOLE:
                out.append(bytes(run.length))
                continue
            end = run.data + run.length
            out.extend(self._pool.read(self._packs, part) for part in self._map.parts(run.data, end))
            self._look_ahead(run.data, end)
        return b"".join(out)

    def _look_ahead(self, start: int, end: int) -> None:
        """Have the segments behind a read decoded, more of them the longer the reader goes straight on."""
        goes_on = start and abs(start - self._expected) <= _NEAR_BYTES
        self._expected = end
        if not goes_on:
            self._window = self._fetched = 0
            return
        self._window = min(max(self._window * 2, LEAST_AHEAD_BYTES), MOST_AHEAD_BYTES)
        first, last = max(end, self._fetched), min(end + self._window, self.layout.data_bytes)
        # Not for every small read: half a window at a time.
        if last - first >= self._window // 2 or last == self.layout.data_bytes > first:
            self._pool.ahead(self._packs, self._map.parts(first, last))
            self._fetched = last
