"""Parts of a torture tree that are beyond `oracle.torture`: what needs root, a mount, or a file system of its own."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from oracle.ground import Ground

TIB = 1 << 40
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS (linux/fs.h)."""
IMMUTABLE, APPEND_ONLY, NO_DUMP = 0x10, 0x20, 0x40


def fill(root: bytes) -> None:
    """Make everything below a new directory."""
    ground = Ground(root)
    os.makedirs(root)
    _loops(ground)
    _holes(ground)
    _flags(ground)
    _bound(ground)


def _loops(ground: Ground) -> None:
    """Symbolic links in a circle, and one whose path passes through itself."""
    for name, target in ((b"round-1", b"round-2"), (b"round-2", b"round-3"), (b"round-3", b"round-1")):
        os.symlink(target, ground.at(name))
    os.symlink(b"through/through/x", ground.at(b"through"))
    os.symlink(b".", ground.at(b"here"))


def _holes(ground: Ground) -> None:
    """A tebibyte of nothing, and one with a little at both ends and in the middle."""
    for name, islands in ((b"hole", ()), (b"islands", (0, TIB // 2 + 4096, TIB - 5000))):
        with open(ground.put(name), "r+b") as file:
            file.truncate(TIB)
            for at in islands:
                file.seek(at)
                file.write(b"island")


def _flags(ground: Ground) -> None:
    """Files and a directory that may not be changed, or only appended to."""
    for name, flags in ((b"immutable", IMMUTABLE), (b"append-only", APPEND_ONLY), (b"no-dump", NO_DUMP)):
        change_flags(ground.put(name, name), flags)
    ground.folder(b"closed")
    ground.put(b"closed/inside", b"inside")
    change_flags(ground.at(b"closed"), IMMUTABLE)


def _bound(ground: Ground) -> None:
    """A directory, and an empty one where it can be mounted once more."""
    ground.folder(b"bound")
    ground.put(b"bound/file", b"seen twice")
    first = ground.put(b"bound/linked", b"seen four times")
    os.link(first, ground.at(b"bound", b"linked-too"))
    ground.folder(b"again")


@contextmanager
def bound(root: bytes) -> Iterator[None]:
    """Mount `bound` at `again` while the `with` block lasts."""
    there = os.path.join(root, b"again")
    subprocess.run(["mount", "--bind", os.path.join(root, b"bound"), there], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", there], check=True)


def unlock(root: bytes) -> None:
    """Take the flags away, so that all can be deleted."""
    for name in (b"immutable", b"append-only", b"closed"):
        change_flags(os.path.join(root, name), 0)


def change_flags(path: bytes, flags: int) -> None:
    """Set inode flags, as chattr does; those of the file system's own stay."""
    fd = os.open(path, os.O_RDONLY)
    try:
        room = bytearray(8)
        fcntl.ioctl(fd, GET_FLAGS, room)
        kept = struct.unpack("<Q", room)[0] & ~(IMMUTABLE | APPEND_ONLY | NO_DUMP)
        fcntl.ioctl(fd, SET_FLAGS, struct.pack("<Q", kept | flags))
    finally:
        os.close(fd)
