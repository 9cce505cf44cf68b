"""Reading the source: holes, shrinking files, attributes, and that every fault is the source's own."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from wain.agent import reading
from wain.agent.listing import STILL_NS, Found
from wain.agent.reading import (
    Extents,
    FileReader,
    Moved,
    SourceError,
    cut_extents,
    is_sparse,
    link_target,
    look_again,
    read_small,
    xattrs_of,
)
from wain.agent.windows import Windows
from wain.chunk.cutter import Cutter
from wain.tree import rules

MIB = 1 << 20
CUTTER = Cutter(7)


@pytest.fixture
def folder(tmp_path: Path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, fd
    os.close(fd)


def found(folder: tuple[Path, int], name: str) -> Found:
    return look_again(folder[1], os.fsencode(name))


def opened(folder: tuple[Path, int], name: str) -> FileReader:
    return FileReader(folder[1], found(folder, name))


def sparse(path: Path, size: int, *runs: tuple[int, bytes]) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, body in runs:
            file.seek(offset)
            file.write(body)


def whole(reader: FileReader) -> bytes:
    """Put a file together as a restore does."""
    size = reader.before.st_size
    extents = reader.extents(size)
    body = b"".join(map(bytes, reader.pieces(CUTTER, extents or ((0, size),), Windows())))
    if not extents:
        return body
    out, at = bytearray(size), 0
    for offset, length in extents:
        out[offset : offset + length] = body[at : at + length]
        at += length
    assert at == len(body)
    return bytes(out)


@pytest.mark.parametrize(
    ("size", "runs"),
    [
        (3 * MIB, [(2 * MIB, b"data after a hole" * 1000)]),
        (3 * MIB, [(0, b"data, then a hole at the end" * 1000)]),
        (5 * MIB, [(0, bytes(8192)), (4 * MIB, b"x" * 9000)]),  # Real NULs, a hole, data: the deceptive hole.
        (5 * MIB, [(MIB, b"a"), (3 * MIB, b"b"), (5 * MIB - 1, b"c")]),
        (4 * MIB, []),
    ],
)
def test_files_with_holes_come_back(folder: tuple[Path, int], size: int, runs: list[tuple[int, bytes]]) -> None:
    path = folder[0] / "sparse"
    sparse(path, size, *runs)
    with opened(folder, "sparse") as reader:
        assert is_sparse(reader.before)
        assert whole(reader) == path.read_bytes()
        extents = reader.extents(size)
        rules.check_extents("t", extents, size)
        assert sum(length for _, length in extents) < size / 2
        assert not reader.changed()


def test_a_byte_of_nothing_stays_a_hole(folder: tuple[Path, int]) -> None:
    sparse(folder[0] / "hole", 1)
    (folder[0] / "byte").write_bytes(b"x")
    with opened(folder, "hole") as reader:
        assert is_sparse(reader.before)
        assert reader.extents(1) == ((1, 0),)
    with opened(folder, "byte") as reader:
        assert reader.extents(1) == ()
        assert reader.small(1) == b"x"


def test_a_terabyte_of_nothing_reads_nothing(folder: tuple[Path, int]) -> None:
    sparse(folder[0] / "hole", 1 << 40)
    with opened(folder, "hole") as reader:
        assert reader.extents(1 << 40) == ((1 << 40, 0),)
        assert list(reader.pieces(CUTTER, reader.extents(1 << 40), Windows())) == []


def test_more_extents_than_an_entry_takes(folder: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_EXTENTS", 4)
    monkeypatch.setattr(reading, "MAX_EXTENTS", 4)
    path = folder[0] / "holes"
    sparse(path, 4 * MIB, *((at * 65536, b"x%d" % at) for at in range(0, 60, 2)))
    with opened(folder, "holes") as reader:
        extents = reader.extents(4 * MIB)
        assert 1 < len(extents) <= 4
        assert whole(reader) == path.read_bytes()


def test_a_file_system_that_knows_no_holes(folder: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """lseek(SEEK_DATA) fails with EINVAL: the file is read as it is, not skipped."""
    path = folder[0] / "sparse"
    sparse(path, 2 * MIB, (MIB, b"data"))

    def lseek(fd: int, offset: int, how: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    with opened(folder, "sparse") as reader, monkeypatch.context() as patch:
        patch.setattr(os, "lseek", lseek)
        assert reader.extents(2 * MIB) == ()
        assert whole(reader) == path.read_bytes()


def test_a_sparse_file_cut_while_its_holes_are_looked_for_is_read(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder[0] / "sparse"
    sparse(path, 3 * MIB, (0, b"first"), (2 * MIB, b"second"))
    real = os.lseek

    def lseek(fd: int, offset: int, how: int) -> int:
        if offset >= MIB and how == os.SEEK_HOLE:
            os.truncate(path, MIB)
        return real(fd, offset, how)

    with opened(folder, "sparse") as reader, monkeypatch.context() as patch:
        patch.setattr(os, "lseek", lseek)
        extents = reader.extents(3 * MIB)
        assert extents[0][0] == 0
        got = sum(map(len, reader.pieces(CUTTER, extents, Windows())))
        assert cut_extents(extents, got, reader.size()) == (extents[:1], MIB)


def test_a_file_system_that_contradicts_itself_does_not_hang(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder[0] / "f").write_bytes(bytes(MIB))
    with opened(folder, "f") as reader:
        monkeypatch.setattr(os, "lseek", lambda fd, offset, how: offset)
        assert reader.extents(MIB) == ()


@pytest.mark.parametrize("size", [0, 1, 512 * 1024 + 1, 3 * MIB + 17])
def test_dense_files_of_all_sizes_and_windows(folder, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WINDOW_BYTES", 8 * MIB if size % 2 else MIB * 9)
    body = os.urandom(size)
    (folder[0] / "dense").write_bytes(body)
    with opened(folder, "dense") as reader:
        assert whole(reader) == body
        assert reader.small(size) == body


def test_windows_do_not_change_chunks(folder: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    (folder[0] / "dense").write_bytes(os.urandom(30 * MIB))
    cuts = []
    for window in (8 * MIB, 11 * MIB, 24 * MIB, 30 * MIB):  # The last one ends with the file: an empty last window.
        monkeypatch.setattr(reading, "WINDOW_BYTES", window)
        with opened(folder, "dense") as reader:
            cuts.append([len(piece) for piece in reader.pieces(CUTTER, ((0, 30 * MIB),), Windows())])
    assert len({tuple(cut) for cut in cuts}) == 1


def test_a_file_that_shrinks_ends_where_it_ends(folder: tuple[Path, int]) -> None:
    body = os.urandom(3 * MIB)
    (folder[0] / "f").write_bytes(body)
    with opened(folder, "f") as reader:
        os.truncate(folder[0] / "f", MIB)
        assert b"".join(map(bytes, reader.pieces(CUTTER, ((0, 3 * MIB),), Windows()))) == body[:MIB]
        assert reader.changed()


def test_a_sparse_file_that_shrinks_never_joins_what_is_not_adjacent(folder: tuple[Path, int]) -> None:
    sparse(folder[0] / "f", 4 * MIB, (0, b"a" * 9000), (2 * MIB, b"b" * 9000))
    with opened(folder, "f") as reader:
        extents = reader.extents(4 * MIB)
        os.truncate(folder[0] / "f", 4096)
        got = b"".join(map(bytes, reader.pieces(CUTTER, extents, Windows())))
        assert got == b"a" * 4096
        assert cut_extents(extents, len(got), 4096) == ((), 4096)


@pytest.mark.parametrize(
    ("extents", "got", "now", "kept", "size"),
    [
        (((10, 5), (20, 5)), 10, 30, ((10, 5), (20, 5)), 30),
        (((10, 5), (20, 5)), 10, 27, ((10, 5), (20, 5)), 27),
        (((10, 5), (20, 5)), 10, 3, ((10, 5), (20, 5)), 25),  # It was cut after all of its data had been read.
        (((10, 5), (20, 5)), 7, 22, ((10, 5), (20, 2)), 22),
        (((10, 5), (20, 5)), 7, 30, ((10, 5), (20, 2)), 22),  # It was cut and has grown again.
        (((10, 5), (20, 5)), 5, 18, ((10, 5),), 18),
        (((10, 5), (20, 5)), 5, 30, ((10, 5),), 20),
        (((10, 5), (20, 5)), 0, 4, ((4, 0),), 4),
        (((10, 5), (20, 5)), 0, 0, (), 0),
        (((0, 9),), 4, 4, (), 4),
        (((0, 9),), 0, 0, (), 0),
        (((30, 0),), 0, 7, ((7, 0),), 7),
        (((30, 0),), 0, 0, (), 0),
    ],
)
def test_cut_extents(extents: Extents, got: int, now: int, kept: Extents, size: int) -> None:
    assert cut_extents(extents, got, now) == (kept, size)


class Zeroing:
    """What Linux does to a reader when the file is cut: it zeroes the tail that the read is still copying."""

    def __init__(self, path: Path, to: int) -> None:
        self.path, self.to, self.preadv, self.pread = path, to, os.preadv, os.pread

    def into(self, fd: int, rooms: list[memoryview], offset: int) -> int:
        got = self.preadv(fd, rooms, offset)
        os.truncate(self.path, self.to)
        keep = max(self.to - offset, 0)
        rooms[0][keep:got] = bytes(max(got - keep, 0))
        return got

    def at(self, fd: int, length: int, offset: int) -> bytes:
        got = self.pread(fd, length, offset)
        os.truncate(self.path, self.to)
        return got[: max(self.to - offset, 0)].ljust(len(got), b"\0")


@pytest.mark.parametrize("left", [0, 4096, MIB + 1])
def test_zeros_of_a_cut_tail_are_not_content(folder, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    body = b"x" * (3 * MIB)
    (folder[0] / "f").write_bytes(body)
    with opened(folder, "f") as reader, monkeypatch.context() as patch:
        patch.setattr(os, "preadv", Zeroing(folder[0] / "f", left).into)
        assert whole(reader) == body[:left]
        assert reader.changed()


@pytest.mark.parametrize("left", [0, 1, 400])
def test_zeros_of_a_small_cut_tail_are_not_content(folder, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    (folder[0] / "f").write_bytes(b"x" * 500)
    with opened(folder, "f") as reader, monkeypatch.context() as patch:
        patch.setattr(os, "pread", Zeroing(folder[0] / "f", left).at)
        assert reader.small(500) == b"x" * left
        assert reader.changed()


@dataclass
class Clock:
    """What the reader knows of time."""

    now: int
    naps: int = 0

    def time_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps += 1
        self.now += round(seconds * 10**9)


class UnderWay:
    """Reads that see the old bytes where a write has not got to yet, until its time is over."""

    def __init__(self, clock: Clock, until: int) -> None:
        self.clock, self.until = clock, until
        self.pread, self.preadv = os.pread, os.preadv

    def at(self, fd: int, length: int, offset: int) -> bytes:
        got = self.pread(fd, length, offset)
        return got if self.clock.now >= self.until else b"old!" + got[4:]

    def into(self, fd: int, rooms: list[memoryview], offset: int) -> int:
        got = self.preadv(fd, rooms, offset)
        if self.clock.now < self.until:
            rooms[0][:4] = b"old!"
        return got


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(("age_ns", "naps"), [(0, 1), (STILL_NS - 1, 1), (STILL_NS, 0), (-STILL_NS, 0)])
def test_what_was_written_just_now_is_read_again(folder, monkeypatch, large: bool, age_ns: int, naps: int) -> None:
    """The kernel notes the time of a write before it copies the bytes: no time tells that it is still under way."""
    (folder[0] / "f").write_bytes(b"new!" * 300_000)
    with opened(folder, "f") as reader, monkeypatch.context() as patch:
        changed = reader.before.st_ctime_ns
        clock = Clock(changed + age_ns)
        write = UnderWay(clock, changed + STILL_NS if naps else clock.now)
        patch.setattr(reading, "time", clock)
        patch.setattr(os, "pread", write.at)
        patch.setattr(os, "preadv", write.into)
        assert (whole(reader) if large else reader.small(1_200_000)) == b"new!" * 300_000
        assert clock.naps == naps


def test_a_small_file_that_was_written_just_now_takes_the_long_way(folder, monkeypatch) -> None:
    (folder[0] / "f").write_bytes(b"new")
    one = found(folder, "f")
    for age_ns, body in ((0, None), (STILL_NS - 1, None), (STILL_NS, b"new"), (-STILL_NS, b"new")):
        monkeypatch.setattr(reading, "time", Clock(one.stat.st_ctime_ns + age_ns))
        assert read_small(folder[1], one) == body, age_ns


def test_a_growing_file_shows(folder: tuple[Path, int]) -> None:
    (folder[0] / "f").write_bytes(b"12345")
    with opened(folder, "f") as reader:
        with open(folder[0] / "f", "ab") as file:
            file.write(b"6789")
        assert reader.small(5) == b"123456"
        assert reader.changed()


def test_a_replaced_file_is_moved_not_read(folder: tuple[Path, int]) -> None:
    (folder[0] / "f").write_bytes(b"old")
    listed = found(folder, "f")
    (folder[0] / "new").write_bytes(b"new")
    os.rename(folder[0] / "new", folder[0] / "f")
    with pytest.raises(Moved):
        FileReader(folder[1], listed)


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "gone"])
def test_a_file_that_became_something_else_is_the_sources_fault(folder: tuple[Path, int], kind: str) -> None:
    path = folder[0] / "f"
    path.write_bytes(b"x")
    listed = found(folder, "f")
    path.unlink()
    makers = {"link": lambda: path.symlink_to("/etc/passwd"), "directory": path.mkdir, "fifo": lambda: os.mkfifo(path)}
    makers.get(kind, lambda: None)()
    with pytest.raises(SourceError):
        FileReader(folder[1], listed)
    assert not [name for name in os.listdir("/proc/self/fd") if _leads_to(name, path)]


def _leads_to(fd: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith(str(path))
    except OSError:
        return False


@pytest.mark.parametrize("call", ["fstat", "pread", "preadv"])
def test_every_fault_while_reading_is_a_source_error(folder, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder[0] / "f").write_bytes(b"x" * 5000)
    listed = found(folder, "f")

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def read_it() -> None:
        with FileReader(folder[1], listed) as reader:
            reader.small(5000)
            list(reader.pieces(CUTTER, ((0, 5000),), Windows()))
            reader.changed()

    read_it()
    with monkeypatch.context() as patch, pytest.raises(SourceError, match="input/output error"):  # noqa: PT012
        patch.setattr(os, call, broken)
        read_it()


def test_names_of_any_byte_links_and_devices(folder: tuple[Path, int]) -> None:
    for byte in [*range(1, 47), *range(48, 256)]:
        name = bytes([byte]) + b"x"
        with open(os.path.join(os.fsencode(folder[0]), name), "wb") as file:
            file.write(name)
        with FileReader(folder[1], look_again(folder[1], name)) as reader:
            assert reader.small(2) == name
    os.symlink(b"\xff\xfe target", folder[0] / "link")
    assert link_target(folder[1], b"link") == b"\xff\xfe target"
    with pytest.raises(SourceError):
        link_target(folder[1], b"no such name")
    assert xattrs_of(folder[1], b"link").pairs == ()


class TestAttributes:
    def file(self, folder: tuple[Path, int]) -> Path:
        path = folder[0] / "f"
        path.write_bytes(b"x")
        try:
            for name in ("user.b", "user.a", "user.c"):
                os.setxattr(path, name, name.encode())
        except OSError as error:
            pytest.skip(f"no user attributes here: {error}")
        return path

    def test_they_come_sorted(self, folder: tuple[Path, int]) -> None:
        self.file(folder)
        with opened(folder, "f") as reader:
            names = [name for name, _ in reader.xattrs().pairs if name.startswith(b"user.")]
        assert names == [b"user.a", b"user.b", b"user.c"]

    def test_one_that_vanishes_takes_no_other_with_it(self, folder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file(folder)
        monkeypatch.setattr(os, "listxattr", lambda *_, **__: ["user.b", "user.gone", "user.a"])
        with opened(folder, "f") as reader:
            xattrs = reader.xattrs()
        assert [name for name, _ in xattrs.pairs] == [b"user.a", b"user.b"]
        assert not xattrs.reason

    def test_one_that_cannot_be_read_is_named_and_the_others_kept(self, folder, monkeypatch) -> None:
        self.file(folder)
        real = os.getxattr

        def getxattr(target: object, name: bytes, **over: object) -> bytes:
            if name == b"user.b":
                raise OSError(errno.E2BIG, "Argument list too long")
            return real(target, name, **over)

        monkeypatch.setattr(os, "getxattr", getxattr)
        with opened(folder, "f") as reader:
            xattrs = reader.xattrs()
        assert [name for name, _ in xattrs.pairs] == [b"user.a", b"user.c"]
        assert "user.b" in xattrs.reason

    def test_what_no_entry_takes_is_named(self, folder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file(folder)
        monkeypatch.setattr(reading, "MAX_XATTR_BYTES", 5)
        with opened(folder, "f") as reader:
            assert "too large" in reader.xattrs().reason
        monkeypatch.undo()
        monkeypatch.setattr(reading, "MAX_XATTRS", 2)
        with opened(folder, "f") as reader:
            xattrs = reader.xattrs()
        assert len(xattrs.pairs) == 2
        assert "more than 2" in xattrs.reason
