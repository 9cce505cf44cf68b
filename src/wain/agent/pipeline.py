"""From chunks to durable packs: the only place of a backup that has threads.

The reading thread names and deduplicates chunks and gathers them into segments; a small pool compresses; one writing
thread seals segments into packs, proves each pack, logs it and hands it to the sink. The queue between them is bounded
in bytes, so memory does not grow with the source. A failure of the sink stops everything and is raised to the caller
of `add` or `finish`: it can never look like a problem of a source file.
"""

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from wain.agent.known import KnownChunks
from wain.base.errors import WriteFailed
from wain.base.ids import ChunkId, PackId
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType, Namer
from wain.pack.cipher import KEY_BYTES, PackKey
from wain.pack.format import SALT_BYTES
from wain.pack.segment import LEVEL, Compressor, Segment
from wain.pack.writer import PackFor, PackWriter, SealedPack
from wain.tree.manifest import PackRef

SEGMENT_BYTES: Final = MIB
"""Chunks are gathered until a segment holds this much plaintext; a chunk of this size or more stands alone."""
QUEUE_BYTES: Final = 24 * MIB
"""Plaintext between reading and writing, at most."""
CHUNK_OVERHEAD_BYTES: Final = 256
"""What a chunk weighs beside its bytes: millions of tiny files must not fill memory with their ids."""
PACK_CHUNKS: Final = 1 << 17
"""A pack with so many chunks is closed early, because they are held in memory until it is."""
MAX_WORKERS: Final = 8


class PackSink(Protocol):
    """Where packs rest: a device or a vault.

    Raises: `OutOfSpace`, `WriteFailed`, `DeviceLost`, `RemoteError`: never anything about the source.
    """

    def put(self, pack: SealedPack) -> None:
        """Take a pack. It is durable after the next `commit`, at the latest."""

    def commit(self) -> object:
        """Return when every pack taken so far is durable."""


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What a pipeline works with."""

    owner: PackFor
    namer: Namer
    known: KnownChunks
    sink: PackSink
    level: int = LEVEL


@dataclass(slots=True)
class _Gathering:
    """A segment that is being filled."""

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
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._queued = 0
        self._error: BaseException | None = None
        self._stopped = False
        self._local = threading.local()
        self._open: dict[ChunkType, PackWriter] = {}
        self._pool = ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_WORKERS), thread_name_prefix="compress")
        self._writer = threading.Thread(target=self._write, name="write", daemon=True)
        self._writer.start()
        self.packs: list[PackRef] = []
        """The packs written so far; complete after `flush`."""
        self.used: set[PackId] = set()
        """Packs of earlier runs that hold chunks this one needs."""
        self.new_bytes = 0
        """Plaintext bytes that had to be stored."""

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def stored_bytes(self) -> int:
        """What the packs written so far occupy."""
        return sum(pack.stored_bytes for pack in self.packs)

    def add(self, kind: ChunkType, body: bytes | memoryview) -> ChunkId:
        """Name a chunk and see to it that it is stored. `body` must not change afterwards.

        Raises:
            WainError: the sink failed, now or earlier.
        """
        if self._error is not None:
            raise self._error
        chunk = self._parts.namer.name(kind, body)
        if kind is not ChunkType.INDEX and self._exists(chunk):
            return chunk
        size = len(body)
        self.new_bytes += size
        if size >= SEGMENT_BYTES:
            self._send(kind, [body], [(chunk, size)], size)
            return chunk
        gathering = self._gathering[kind]
        gathering.bodies.append(body)
        gathering.chunks.append((chunk, size))
        gathering.weight += size + CHUNK_OVERHEAD_BYTES
        if gathering.weight >= SEGMENT_BYTES:
            self._send_gathered(kind)
        return chunk

    def _exists(self, chunk: ChunkId) -> bool:
        """Return True when the chunk is stored or in flight; else mark it as in flight."""
        known = self._parts.known
        if known.claim(chunk):
            return False
        pack = known.pack_of(chunk)
        if pack is not None:
            self.used.add(pack)
        return True

    def flush(self) -> None:
        """Return when everything added so far is in packs, and every pack is durable.

        Raises:
            WainError: the sink failed.
        """
        for kind in ChunkType:
            if self._gathering[kind].chunks:
                self._send_gathered(kind)
            self._queue.put(partial(self._close_pack, kind))
        self._run_on_writer(self._parts.sink.commit)

    def _send_gathered(self, kind: ChunkType) -> None:
        gathering, self._gathering[kind] = self._gathering[kind], _Gathering()
        self._send(kind, gathering.bodies, gathering.chunks, gathering.weight)

    def _send(
        self, kind: ChunkType, bodies: list[bytes | memoryview], chunks: list[tuple[ChunkId, int]], weight: int
    ) -> None:
        with self._room:
            # Woken by the writing thread, which also notes its own end; the time limit is for what nobody thought of.
            while self._queued >= QUEUE_BYTES and self._error is None and self._writer.is_alive():
                self._room.wait(1.0)
            self._queued += weight
        self._raise()
        future = self._pool.submit(self._compress, bodies, tuple(chunks))
        self._queue.put(partial(self._seal, kind, future, weight))

    def _compress(self, bodies: list[bytes | memoryview], chunks: tuple[tuple[ChunkId, int], ...]) -> Segment:
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = Compressor(self._parts.level)
        return compressor.compress(bodies, chunks)

    def _run_on_writer(self, action: Callable[[], object]) -> None:
        """Wait until the writing thread has done all it was sent, then act in its place."""
        done = threading.Event()
        self._queue.put(done.set)
        while not done.wait(0.2) and self._error is None and self._writer.is_alive():
            pass
        self._raise()
        action()

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

    def _write(self) -> None:
        try:
            while (step := self._queue.get()) is not None and not self._stopped:
                step()
        except BaseException as error:  # noqa: BLE001 (raised again in the reading thread)
            with self._room:
                self._error = error
                self._room.notify_all()

    def _seal(self, kind: ChunkType, compressed: "Future[Segment]", weight: int) -> None:
        segment = compressed.result()
        open_pack = self._open.get(kind)
        if open_pack and (not open_pack.has_room(segment) or open_pack.chunk_count >= PACK_CHUNKS):
            self._close_pack(kind)
        if kind not in self._open:
            key = PackKey(os.urandom(KEY_BYTES))
            self._open[kind] = PackWriter(kind, self._parts.owner, key, os.urandom(SALT_BYTES))
        self._open[kind].add(segment)
        with self._room:
            self._queued -= weight
            self._room.notify_all()

    def _close_pack(self, kind: ChunkType) -> None:
        writer = self._open.pop(kind, None)
        if writer is None:
            return
        pack = writer.finish(self._parts.namer)
        known, sink = self._parts.known, self._parts.sink
        known.log(pack)
        sink.put(pack)
        known.settle(pack)
        self.packs.append(PackRef(pack.id, pack.kind, len(pack.stored)))
        if known.crowded():
            sink.commit()
            known.spill()
