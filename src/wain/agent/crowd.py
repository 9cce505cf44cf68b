"""A directory of more names than are held in memory: listed by name alone, sorted on disk, looked at in order.

Every name is looked at once, when its turn comes, and not when it is listed. So a name that went meanwhile may have
been a file's that has another one by now, which no listing has: then the directory is named as not whole.
"""

import os
import stat as modes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from wain.agent.listing import Fault, Found, Listing, list_still, scan_anew
from wain.agent.names import Batch, NameQueue, NameSorter

HELD_NAMES: Final = 1 << 14
"""A directory of more names than this is a crowd. So many take about 15 MB with their stats."""

LeavesOut = Callable[[bytes, os.stat_result], bool]
"""Tells whether the plan leaves a name of the directory out."""


class TooMany(Exception):
    """A directory has more names than are held."""


@dataclass(slots=True)
class Crowd:
    """One listed crowd. Iterate `leaves` once, to its end; then `directories` holds the names of the subdirectories."""

    listing: Listing
    directories: NameQueue
    _fd: int
    _names: NameSorter
    gone: int = 0
    """Names of the last listing that were not there any more when they were looked at."""

    def leaves(self, leaves_out: LeavesOut | None, fault: Callable[[Fault], None]) -> Iterator[Found]:
        """Yield what is no directory, sorted by name. `fault` is told of names that cannot be looked at.

        Raises:
            OutOfSpace, WriteFailed, Refused, Corrupt, RemoteError: the scratch files.
        """
        for batch in self._names.batches():
            for name in batch.names:
                stat = self._look(name, batch, fault)
                if stat is None or (leaves_out is not None and leaves_out(name, stat)):
                    continue
                if modes.S_ISDIR(stat.st_mode):
                    self.directories.add(name)
                else:
                    yield Found(name, stat)
        self._names.close()

    def _look(self, name: bytes, batch: Batch, fault: Callable[[Fault], None]) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            # One that only an earlier listing had was gone before the last one began, which has its new name.
            self.gone += name in batch.newest
        except OSError as error:
            fault(Fault(name, error))
        return None


def list_crowd(fd: int, scratch: Path) -> Crowd:
    """List a directory as `list_still` does, without looking at its names. What any listing has counts.

    Raises:
        OSError: the directory itself cannot be looked at any more.
        OutOfSpace, WriteFailed, Refused, Corrupt, RemoteError: the scratch files.
    """
    names = NameSorter(scratch)
    scan = partial(_scan, names)
    listing = list_still(fd, os.fstat(fd), lambda fd, faults: scan_anew(fd, scan, faults))
    return Crowd(listing, NameQueue(scratch), fd, names)


def _scan(names: NameSorter, fd: int, faults: list[Fault]) -> list[Found]:
    """List a directory once, by name alone."""
    names.begin()
    try:
        with os.scandir(fd) as listing:
            for item in listing:
                names.add(os.fsencode(item.name))
    except OSError as error:
        faults.append(Fault(b"", error))
    return []
