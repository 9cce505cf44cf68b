"""Where a walk reads what a recovery point names: other directories may stand for some of its paths.

A snapshot is as good as the source when three things hold. It stands for whole file systems, so that every path below
comes from it. It is the directory that was made, and not what somebody put in its place: each is known by its device
and inode. And its files look as they do in the source: inode numbers and times are kept by the snapshot, and the
device number, which is new with each snapshot, is translated.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Identity = tuple[int, int]
"""st_dev, st_ino."""

OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that stands for another one."""

    path: bytes
    identity: Identity

    @classmethod
    def at(cls, path: bytes) -> "Place":
        """Return the directory that is at a path now.

        Raises:
            OSError: there is none.
        """
        fd = os.open(path, OPEN_DIRECTORY)
        try:
            here = os.fstat(fd)
        finally:
            os.close(fd)
        return cls(path, (here.st_dev, here.st_ino))

    def open(self) -> int:
        """Return a descriptor of the directory.

        Raises:
            OSError: it is gone, or another one is in its place.
        """
        fd = os.open(self.path, OPEN_DIRECTORY)
        here = os.fstat(fd)
        if (here.st_dev, here.st_ino) == self.identity:
            return fd
        os.close(fd)
        raise OSError(errno.ESTALE, "what it was to be read from has gone")


@dataclass(frozen=True, slots=True)
class View:
    """What stands for what while one backup reads."""

    places: Mapping[bytes, Place] = field(default_factory=dict)
    """By the path that a place stands for. What lies below comes from the place, up to the next path in here."""
    devices: Mapping[int, int] = field(default_factory=dict)
    """For the device number of a snapshot, that of its source."""
    hidden: frozenset[Identity] = frozenset()
    """Directories of the source that hold snapshots and are no part of it."""

    def device(self, number: int) -> int:
        """Return the device number that the source itself has."""
        return self.devices.get(number, number)

    def seen_as(self, identities: frozenset[Identity]) -> frozenset[Identity]:
        """Return directories of the source by every identity that they can be met with."""
        here = identities | self.hidden
        return here | {(copy, ino) for copy, of in self.devices.items() for dev, ino in here if dev == of}


LIVE: Final = View()
"""Everything is read from where it is."""
