"""From chunks to durable packs: with `wain.agent.packing`, the only place of a backup that has threads.

The reading thread names and deduplicates chunks and gathers them into segments; a small pool compresses and proves; one
writing thread seals segments into packs and sends them on. The queue between them is bounded in bytes, so memory does
not grow with the source. A failure of the sink stops everything and is raised to the caller of `add` or `flush`: it
can never look like a problem of a source file.
"""

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from wain.agent.packing import Packing, PipelineParts
from wain.base.errors import WriteFailed
from wain.base.ids import ChunkId, PackId
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType
from wain.pack.segment import Compressor, Segment
from wain.tree.manifest import PackRef

__all__ = ["Needs", "Pipeline", "PipelineParts"]

SEGMENT_BYTES: Final = 2 * MIB
"""Chunks are gathered until a segment holds this much plaintext;"""
ALONE_BYTES: Final = MIB
"""a chunk of this size or more stands alone: it would gain little in company, and is often wanted alone."""
QUEUE_BYTES: Final = 2 * MIB
"""Plaintext between reading and writing for each worker; the segment that goes beyond it still goes in."""
CHUNK_OVERHEAD_BYTES: Final = 256
"""What a chunk weighs beside its bytes: millions of tiny files must not fill memory with their ids."""
MAX_WORKERS: Final = 8


@dataclass(slots=True)
class Needs:
    """Where the data of one directory's files lies: in packs that exist, and in segments of this job."""

    packs: set[PackId] = field(default_factory=set)
    segments: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Gathering:
    """A segment that is being filled."""

    ordinal: int = 0
    bodies: list[bytes | memoryview] = field(default_factory=list)
    chunks: list[tuple[ChunkId, int]] = field(default_factory=list)
    weight: int = 0


class Pipeline:
    """One job's way from chunks to packs. `add` and `finish` belong to one thread.

    Use as a context manager: leaving it early, by an error or Ctrl-C, stops the threads and writes nothing more.
    """

    def __init__(self, parts: PipelineParts) -> None:
        self._parts = parts
        self._gathering = {kind: _Gathering() for kind in ChunkType}
        self._ordinal = 0
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._queued = 0
        self._error: BaseException | None = None
        self._stopped = False
        self._local = threading.local()
        workers = min(os.cpu_count() or 1, MAX_WORKERS)
        self._queue_bytes = QUEUE_BYTES * workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="compress")
        self._packing = Packing(parts, self._pool, self._fail)
        self._writer = threading.Thread(target=self._write, name="write", daemon=True)
        self._writer.start()
        self.needs = Needs()
        """Of the data that was added since the caller put these in place."""
        self.used: set[PackId] = set()
        """Packs of earlier runs that hold chunks this one needs."""
        self.new_bytes = 0
        """Plaintext bytes that had to be stored."""

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def packs(self) -> list[PackRef]:
        """The packs written so far; complete after `flush`."""
        return self._packing.packs

    @property
    def stored_bytes(self) -> int:
        """What the packs written so far occupy."""
        return sum(pack.stored_bytes for pack in self.packs)

    def segment_packs(self) -> list[PackId | None]:
        """Return which pack took each segment of data, by its ordinal (`Needs.segments`). Call after `flush`."""
        return self._packing.segment_packs()

    def add(self, kind: ChunkType, body: bytes | memoryview) -> ChunkId:
        """Name a chunk and see to it that it is stored. `body` must not change afterwards.

        Raises:
            WainError: the sink failed, now or earlier.
        """
        if self._error is not None:
            raise self._error
        chunk = self._parts.namer.name(kind, body)
        if kind is not ChunkType.INDEX and self._exists(kind, chunk):
            return chunk
        size = len(body)
        self.new_bytes += size
        if size >= ALONE_BYTES:
            ordinal = self._claim(kind, chunk)
            self._send(kind, _Gathering(ordinal, [body], [(chunk, size)], size))
            return chunk
        gathering = self._gathering[kind]
        if not gathering.chunks:
            gathering.ordinal = self._claim(kind, chunk)
        else:
            self._claim(kind, chunk, gathering.ordinal)
        gathering.bodies.append(body)
        gathering.chunks.append((chunk, size))
        gathering.weight += size + CHUNK_OVERHEAD_BYTES
        if gathering.weight >= SEGMENT_BYTES:
            self._send_gathered(kind)
        return chunk

    def need(self, chunk: ChunkId) -> None:
        """Note that a chunk of data, which was added before, is needed once more."""
        self._exists(ChunkType.DATA, chunk)

    def _exists(self, kind: ChunkType, chunk: ChunkId) -> bool:
        """Return True when the chunk is stored or in flight."""
        place = self._parts.known.place(chunk)
        if place is None:
            return False
        if isinstance(place, int):
            if kind is ChunkType.DATA:
                self.needs.segments.add(place)
            return True
        self.used.add(place)
        if kind is ChunkType.DATA:
            self.needs.packs.add(place)
        return True

    def _claim(self, kind: ChunkType, chunk: ChunkId, ordinal: int | None = None) -> int:
        """Mark a chunk as in flight; return the ordinal of its segment, a new one when none is given."""
        if kind is ChunkType.INDEX:
            return 0
        if ordinal is None:
            ordinal = self._ordinal
            self._ordinal += kind is ChunkType.DATA
        self._parts.known.claim(chunk, ordinal)
        if kind is ChunkType.DATA:
            self.needs.segments.add(ordinal)
        return ordinal

    def flush(self) -> None:
        """Return when everything added so far is in packs, and every pack is durable.

        Raises:
            WainError: the sink failed.
        """
        for kind in ChunkType:
            if self._gathering[kind].chunks:
                self._send_gathered(kind)
            self._queue.put(partial(self._packing.close, kind))
        self._queue.put(self._packing.wait)
        self._drain()
        self._parts.sink.commit()

    def _send_gathered(self, kind: ChunkType) -> None:
        gathering, self._gathering[kind] = self._gathering[kind], _Gathering()
        self._send(kind, gathering)

    def _send(self, kind: ChunkType, gathered: _Gathering) -> None:
        with self._room:
            # Woken by the writing thread, which also notes its own end; the time limit is for what nobody thought of.
            while self._queued >= self._queue_bytes and self._error is None and self._writer.is_alive():
                self._room.wait(1.0)
            self._queued += gathered.weight
        self._raise()
        future = self._pool.submit(self._compress, gathered.bodies, tuple(gathered.chunks))
        self._queue.put(partial(self._seal, kind, future, gathered.ordinal, gathered.weight))

    def _compress(self, bodies: list[bytes | memoryview], chunks: tuple[tuple[ChunkId, int], ...]) -> Segment:
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = Compressor(self._parts.level)
        return compressor.compress(bodies, chunks)

    def _drain(self) -> None:
        """Wait until the writing thread has done all it was sent."""
        done = threading.Event()
        self._queue.put(done.set)
        while not done.wait(0.2) and self._error is None and self._writer.is_alive():
            pass
        self._raise()

    def _raise(self) -> None:
        """Raise what ended the writing thread: nothing may go on as if it still wrote."""
        if self._error is not None:
            raise self._error
        if not self._writer.is_alive():
            raise WriteFailed("packs", "the writing thread has ended")

    def _stop(self) -> None:
        self._stopped = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._queue.put(None)
        self._writer.join()
        self._packing.stop()

    def _fail(self, error: BaseException) -> None:
        """Take note of what ended a thread; the first error is the one that is raised."""
        with self._room:
            if self._error is None:
                self._error = error
            self._room.notify_all()

    def _write(self) -> None:
        try:
            while (step := self._queue.get()) is not None and not self._stopped:
                step()
        except BaseException as error:  # noqa: BLE001 (raised again in the reading thread)
            self._fail(error)

    def _seal(self, kind: ChunkType, compressed: "Future[Segment]", ordinal: int, weight: int) -> None:
        self._packing.seal(kind, compressed.result(), ordinal)
        with self._room:
            self._queued -= weight
            self._room.notify_all()
