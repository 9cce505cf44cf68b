"""The few btrfs calls that snapshots need, by open directories: no path is looked up twice, and no program is run.

Numbers and layouts are the kernel's (include/uapi/linux/btrfs.h). All of them raise `OSError`.
"""

import fcntl
import os
import stat
import struct
from typing import Final

ROOT_INODE: Final = 256
"""The inode of every subvolume's own directory (BTRFS_FIRST_FREE_OBJECTID)."""

_ARGS_BYTES: Final = 4096
_READ_ONLY: Final = 1 << 1
_SNAP_CREATE_V2: Final = 0x50009417
_SNAP_DESTROY: Final = 0x5000940F
_GET_SUBVOL_ROOTREF: Final = 0xD000943D
_INO_LOOKUP_USER: Final = 0xD000943E
_ROOTREFS: Final = 255
_NAME_AT: Final = 16
_NAME_BYTES: Final = 256
_OVERFLOW: Final = 75
"""EOVERFLOW: there are more, from the tree number that was written into the arguments on."""


def _args(head: bytes) -> bytearray:
    """Return a call's arguments. Python passes more than 1024 bytes only in a buffer that may be written to."""
    return bytearray(head.ljust(_ARGS_BYTES, b"\0"))


def is_subvolume(fd: int) -> bool:
    """Return True when an open directory is a subvolume's own; its file system must be btrfs."""
    here = os.fstat(fd)
    return here.st_ino == ROOT_INODE and stat.S_ISDIR(here.st_mode)


def make_snapshot(source_fd: int, directory_fd: int, name: bytes) -> None:
    """Make a read-only snapshot of a subvolume, as a name in a directory of the same file system."""
    head = struct.pack("<qQQ32x", source_fd, 0, _READ_ONLY)
    fcntl.ioctl(directory_fd, _SNAP_CREATE_V2, _args(head + name))


def destroy_snapshot(directory_fd: int, name: bytes) -> None:
    """Remove a subvolume by its name in a directory. Its blocks are freed later, by the kernel."""
    fcntl.ioctl(directory_fd, _SNAP_DESTROY, _args(struct.pack("<q", 0) + name))


def children(subvolume_fd: int) -> list[bytes]:
    """Return the paths, within a subvolume, of the subvolumes directly below it."""
    found: list[bytes] = []
    least = 0
    while True:
        args = _args(struct.pack("<Q", least))
        more = _rootrefs(subvolume_fd, args)
        for number in range(args[8 + _ROOTREFS * 16]):
            tree, directory = struct.unpack_from("<QQ", args, 8 + number * 16)
            found.append(_path(subvolume_fd, tree, directory))
            least = tree + 1
        if not more:
            return found


def _rootrefs(fd: int, args: bytearray) -> bool:
    """Fill in the next subvolumes; return True when there are more than fit."""
    try:
        fcntl.ioctl(fd, _GET_SUBVOL_ROOTREF, args)
    except OSError as error:
        if error.errno != _OVERFLOW:
            raise
        return True
    return False


def _path(fd: int, tree: int, directory: int) -> bytes:
    args = _args(struct.pack("<QQ", directory, tree))
    fcntl.ioctl(fd, _INO_LOOKUP_USER, args)
    name = bytes(args[_NAME_AT : _NAME_AT + _NAME_BYTES]).split(b"\0", 1)[0]
    return bytes(args[_NAME_AT + _NAME_BYTES :]).split(b"\0", 1)[0] + name
