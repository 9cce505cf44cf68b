"""Decodes segments for a mounted point: the only place of a mount that has threads.

Whoever reads asks for chunks from one thread. Segments are fetched, decrypted, decompressed and proven in a small pool,
those that will be needed next ahead of time, and kept while there is room.
"""

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

from wain.agent.file_ranges import Part
from wain.agent.point_packs import PointPacks, StillTravelling
from wain.base.errors import Corrupt, DataError, Missing, RemoteError
from wain.base.ids import ChunkId, PackId
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType, Namer
from wain.pack.reader import PackReader
from wain.pack.verify import pack_words

CACHE_BYTES: Final = 64 * MIB
"""Plaintext that is kept, what is being decoded included."""
WORKERS: Final = 2


@dataclass(slots=True)
class _Segment:
    """A segment that is decoded or being decoded. `proven` are the chunks in it that gave their name."""

    plain: Future[bytes]
    size: int
    proven: set[ChunkId]


class SegmentPool:
    """Chunks of data packs, proven by their ids. Use it from one thread, as a context manager."""

    def __init__(self, namer: Namer) -> None:
        self._namer = namer
        self._pool = ThreadPoolExecutor(WORKERS, "wain-mount")
        self._segments: OrderedDict[tuple[PackId, int], _Segment] = OrderedDict()
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._segments.clear()

    def read(self, packs: PointPacks, part: Part) -> memoryview:
        """Return a part of a chunk.

        Raises:
            DataError: stored bytes are wrong or missing; StillTravelling, RemoteError: they are not at hand.
        """
        home = part.home
        key = (home.pack, home.segment)
        segment = self._segment(packs, part)
        try:
            plain = memoryview(segment.plain.result())
        except BaseException:
            self._drop(key)  # What failed once may work later.
            raise
        if part.chunk not in segment.proven:
            self._prove(part, plain)
            segment.proven.add(part.chunk)
        return plain[home.offset + part.start : home.offset + part.end]

    def ahead(self, packs: PointPacks, parts: Iterable[Part]) -> None:
        """Begin to decode what will be asked for soon. What is wrong is said when it is asked for."""
        try:
            for part in parts:
                self._segment(packs, part)
        except (DataError, StillTravelling, RemoteError):
            return

    def _segment(self, packs: PointPacks, part: Part) -> _Segment:
        key = (part.home.pack, part.home.segment)
        found = self._segments.get(key)
        if found is not None:
            self._segments.move_to_end(key)
            return found
        reader = packs.reader(part.home.pack)
        if part.home.segment >= len(reader.segments):
            raise Missing(f"segment {part.home.segment} of {pack_words(part.home.pack)}")
        size = reader.segments[part.home.segment].plain
        found = _Segment(self._pool.submit(self._decode, packs, reader, part), size, {part.chunk})
        self._segments[key] = found
        self._bytes += size
        while self._bytes > CACHE_BYTES and len(self._segments) > 1:
            self._drop(next(iter(self._segments)))
        return found

    def _drop(self, key: tuple[PackId, int]) -> None:
        gone = self._segments.pop(key, None)
        if gone is not None:
            gone.plain.cancel()
            self._bytes -= gone.size

    # In the pool

    def _decode(self, packs: PointPacks, reader: PackReader, part: Part) -> bytes:
        row = reader.segments[part.home.segment]
        plain = reader.open_segment(part.home.segment, packs.read(reader.id, row.offset, row.stored))
        self._prove(part, memoryview(plain))
        return plain

    def _prove(self, part: Part, plain: memoryview) -> None:
        home = part.home
        body = plain[home.offset : home.offset + home.length]
        if len(body) != home.length or self._namer.name(ChunkType.DATA, body) != part.chunk:
            where = f"the bytes at {home.offset} of segment {home.segment} are not chunk {part.chunk.hex()}"
            raise Corrupt(pack_words(home.pack), where)
