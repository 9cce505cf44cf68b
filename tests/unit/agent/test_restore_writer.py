"""The restore writer against hostile trees and hostile targets: nothing outside the root is ever touched (A11)."""

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.agent.mounting import mounted
from unit.agent.points import PointBuilder, stat
from wain.agent import restore_root, restore_writer
from wain.agent.restore import RestoreRequest, restore
from wain.agent.restore_conflict import Conflict, Policy, copy_name
from wain.agent.restore_inplace import gaps
from wain.agent.restore_landing import Item, Place
from wain.agent.restore_report import Tally
from wain.agent.restore_root import TargetRoot, check_name, open_beneath, rename_new
from wain.agent.restore_writer import RestoreWriter, spans
from wain.base.errors import Malformed, OutOfFiles, OutOfSpace, Refused
from wain.base.progress import Silent
from wain.tree.entry import Content, Entry, Kind

BAD_NAMES = [b"", b".", b"..", b"a/b", b"/etc", b"../x", b"nul\0", b"n" * 256]


def fingerprint(directory: Path) -> str:
    """Everything a sentinel directory has, as one hash: names, kinds, modes, owners, times, contents."""
    out = hashlib.sha256()
    for path in [directory, *sorted(directory.rglob("*"))]:
        found = path.lstat()
        facts = (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_nlink,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
        )
        out.update(f"{path} {facts}".encode())
        if path.is_symlink():
            out.update(os.fsencode(os.readlink(path)))
        elif path.is_file():
            out.update(path.read_bytes())
    return out.hexdigest()


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    """A directory outside the target that must be bit-identical when the test ends."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "passwd").write_bytes(b"root:x:0:0\n")
    (outside / "deep/file").write_bytes(b"deep")
    (outside / "link").symlink_to("passwd")
    before = fingerprint(outside)
    yield outside
    assert fingerprint(outside) == before


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


class Bench:
    """A writer on an open target."""

    def __init__(self, target: Path, conflict: Conflict = Conflict.FAIL, *, resolver: bool = True) -> None:
        self.root = TargetRoot(target, resolver=resolver)
        self.tally = Tally()
        self.writer = RestoreWriter(self.root, Policy(conflict), self.tally)
        self.top = Place(b"", b"")

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()
        self.root.close()

    def directory(self, name: bytes, parent: Place | None = None, mode: int = 0o755) -> Place | None:
        return self.writer.enter(parent or self.top, Entry(name, Kind.DIRECTORY, stat(mode=mode)), b"/" + name)

    def file(self, name: bytes, body: bytes = b"body", parent: Place | None = None, **over: int) -> Item:
        item = Item(parent or self.top, Entry(name, Kind.FILE, stat(len(body), **over)), b"/" + name)
        if self.writer.admit(item):
            self.writer.whole(item, body)
        return item

    def symlink(self, name: bytes, to: Path | bytes, parent: Place | None = None, **over: int) -> Item:
        entry = Entry(name, Kind.SYMLINK, stat(**over), target=os.fsencode(to))
        item = Item(parent or self.top, entry, b"/" + name)
        self.writer.nodes.node(item)
        return item

    def reasons(self) -> list[str]:
        return [problem.reason for problem in self.tally.report(b"p" * 32, Path()).problems]


both_ways = pytest.mark.parametrize("resolver", [True, False], ids=["openat2", "by component"])
every_policy = pytest.mark.parametrize("conflict", list(Conflict))


# Names


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_no_names_are_refused_by_every_door(target: Path, sentinel: Path, name: bytes) -> None:
    with Bench(target) as bench:
        for kind in (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO):
            entry = Entry(name, kind, stat(links=2), target=b"t")
            item = Item(bench.top, entry, b"/x")
            doors = {
                Kind.DIRECTORY: lambda item: bench.writer.enter(bench.top, item.entry, b"/x"),
                Kind.FILE: bench.writer.admit,
            }
            with pytest.raises(Malformed):
                doors.get(kind, bench.writer.nodes.node)(item)
    assert list(target.iterdir()) == []


def test_good_names_pass() -> None:
    for name in (b"a", b"...", b" ", b"\xff", b"n" * 255, b"-rf", b"\n"):
        check_name(name)


# Symbolic links


@every_policy
@both_ways
def test_a_symlink_and_then_a_child_below_it(target: Path, sentinel: Path, conflict: Conflict, resolver: bool) -> None:
    with Bench(target, conflict, resolver=resolver) as bench:
        bench.symlink(b"evil", sentinel)
        place = bench.directory(b"evil")
        if place is not None:
            bench.file(b"passwd", b"owned", place)
            bench.writer.leave(place)
    assert (target / "evil").is_symlink() or (target / "evil").is_dir()


@every_policy
@both_ways
def test_symlinks_that_wait_in_the_target(target: Path, sentinel: Path, conflict: Conflict, resolver: bool) -> None:
    (target / "dir").symlink_to(sentinel)
    (target / "passwd").symlink_to(sentinel / "passwd")
    (target / "new").symlink_to(sentinel / "created")
    with Bench(target, conflict, resolver=resolver) as bench:
        place = bench.directory(b"dir")
        if place is not None:
            bench.file(b"passwd", b"owned", place)
            bench.file(b"link", b"owned", place)
            bench.writer.leave(place)
        bench.file(b"passwd", b"owned", mode=0o4777)
        bench.file(b"new", b"owned")
        bench.symlink(b"new", b"/nowhere")
    assert not (sentinel / "created").exists()


@both_ways
def test_a_directory_exchanged_after_it_was_made_is_not_followed(
    target: Path, sentinel: Path, resolver: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_root, "OPEN_DIRECTORIES", 2)
    with Bench(target, Conflict.OVERWRITE, resolver=resolver) as bench:
        one = bench.directory(b"one")
        assert one is not None
        inner = bench.directory(b"deep", one)
        assert inner is not None
        for name in (b"two", b"three", b"four"):
            bench.directory(name)  # Pushes `one` out of the cache, so that it must be opened again.
        (target / "one").rename(target / "moved")
        (target / "one").symlink_to(sentinel)
        bench.file(b"file", b"owned", one)
        bench.file(b"file", b"owned", inner)
        bench.symlink(b"link", b"owned", inner)
        bench.writer.leave(inner)
        assert bench.tally.problem_count == 4
        assert all("symbolic link" in reason or "not a directory" in reason for reason in bench.reasons())


def test_magic_links_and_dots_do_not_open(target: Path) -> None:
    (target / "a/b").mkdir(parents=True)
    (target / "magic").symlink_to("/proc/self/cwd")
    fd = os.open(target, os.O_RDONLY)
    try:
        for path in (b"..", b"a/../..", b"/", b"magic", b"magic/tmp"):
            with pytest.raises(OSError, match=r"link|directory|cross-device|file") as caught:
                os.close(open_beneath(fd, path))
            assert caught.value.errno in (errno.EXDEV, errno.ELOOP, errno.ENOTDIR, errno.ENOENT)
            with pytest.raises((OSError, Malformed)):
                os.close(open_beneath(fd, path, resolver=False))
        for resolver in (True, False):
            os.close(open_beneath(fd, b"a/b", resolver=resolver))
    finally:
        os.close(fd)


# Hard links


def test_a_hard_link_to_a_symlink_does_not_reach_through_it(target: Path, sentinel: Path) -> None:
    with Bench(target) as bench:
        bench.symlink(b"bait", sentinel / "passwd", links=2, inode=5)
        entry = Entry(b"hook", Kind.FILE, stat(4, links=2, inode=5))
        assert not bench.writer.nodes.link(Item(bench.top, entry, b"/hook"))
        bench.file(b"hook", b"own!", links=2, inode=5, mode=0o666)
    assert (target / "hook").stat().st_ino != (sentinel / "passwd").stat().st_ino
    assert (target / "hook").read_bytes() == b"own!"


def test_a_first_name_that_was_exchanged_is_not_linked_to(target: Path, sentinel: Path) -> None:
    secret = target.parent / "secret"
    secret.write_bytes(b"secret")
    with Bench(target) as bench:
        bench.file(b"one", links=2, inode=5)
        (target / "one").unlink()
        os.link(secret, target / "one")
        item = Item(bench.top, Entry(b"two", Kind.FILE, stat(4, links=2, inode=5)), b"/two")
        assert bench.writer.nodes.link(item)
        assert "exchanged" in bench.reasons()[0]
    assert not (target / "two").exists()
    assert sorted(path.name for path in target.iterdir()) == ["one"]


# Twins


@every_policy
def test_the_same_name_twice_never_replaces_what_was_just_restored(target: Path, conflict: Conflict) -> None:
    with Bench(target, conflict) as bench:
        place = bench.directory(b"dir")
        assert place is not None
        bench.file(b"name", b"first", place)
        bench.file(b"name", b"second!", place)
        bench.symlink(b"name", b"third", place)
        again = bench.directory(b"dir2")
        assert again is not None
        inner = bench.directory(b"sub", again)
        assert inner is not None
        twin = bench.directory(b"sub", again)
        assert (twin is None) == (conflict is not Conflict.KEEP_BOTH)
    assert (target / "dir/name").read_bytes() == b"first"
    assert bench.tally.problem_count == (0 if conflict is Conflict.KEEP_BOTH else 3)


@every_policy
def test_case_twins_on_a_target_that_ignores_case(target: Path, conflict: Conflict) -> None:
    with Bench(target, conflict) as bench:
        assert not bench.root.folds_case
        bench.root.folds_case = True  # This kernel has no such file system: the names are told apart by us alone.
        for name in (b"Name", b"name", "é".encode(), "e\u0301".encode()):
            bench.file(name)
        bench.directory(b"NAME")
        assert bench.tally.problem_count == (0 if conflict is Conflict.KEEP_BOTH else 3)


# Another process at work in the target


def test_nothing_leaves_the_root_while_directories_are_swapped(
    target: Path, sentinel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_root, "OPEN_DIRECTORIES", 3)
    make = PointBuilder()
    group = {"links": 40, "inode": 3}
    places = []
    for number in range(40):
        files = [make.file(b"f%d" % n, b"body %d" % n) for n in range(8)]
        inner = make.directory(b"inner", [*files, make.file(b"passwd", b"owned", **group), make.symlink(b"link", b"x")])
        places.append(make.directory(b"d%d" % (number % 5 + 10 * (number // 5)), [inner], mode=0o777))
    view = make.view(places)
    attacker = textwrap.dedent("""
        import os, sys
        target, outside, tries = sys.argv[1], sys.argv[2], 0
        while True:
            for at in range(80):
                for path in (f"{target}/d{at}", f"{target}/d{at}/inner"):
                    try:
                        away = f"{path}.{tries}"
                        os.rename(path, away)
                        os.symlink(outside, path)
                        os.unlink(path)
                        os.rename(away, path)
                        tries += 1
                    except OSError:
                        continue
            with open(sys.argv[3] + ".new", "w") as file:
                file.write(str(tries))
            os.rename(sys.argv[3] + ".new", sys.argv[3])
    """)
    counter = tmp_path / "tries"
    process = subprocess.Popen([sys.executable, "-c", attacker, str(target), str(sentinel), str(counter)])
    try:
        started = time.monotonic()
        rounds = 0
        while time.monotonic() - started < 4:
            report = restore(view, RestoreRequest(target, policy=Policy(Conflict.OVERWRITE), durable=False), Silent())
            assert report.damaged_count == 0
            rounds += 1
    finally:
        process.kill()
        process.wait()
    assert rounds > 1
    assert int(counter.read_text()) > 100


# Smaller things


def test_an_unfinished_file_is_gone_after_close(target: Path) -> None:
    with Bench(target) as bench:
        item = Item(bench.top, Entry(b"large", Kind.FILE, stat(100)), b"/large")
        assert bench.writer.admit(item)
        bench.writer.piece(item, 0, b"x" * 50)
        assert len(list(target.iterdir())) == 1
    assert list(target.iterdir()) == []


def test_more_files_in_pieces_than_may_be_open(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_writer, "OPEN_FILES", 3)
    with Bench(target) as bench:
        items = [Item(bench.top, Entry(b"f%d" % n, Kind.FILE, stat(40)), b"/f%d" % n) for n in range(10)]
        for item in items:
            assert bench.writer.admit(item)
        for at in (30, 0, 20, 10):
            for number, item in enumerate(items):
                bench.writer.piece(item, at, bytes([number + at]) * 10)
    for number in range(10):
        expected = b"".join(bytes([number + at]) * 10 for at in (0, 10, 20, 30))
        assert (target / f"f{number}").read_bytes() == expected


def test_an_unfinished_file_that_was_exchanged_is_given_up(
    target: Path, sentinel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_writer, "OPEN_FILES", 1)
    with Bench(target) as bench:
        one, two = (Item(bench.top, Entry(n, Kind.FILE, stat(20)), b"/" + n) for n in (b"one", b"two"))
        bench.writer.piece(one, 0, b"x" * 10)
        (part,) = target.iterdir()
        bench.writer.piece(two, 0, b"x" * 10)
        part.unlink()
        part.symlink_to(sentinel / "passwd")
        bench.writer.piece(one, 10, b"x" * 10)
        bench.writer.piece(two, 10, b"x" * 10)
        assert bench.tally.problem_count == 1
    assert (target / "two").exists()
    assert not (target / "one").exists()


def test_names_are_given_without_replacing(target: Path) -> None:
    (target / "old").write_bytes(b"old")
    (target / "new").write_bytes(b"new")
    fd = os.open(target, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            rename_new(fd, b"old", b"new")
        rename_new(fd, b"old", b"free")
    finally:
        os.close(fd)
    assert (target / "new").read_bytes() == b"new"
    assert (target / "free").read_bytes() == b"old"


def test_copies_fit_into_a_name() -> None:
    assert copy_name(b"a", 1) == b"a.wain-1"
    assert copy_name(b"n" * 255, 12) == b"n" * 247 + b".wain-12"


def test_spans_and_gaps_of_a_file_with_holes() -> None:
    extents = ((10, 5), (20, 5), (25, 5), (50, 10))
    item = Item(Place(b"", b""), Entry(b"f", Kind.FILE, stat(70), Content((), extents)), b"/f")
    assert item.data == 25
    assert list(spans(item, 0, 25)) == [(10, 0, 5), (20, 5, 10), (25, 10, 15), (50, 15, 25)]
    assert list(spans(item, 3, 4)) == [(13, 0, 2), (20, 2, 4)]
    assert list(spans(item, 5, 5)) == [(20, 0, 5)]
    assert list(gaps(70, extents)) == [(0, 10), (15, 20), (30, 50), (60, 70)]
    assert list(gaps(70, ())) == []


def test_very_deep_directories(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_root, "OPEN_DIRECTORIES", 4)
    with Bench(target) as bench:
        places: list[Place] = [bench.top]
        for _ in range(60):
            place = bench.directory(b"d" * 200, places[-1])
            assert place is not None
            places.append(place)
        bench.file(b"bottom", b"b", places[-1])
        for place in reversed(places):
            bench.writer.leave(place)
        assert bench.tally.problem_count == 0
        assert bench.tally.files == 1
    subprocess.run(["rm", "-rf", str(target)], check=True)


def test_a_target_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Refused, match="cannot be a restore target"):
        TargetRoot(tmp_path / "file")


def test_a_full_target_is_out_of_space_not_a_problem_of_a_file(target: Path) -> None:
    with Bench(target) as bench:
        item = Item(bench.top, Entry(b"f", Kind.FILE, stat(4)), b"/f")
        with pytest.raises(OutOfSpace):
            bench.writer._landing.refuse(item, OSError(errno.ENOSPC, "full"))


def test_a_target_without_free_inodes_says_so_and_not_how_many_bytes_it_lacks(target: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "size=1m,nr_inodes=8", "none", on=target), Bench(target) as bench:
        with pytest.raises(OutOfFiles, match=r"takes no more files: it has no free inodes") as caught:
            deque((bench.file(b"f%d" % number) for number in range(20)), maxlen=0)
        assert caught.value.free_bytes > 500_000
        assert "inodes" in caught.value.hint
