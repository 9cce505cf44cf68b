"""A small file system that fails: what it holds, what fails, and how to have it served.

Everything but what is in `FAULTS` is as good as on any disk.
"""

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Node:
    """A file with content, a directory with names, or a symbolic link with a target."""

    kind: int
    content: bytes = b""
    names: tuple[str, ...] = ()


def _pattern(size: int) -> bytes:
    return b"".join(b"%015d\n" % number for number in range(size // 16))


def _file(size: int) -> Node:
    return Node(stat.S_IFREG, _pattern(size))


def _folder(*names: str) -> Node:
    return Node(stat.S_IFDIR, names=names)


def inode(path: str) -> int:
    """Return the inode number of a path."""
    return 100 + list(NODES).index(path)


NODES: dict[str, Node] = {
    "/": _folder("good", "bad", "half-listed", "not-listed", "not-opened", "small", "large"),
    "/good": _folder("file", "link"),
    "/good/file": _file(64_000),
    "/good/link": Node(stat.S_IFLNK, b"file"),
    "/bad": _folder("a-good-one", "read", "read-late", "stat", "open", "link", "attributes", "z-good-one"),
    "/bad/a-good-one": _file(1600),
    "/bad/read": _file(1600),
    "/bad/read-late": _file(3 * MIB),
    "/bad/stat": _file(16),
    "/bad/open": _file(16),
    "/bad/link": Node(stat.S_IFLNK, b"anywhere"),
    "/bad/attributes": _file(1600),
    "/bad/z-good-one": _file(1600),
    "/half-listed": _folder("first", "second", "third"),
    "/half-listed/first": _file(160),
    "/half-listed/second": _file(160),
    "/half-listed/third": _file(160),
    "/not-listed": _folder("unseen"),
    "/not-listed/unseen": _file(160),
    "/not-opened": _folder("unseen"),
    "/not-opened/unseen": _file(160),
    "/small": _file(160),
    "/large": _file(4 * MIB),
}
FAULTS: dict[tuple[str, str], int] = {
    ("read", "/bad/read"): errno.EIO,
    ("read", "/bad/read-late"): errno.EIO,
    ("getattr", "/bad/stat"): errno.EIO,
    ("open", "/bad/open"): errno.EACCES,
    ("readlink", "/bad/link"): errno.EIO,
    ("listxattr", "/bad/attributes"): errno.EIO,
    ("readdir", "/half-listed"): errno.EIO,
    ("readdir", "/not-listed"): errno.EIO,
    ("opendir", "/not-opened"): errno.EACCES,
}
FAULTY_FROM = {"/bad/read-late": 2 * MIB, "/half-listed": 2}
"""Where a fault begins: a byte, or the number of a name. Elsewhere it begins at once."""
SAYS = {errno.EIO: "input/output error", errno.EACCES: "permission denied"}


@contextmanager
def served(point: Path) -> Iterator[None]:
    """Serve it at an empty directory while the `with` block lasts."""
    surroundings = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, "-m", "fidelity.failing_fs", str(point)], env=surroundings) as process:
        try:
            until = time.monotonic() + 30
            while not os.path.ismount(point):
                assert process.poll() is None, "libfuse has ended"
                assert time.monotonic() < until, "libfuse does not mount"
                time.sleep(0.02)
            yield
        finally:
            if process.poll() is None:
                subprocess.run(["fusermount3", "-u", "-z", str(point)], check=True)
            process.wait(timeout=30)
