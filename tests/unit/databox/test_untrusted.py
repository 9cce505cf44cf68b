"""Reading a device that nobody trusts: what is opened, what is not, and what a bad sector costs."""

import errno
import gc
import os
from pathlib import Path

import pytest

from wain.base.errors import DeviceLost, Refused
from wain.databox import untrusted
from wain.databox.names import words
from wain.databox.untrusted import LARGE_BYTES, STEP_BYTES, Directory, NotTaken, open_root


@pytest.fixture
def top(tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "device").mkdir()
    with open_root(tmp_path / "device") as root:
        yield root


def path_of(top: Directory) -> Path:
    return Path(top.ground.root)


def descriptors() -> int:
    gc.collect()  # What an earlier test left open must not be closed between two counts.
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "directory", "missing", "hard link", "socket"])
def test_only_regular_files_are_opened(top: Directory, tmp_path: Path, kind: str) -> None:
    path, host = path_of(top) / "x", tmp_path / "host"
    host.write_bytes(b"secret")
    make = {
        "link": lambda: os.symlink(host, path),
        "dangling": lambda: os.symlink("nowhere", path),
        "pipe": lambda: os.mkfifo(path),
        "directory": path.mkdir,
        "missing": lambda: None,
        "hard link": lambda: os.link(host, path),
        "socket": lambda: os.mknod(path, 0o140600),
    }
    make[kind]()
    before = descriptors()
    with pytest.raises(NotTaken, match=r"^x "):
        top.file(b"x")
    assert descriptors() == before


def test_a_swap_between_look_and_open_is_caught(
    top: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before says "file"; what is opened is judged on its own."""
    (tmp_path / "host").write_bytes(b"secret")
    os.symlink(tmp_path / "host", path_of(top) / "x")
    os.mkfifo(path_of(top) / "y")
    monkeypatch.setattr(Directory, "_expect", lambda *_: None)
    for name in (b"x", b"y"):
        with pytest.raises(NotTaken):
            top.file(name)


def test_directories_are_entered_and_links_to_them_are_not(top: Directory, tmp_path: Path) -> None:
    (path_of(top) / "a").mkdir()
    os.symlink("/etc", path_of(top) / "b")
    with top.enter(b"a") as below:
        assert below.names(1) == []
    with pytest.raises(NotTaken, match="b is a symbolic link, not a directory"):
        top.enter(b"b")


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a second file system")
def test_another_file_system_is_not_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_root(Path("/dev")) as root, pytest.raises(NotTaken, match="another file system"):
        root.enter(b"shm")


def test_a_listing_has_a_cap(top: Directory) -> None:
    for number in range(5):
        (path_of(top) / f"{number}").touch()
    assert top.names(5) == [b"0", b"1", b"2", b"3", b"4"]
    with pytest.raises(NotTaken, match="holds more than 4 names"):
        top.names(4)


def test_a_bad_sector_costs_its_step(top: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    body = os.urandom(4 * STEP_BYTES)
    (path_of(top) / "x").write_bytes(body)
    real, bad = os.pread, 2 * STEP_BYTES + 100

    def pread(fd: int, size: int, offset: int) -> bytes:
        if offset <= bad < offset + size:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    with top.file(b"x") as file:
        read = file.read(0, len(body))
    assert read.holes == ((2 * STEP_BYTES, 3 * STEP_BYTES),)
    assert read.body == body[: 2 * STEP_BYTES] + bytes(STEP_BYTES) + body[3 * STEP_BYTES :]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(("size", "offset", "length"), [
    (3 * LARGE_BYTES, 0, 2 * LARGE_BYTES), (3 * LARGE_BYTES, 4096, LARGE_BYTES), (3 * LARGE_BYTES, 512, LARGE_BYTES),
    (LARGE_BYTES + 512, 0, LARGE_BYTES + 512), (LARGE_BYTES + 700, 4096, LARGE_BYTES), (100, 0, LARGE_BYTES),
])  # fmt: skip
def test_large_reads_give_the_same_bytes_wherever_they_begin_and_end(
    top: Directory, monkeypatch: pytest.MonkeyPatch, direct: bool, size: int, offset: int, length: int
) -> None:
    body = os.urandom(size)
    (path_of(top) / "x").write_bytes(body)
    if not direct:
        monkeypatch.setattr(untrusted, "_past_cache", lambda _: -1)
    with top.file(b"x") as file:
        read = file.read(offset, length)
    there = body[offset : offset + length]
    assert read.body == there + bytes(length - len(there))
    assert read.holes == (((offset + len(there), offset + length),) if len(there) < length else ())


def test_a_bad_sector_in_a_large_read_costs_its_step(top: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    body = os.urandom(2 * LARGE_BYTES)
    (path_of(top) / "x").write_bytes(body)
    bad = LARGE_BYTES + 100
    real, real_v = os.pread, os.preadv

    def pread(fd: int, size: int, offset: int) -> bytes:
        if offset <= bad < offset + size:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, size, offset)

    def preadv(fd: int, rooms: list[memoryview], offset: int) -> int:
        if offset <= bad < offset + len(rooms[0]):
            raise OSError(errno.EIO, "Input/output error")
        return real_v(fd, rooms, offset)

    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(os, "preadv", preadv)
    with top.file(b"x") as file:
        read = file.read(0, len(body))
    assert read.holes == ((LARGE_BYTES, LARGE_BYTES + STEP_BYTES),)
    assert read.body == body[:LARGE_BYTES] + bytes(STEP_BYTES) + body[LARGE_BYTES + STEP_BYTES :]


@pytest.mark.parametrize("code", [errno.ENODEV, errno.ENXIO, errno.ENOTCONN])
def test_a_device_that_went_away(top: Directory, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    (path_of(top) / "x").write_bytes(b"x" * 512)

    def pread(*_: int) -> bytes:
        raise OSError(code, os.strerror(code))

    with top.file(b"x") as file:
        monkeypatch.setattr(os, "pread", pread)
        with pytest.raises(DeviceLost):
            file.read(0, 512)


def test_eio_everywhere_means_that_the_device_went_away(top: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x", "y"):
        (path_of(top) / name).write_bytes(b"x" * 512)
    with top.file(b"x") as file:
        file.read(0, 512)

    def pread(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with top.file(b"y") as file:
        monkeypatch.setattr(os, "pread", pread)
        with pytest.raises(DeviceLost):
            file.read(0, 512)


def test_past_the_end_is_a_hole(top: Directory) -> None:
    (path_of(top) / "x").write_bytes(b"x" * 700)
    with top.file(b"x") as file:
        read = file.read(512, 512)
    assert read.body == b"x" * 188 + bytes(324)
    assert read.holes == ((700, 1024),)


def test_no_directory_is_no_device(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is not a device"):
        open_root(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="is not a device"):
        open_root(tmp_path / "file")


def test_names_cannot_steer_a_terminal() -> None:
    assert words(b"a\x1b[2Jb\nc\xff\x9b") == "a?[2Jb?c\ufffd\ufffd"
    assert words("ä€".encode()) == "ä€"


def test_every_gone_code_is_a_code() -> None:
    assert errno.EIO not in untrusted.GONE
