"""The demo's judge must find what is wrong: a judge that finds nothing proves nothing."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wain.cli.compare import Comparer, Comparison

NEVER_NS = 2**63


def make(root: Path) -> Path:
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file").write_bytes(b"content\n" * 1000)
    (root / "folder" / "other").write_bytes(b"other")
    os.link(root / "folder" / "file", root / "folder" / "linked")
    (root / "link").symlink_to("folder/file")
    os.mkfifo(root / "fifo")
    return root


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("linked", "fifo", "socket"))
    os.link(target / "folder" / "file", target / "folder" / "linked")
    os.mkfifo(target / "fifo")
    for path in (*target.rglob("*"), target):
        twin = os.lstat(source / path.relative_to(target))
        os.utime(path, ns=(twin.st_atime_ns, twin.st_mtime_ns), follow_symlinks=False)
    return target


def compare(source: Path, restored: Path, since_ns: int = NEVER_NS) -> Comparison:
    return Comparer(since_ns, os.geteuid() == 0).compare(os.fsencode(source), os.fsencode(restored), lambda *_: None)


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    source = make(tmp_path / "source")
    return source, copy(source, tmp_path / "restored")


def test_equal_trees_have_no_difference(trees: tuple[Path, Path]) -> None:
    found = compare(*trees)
    assert found.differences == []
    assert found.entries == 7
    assert found.source_bytes == 8000 + 8000 + 5


def _flip(restored: Path) -> None:
    path = restored / "folder" / "file"
    before = path.stat()
    body = bytearray(path.read_bytes())
    body[4321] ^= 1
    path.write_bytes(body)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _unlink_twin(restored: Path) -> None:
    twin = restored / "folder" / "linked"
    before, body = twin.stat(), twin.read_bytes()
    folder = twin.parent.stat()
    twin.unlink()
    twin.write_bytes(body)
    os.utime(twin, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(twin.parent, ns=(folder.st_atime_ns, folder.st_mtime_ns))


def _retarget(restored: Path) -> None:
    (restored / "link").unlink()
    (restored / "link").symlink_to("folder/other")


@pytest.mark.parametrize(
    ("spoil", "path", "what"),
    [
        (_flip, b"folder/file", "differs from byte 4321"),
        (lambda r: (r / "folder" / "other").write_bytes(b"othe"), b"folder/other", "differs from byte 4"),
        (lambda r: (r / "folder" / "other").unlink(), b"folder/other", "was not restored"),
        (lambda r: (r / "extra").write_bytes(b""), b"extra", "is in the restore and not in the source"),
        (lambda r: (r / "folder" / "other").chmod(0o600), b"folder/other", "has another mode"),
        (lambda r: os.utime(r / "folder", ns=(1, 1)), b"folder", "has another time"),
        (lambda r: os.setxattr(r / "folder" / "other", "user.mark", b"x"), b"folder/other", "extended attributes"),
        (_retarget, b"link", "points elsewhere"),
        (_unlink_twin, b"folder/linked", "is linked to other names"),
        (lambda r: ((r / "fifo").unlink(), (r / "fifo").mkdir()), b"fifo", "is a fifo and was restored as a directory"),
    ],
)
def test_each_difference_is_found_and_named(
    trees: tuple[Path, Path], spoil: Callable[[Path], object], path: bytes, what: str
) -> None:
    source, restored = trees
    (source / "folder" / "other").chmod(0o644)
    (restored / "folder" / "other").chmod(0o644)
    try:
        spoil(restored)
    except OSError as error:
        pytest.skip(f"this file system refuses it: {error.strerror}")
    found = {(each.path, each.what) for each in compare(source, restored).differences}
    assert any(where == os.fsencode(source) + b"/" + path and what in said for where, said in found), found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_owner_is_compared_as_root(trees: tuple[Path, Path]) -> None:
    source, restored = trees
    os.chown(restored / "folder" / "other", 12345, 0)
    assert any("owner" in each.what for each in compare(source, restored).differences)


def test_what_the_owner_changed_since_is_nobodys_fault(trees: tuple[Path, Path]) -> None:
    source, restored = trees
    since_ns = time.time_ns()
    time.sleep(0.05)  # File systems stamp changes by a coarser clock than time_ns.
    (source / "folder" / "other").write_bytes(b"changed meanwhile")
    found = compare(source, restored, since_ns)
    assert found.differences == []
    assert any(each.path.endswith(b"other") for each in found.changed)


def test_a_missing_socket_is_a_difference(trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, restored = trees
    before = source.stat()
    monkeypatch.chdir(source)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = compare(source, restored)
    assert [each.path for each in found.differences] == [os.fsencode(source / "socket")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_what_this_user_may_not_read_is_named_and_not_counted() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)  # pytest's own directories are for their owner alone.
        source = make(Path(place) / "source")
        restored = copy(source, Path(place) / "restored")
        before = source.stat()
        (source / "shut").mkdir(mode=0o700)
        (source / "secret").touch(mode=0o600)
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.seteuid(65534)
        try:
            comparer = Comparer(NEVER_NS, as_root=False)
            found = comparer.compare(os.fsencode(source), os.fsencode(restored), lambda *_: None)
        finally:
            os.seteuid(0)
        assert sorted(found.unreadable) == [os.fsencode(source / "secret"), os.fsencode(source / "shut")]
        assert found.differences == []
