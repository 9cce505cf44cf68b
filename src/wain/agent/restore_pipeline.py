"""Reads and decodes what a batch wants: the only place of a restore that has threads.

One thread reads packs front to back in large ranges; a small pool decrypts, decompresses and proves; the caller's
thread gets the results in order and writes. Between them at most `SEGMENTS_AHEAD` segments are in memory.
"""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wain.agent.point_packs import PointPacks, StillTravelling
from wain.agent.restore_plan import Batch, Want
from wain.base.errors import DataError, Missing, WainError
from wain.base.ids import ChunkId, PackId
from wain.base.sizes import MIB
from wain.chunk.names import ChunkType, Namer
from wain.pack.reader import PackReader
from wain.pack.verify import pack_words

WORKERS: Final = 2
SEGMENTS_AHEAD: Final = 6
RUN_BYTES: Final = 4 * MIB
"""Neighbouring segments are read together up to this size,"""
GAP_BYTES: Final = MIB
"""and across unwanted ones up to this size."""

Wants = list[Want]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One segment, opened. `bad` says why a chunk's bytes must not be used; the others are proven."""

    wants: Wants
    plain: memoryview
    bad: dict[ChunkId, str]


@dataclass(frozen=True, slots=True)
class Failed:
    """Wants whose segment cannot be had."""

    wants: Wants
    error: WainError


Result = Decoded | Failed


class Decoding:
    """Decodes one batch. Iterate over it; close it (or leave the `with` block) to stop its threads.

    Raises (iterating):
        RemoteError, or whatever else the vault raised: nothing more can be read now.
    """

    def __init__(self, batch: Batch, packs: PointPacks, namer: Namer) -> None:
        self._batch = batch
        self._packs = packs
        self._namer = namer
        self._results: queue.Queue[Future[Result] | None] = queue.Queue(SEGMENTS_AHEAD)
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._pool = ThreadPoolExecutor(WORKERS, "wain-decode")
        self._reading = threading.Thread(target=self._read, name="wain-read", daemon=True)

    def __enter__(self) -> "Decoding":
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._reading.is_alive():
            with suppress(queue.Empty):
                self._results.get(timeout=0.05)
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Result]:
        while (future := self._results.get()) is not None:
            yield future.result()
        if self._failure is not None:
            raise self._failure

    # In the reading thread

    def _read(self) -> None:
        try:
            for pack, segments in self._batch.packs.items():
                if self._stop.is_set():
                    return
                self._read_pack(pack, segments)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that iterates.
            self._failure = error
        finally:
            self._put(None)

    def _put(self, result: Future[Result] | None) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._results.put(result, timeout=0.05)
                return

    def _put_failed(self, wants: Wants, error: WainError) -> None:
        future: Future[Result] = Future()
        future.set_result(Failed(wants, error))
        self._put(future)

    def _read_pack(self, pack: PackId, segments: dict[int, Wants]) -> None:
        try:
            reader = self._packs.reader(pack)
        except (DataError, StillTravelling) as error:
            for wants in segments.values():
                self._put_failed(wants, error)
            return
        there = len(reader.segments)
        for number in [number for number in segments if number >= there]:
            self._put_failed(segments[number], Missing(f"segment {number} of {pack_words(pack)}"))
        for run in _runs(reader, sorted(number for number in segments if number < there)):
            if self._stop.is_set():
                return
            self._read_run(reader, run, segments)

    def _read_run(self, reader: PackReader, run: list[int], segments: dict[int, Wants]) -> None:
        rows = reader.segments
        start = rows[run[0]].offset
        try:
            stored = memoryview(self._packs.read(reader.id, start, rows[run[-1]].offset + rows[run[-1]].stored - start))
        except (DataError, StillTravelling) as error:
            for number in run:
                self._put_failed(segments[number], error)
            return
        for number in run:
            sealed = stored[rows[number].offset - start :][: rows[number].stored]
            self._put(self._pool.submit(self._decode, reader, number, sealed, segments[number]))

    # In the pool

    def _decode(self, reader: PackReader, number: int, sealed: memoryview, wants: Wants) -> Result:
        try:
            plain = memoryview(reader.open_segment(number, sealed))
        except DataError as error:
            return Failed(wants, error)
        bad: dict[ChunkId, str] = {}
        good: set[tuple[ChunkId, int, int]] = set()
        for _, _, offset, length, chunk in wants:
            if (chunk, offset, length) in good:
                continue
            body = plain[offset : offset + length]
            if len(body) == length and self._namer.name(ChunkType.DATA, body) == chunk:
                good.add((chunk, offset, length))
            else:
                where = f"the bytes at {offset} of segment {number} are not chunk {chunk.hex()}"
                bad[chunk] = f"{pack_words(reader.id)} is damaged: {where}, in {leaves_of(reader, number)}"
        return Decoded(wants, plain, bad)


def _runs(reader: PackReader, numbers: list[int]) -> Iterator[list[int]]:
    """Group wanted segments that lie close together, so that one read fetches them all."""
    rows = reader.segments
    run: list[int] = []
    for number in numbers:
        row = rows[number]
        if run:
            before = rows[run[-1]]
            far = row.offset - (before.offset + before.stored) > GAP_BYTES
            if far or row.offset + row.stored - rows[run[0]].offset > RUN_BYTES:
                yield run
                run = []
        run.append(number)
    if run:
        yield run


def leaves_of(reader: PackReader, number: int) -> str:
    """Return the leaves that a segment's stored bytes lie in, for people."""
    row = reader.segments[number]
    first, last = row.offset // MIB, (row.offset + row.stored - 1) // MIB
    return f"leaf {first}" if first == last else f"leaves {first} to {last}"
