"""Restores what has no content: symbolic links, FIFOs, sockets, device nodes, and further names of hard-linked entries.

Each is made under a temporary name, pinned with an `O_PATH` descriptor, checked to be what was just made, given its
metadata through that descriptor, and renamed into place. Nothing is ever followed.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from typing import Final

from wain.agent.restore_conflict import Arrival, Conflict, look
from wain.agent.restore_landing import Item, Landing, discard, is_kind
from wain.agent.restore_links import First
from wain.agent.restore_root import check_name
from wain.tree.entry import Entry, Kind

_PIN: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})
_DEVICES: Final = frozenset({Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE})

Make = Callable[[int, bytes, Entry], None]


def _make_symlink(directory: int, name: bytes, entry: Entry) -> None:
    os.symlink(entry.target, name, dir_fd=directory)


def _make_fifo(directory: int, name: bytes, _: Entry) -> None:
    os.mkfifo(name, 0o600, dir_fd=directory)


def _make_socket(directory: int, name: bytes, _: Entry) -> None:
    # A name without a listener, as any restored socket is; the tree is then as it was, to the last entry.
    os.mknod(name, stat.S_IFSOCK | 0o600, dir_fd=directory)


def _make_device(directory: int, name: bytes, entry: Entry) -> None:
    kind = stat.S_IFCHR if entry.kind is Kind.CHAR_DEVICE else stat.S_IFBLK
    os.mknod(name, kind | 0o600, os.makedev(*entry.rdev), dir_fd=directory)


_MAKE: Final[Mapping[Kind, Make]] = {
    Kind.SYMLINK: _make_symlink,
    Kind.FIFO: _make_fifo,
    Kind.SOCKET: _make_socket,
    Kind.CHAR_DEVICE: _make_device,
    Kind.BLOCK_DEVICE: _make_device,
}


class NodeWriter:
    """Writes nodes and links at a target."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing

    def node(self, item: Item) -> None:
        """Restore a symbolic link, FIFO, socket or device node.

        Raises:
            Malformed: the name is not one component of a path.
            OutOfSpace, DeviceLost, WriteFailed: the target takes no more.
        """
        kind = item.entry.kind
        if kind in _DEVICES and os.geteuid() != 0:
            self._landing.tally.problem(item.shown, "only root can make a device node")
            return
        try:
            if self._landing.arrive(item) is Arrival.WRITE:
                self._write(item)
        except OSError as error:
            self._landing.refuse(item, error)
        except ValueError:
            self._landing.tally.damage(item.shown, "the text of the symbolic link has a NUL byte")

    def _write(self, item: Item) -> None:
        directory = self._landing.root.directory(item.place.path)
        temporary = self._landing.root.temporary_name()
        _MAKE[item.entry.kind](directory, temporary, item.entry)
        try:
            pinned = os.open(temporary, _PIN, dir_fd=directory)
            try:
                found = os.fstat(pinned)
                if not is_kind(found, item.entry.kind) or found.st_nlink != 1:
                    raise FileExistsError(errno.EEXIST, "another process put something else here")
                self._landing.metadata.apply(f"/proc/self/fd/{pinned}", item.entry)
            finally:
                os.close(pinned)
        except BaseException:
            discard(directory, temporary)
            raise
        name = self._landing.land(directory, temporary, item)
        if name is not None:
            self._landing.tally.others += 1
            self._landing.remember(item, name, found)

    def link(self, item: Item) -> bool:
        """Restore a further name of a hard-linked entry.

        False when there is nothing to link to (the first name was not restored), or the target has no hard links:
        the entry is then to be restored on its own.

        Raises: as `node`.
        """
        key = item.link_key
        first = self._landing.links.first(key) if key is not None else None
        if first is None:
            return False
        try:
            return self._link(item, first)
        except OSError as error:
            if error.errno in _NO_LINKS:
                self._landing.tally.note(f"names of one file were restored as files of their own: {error.strerror}")
                return False
            self._landing.refuse(item, error)
            return True

    def _link(self, item: Item, first: First) -> bool:
        root, tally = self._landing.root, self._landing.tally
        check_name(item.entry.name)
        directory = root.directory(item.place.path)
        there = look(directory, item.entry.name)
        if there is not None and (there.st_dev, there.st_ino) == first.identity:
            tally.already += 1
            return True
        overwrites = self._landing.policy.conflict is Conflict.OVERWRITE
        arrival = Arrival.WRITE if overwrites and there is not None else self._landing.arrive(item)
        if arrival is not Arrival.WRITE:
            return arrival is not Arrival.IN_PLACE
        temporary = root.temporary_name()
        source = root.directory(first.directory)
        os.link(first.name, temporary, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        found = os.lstat(temporary, dir_fd=directory)
        if (found.st_dev, found.st_ino) != first.identity:
            # Somebody exchanged the first name since it was restored; a link to that would hand out a foreign file.
            discard(directory, temporary)
            tally.problem(item.shown, "the file it is another name of was exchanged while the restore ran")
            return True
        if self._landing.land(directory, temporary, item) is not None:
            tally.others += 1
        return True
