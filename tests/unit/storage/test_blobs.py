import os

import pytest

from wain.base.errors import OutOfSpace, Refused, WriteFailed
from wain.storage.blobs import DirectoryPageBlobs


def test_blobs_are_sparse(tmp_path):
    blobs = DirectoryPageBlobs(tmp_path)
    blobs.create("seed-1", "a", 1 << 40)
    blobs.write_pages("seed-1", "a", (1 << 40) - 512, b"x" * 512)
    blobs.flush("seed-1", "a")
    assert (tmp_path / "seed-1" / "a").stat().st_blocks * 512 < 1 << 20
    assert blobs.read("seed-1", "a", (1 << 40) - 512, 512) == b"x" * 512


@pytest.mark.parametrize(("number", "kind"), [(5, WriteFailed), (28, OutOfSpace)])
def test_a_failed_flush_is_not_repeated(tmp_path, monkeypatch, number, kind):
    blobs = DirectoryPageBlobs(tmp_path)
    blobs.create("seed-1", "a", 1024)
    blobs.create("seed-1", "b", 1024)
    blobs.write_pages("seed-1", "a", 0, b"x" * 512)
    real = os.fsync
    calls = []

    def failing(fd):
        calls.append(fd)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(kind):
        blobs.flush("seed-1", "a")
    monkeypatch.setattr(os, "fsync", real)
    for call in (lambda: blobs.flush("seed-1", "a"), lambda: blobs.write_pages("seed-1", "a", 0, bytes(512))):
        with pytest.raises(WriteFailed):
            call()
    assert len(calls) == 1
    blobs.write_pages("seed-1", "b", 0, bytes(512))
    blobs.flush("seed-1", "b")
    again = DirectoryPageBlobs(tmp_path)
    again.write_pages("seed-1", "a", 0, b"y" * 512)
    again.flush("seed-1", "a")
    assert again.read("seed-1", "a", 0, 512) == b"y" * 512


def test_leftovers_are_neither_listed_nor_kept(tmp_path):
    blobs = DirectoryPageBlobs(tmp_path)
    blobs.create("seed-1", "a", 512)
    (tmp_path / ".gone-1").mkdir()
    (tmp_path / ".gone-1" / "a").write_bytes(bytes(512))
    (tmp_path / "seed-1" / ".new-1").write_bytes(bytes(512))
    again = DirectoryPageBlobs(tmp_path)
    assert again.containers() == ["seed-1"]
    assert [blob.name for blob in again.blobs("seed-1")] == ["a"]
    assert not (tmp_path / ".gone-1").exists()


def test_names_with_dots_in_front_belong_to_the_store(tmp_path):
    with pytest.raises(Refused):
        DirectoryPageBlobs(tmp_path).create("seed-1", ".new-x", 512)


def test_close_gives_descriptors_back(tmp_path):
    blobs = DirectoryPageBlobs(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a", "b"):
        blobs.create("seed-1", name, 512)
        blobs.write_pages("seed-1", name, 0, bytes(512))
    blobs.close()
    assert len(os.listdir("/proc/self/fd")) == before
