"""Spans, windows and the thread that reads ahead."""

import threading
import time
from collections.abc import Iterator

import pytest

from device.making import make_pack
from wain.base.ids import PackId
from wain.base.progress import Silent
from wain.databox import transfer as module
from wain.databox.pipeline import ahead
from wain.databox.transfer import PIECE_BYTES, Load, Memory, Span, Start, crc64, spans, transfer
from wain.databox.untrusted import NotTaken, Read

PACK = PackId(b"p" * 32)


class Blob:
    """An account's blob in memory that remembers what it was asked to do."""

    def __init__(self, length: int) -> None:
        self.body = bytearray(length)
        self.writes: list[tuple[int, int]] = []
        self.flushes = 0

    def write(self, offset: int, body: bytes) -> None:
        assert len(body) <= PIECE_BYTES
        self.writes.append((offset, len(body)))
        self.body[offset : offset + len(body)] = body

    def flush(self) -> None:
        self.flushes += 1


def test_spans_cover_a_blob() -> None:
    parts = list(spans([(4096, 8192, PACK), (12288, 4096, PACK)], 20480))
    assert parts == [Span(0, 4096, None), Span(4096, 8192, PACK), Span(12288, 4096, PACK), Span(16384, 4096, None)]
    assert list(spans([], 0)) == []


@pytest.mark.parametrize("packs", [[(0, 8192, PACK), (4096, 4096, PACK)], [(4096, 8192, PACK)], [(0, 0, PACK)]])
def test_packs_that_do_not_fit(packs: list[tuple[int, int, PackId]]) -> None:
    with pytest.raises(NotTaken, match="does not fit"):
        list(spans(packs, 8192))


def test_whole_packs_pass_in_silence_and_memory_stays_in_pieces() -> None:
    pack = make_pack(1, 9 << 20)
    blob = Blob(len(pack.stored))
    parts = list(spans([(0, len(pack.stored), pack.id)], len(pack.stored)))
    (end,) = transfer(Load(Memory(pack.stored), parts), blob, Start(), Silent())
    assert blob.body == pack.stored
    assert end == module.Checkpoint(len(pack.stored), crc64(pack.stored), ())
    assert blob.flushes == 1


def test_windows_are_flushed_before_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_BYTES", 2 << 20)
    packs = [make_pack(number, 1 << 20) for number in range(5)]
    body = b"".join(pack.stored for pack in packs)
    blob = Blob(len(body))
    parts = list(spans([(at << 20, 1 << 20, pack.id) for at, pack in enumerate(packs)], len(body)))
    reached = []
    for checkpoint in transfer(Load(Memory(body), parts), blob, Start(), Silent()):
        reached.append(checkpoint.done >> 20)
        assert blob.flushes == len(reached)
        assert checkpoint.crc64 == crc64(body[: checkpoint.done])
    assert reached == [2, 4, 5]
    again = Blob(len(body))
    (end,) = transfer(Load(Memory(body), parts), again, Start(4 << 20, crc64(body[: 4 << 20]), again=True), Silent())
    assert again.writes == [(4 << 20, 1 << 20)]
    assert end.crc64 == crc64(body)


def test_zeros_are_skipped_unless_a_killed_copy_may_have_written_there() -> None:
    parts = list(spans([], 8 << 20))
    fresh, resumed = Blob(8 << 20), Blob(8 << 20)
    list(transfer(Load(Memory(bytes(8 << 20)), parts), fresh, Start(), Silent()))
    list(transfer(Load(Memory(bytes(8 << 20)), parts), resumed, Start(again=True), Silent()))
    assert fresh.writes == []
    assert resumed.writes == [(0, PIECE_BYTES), (PIECE_BYTES, PIECE_BYTES)]


def test_what_was_hashed_is_what_is_written() -> None:
    """A lying device returns other bytes at every read: only one read of each byte may happen."""
    pack = make_pack(1, 2 << 20)

    class Liar:
        def __init__(self) -> None:
            self.seen: set[int] = set()

        def read(self, offset: int, length: int) -> Read:
            first = offset not in self.seen
            self.seen.add(offset)
            return Read(pack.stored[offset : offset + length] if first else b"?" * length)

    blob = Blob(len(pack.stored))
    parts = list(spans([(0, len(pack.stored), pack.id)], len(pack.stored)))
    (end,) = transfer(Load(Liar(), parts), blob, Start(), Silent())
    assert not end.findings
    assert blob.body == pack.stored


def test_reading_ahead_keeps_order_and_bounds() -> None:
    made = []

    def pieces() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    row = ahead(pieces(), depth=3)
    first = next(row)
    time.sleep(0.05)
    assert len(made) <= 6
    assert [first, *row] == list(range(100))


def test_the_readers_error_is_raised_in_its_place() -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    row = ahead(pieces())
    assert next(row) == 1
    with pytest.raises(KeyError, match="broken"):
        next(row)


def test_an_early_end_stops_the_reader() -> None:
    def forever() -> Iterator[bytes]:
        while True:
            yield b""

    before = threading.active_count()
    row = ahead(forever())
    next(row)
    row.close()
    assert threading.active_count() == before
