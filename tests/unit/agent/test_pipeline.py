"""The pipeline: every chunk in exactly one durable pack, and every fault of the sink raised, in any thread."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unit.agent.engine import MemorySink
from unit.pack.packing import NAMER, OWNER, RESTORE
from wain.agent import packing
from wain.agent import pipeline as pipelines
from wain.agent.known import KnownChunks
from wain.agent.pipeline import Needs, Pipeline, PipelineParts
from wain.base.errors import DeviceLost, OutOfSpace, WriteFailed
from wain.base.ids import ChunkId
from wain.chunk.names import ChunkType
from wain.pack.reader import PackReader
from wain.pack.segment import Compressor
from wain.pack.writer import PackFor

KIB = 1024
SMALL_PACKS = PackFor(OWNER.registration, OWNER.restore_public, 256 * KIB)


@contextmanager
def running(tmp_path: Path, sink: object, owner: PackFor = SMALL_PACKS) -> Iterator[Pipeline]:
    known = KnownChunks(tmp_path / "index")
    threads = threading.active_count()
    try:
        with Pipeline(PipelineParts(owner, NAMER, known, sink, level=1)) as pipeline:
            yield pipeline
    finally:
        known.close()
        assert threading.active_count() == threads, "a thread was left"


def contents(sink: MemorySink) -> dict[ChunkId, bytes]:
    found = {}
    for one in sink.packs.values():
        reader = PackReader(lambda at, size, body=one.stored: body[at : at + size], len(one.stored), one.id, RESTORE)
        for chunk in reader.index.chunks:
            assert chunk.chunk not in found, "a chunk was stored twice"
            found[chunk.chunk] = reader.chunk(chunk)
    return found


def test_everything_added_is_in_durable_packs_after_flush(tmp_path: Path) -> None:
    sink = MemorySink()
    bodies = [os.urandom(40_000) for _ in range(30)] + [b"text " * 300_000, b"tiny"]
    with running(tmp_path, sink) as pipeline:
        chunks = [pipeline.add(ChunkType.DATA, body) for body in bodies]
        again = [pipeline.add(ChunkType.DATA, body) for body in bodies]
        pipeline.flush()
        assert again == chunks
        assert {ref.id for ref in pipeline.packs} == sink.durable == set(sink.packs)
        assert pipeline.new_bytes == sum(map(len, bodies))
    assert contents(sink) == dict(zip(chunks, bodies, strict=True))


def test_types_are_packed_apart(tmp_path: Path) -> None:
    sink = MemorySink()
    with running(tmp_path, sink) as pipeline:
        ids = {kind: pipeline.add(kind, b"the same bytes") for kind in ChunkType}
        pipeline.flush()
    assert len(set(ids.values())) == 3
    assert sorted(one.kind for one in sink.packs.values()) == sorted(ChunkType)


def test_chunks_of_earlier_runs_are_used_and_not_stored(tmp_path: Path) -> None:
    first = MemorySink()
    with running(tmp_path, first) as pipeline:
        pipeline.add(ChunkType.DATA, b"old")
        pipeline.flush()
    second = MemorySink()
    with running(tmp_path, second) as pipeline:
        pipeline.add(ChunkType.DATA, b"old")
        pipeline.flush()
        assert pipeline.used == set(first.packs)
    assert not second.packs


@pytest.mark.parametrize(
    "error", [WriteFailed("t", "no"), OutOfSpace("t", 2, 1), DeviceLost("t"), RuntimeError("bug"), OSError(28, "full")]
)
@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_failing_sink_ends_everything(tmp_path: Path, error: Exception, at: int) -> None:
    sink = MemorySink(fail_at=at, error=error)
    with pytest.raises(type(error)) as caught, running(tmp_path, sink) as pipeline:  # noqa: PT012
        for _ in range(150):
            pipeline.add(ChunkType.DATA, os.urandom(100_000))
        pipeline.flush()
    assert caught.value is error
    assert len(sink.packs) == at - 1


def test_a_dead_sink_is_noticed_by_adding_what_is_known_too(tmp_path: Path) -> None:
    """An unchanged source must not be walked for hours after the sink has died."""
    sink = MemorySink(fail_at=1)
    with pytest.raises(WriteFailed), running(tmp_path, sink) as pipeline:  # noqa: PT012
        pipeline.add(ChunkType.DATA, b"x")
        with pytest.raises(WriteFailed):
            pipeline.flush()
        for _ in range(10):
            pipeline.add(ChunkType.DATA, b"x")


def test_the_chunks_of_a_failed_pack_are_not_taken_as_present_by_the_next_run(tmp_path: Path) -> None:
    bodies = [os.urandom(100_000) for _ in range(40)]
    broken = MemorySink(fail_at=2)
    with pytest.raises(WriteFailed), running(tmp_path, broken) as pipeline:  # noqa: PT012
        for body in bodies:
            pipeline.add(ChunkType.DATA, body)
        pipeline.flush()
    known = KnownChunks(tmp_path / "index")
    known.settle_presence(pack for pack in known.packs if pack not in broken.packs)
    sink = MemorySink()
    with Pipeline(PipelineParts(SMALL_PACKS, NAMER, known, sink)) as pipeline:
        for body in bodies:
            pipeline.add(ChunkType.DATA, body)
        pipeline.flush()
        used = set(pipeline.used)
    assert used <= set(broken.packs)
    kept = contents(broken) | contents(sink)
    assert sorted(kept.values()) == sorted(bodies)


def test_a_failing_commit_is_raised(tmp_path: Path) -> None:
    class NoCommit(MemorySink):
        def commit(self) -> None:
            raise WriteFailed("t", "the last sync failed")

    with pytest.raises(WriteFailed, match="last sync"), running(tmp_path, NoCommit()) as pipeline:  # noqa: PT012
        pipeline.add(ChunkType.DATA, b"x")
        pipeline.flush()


def test_bad_memory_in_the_pool_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wain.base.errors import DataError  # noqa: PLC0415

    real = Compressor.compress

    def flipped(self: Compressor, bodies: list[bytes], chunks: object) -> object:
        body = bytearray(b"".join(bodies))
        body[len(body) // 2] ^= 1
        return real(self, [bytes(body)], chunks)

    monkeypatch.setattr(Compressor, "compress", flipped)
    sink = MemorySink()
    with pytest.raises(DataError), running(tmp_path, sink) as pipeline:  # noqa: PT012
        pipeline.add(ChunkType.DATA, os.urandom(5000))
        pipeline.flush()
    assert not sink.packs


def test_the_reader_waits_for_a_slow_sink_and_memory_stays_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pipelines, "QUEUE_BYTES", 2 << 20)
    gate = threading.Event()

    class Slow(MemorySink):
        def put(self, pack: object) -> None:
            gate.wait(10)
            super().put(pack)

    added = []

    def feed(pipeline: Pipeline) -> None:
        for _ in range(30):
            pipeline.add(ChunkType.DATA, os.urandom(1 << 20))
            added.append(1)

    with running(tmp_path, Slow()) as pipeline:
        feeder = threading.Thread(target=feed, args=(pipeline,))
        feeder.start()
        time.sleep(0.5)
        assert len(added) <= 8
        gate.set()
        feeder.join(20)
        assert len(added) == 30
        pipeline.flush()
        assert pipeline._queued == 0


def test_the_reader_does_not_wait_for_ever_when_the_sink_dies_while_it_waits(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pipelines, "QUEUE_BYTES", 1 << 19)

    class DiesLate(MemorySink):
        def put(self, pack: object) -> None:
            time.sleep(0.3)
            raise DeviceLost("unplugged")

    with pytest.raises(DeviceLost), running(tmp_path, DiesLate()) as pipeline:  # noqa: PT012
        for _ in range(50):
            pipeline.add(ChunkType.DATA, os.urandom(1 << 20))


def test_ctrl_c_stops_the_threads_and_writes_nothing_more(tmp_path: Path) -> None:
    sink = MemorySink()
    with pytest.raises(KeyboardInterrupt), running(tmp_path, sink) as pipeline:  # noqa: PT012
        for _ in range(20):
            pipeline.add(ChunkType.DATA, os.urandom(200_000))
        raise KeyboardInterrupt
    written = set(sink.packs)
    time.sleep(0.1)
    assert set(sink.packs) == written


def test_tiny_files_do_not_fill_segments_with_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PACK_CHUNKS", 5000)
    sink = MemorySink()
    with running(tmp_path, sink, OWNER) as pipeline:
        for number in range(12_000):
            pipeline.add(ChunkType.DATA, b"%d" % number)
        pipeline.flush()
    assert len(sink.packs) == 2
    per_segment: dict[tuple[bytes, int], int] = {}
    for one in sink.packs.values():
        for chunk in one.chunks:
            key = (one.id, chunk.segment)
            per_segment[key] = per_segment.get(key, 0) + 1
    assert max(per_segment.values()) <= pipelines.SEGMENT_BYTES // pipelines.CHUNK_OVERHEAD_BYTES
    assert len(contents(sink)) == 12_000


def test_spilling_in_the_middle_commits_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wain.agent.known.SPILL_CHUNKS", 3)

    class Watching(MemorySink):
        def commit(self) -> None:
            super().commit()

    sink = Watching()
    bodies = [os.urandom(150_000) for _ in range(60)]
    known = KnownChunks(tmp_path / "index")
    real = known.spill
    seen = []

    def spill() -> None:
        seen.append(known.packs.keys() <= sink.durable)
        real()

    monkeypatch.setattr(known, "spill", spill)
    with Pipeline(PipelineParts(SMALL_PACKS, NAMER, known, sink)) as pipeline:
        for body in bodies * 2:
            pipeline.add(ChunkType.DATA, body)
        pipeline.flush()
    assert len(seen) > 2
    assert all(seen), "a table named a pack that was not durable"
    assert len(contents(sink)) == 60


def test_needs_say_where_the_data_of_a_run_lies(tmp_path: Path) -> None:
    """What is stored now, what is in flight and what an earlier run stored: each is found again by segment or pack."""
    early = MemorySink()
    with running(tmp_path, early) as pipeline:
        pipeline.add(ChunkType.DATA, b"early")
        pipeline.flush()
    sink = MemorySink()
    with running(tmp_path, sink) as pipeline:
        first = pipeline.needs = Needs()
        one = pipeline.add(ChunkType.DATA, b"one")
        large = pipeline.add(ChunkType.DATA, os.urandom(3 << 20))
        second = pipeline.needs = Needs()
        pipeline.add(ChunkType.DATA, b"early")
        pipeline.add(ChunkType.DATA, b"one")
        pipeline.add(ChunkType.TREE, b"a listing is no data")
        pipeline.flush()
        packs = pipeline.segment_packs()
    home = {chunk.chunk: pack.id for pack in sink.packs.values() for chunk in pack.chunks}
    assert first.packs == set()
    assert {packs[segment] for segment in first.segments} == {home[one], home[large]}
    assert second.packs == set(early.packs)
    assert {packs[segment] for segment in second.segments} == {home[one]}
    assert len(packs) == 2
