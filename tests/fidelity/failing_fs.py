"""A small file system that fails: `python tests/fidelity/failing_fs.py DIR` serves it until it is unmounted.

What it holds is in `NODES`, what fails in `FAULTS`; everything else is as good as on any disk.
"""

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mfusepy

MIB = 1 << 20
MOMENT = 1_600_000_000_123_456_789


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


def _inode(path: str) -> int:
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


@dataclass
class Failing(mfusepy.Operations):  # type: ignore[misc]
    """The calls of the kernel."""

    use_ns: bool = field(default=True, init=False)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        node = self._node("getattr", path)
        return {
            "st_mode": node.kind | 0o644 | (0o111 if stat.S_ISDIR(node.kind) else 0),
            "st_ino": _inode(path),
            "st_nlink": 1,
            "st_size": len(node.content),
            "st_blocks": -(-len(node.content) // 512),
            **dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), MOMENT),
        }

    def readlink(self, path: str) -> str:
        return os.fsdecode(self._node("readlink", path).content)

    def opendir(self, path: str) -> int:
        self._node("opendir", path)
        return 0

    def readdir_with_offset(self, path: str, offset: int, fh: int) -> Iterator[tuple[str, dict[str, Any], int]]:
        names = self._node("readdir", path, offset).names
        for number, name in enumerate(names[offset:], offset + 1):
            if ("readdir", path) in FAULTS and number > FAULTY_FROM[path]:
                return  # The kernel asks again from here.
            below = os.path.join(path, name)
            yield name, {"st_mode": NODES[below].kind, "st_ino": _inode(below)}, number

    def listxattr(self, path: str) -> list[str]:
        self._node("listxattr", path)
        return []

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        raise mfusepy.FuseOSError(errno.ENODATA)

    def open(self, path: str, flags: int) -> int:
        self._node("open", path)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return self._node("read", path, offset + size - 1).content[offset : offset + size]

    def _node(self, call: str, path: str, at: int = 0) -> Node:
        if path not in NODES:
            raise mfusepy.FuseOSError(errno.ENOENT)
        fault = FAULTS.get((call, path))
        if fault is not None and at >= FAULTY_FROM.get(path, 0):
            raise mfusepy.FuseOSError(fault)
        return NODES[path]


@contextmanager
def served(point: Path) -> Iterator[None]:
    """Serve it at an empty directory while the `with` block lasts."""
    with subprocess.Popen([sys.executable, __file__, str(point)]) as process:
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


if __name__ == "__main__":
    mfusepy.FUSE(Failing(), sys.argv[1], foreground=True, nothreads=True, ro=True, use_ino=True)
