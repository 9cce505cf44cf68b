import os
import threading

import pytest

from wain.base.errors import Missing, TooLarge, Truncated
from wain.storage import uncached
from wain.storage.durable import ReadFailed
from wain.storage.uncached import UncachedFile, read_uncached


@pytest.fixture(params=["direct", "plain"])
def way(request, monkeypatch):
    """Both ways of reading: past the page cache, and after dropping it."""
    monkeypatch.setattr(uncached, "PIECE_BYTES", 16384)
    if request.param == "plain":
        monkeypatch.setattr(os, "O_DIRECT", 0)
    return request.param


def body_of(size):
    return os.urandom(size)


@pytest.mark.parametrize("size", [0, 1, 511, 4096, 16384, 16385, 100_000, 114_688])
def test_every_range_reads_right(tmp_path, way, size):
    body = body_of(size)
    (tmp_path / "a").write_bytes(body)
    with UncachedFile(tmp_path / "a", "a") as file:
        assert file.size == size
        for offset in {0, 1, size // 2, size // 4096 * 4096, size}:
            if offset <= size:
                assert b"".join(bytes(piece) for piece in file.pieces(offset, size - offset)) == body[offset:]
        assert file.read(0, size) == body


def test_a_range_that_is_left_does_not_spoil_the_next(tmp_path, way):
    body = body_of(200_000)
    (tmp_path / "a").write_bytes(body)
    with UncachedFile(tmp_path / "a", "a") as file:
        for stop in range(1, 8):
            pieces = file.pieces(0, len(body))
            for _ in range(stop):
                next(pieces)
            pieces.close()
            assert file.read(3, 150_000) == body[3:150_003]


def test_reading_past_the_end_is_truncated(tmp_path, way):
    (tmp_path / "a").write_bytes(bytes(20_000))
    with UncachedFile(tmp_path / "a", "a") as file, pytest.raises(Truncated):
        file.read(0, 20_001)


def test_symlinks_and_absence(tmp_path):
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(ReadFailed):
        UncachedFile(tmp_path / "link", "link")
    with pytest.raises(Missing):
        UncachedFile(tmp_path / "none", "none")


def test_small_files_have_a_cap(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert read_uncached(tmp_path / "a", "a", 100) == b"x" * 100
    with pytest.raises(TooLarge):
        read_uncached(tmp_path / "a", "a", 99)


def test_the_next_pieces_are_read_while_one_is_used(tmp_path, way, monkeypatch):
    body = body_of(5 * 16384)
    (tmp_path / "f").write_bytes(body)
    third, begun, inner = threading.Event(), [], UncachedFile._fill

    def fill(self, view, offset):
        begun.append(offset)
        if len(begun) == 3:
            third.set()
        inner(self, view, offset)

    monkeypatch.setattr(UncachedFile, "_fill", fill)
    with UncachedFile(tmp_path / "f", "f") as file:
        pieces = file.pieces(0, file.size)
        first = bytes(next(pieces))
        assert third.wait(20), "nothing is read while the first piece is used"
        assert first + b"".join(bytes(piece) for piece in pieces) == body
