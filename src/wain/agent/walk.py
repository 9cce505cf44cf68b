"""Walks the protected files in path order, by directory descriptors, never following a symbolic link.

The walk yields `Entered` when it opens a directory and `Left` when it is done below it. Names within a directory and
directories among themselves come sorted by their bytes, so two walks of one tree can be merged in constant memory.
A directory of very many names is a crowd (`wain.agent.crowd`): few of them are in memory at a time. What cannot be
looked at becomes a `Problem`; only the source can cause one.
"""

import contextlib
import os
import stat as modes
import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from tempfile import gettempdir
from typing import Final, NamedTuple

from wain.agent import crowd
from wain.agent.cache_tag import CACHE_TAG, is_cache
from wain.agent.crowd import LeavesOut, TooMany, list_crowd
from wain.agent.listing import Fault, Found, Listing, list_still
from wain.agent.names import NameQueue
from wain.agent.view import LIVE, OPEN_DIRECTORY, View
from wain.job.job import Problem
from wain.policy.exclusion import Exclusions

OPEN_LEVELS: Final = 200
"""How many directories, one below the other, are open at once: a tree may be deeper than a process may open files."""

_ENCODING: Final = sys.getfilesystemencoding()
_ERRORS: Final = sys.getfilesystemencodeerrors()
_CLOSED: Final = -1
_ITSELF_AGAIN: Final = 2
"""A directory may be mounted once below itself (a bind mount); more often means that the tree has no end."""
_NAME: Final = itemgetter(0)


@dataclass(frozen=True, slots=True)
class WalkPlan:
    """What to walk. `includes` are absolute; `skip` holds (st_dev, st_ino) of directories never to enter."""

    includes: tuple[bytes, ...]
    exclusions: Exclusions
    exclude_caches: bool = False
    max_file_bytes: int | None = None
    one_file_system: bool = False
    skip: frozenset[tuple[int, int]] = frozenset()
    view: View = LIVE
    scratch: Path = field(default_factory=lambda: Path(gettempdir()))
    """Where the names of a very large directory may be put."""


class Entered(NamedTuple):
    """A directory is open. `leaves` are its entries that are not directories, sorted by name.

    They are a list, but of a crowd: its leaves can be iterated over once, before the walk goes on.
    """

    path: bytes
    fd: int
    stat: os.stat_result
    leaves: Iterable[Found]
    selected: bool
    """Within an include, and not only on the way to one."""


class Left(NamedTuple):
    """Everything below a directory was yielded. `fd` is closed right after; it is -1 when it was moved away."""

    path: bytes
    fd: int
    stat: os.stat_result


@dataclass(slots=True)
class _Open:
    """A directory on the walk's stack. `todo` are the names of the subdirectories still to enter, last one first."""

    path: bytes
    fd: int
    stat: os.stat_result
    todo: list[bytes] | NameQueue
    selected: bool
    """Within an include; a directory that only leads to one is not listed but picked from."""
    cache: bool = False
    """Of a cache directory only the tag is kept, and what is included by name."""
    identity: tuple[int, int] = (0, 0)
    """Device and inode."""


@dataclass(slots=True)
class Walk:
    """One walk over a plan. Iterate it once."""

    plan: WalkPlan
    report: Callable[[Problem], None]
    _picks: dict[bytes, set[bytes]] = field(default_factory=dict)
    _includes: frozenset[bytes] = frozenset()

    def __iter__(self) -> Generator[Entered | Left]:
        """Yield directories, `Entered` before and `Left` after what is below them."""
        self._picks = _picks(self.plan.includes)
        self._includes = frozenset(self.plan.includes)
        stack: list[_Open] = []
        try:
            root_fd = _open_directory(self.plan.view, b"/", b"/", None)
            root = os.fstat(root_fd)
            top = _Open(b"/", root_fd, root, [], b"/" in self._includes, identity=(root.st_dev, root.st_ino))
            yield from self._enter(stack, top)
            while stack:
                top = stack[-1]
                if not top.todo:
                    yield Left(top.path, top.fd, top.stat)
                    self._leave(stack)
                elif (child := self._descend(stack, top.todo.pop())) is not None:
                    yield from self._enter(stack, child)
        finally:
            for one in stack:
                _close(one)

    def _descend(self, stack: list[_Open], name: bytes) -> _Open | None:
        """Open a subdirectory, unless it is to be left out."""
        parent = stack[-1]
        path = join(parent.path, name)
        try:
            fd = _open_directory(self.plan.view, path, name, parent.fd)
        except OSError as error:
            self.report(Problem(path, words(error)))
            return None
        opened = _Open(path, fd, parent.stat, [], selected=False)
        try:
            opened.stat = os.fstat(fd)
            opened.identity = (opened.stat.st_dev, opened.stat.st_ino)
            if self._enters(stack, opened):
                opened.selected = path in self._includes or (
                    parent.selected
                    and not parent.cache
                    and self._belongs(opened.stat, parent.stat)
                    and not self._excluded(path)
                )
                return opened
        except OSError as error:
            self.report(Problem(path, words(error)))
        _close(opened)
        return None

    def _enters(self, stack: list[_Open], child: _Open) -> bool:
        """Return False for what is Wain's own, and for a tree without end."""
        if child.identity in self.plan.skip:
            if child.path in self._includes or child.path in self._picks:
                self.report(Problem(child.path, "it is a directory of Wain's own and not backed up"))
            return False
        if [one.identity for one in stack].count(child.identity) < _ITSELF_AGAIN:
            return True
        self.report(Problem(child.path, "it is mounted below itself without end"))
        return False

    def _belongs(self, here: os.stat_result, parent: os.stat_result) -> bool:
        """Return False for another file system, of which one_file_system keeps the empty mount point alone."""
        return not self.plan.one_file_system or here.st_dev == parent.st_dev

    def _excluded(self, path: bytes) -> bool:
        """Return True for an excluded directory that is entered only because it leads to an include."""
        return path in self._picks and self.plan.exclusions.matches(path, is_directory=True)

    def _enter(self, stack: list[_Open], here: _Open) -> Generator[Entered]:
        stack.append(here)
        if len(stack) > OPEN_LEVELS + 1:
            _close(stack[-OPEN_LEVELS - 1])
        try:
            found = self._list(here) if here.selected else self._pick(here)
        except TooMany:
            yield from self._enter_crowd(here)
            return
        found.sort(key=_NAME)
        leaves = [one for one in found if not modes.S_ISDIR(one.stat.st_mode)]
        if len(leaves) < len(found):
            here.todo = [one.name for one in reversed(found) if modes.S_ISDIR(one.stat.st_mode)]
        yield Entered(here.path, here.fd, here.stat, leaves, here.selected)

    def _enter_crowd(self, here: _Open) -> Generator[Entered]:
        """Enter a directory of more names than are held."""
        try:
            listed = list_crowd(here.fd, self.plan.scratch)
        except OSError as error:
            self.report(Problem(here.path, f"it could not be listed: {words(error)}"))
            yield Entered(here.path, here.fd, here.stat, [], here.selected)
            return
        self._listed(here, listed.listing)
        self._check_picks(here.path, self._picked(here))
        leaves = listed.leaves(self._leaving_out(here), lambda fault: self.report(_problem(here.path, fault)))
        yield Entered(here.path, here.fd, here.stat, leaves, here.selected)
        for _ in leaves:  # What its reader did not want to see may be directories.
            pass
        if listed.gone:
            reason = (
                f"{listed.gone} of its names went while it was read: if they were renamed, the new ones may be missing"
            )
            self.report(Problem(here.path, reason))
        here.todo = listed.directories

    def _leave(self, stack: list[_Open]) -> None:
        """Close the top of the stack; open the one below again when it was closed for want of descriptors."""
        child = stack.pop()
        try:
            if stack and stack[-1].fd == _CLOSED and not _reopen(self.plan.view, stack, child) and stack[-1].todo:
                stack[-1].todo.clear()
                self.report(Problem(stack[-1].path, "it was moved while being read; not all below it was kept"))
        finally:
            _close(child)

    def _list(self, here: _Open) -> list[Found]:
        """Return what an include holds, sorted by nothing, without what the plan leaves out. Raises `TooMany`."""
        here.cache = self.plan.exclude_caches and is_cache(here.fd)
        leaves_out = self._leaving_out(here)
        try:
            listing = list_still(here.fd, here.stat, lambda fd, faults: _scan(fd, faults, leaves_out))
        except OSError as error:
            self.report(Problem(here.path, f"it could not be listed: {words(error)}"))
            return []
        self._listed(here, listing)
        picks = self._picks.get(here.path)
        if picks:
            self._check_picks(here.path, {one.name: one.stat for one in listing.found if one.name in picks})
        return listing.found

    def _listed(self, here: _Open, listing: Listing) -> None:
        """Take note of how a directory looked after its listing, and report what was wrong with that."""
        here.stat = listing.stat
        for fault in listing.faults:
            self.report(_problem(here.path, fault))
        if not listing.still:
            self.report(Problem(here.path, "it changed all the time while it was listed: a name may be missing"))

    def _leaving_out(self, here: _Open) -> LeavesOut | None:
        """Return what tells which names of an include the plan leaves out; None when it takes all."""
        path, plan, picks, only_tag = here.path, self.plan, self._picks.get(here.path, ()), here.cache
        matches = plan.exclusions.matches if plan.exclusions else None
        biggest = plan.max_file_bytes
        if not only_tag and matches is None and biggest is None:
            return None

        def leaves_out(name: bytes, stat: os.stat_result) -> bool:
            if name in picks:  # What is included by name, or leads to it, always counts.
                return False
            if only_tag and name != CACHE_TAG:
                return True  # As GNU tar does: the directory and its tag stay, what it caches does not.
            if matches and matches(join(path, name), modes.S_ISDIR(stat.st_mode)):
                return True
            return biggest is not None and stat.st_size > biggest and modes.S_ISREG(stat.st_mode)

        return leaves_out

    def _pick(self, here: _Open) -> list[Found]:
        """Return what leads to includes, of a directory that is not in one itself."""
        found = self._picked(here)
        self._check_picks(here.path, found)
        # What only leads to an include, and is no directory, was reported and is not kept.
        wanted = (Found(name, stat) for name, stat in found.items())
        return [one for one in wanted if modes.S_ISDIR(one.stat.st_mode) or join(here.path, one.name) in self._includes]

    def _picked(self, here: _Open) -> dict[bytes, os.stat_result]:
        """Look at what leads to includes in a directory."""
        found: dict[bytes, os.stat_result] = {}
        for name in self._picks.get(here.path, ()):
            try:
                found[name] = os.stat(name, dir_fd=here.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.report(Problem(join(here.path, name), words(error)))
        return found

    def _check_picks(self, directory: bytes, found: dict[bytes, os.stat_result]) -> None:
        """Report what the policy names and the walk will not find, or will find to be only a link."""
        for name in sorted(self._picks.get(directory, ())):
            path = join(directory, name)
            if name not in found:
                self.report(Problem(path, "no such file or directory"))
                continue
            kind = modes.S_IFMT(found[name].st_mode)
            if kind != modes.S_IFDIR and path in self._picks:
                # Not followed: whoever may place a link there would choose what is read.
                what = "a symbolic link" if kind == modes.S_IFLNK else "no directory"
                self.report(Problem(path, f"it is {what}: what the policy names below it was not kept"))
            elif kind == modes.S_IFLNK and not self._covered(path):
                reason = "it is a symbolic link, and only the link was kept: include what it points to"
                self.report(Problem(path, reason))

    def _covered(self, link: bytes) -> bool:
        """Return True when what a link points to is itself within an include, or nothing."""
        target = os.path.realpath(link)
        if not os.path.lexists(target):
            return True
        return any(target == one or target.startswith(join(one, b"")) for one in self._includes)


def _scan(fd: int, faults: list[Fault], leaves_out: LeavesOut | None) -> list[Found]:
    """List a directory once. What was listed before an error is kept. Raises `TooMany`."""
    found: list[Found] = []
    try:
        with os.scandir(fd) as listing:
            for item in listing:
                name = item.name.encode(_ENCODING, _ERRORS)
                try:
                    stat = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # Gone between two system calls: it is no longer part of the directory.
                except OSError as error:
                    faults.append(Fault(name, error))
                    continue
                if leaves_out is None or not leaves_out(name, stat):
                    found.append(Found(name, stat))
                    if len(found) > crowd.HELD_NAMES:
                        raise TooMany
    except OSError as error:
        faults.append(Fault(b"", error))
    return found


def _problem(directory: bytes, fault: Fault) -> Problem:
    if fault.name:
        return Problem(join(directory, fault.name), words(fault.error))
    return Problem(directory, f"it could not be listed in full: {words(fault.error)}")


def _close(one: _Open) -> None:
    if one.fd != _CLOSED:
        os.close(one.fd)
        one.fd = _CLOSED


def _open_directory(view: View, path: bytes, name: bytes, parent_fd: int | None) -> int:
    """Open a subdirectory, or what stands for it."""
    place = view.places.get(path)
    return os.open(name, OPEN_DIRECTORY, dir_fd=parent_fd) if place is None else place.open()


def _reopen(view: View, stack: list[_Open], child: _Open) -> bool:
    """Open the top of the stack again, from its child or else from above. False when it is not there any more."""
    top = stack[-1]
    with contextlib.suppress(OSError):
        if child.fd != _CLOSED and _take(top, os.open(b"..", OPEN_DIRECTORY, dir_fd=child.fd)):
            return True
    fd = os.dup(stack[0].fd)
    try:
        for one in stack[1:]:
            below = _open_directory(view, one.path, one.path[one.path.rindex(b"/") + 1 :], fd)
            os.close(fd)
            fd = below
    except OSError:
        os.close(fd)
        return False
    return _take(top, fd)


def _take(one: _Open, fd: int) -> bool:
    here = os.fstat(fd)
    if (here.st_dev, here.st_ino) != one.identity:
        os.close(fd)
        return False
    one.fd = fd
    return True


def _picks(includes: tuple[bytes, ...]) -> dict[bytes, set[bytes]]:
    """Return, for each directory above an include, the names to pick from it."""
    picks: dict[bytes, set[bytes]] = {}
    for include in includes:
        path = b"/"
        for part in include.strip(b"/").split(b"/"):
            if part:
                picks.setdefault(path, set()).add(part)
                path = join(path, part)
    return picks


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of a name in a directory."""
    return directory + name if directory == b"/" else directory + b"/" + name


def words(error: OSError) -> str:
    """Return an operating system error for people, without the path that the message already names."""
    return (error.strerror or str(error)).lower()
