"""Lists an open directory in full, although names may be moved in it meanwhile.

A file that is saved by renaming another over it is always there, and yet a listing taken at that moment may lack it: on
btrfs the name moves to the end of the directory, behind where the listing ends (`tests/fidelity/test_listing.py` shows
it). So a directory that changed while it was listed is listed again, and what was found is combined.
"""

import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from wain.agent.view import OPEN_DIRECTORY

LISTINGS: Final = 3
"""How often a directory is listed at most."""
STILL_NS: Final = 20 * 10**6
"""A directory touched this shortly before is taken to be changing: the kernel stamps changes with a clock that ticks
every 1 to 10 ms, so one more change may leave its ctime as it was."""


class Found(NamedTuple):
    """One name in a directory, as `lstat` saw it."""

    name: bytes
    stat: os.stat_result


class Fault(NamedTuple):
    """A name that cannot be looked at, or, when it is empty, why the listing is not whole."""

    name: bytes
    error: OSError


class Listing(NamedTuple):
    """What a directory holds, sorted by nothing. `stat` is the directory's own, as of the last listing."""

    found: list[Found]
    faults: list[Fault]
    stat: os.stat_result
    still: bool
    """False when it changed during the last listing, too: names may be missing."""


Scan = Callable[[int, list[Fault]], list[Found]]
"""Lists a directory once, by its descriptor, and adds to the faults what it cannot look at."""


def list_still(fd: int, stat: os.stat_result, scan: Scan) -> Listing:
    """List a directory until it stands still. `stat` is its own, from right before the call.

    Raises:
        OSError: the directory itself cannot be looked at any more.
    """
    faults: list[Fault] = []
    started = time.time_ns()
    found = scan(fd, faults)
    before, stat = stat, os.fstat(fd)
    for _ in range(LISTINGS - 1):
        if _same(before, stat) and not _recent(stat, started):
            break
        time.sleep(STILL_NS / 10**9)
        faults = []
        before, started = os.fstat(fd), time.time_ns()
        found = _combine(fd, found, scan_anew(fd, scan, faults), faults)
        stat = os.fstat(fd)
    return Listing(found, faults, stat, _same(before, stat))


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return before.st_ctime_ns == after.st_ctime_ns and before.st_mtime_ns == after.st_mtime_ns


def _recent(stat: os.stat_result, started: int) -> bool:
    """Say whether the last change may have a twin, after `started`, that left no trace in the times."""
    # A ctime from the future is a server's clock, or one that was set back: it tells nothing.
    return abs(started - stat.st_ctime_ns) < STILL_NS


def scan_anew(fd: int, scan: Scan, faults: list[Fault]) -> list[Found]:
    """List a directory through a new descriptor: btrfs decides where a listing ends when the directory is opened."""
    try:
        anew = os.open(b".", OPEN_DIRECTORY, dir_fd=fd)
    except OSError:  # It may be listed and not entered.
        return scan(fd, faults)
    try:
        return scan(anew, faults)
    finally:
        os.close(anew)


def _combine(fd: int, earlier: list[Found], now: list[Found], faults: list[Fault]) -> list[Found]:
    """Return what a new listing has, and what it lacks of an earlier one although it is there."""
    names = {one.name for one in now}
    names.update(fault.name for fault in faults)
    for one in earlier:
        if one.name not in names:
            try:
                now.append(Found(one.name, os.stat(one.name, dir_fd=fd, follow_symlinks=False)))
            except FileNotFoundError:
                continue  # Removed, or renamed: then the new listing has its new name.
            except OSError as error:
                faults.append(Fault(one.name, error))
    return now
