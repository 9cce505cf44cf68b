import errno
import fcntl
import os

import pytest

from wain.base.errors import Corrupt, DeviceLost, Missing, OutOfSpace, Refused, WriteFailed
from wain.storage import durable
from wain.storage.buffers import mapped
from wain.storage.durable import (
    ReadFailed,
    directory,
    free_bytes,
    make_dirs,
    out_of_space,
    read_error,
    read_exactly,
    sync_file_system,
    write_all,
    write_atomic,
    write_error,
    write_past_cache,
)
from wain.storage.new_file import NewFile, write_new, write_new_at


def os_error(number):
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, OutOfSpace),
        (errno.EDQUOT, OutOfSpace),
        (errno.EIO, WriteFailed),
        (errno.EROFS, WriteFailed),
        (errno.ENODEV, DeviceLost),
        (errno.ENXIO, DeviceLost),
        (errno.EACCES, Refused),
    ],
)
def test_what_failed_writes_mean(number, kind):
    assert isinstance(write_error(os_error(number), "there", 10), kind)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, Missing),
        (errno.ENOTDIR, Missing),
        (errno.EIO, Corrupt),
        (errno.ENXIO, DeviceLost),
        (errno.EMFILE, ReadFailed),
    ],
)
def test_what_failed_reads_mean(number, kind):
    error = read_error(os_error(number), "there")
    assert isinstance(error, kind)
    assert "there" in str(error)


def test_the_shortfall_counts_what_was_taken_and_never_believes_free_bytes_that_are_not_given():
    assert out_of_space("there", 100, 30, None).free_bytes == 30
    with durable.directory("/") as fd:
        lying = out_of_space("there", 4096, 1024, fd)
        assert lying.free_bytes == 1024
        honest = out_of_space("there", 1 << 60, 1024, fd)
        assert 1024 < honest.free_bytes < 1 << 60


def test_write_new_never_replaces(tmp_path):
    assert write_new(tmp_path / "a", b"first", 0o400)
    assert not write_new(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400
    assert os.listdir(tmp_path) == ["a"]


def test_write_new_without_nameless_files(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise os_error(errno.EOPNOTSUPP)
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert write_new(tmp_path / "a", b"first")
    assert not write_new(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("nameless", [True, False])
def test_a_new_file_that_is_not_published_leaves_nothing(tmp_path, monkeypatch, nameless):
    if not nameless:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_TMPFILE | os.O_CREAT | os.O_EXCL)  # A mix that every kernel refuses.
    with directory(tmp_path) as fd:
        with NewFile(fd, 0o600, "x") as file:
            for _ in range(3):
                file.write(b"piece " * 1_000_000)
            assert [name for name in os.listdir(tmp_path) if not name.startswith(".new-")] == []
        assert os.listdir(tmp_path) == []
        with NewFile(fd, 0o600, "x") as file:
            file.write(b"first ")
            file.write(b"second")
            assert file.publish(fd, "x")
        assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"first second"


def test_write_atomic_replaces_and_leaves_nothing_behind(tmp_path):
    for body in (b"first", b"", b"x" * 100_000):
        write_atomic(tmp_path / "a", body)
        assert (tmp_path / "a").read_bytes() == body
    assert os.listdir(tmp_path) == ["a"]


def test_a_cut_write_atomic_is_cleared_by_the_next(tmp_path):
    (tmp_path / ".new-a").write_bytes(b"half")
    write_atomic(tmp_path / "a", b"whole")
    assert os.listdir(tmp_path) == ["a"]


def test_write_atomic_does_not_follow_links(tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"safe")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".new-a").symlink_to(outside)
    (tmp_path / "d" / "a").symlink_to(outside)
    write_atomic(tmp_path / "d" / "a", b"new")
    assert outside.read_bytes() == b"safe"
    assert (tmp_path / "d" / "a").read_bytes() == b"new"
    assert not (tmp_path / "d" / "a").is_symlink()


def test_a_missing_directory_is_said(tmp_path):
    with pytest.raises(WriteFailed):
        write_atomic(tmp_path / "none" / "a", b"")


def test_make_dirs_is_repeatable_and_names_what_stands_in_the_way(tmp_path):
    make_dirs(tmp_path / "a" / "b" / "c")
    make_dirs(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteFailed):
        make_dirs(tmp_path / "file" / "x")


def test_short_writes_go_on_and_writes_of_nothing_fail(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, body, at: real(fd, body[:3], at))
    with open(tmp_path / "a", "w+b") as file:
        write_all(file.fileno(), memoryview(b"0123456789"), 2)
    assert (tmp_path / "a").read_bytes() == b"\0\x000123456789"
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with open(tmp_path / "a", "w+b") as file, pytest.raises(OSError, match="took no bytes"):
        write_all(file.fileno(), b"x")


def test_short_reads_go_on(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"0123456789")
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 3), at))
    with open(tmp_path / "a", "rb") as file:
        assert read_exactly(file.fileno(), 8, 1) == b"12345678"
        assert read_exactly(file.fileno(), 8, 5) == b"56789"
        assert read_exactly(file.fileno(), 8, 10) == b""


def test_the_file_system_syncs_and_knows_its_room(tmp_path):
    with durable.directory(tmp_path) as fd:
        sync_file_system(fd)
        assert free_bytes(fd) > 0
        assert write_new_at(fd, "x", b"1")


def test_aligned_bytes_are_written_past_the_cache_where_that_can_be(tmp_path, monkeypatch):
    body = mapped(2 * 4096)
    body[:] = bytes(range(256)) * 32
    seen = []
    real = os.pwrite

    def pwrite(fd, piece, offset):
        seen.append(bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT))
        return real(fd, piece, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    direct = takes_direct(fd)
    write_past_cache(fd, body, 4096)
    assert seen == [direct]
    assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == bytes(4096) + bytes(body)


def takes_direct(fd):
    plain = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, plain | os.O_DIRECT)
    except OSError:
        return False
    fcntl.fcntl(fd, fcntl.F_SETFL, plain)
    return True


@pytest.mark.parametrize(("length", "offset"), [(4096, 1), (4097, 4096), (1, 0), (0, 0)])
def test_bytes_that_are_not_aligned_are_written_all_the_same(tmp_path, length, offset):
    body = os.urandom(length)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    write_past_cache(fd, body, offset)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == bytes(offset if length else 0) + body


def test_a_file_system_that_refuses_to_write_past_the_cache_is_written_through_it(tmp_path, monkeypatch):
    real = fcntl.fcntl

    def refuse(fd, command, *rest):
        if command == fcntl.F_SETFL and rest[0] & os.O_DIRECT:
            raise os_error(errno.EINVAL)
        return real(fd, command, *rest)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    write_past_cache(fd, b"x" * 4096, 0)
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"x" * 4096


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_what_fails_past_the_cache_is_not_tried_again(tmp_path, monkeypatch, number):
    calls = []

    def fail(*_):
        calls.append(1)
        raise os_error(number)

    monkeypatch.setattr(os, "pwrite", fail)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_past_cache(fd, b"x" * 4096, 0)
    os.close(fd)
    assert len(calls) == 1
