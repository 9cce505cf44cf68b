import os
import time

import pytest

from wain.base.errors import Corrupt, WriteFailed
from wain.storage import durable
from wain.storage.directory import DirectoryObjects


def test_objects_are_read_only_files_of_their_name(tmp_path):
    objects = DirectoryObjects(tmp_path / "deep" / "objects")
    objects.create("packs/aa/x", b"1")
    path = tmp_path / "deep" / "objects" / "packs" / "aa" / "x"
    assert path.read_bytes() == b"1"
    assert path.stat().st_mode & 0o777 == 0o400


def test_set_aside_objects_stay_on_disk(tmp_path):
    objects = DirectoryObjects(tmp_path)
    for body in (b"bad0", b"bad1"):
        objects.create("p/x", body)
        objects.set_aside("p/x")
    assert (tmp_path / "set-aside" / "p" / "x.0").read_bytes() == b"bad0"
    assert (tmp_path / "set-aside" / "p" / "x.1").read_bytes() == b"bad1"


def test_stale_temporaries_go_on_opening_and_fresh_ones_stay(tmp_path):
    objects = DirectoryObjects(tmp_path)
    objects.create("p/x", b"1")
    for name in (".new-old", ".new-fresh"):
        (tmp_path / "p" / name).write_bytes(b"half")
    day_ago = time.time() - 86400
    os.utime(tmp_path / "p" / ".new-old", (day_ago, day_ago))
    assert list(DirectoryObjects(tmp_path).names("")) == ["p/x"]
    assert sorted(os.listdir(tmp_path / "p")) == [".new-fresh", "x"]


def test_a_failed_sync_leaves_no_object_and_is_not_repeated(tmp_path, monkeypatch):
    objects = DirectoryObjects(tmp_path)
    objects.create("p/first", b"1")
    synced = []
    real = os.fsync

    def failing(fd):
        synced.append(os.fstat(fd).st_ino)
        if len(synced) == 1:
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(WriteFailed):
        objects.create("p/x", b"body")
    assert objects.size("p/x") is None
    assert len(synced) == 1
    assert objects.create("p/x", b"body")
    assert objects.read("p/x") == b"body"


def test_every_new_directory_is_synced_before_the_object_counts(tmp_path, monkeypatch):
    objects = DirectoryObjects(tmp_path)
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    objects.create("a/b/x", b"1")
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= set(synced)
    assert synced[-1] == str(tmp_path / "a" / "b")


def test_an_unreadable_medium_is_damage(tmp_path, monkeypatch):
    objects = DirectoryObjects(tmp_path)
    objects.create("x", b"1")

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable.os, "pread", failing)
    with pytest.raises(Corrupt):
        objects.read("x")


def test_a_symlink_is_no_object(tmp_path):
    objects = DirectoryObjects(tmp_path / "o")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "o" / "x").symlink_to(tmp_path / "secret")
    with pytest.raises(durable.ReadFailed):
        objects.read("x")
