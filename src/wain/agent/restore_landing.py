"""Where a restored entry lands: directories that are being filled, and the step that gives an entry its name.

Shared by the writers of files and of everything else, so that the conflict policy and the treatment of errors exist
once.
"""

import errno
import os
import stat
import unicodedata
from contextlib import suppress
from typing import Final

from wain.agent.restore_conflict import TAKEN, TWIN, Arrival, Conflict, Policy, complete, look, publish, survey
from wain.agent.restore_links import First, LinkGroups
from wain.agent.restore_metadata import Metadata
from wain.agent.restore_report import Tally
from wain.agent.restore_root import TargetRoot, check_name
from wain.base.errors import DeviceLost, WriteFailed
from wain.storage.durable import out_of_space
from wain.tree.entry import Entry, Kind
from wain.tree.links import link_key

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOST: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.ESTALE})
_BROKEN: Final = frozenset({errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Place:
    """A directory at the target. `path` is relative to the root, `shown` the path in the recovery point."""

    __slots__ = ("entry", "folded", "fresh", "path", "settles", "shown")

    def __init__(self, path: bytes, shown: bytes, entry: Entry | None = None) -> None:
        self.path = path
        self.shown = shown
        self.entry = entry
        self.fresh = False
        """Made by this restore: nothing but what we put there can be in it."""
        self.settles = False
        """Its metadata is applied when it is left."""
        self.folded: set[str] = set()
        """Names restored so far as a target that ignores case sees them."""


class Item:
    """One entry on its way to the target. For a file, `pending` counts the bytes still to come."""

    __slots__ = (
        "data", "entry", "failed", "in_place", "link_key", "met", "pending", "place", "shown", "starts", "touched"
    )  # fmt: skip

    def __init__(self, place: Place, entry: Entry, shown: bytes) -> None:
        self.place = place
        self.entry = entry
        self.shown = shown
        self.failed = False
        self.met = False
        """Its name was compared with its neighbours' names."""
        self.in_place = False
        self.touched = False
        """An in-place restore has changed the existing file."""
        self.starts: list[int] = []
        """Of a file with holes: where each extent begins in the run of its data."""
        at = 0
        for _, length in entry.content.extents:
            self.starts.append(at)
            at += length
        self.data = at if self.starts else entry.stat.size
        """Bytes of content, holes left out."""
        self.pending = self.data
        self.link_key = link_key(entry)
        """What names of one hard-linked entry have in common, or None for an entry with one name."""


class Landing:
    """The target as both writers see it: its root, the policy, and who counts."""

    def __init__(self, root: TargetRoot, policy: Policy, tally: Tally) -> None:
        self.root = root
        self.policy = policy
        self.tally = tally
        self.metadata = Metadata(tally, special_bits=policy.special_bits or os.geteuid() == 0)
        self.links = LinkGroups()

    def arrive(self, item: Item) -> Arrival:
        """Decide about an entry before anything is read for it, and count what needs no writing.

        Raises:
            Malformed: its name is not one component of a path.
            OSError: the target's directory cannot be used.
        """
        place, entry = item.place, item.entry
        check_name(entry.name)
        if self.is_twin(item):
            return self.settle(item, Arrival.BLOCKED, TWIN)
        if place.fresh:
            return Arrival.WRITE
        directory = self.root.directory(place.path)
        arrival, reason = survey(directory, entry, self.policy)
        if arrival is Arrival.COMPLETE:
            self._remember_complete(item, directory)
        return self.settle(item, arrival, reason)

    def settle(self, item: Item, arrival: Arrival, reason: str) -> Arrival:
        """Count an entry that needs no writing, and return `arrival`."""
        if arrival is Arrival.COMPLETE:
            self.tally.already += 1
        elif arrival is Arrival.SKIPPED:
            self.tally.skipped += 1
        elif arrival is Arrival.BLOCKED:
            self.tally.problem(item.shown, reason)
        return arrival

    def is_twin(self, item: Item) -> bool:
        """Say whether a target that ignores case has taken this name for another one of the same directory."""
        if not self.root.folds_case or item.met or self.policy.conflict is Conflict.KEEP_BOTH:
            return False
        item.met = True
        folded = unicodedata.normalize("NFD", os.fsdecode(item.entry.name)).casefold()
        if folded in item.place.folded:
            return True
        item.place.folded.add(folded)
        return False

    def _remember_complete(self, item: Item, directory: int) -> None:
        key = item.link_key
        if key is None or self.links.first(key) is not None:
            return
        found = look(directory, item.entry.name)
        if found is not None and complete(directory, item.entry.name, found, item.entry):
            self.links.restored(key, First(item.place.path, item.entry.name, (found.st_dev, found.st_ino)))

    def land(self, directory: int, temporary: bytes, item: Item) -> bytes | None:
        """Give a finished temporary entry its name and return it; None, counted, when the name is taken.

        In a directory made by this restore nothing is ever replaced: what is there has been restored a moment ago.
        """
        conflict = self.policy.conflict
        if item.place.fresh and conflict is not Conflict.KEEP_BOTH:
            conflict = Conflict.FAIL
        try:
            name = publish(directory, temporary, item.entry.name, conflict)
        except OSError:
            discard(directory, temporary)
            raise
        if name is None:
            discard(directory, temporary)
            if item.place.fresh:
                self.tally.problem(item.shown, TWIN)
            else:
                self.settle(item, Arrival.SKIPPED if conflict is Conflict.SKIP else Arrival.BLOCKED, TAKEN)
        return name

    def remember(self, item: Item, name: bytes, found: os.stat_result) -> None:
        """Keep where the first name of a hard-linked entry was restored."""
        key = item.link_key
        if key is not None:
            self.links.restored(key, First(item.place.path, name, (found.st_dev, found.st_ino)))

    def refuse(self, item: Item, error: OSError) -> None:
        """Record that the target did not take an entry, or give up when it takes no more.

        Raises:
            OutOfSpace, DeviceLost, WriteFailed: nothing else could be written either.
        """
        self.give_up_if_broken(error, item.entry.stat.size)
        item.failed = True
        self.tally.problem(item.shown, reason_of(error))

    def give_up_if_broken(self, error: OSError, need_bytes: int) -> None:
        """Raise when an error of the target is not about one entry."""
        where = str(self.root.path)
        if error.errno in _FULL:
            raise out_of_space(where, max(need_bytes, 1), 0, self.root.fd) from error
        if error.errno in _LOST:
            raise DeviceLost(where) from error
        if error.errno in _BROKEN:
            raise WriteFailed(where, error.strerror or "input/output error") from error


_REASONS: Final = {
    errno.ELOOP: "a symbolic link is in the way; it was not followed",
    errno.ENOTDIR: "something that is not a directory is in the way",
    errno.EEXIST: TAKEN,
    errno.EISDIR: "a directory has this name",
    errno.EXDEV: "the way leads out of the target; it was not taken",
    errno.ENOENT: "its directory was removed while the restore ran",
}


def reason_of(error: OSError) -> str:
    """Return why the target refused, for people."""
    return _REASONS.get(error.errno or 0) or f"the target refused it: {error.strerror}"


def discard(directory: int, temporary: bytes) -> None:
    """Remove a temporary entry. One that cannot be removed is cleaned by the next restore into the directory."""
    with suppress(OSError):
        os.unlink(temporary, dir_fd=directory)


def is_kind(found: os.stat_result, kind: Kind) -> bool:
    """Say whether an `lstat` shows an entry of this kind."""
    return stat.S_IFMT(found.st_mode) == _FORMATS[kind]


_FORMATS: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHAR_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}
