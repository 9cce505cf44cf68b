"""The judge is judged first: each kind of difference must be found, named, and be the only one."""

import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oracle import mounts, rsync, torture
from oracle.walker import FIELDS, Options, Tree, compare, compare_trees

ROOT = os.geteuid() == 0
AS_ROOT = pytest.mark.skipif(not ROOT, reason="needs root")
MOMENT = 1_600_000_000_000_000_000


def make(root: Path) -> None:
    root.mkdir()
    (root / "folder").mkdir()
    (root / "folder" / "file").write_bytes(b"content" * 100_000)
    (root / "linked").write_bytes(b"linked")
    os.link(root / "linked", root / "linked-too")
    (root / "alone").write_bytes(b"linked")
    (root / "symlink").symlink_to("file")
    os.mkfifo(root / "fifo")
    with open(root / "sparse", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    if ROOT:
        os.mknod(root / "device", 0o020600, os.makedev(1, 3))
    for folder, folders, files in os.walk(root, topdown=False):
        for name in [*folders, *files]:
            os.utime(os.path.join(folder, name), ns=(MOMENT, MOMENT), follow_symlinks=False)
    os.utime(root, ns=(MOMENT, MOMENT))


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("left", "right"):
        make(tmp_path / name)
    return tmp_path / "left", tmp_path / "right"


def found(twins: tuple[Path, Path], options: Options | None = None) -> list[tuple[bytes, str]]:
    return [(each.path, each.field) for each in compare(bytes(twins[0]), bytes(twins[1]), options)]


def same_time(*paths: Path) -> None:
    for path in paths:
        os.utime(path, ns=(MOMENT, MOMENT), follow_symlinks=False)


def test_equal_trees_have_no_difference(twins: tuple[Path, Path]) -> None:
    left, right = Tree(bytes(twins[0])), Tree(bytes(twins[1]))
    assert list(compare_trees(left, right)) == []
    assert left.entries == right.entries >= 8
    assert left.bytes_read > 700_000


def rewrite(root: Path) -> None:
    with open(root / "folder" / "file", "r+b") as file:
        file.seek(650_001)
        file.write(b"X")
    same_time(root / "folder" / "file")


def lengthen(root: Path) -> None:
    with open(root / "folder" / "file", "ab") as file:
        file.write(b"\0")
    same_time(root / "folder" / "file")


def retarget(root: Path) -> None:
    (root / "symlink").unlink()
    (root / "symlink").symlink_to("elsewhere")
    same_time(root / "symlink", root)


def fill_hole(root: Path) -> None:
    with open(root / "sparse", "r+b") as file:
        file.write(bytes(8192))
    same_time(root / "sparse")


def unlink_group(root: Path) -> None:
    (root / "linked-too").unlink()
    (root / "linked-too").write_bytes(b"linked")
    same_time(root / "linked-too", root)


def regroup(root: Path) -> None:
    (root / "alone").unlink()
    os.link(root / "linked", root / "alone")
    same_time(root / "linked", root)


def become_directory(root: Path) -> None:
    (root / "fifo").unlink()
    (root / "fifo").mkdir()
    same_time(root / "fifo", root)


def become_socket(root: Path) -> None:
    (root / "fifo").unlink()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "fifo"))
    same_time(root / "fifo", root)


def remove(root: Path) -> None:
    shutil.rmtree(root / "folder")
    same_time(root)


def renumber(root: Path) -> None:
    (root / "device").unlink()
    os.mknod(root / "device", 0o020600, os.makedev(1, 5))
    same_time(root / "device", root)


def block_for_char(root: Path) -> None:
    (root / "device").unlink()
    os.mknod(root / "device", 0o060600, os.makedev(1, 3))
    same_time(root / "device", root)


def acl(root: Path) -> None:
    entries = [(1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(root / "alone", "system.posix_acl_access", value)


def capability(root: Path) -> None:
    os.setxattr(root / "alone", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))


Case = tuple[Callable[[Path], None], list[tuple[bytes, str]]]
CASES: dict[str, Case] = {
    "one byte": (rewrite, [(b"folder/file", "content")]),
    "a zero at the end": (lengthen, [(b"folder/file", "size"), (b"folder/file", "extents")]),
    "mode": (lambda root: os.chmod(root / "alone", 0o604), [(b"alone", "mode")]),
    "sticky": (lambda root: os.chmod(root / "folder", 0o1755), [(b"folder", "mode")]),
    "a nanosecond": (lambda root: os.utime(root / "alone", ns=(0, MOMENT + 1)), [(b"alone", "mtime")]),
    "a folder's time": (lambda root: os.utime(root / "folder", ns=(0, 1)), [(b"folder", "mtime")]),
    "a symlink's time": (
        lambda root: os.utime(root / "symlink", ns=(0, 1), follow_symlinks=False), [(b"symlink", "mtime")]),
    "the root's time": (lambda root: os.utime(root, ns=(0, 1)), [(b"", "mtime")]),
    "symlink target": (retarget, [(b"symlink", "target")]),
    "a filled hole": (fill_hole, [(b"sparse", "extents")]),
    "links broken": (unlink_group, [(b"linked-too", "links"), (b"linked-too", "content")]),
    "links joined": (regroup, [(b"linked", "links"), (b"linked-too", "links"), (b"linked", "content")]),
    "type": (become_directory, [(b"fifo", "kind")]),
    "socket": (become_socket, [(b"fifo", "kind")]),
    "missing": (remove, [(b"folder", "missing"), (b"folder/file", "missing")]),
    "an extended attribute": (lambda root: os.setxattr(root / "alone", "user.x", b""), [(b"alone", "xattrs")]),
    "an attribute on a folder": (lambda root: os.setxattr(root / "folder", "user.x", b"1"), [(b"folder", "xattrs")]),
}  # fmt: skip
ROOT_CASES: dict[str, Case] = {
    "owner": (lambda root: os.chown(root / "alone", 5, -1), [(b"alone", "owner")]),
    "group of a symlink": (
        lambda root: os.chown(root / "symlink", -1, 5, follow_symlinks=False), [(b"symlink", "owner")]),
    "device number": (renumber, [(b"device", "rdev")]),
    "block for char": (block_for_char, [(b"device", "kind")]),
    "capability": (capability, [(b"alone", "xattrs")]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_finds(name: str, twins: tuple[Path, Path]) -> None:
    change, expected = CASES[name]
    change(twins[1])
    differences = found(twins)
    assert set(expected) <= set(differences)
    assert {path for path, _ in differences} == {path for path, _ in expected}


@AS_ROOT
@pytest.mark.parametrize("name", ROOT_CASES)
def test_finds_as_root(name: str, twins: tuple[Path, Path]) -> None:
    change, expected = ROOT_CASES[name]
    change(twins[1])
    assert found(twins) == expected


def test_finds_an_acl(twins: tuple[Path, Path]) -> None:
    acl(twins[1])
    assert (b"alone", "xattrs") in found(twins)


def test_finds_what_is_too_much(twins: tuple[Path, Path]) -> None:
    (twins[1] / "zz").write_bytes(b"")
    same_time(twins[1])
    assert found(twins) == [(b"zz", "extra")]


def test_links_to_the_outside_do_not_count(twins: tuple[Path, Path], tmp_path: Path) -> None:
    os.link(twins[0] / "alone", tmp_path / "outside")
    assert found(twins) == []


def test_siblings_that_sort_around_a_slash(twins: tuple[Path, Path]) -> None:
    """Names with bytes below '/' come between a folder and its children when paths are compared as text."""
    for side in twins:
        (side / "folder-x").write_bytes(b"1")
        (side / "folder!").mkdir()
        same_time(side / "folder-x", side / "folder!", side)
    assert found(twins) == []
    os.unlink(twins[1] / "folder-x")
    same_time(twins[1])
    assert found(twins) == [(b"folder-x", "missing")]


def test_fields_can_be_left_out(twins: tuple[Path, Path]) -> None:
    os.utime(twins[1] / "alone", ns=(0, 1))
    assert found(twins, Options(without=frozenset({"mtime"}))) == []
    assert "mtime" in FIELDS


def test_a_file_that_moves_under_the_walk_is_an_error(
    twins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pread

    def touching(fd: int, length: int, offset: int) -> bytes:
        os.utime(fd, ns=(0, 77))
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", touching)
    assert (b"alone", "error") in found(twins)


@pytest.mark.skipif(ROOT, reason="root may read everything")
def test_an_unreadable_file_is_never_equal(twins: tuple[Path, Path]) -> None:
    for side in twins:
        os.chmod(side / "alone", 0)
    assert found(twins) == [(b"alone", "error")]


def test_as_a_program(twins: tuple[Path, Path]) -> None:
    walker = os.path.join(os.path.dirname(__file__), "walker.py")
    command = [sys.executable, walker, *map(str, twins)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    os.chmod(twins[1] / "alone", 0o600)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "mode: alone: 0o644 | 0o600" in done.stdout


def test_torture_tree_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("left", "right"):
        torture.build(bytes(tmp_path / name))
    times_apart = Options(without=frozenset({"mtime"}))
    assert list(compare(bytes(tmp_path / "left"), bytes(tmp_path / "right"), times_apart)) == []


@pytest.mark.skipif(not rsync.available(), reason="rsync is not installed")
@pytest.mark.parametrize("kind", mounts.MAKE)
def test_torture_tree_copied_by_rsync(kind: str, tmp_path: Path) -> None:
    """An honest copy by a foreign hand on each real file system: the walker agrees, or names what rsync cannot do."""
    if reason := mounts.why_not(kind):
        pytest.skip(reason)
    with mounts.mounted(kind, str(tmp_path), 512 << 20) as point:
        source, copy = os.fsencode(point) + b"/source", os.fsencode(point) + b"/copy"
        report = torture.build(source)
        assert set(report.skipped) <= {"reflinks", "xattrs"}, report.skipped
        command: list[str | bytes] = ["rsync", "-aHAXS", "--modify-window=-1", source + b"/", copy + b"/"]
        subprocess.run(command, check=True, capture_output=True)
        assert rsync.differences(source, copy) == []
        # rsync -S makes holes of every run of zeros, so extents may differ; nothing else may.
        assert list(compare(source, copy, Options(without=frozenset({"extents"})))) == []
        os.utime(os.path.join(copy, b"bytes", b"\n"), ns=(0, 5))
        assert [each.path for each in compare(source, copy, Options(without=frozenset({"extents"})))] == [b"bytes/\n"]
