"""btrfs snapshots: read-only, of the subvolume that holds an item and of those below it, in a hidden directory.

The directory lies at the top of the mounted file system, belongs to root alone, and is named for the registration. A
snapshot keeps inode numbers and times; only its device number is new. Subvolumes below are not part of a snapshot,
which has empty directories in their place: each gets a snapshot of its own, taken a moment later.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from wain.agent.btrfs_calls import children, destroy_snapshot, is_subvolume, make_snapshot
from wain.agent.freeze import FreezeFailed, Frozen
from wain.agent.mounts import Mount
from wain.agent.view import OPEN_DIRECTORY, Place
from wain.agent.walk import join, words

HIDDEN_PREFIX: Final = b".wain-snapshots-"


class BtrfsFreezer:
    """Makes btrfs snapshots. `registration` is the hex that names Wain's own."""

    name = "btrfs"

    def __init__(self, registration: str) -> None:
        self._hidden = HIDDEN_PREFIX + registration.encode()

    def why_not(self, mount: Mount) -> str:
        """Return why a file system cannot be frozen this way, or nothing when it can."""
        if mount.kind != "btrfs":
            return "it is not btrfs"
        if os.geteuid() != 0:
            return "only root may remove a snapshot"
        if not mount.writable:
            return "it is mounted read-only"
        try:
            fd = os.open(mount.point, OPEN_DIRECTORY)
        except OSError as error:
            return words(error)
        try:
            return "" if is_subvolume(fd) else "only a part of a subvolume is mounted"
        finally:
            os.close(fd)

    def nested(self, mount: Mount) -> list[bytes]:
        """Return the paths of all subvolumes below a mount point, without those that hold snapshots of a Wain."""
        with _naming(mount.point), _opened(mount.point) as fd:
            return list(self._below(fd, mount.point, frozenset({os.fstat(fd).st_dev})))

    def _below(self, fd: int, path: bytes, above: frozenset[int]) -> Iterator[bytes]:
        """Yield the subvolumes below one. `above` are the devices on the way: one may be mounted below itself."""
        for below in children(fd):
            if b"/" + HIDDEN_PREFIX in b"/" + below:
                continue
            try:
                child = _open_below(fd, below)
            except OSError:
                continue  # It has gone meanwhile, or another file system is mounted over it.
            try:
                device = os.fstat(child).st_dev
                if is_subvolume(child) and device not in above:
                    yield join(path, below)
                    yield from self._below(child, join(path, below), above | {device})
            finally:
                os.close(child)

    def freeze(self, mount: Mount, point: bytes, number: int) -> Frozen:
        """Freeze a mount point, or a subvolume below it."""
        name = str(number).encode()
        with _naming(point), _opened(mount.point) as top:
            hidden = self._make_hidden(top)
            try:
                source = _open_below(top, os.path.relpath(point, mount.point))
                try:
                    make_snapshot(source, hidden, name)
                    device = os.fstat(source).st_dev
                finally:
                    os.close(source)
                made, holds = os.stat(name, dir_fd=hidden, follow_symlinks=False), os.fstat(hidden)
            finally:
                os.close(hidden)
                _remove_empty(top, self._hidden)
        place = Place(join(join(mount.point, self._hidden), name), (made.st_dev, made.st_ino))
        return Frozen(point, place, device, mount, name.decode(), (holds.st_dev, holds.st_ino))

    def thaw(self, frozen: Frozen) -> None:
        """Remove a snapshot; with the last one the hidden directory goes."""
        with _naming(frozen.place.path), _opened(frozen.mount.point) as top:
            self._remove(top, (frozen.mark.encode(),))

    def clear(self, mounts: Iterable[Mount]) -> int:
        """Remove what a job that was killed has left behind, on every file system that is mounted."""
        removed = 0
        for mount in mounts:
            if self.why_not(mount) or not os.path.lexists(join(mount.point, self._hidden)):
                continue
            with _naming(join(mount.point, self._hidden)), _opened(mount.point) as top:
                removed += self._remove(top, None)
        return removed

    def _make_hidden(self, top: int) -> int:
        """Return the hidden directory, open. It takes care that its making does not show in its parent's times."""
        before = os.fstat(top)
        try:
            os.mkdir(self._hidden, 0o700, dir_fd=top)
        except FileExistsError:
            return self._open_hidden(top)
        os.utime(top, ns=(before.st_atime_ns, before.st_mtime_ns))
        return self._open_hidden(top)

    def _open_hidden(self, top: int) -> int:
        fd = os.open(self._hidden, OPEN_DIRECTORY, dir_fd=top)
        here = os.fstat(fd)
        if here.st_uid == os.geteuid() and not stat.S_IMODE(here.st_mode) & 0o077:
            return fd
        os.close(fd)
        raise FreezeFailed(os.fsdecode(self._hidden), "somebody else made a directory of that name; remove it")

    def _remove(self, top: int, names: tuple[bytes, ...] | None) -> int:
        """Remove snapshots by name, or all of them, and the hidden directory when none is left."""
        try:
            hidden = self._open_hidden(top)
        except FileNotFoundError:
            return 0
        try:
            chosen = names or tuple(os.fsencode(name) for name in os.listdir(hidden))
            for name in chosen:
                destroy_snapshot(hidden, name)
        finally:
            os.close(hidden)
        _remove_empty(top, self._hidden)
        return len(chosen)


def _remove_empty(top: int, name: bytes) -> None:
    """Remove a directory that is empty; one that is not stays."""
    before = os.fstat(top)
    try:
        os.rmdir(name, dir_fd=top)
    except OSError:
        return
    os.utime(top, ns=(before.st_atime_ns, before.st_mtime_ns))


def _open_below(top: int, path: bytes) -> int:
    """Open a directory by its path below another one, without following a link on the way."""
    fd = os.dup(top)
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        try:
            below = os.open(part, OPEN_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


@contextmanager
def _opened(path: bytes) -> Iterator[int]:
    fd = os.open(path, OPEN_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _naming(path: bytes) -> Iterator[None]:
    """Say what an error of the operating system is about."""
    try:
        yield
    except OSError as error:
        raise FreezeFailed(os.fsdecode(path), words(error)) from error
