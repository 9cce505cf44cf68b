"""Serves the file system of `fidelity.failing` until it is unmounted: `python -m fidelity.failing_fs DIR`."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import mfusepy

from fidelity.failing import FAULTS, FAULTY_FROM, NODES, Node, inode

MOMENT = 1_600_000_000_123_456_789


@dataclass
class Failing(mfusepy.Operations):  # type: ignore[misc]
    """The calls of the kernel."""

    use_ns: bool = field(default=True, init=False)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        node = self._node("getattr", path)
        return {
            "st_mode": node.kind | 0o644 | (0o111 if stat.S_ISDIR(node.kind) else 0),
            "st_ino": inode(path),
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
            yield name, {"st_mode": NODES[below].kind, "st_ino": inode(below)}, number

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


if __name__ == "__main__":
    mfusepy.FUSE(Failing(), sys.argv[1], foreground=True, nothreads=True, ro=True, use_ino=True)
