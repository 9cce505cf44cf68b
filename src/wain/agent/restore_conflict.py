"""What to do when a name is already taken at the restore target, and how a finished entry gets its name."""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from wain.agent.restore_root import NAME_BYTES, rename_new
from wain.tree.entry import Entry, Kind

MAX_COPIES: Final = 10_000


class Conflict(Enum):
    """What happens to an entry whose name is taken by something else. The value is the word on the command line."""

    FAIL = "fail"
    """Leave what is there; the entry becomes a problem of the report."""
    SKIP = "skip"
    """Leave what is there, silently."""
    OVERWRITE = "overwrite"
    """Put the restored entry in its place (never a directory that holds something)."""
    KEEP_BOTH = "keep-both"
    """Restore beside it, as `name.wain-1`, `name.wain-2`, ..."""


class Arrival(Enum):
    """How an entry finds its name."""

    WRITE = "write"
    IN_PLACE = "in place"
    """A regular file is there and may be changed where it lies."""
    COMPLETE = "complete"
    """The same entry is there already."""
    SKIPPED = "skipped"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a restore treats what it finds."""

    conflict: Conflict = Conflict.FAIL
    in_place: bool = False
    """Compare existing files with the point and write only what differs. Needs `Conflict.OVERWRITE`."""
    special_bits: bool = False
    """Restore setuid, setgid and file capabilities even when not root. Root always does."""


TAKEN: Final = "something else already has this name"
TWIN: Final = "its name falls together with one restored before (a duplicate, or this target ignores case)"
_DIRECTORY_THERE: Final = "a directory that is not empty has this name"


def _same_file(found: os.stat_result, entry: Entry) -> bool:
    same: bool = found.st_size == entry.stat.size and found.st_mtime_ns == entry.stat.mtime_ns
    return stat.S_ISREG(found.st_mode) and same


def _same_device(test: Callable[[int], bool]) -> Callable[[os.stat_result, Entry], bool]:
    return lambda found, entry: test(found.st_mode) and found.st_rdev == os.makedev(*entry.rdev)


_SAME: Final[Mapping[Kind, Callable[[os.stat_result, Entry], bool]]] = {
    Kind.FILE: _same_file,
    Kind.SYMLINK: lambda found, _: stat.S_ISLNK(found.st_mode),
    Kind.FIFO: lambda found, _: stat.S_ISFIFO(found.st_mode),
    Kind.CHAR_DEVICE: _same_device(stat.S_ISCHR),
    Kind.BLOCK_DEVICE: _same_device(stat.S_ISBLK),
}


def complete(directory: int, name: bytes, found: os.stat_result, entry: Entry) -> bool:
    """Say whether an earlier run restored this entry under this name: entries get their name when all is done."""
    if not _SAME[entry.kind](found, entry):
        return False
    return entry.kind is not Kind.SYMLINK or os.readlink(name, dir_fd=directory) == entry.target


def look(directory: int, name: bytes) -> os.stat_result | None:
    """Return what has a name in an open directory, without following it, or None."""
    try:
        return os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None


def survey(directory: int, entry: Entry, policy: Policy) -> tuple[Arrival, str]:
    """Say how an entry finds its name in an open directory; with a reason when it is blocked."""
    found = look(directory, entry.name)
    if found is None:
        return Arrival.WRITE, ""
    # A file with a second name is never changed where it lies: the other name may be outside the target. As it is only
    # ever replaced whole, its size and time tell whether it was.
    alone = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if policy.in_place and entry.kind is Kind.FILE and alone:
        return Arrival.IN_PLACE, ""
    if complete(directory, entry.name, found, entry) and not _worn(found, entry, policy):
        return Arrival.COMPLETE, ""
    if policy.conflict is Conflict.OVERWRITE:
        return _clear_the_way(directory, entry.name, found)
    if policy.conflict is Conflict.KEEP_BOTH:
        return _copy_there(directory, entry), ""
    return (Arrival.SKIPPED, "") if policy.conflict is Conflict.SKIP else (Arrival.BLOCKED, TAKEN)


def _worn(found: os.stat_result, entry: Entry, policy: Policy) -> bool:
    """Say whether an overwriting restore must mend the mode or owner of an entry with the right content."""
    if policy.conflict is not Conflict.OVERWRITE or entry.kind is Kind.SYMLINK:
        return False
    owner = (found.st_uid, found.st_gid) == (entry.stat.uid, entry.stat.gid)
    return stat.S_IMODE(found.st_mode) != entry.stat.mode or (os.geteuid() == 0 and not owner)


def _clear_the_way(directory: int, name: bytes, found: os.stat_result) -> tuple[Arrival, str]:
    if not stat.S_ISDIR(found.st_mode):
        return Arrival.WRITE, ""
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
        return Arrival.BLOCKED, _DIRECTORY_THERE
    return Arrival.WRITE, ""


def _copy_there(directory: int, entry: Entry) -> Arrival:
    for number in range(1, MAX_COPIES):
        name = copy_name(entry.name, number)
        found = look(directory, name)
        if found is None:
            break
        if complete(directory, name, found, entry):
            return Arrival.COMPLETE
    return Arrival.WRITE


def copy_name(name: bytes, number: int) -> bytes:
    """Return `name.wain-N`, its front cut where the whole would be too long for a name."""
    tail = b".wain-%d" % number
    return name[: NAME_BYTES - len(tail)] + tail


def publish(directory: int, temporary: bytes, name: bytes, conflict: Conflict) -> bytes | None:
    """Give a finished temporary entry its name, and return the name it got.

    None when the name is taken and the policy keeps what is there; the temporary entry is still to be removed.

    Raises:
        OSError: as `rename` gives it.
    """
    if conflict is Conflict.OVERWRITE:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        return name
    try:
        rename_new(directory, temporary, name)
    except FileExistsError:
        return publish_copy(directory, temporary, name) if conflict is Conflict.KEEP_BOTH else None
    return name


def publish_copy(directory: int, temporary: bytes, name: bytes) -> bytes | None:
    """Give a temporary entry the first free `name.wain-N`."""
    for number in range(1, MAX_COPIES):
        copy = copy_name(name, number)
        try:
            rename_new(directory, temporary, copy)
        except FileExistsError:
            continue
        return copy
    return None
