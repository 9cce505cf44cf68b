"""The writing side of a backup's pipeline: from compressed segments to durable packs.

`seal` and `close` belong to the writing thread. Each sealed segment is proved by the pool before its bytes leave. A
closed pack is settled (logged, made durable, counted) by a thread of its own, so that the next one fills while the
medium works. Packs settle in the order in which they were closed.
"""

import os
from array import array
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from wain.agent.known import KnownChunks
from wain.agent.sinks import PackDraft, PackSink
from wain.base.ids import PackId
from wain.chunk.names import ChunkType, Namer
from wain.pack.cipher import KEY_BYTES, PackKey
from wain.pack.format import SALT_BYTES
from wain.pack.segment import LEVEL, Segment
from wain.pack.writer import FinishedPack, PackFor, PackWriter, SealedSegment
from wain.tree.manifest import PackRef

PACK_CHUNKS: Final = 1 << 16
"""A pack with so many chunks is closed early, because they are held in memory until it is."""
PROOFS_AHEAD: Final = 2
"""Sealed segments that may wait for their proof."""
TRACKED_SEGMENTS: Final = 1 << 24
"""For so many segments of a job it is remembered which pack took them (4 bytes each)."""
_UNKNOWN: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What a pipeline works with."""

    owner: PackFor
    namer: Namer
    known: KnownChunks
    sink: PackSink
    level: int = LEVEL


@dataclass(slots=True)
class _OpenPack:
    """A pack that is being filled: its number in this job, and the segments whose proof is under way."""

    number: int
    writer: PackWriter
    draft: PackDraft
    unproved: deque[tuple[Future[None], SealedSegment]] = field(default_factory=deque)


class Packing:
    """Open packs of one job, one for each chunk type. `failed` is told of what ends the settling thread.

    Raises (all methods):
        WainError: the sink failed. Corrupt: a segment or pack does not open to what was added (bad memory).
    """

    def __init__(self, parts: PipelineParts, pool: Executor, failed: Callable[[BaseException], None]) -> None:
        self._parts = parts
        self._pool = pool
        self._failed = failed
        self._open: dict[ChunkType, _OpenPack] = {}
        self._settler = ThreadPoolExecutor(1, thread_name_prefix="settle")
        self._settling: Future[None] | None = None
        self._numbers = array("I")
        """The number of the pack that took a segment of data, by the segment's ordinal."""
        self._begun = 0
        self._ids: dict[int, PackId] = {}
        self.packs: list[PackRef] = []
        """The packs that are settled, in order."""

    def seal(self, kind: ChunkType, segment: Segment, ordinal: int) -> None:
        """Put a segment into a pack. Segments of data carry their ordinal in this job."""
        here = self._open.get(kind)
        if here and (not here.writer.has_room(segment) or here.writer.chunk_count >= PACK_CHUNKS):
            self.close(kind)
            here = None
        if here is None:
            here = self._open[kind] = self._begin(kind)
        if kind is ChunkType.DATA:
            self._track(ordinal, here.number)
        sealed = here.writer.seal(segment)
        here.unproved.append((self._pool.submit(here.writer.prove, sealed, self._parts.namer), sealed))
        while len(here.unproved) > PROOFS_AHEAD:
            _write_oldest(here)

    def _begin(self, kind: ChunkType) -> _OpenPack:
        writer = PackWriter(kind, self._parts.owner, PackKey(os.urandom(KEY_BYTES)), os.urandom(SALT_BYTES))
        here = _OpenPack(self._begun, writer, self._parts.sink.draft())
        self._begun += 1
        here.draft.write(writer.header)
        return here

    def _track(self, ordinal: int, number: int) -> None:
        if ordinal >= TRACKED_SEGMENTS:
            return
        while len(self._numbers) <= ordinal:
            self._numbers.append(_UNKNOWN)
        self._numbers[ordinal] = number

    def close(self, kind: ChunkType) -> None:
        """Finish the open pack of a type, if there is one, and have it settled."""
        here = self._open.get(kind)
        if here is None:
            return
        while here.unproved:
            _write_oldest(here)
        tail, pack = here.writer.finish()
        here.draft.write(tail)
        self.wait()
        del self._open[kind]
        self._settling = self._settler.submit(self._settle, here, pack)

    def wait(self) -> None:
        """Return when every closed pack is settled."""
        if self._settling is not None:
            self._settling.result()
            self._settling = None

    def stop(self) -> None:
        """Let go of everything; what is not settled is not promised."""
        self._settler.shutdown(wait=True, cancel_futures=True)
        for here in self._open.values():
            with suppress(Exception):  # What stops the job is the news, not that its leftovers resist.
                here.draft.close()
        self._open.clear()

    def segment_packs(self) -> list[PackId | None]:
        """Return which pack took each segment of data, by its ordinal; None for what is not settled. After `wait`."""
        return [self._ids.get(number) for number in self._numbers]

    # In the settling thread

    def _settle(self, here: _OpenPack, pack: FinishedPack) -> None:
        try:
            known, sink = self._parts.known, self._parts.sink
            known.log(pack)
            try:
                here.draft.finish(pack)
            finally:
                here.draft.close()
            known.settle(pack)
            self._ids[here.number] = pack.id
            self.packs.append(PackRef(pack.id, pack.kind, pack.stored_bytes))
            if known.crowded():
                sink.commit()
                known.spill()
        except BaseException as error:
            self._failed(error)
            raise


def _write_oldest(here: _OpenPack) -> None:
    """Send the oldest sealed segment on, once it is proved."""
    proof, sealed = here.unproved.popleft()
    proof.result()
    here.draft.write(sealed.stored)
