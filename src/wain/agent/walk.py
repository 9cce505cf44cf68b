"""Walks the protected files in path order, by directory descriptors, never following a symbolic link.

The walk yields `Entered` when it opens a directory and `Left` when it is done below it. Names within a directory and
directories among themselves come sorted by their bytes, so two walks of one tree can be merged in constant memory.
What cannot be looked at becomes a `Problem`; only the source can cause one.
"""

import os
import stat as modes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from wain.job.job import Problem
from wain.policy.exclusion import Exclusions

CACHE_TAG: Final = b"CACHEDIR.TAG"
CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"
"""The first bytes of a cache directory's tag (Cache Directory Tagging Specification)."""

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class WalkPlan:
    """What to walk. `includes` are absolute; `skip` holds (st_dev, st_ino) of directories never to enter."""

    includes: tuple[bytes, ...]
    exclusions: Exclusions
    exclude_caches: bool = False
    max_file_bytes: int | None = None
    one_file_system: bool = False
    skip: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """One name in a directory, as `lstat` saw it."""

    name: bytes
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class Entered:
    """A directory is open. `leaves` are its entries that are not directories, sorted by name."""

    path: bytes
    fd: int
    stat: os.stat_result
    leaves: list[Found]


@dataclass(frozen=True, slots=True)
class Left:
    """Everything below a directory was yielded. `fd` is still open, and closed right after."""

    path: bytes
    fd: int
    stat: os.stat_result


@dataclass(slots=True)
class _Open:
    """A directory on the walk's stack: subdirectories still to enter, last one first."""

    path: bytes
    fd: int
    stat: os.stat_result
    todo: list[Found]
    selected: bool
    """Within an include; a directory that only leads to one is not listed but picked from."""


@dataclass(slots=True)
class Walk:
    """One walk over a plan. Iterate it once."""

    plan: WalkPlan
    report: Callable[[Problem], None]
    _picks: dict[bytes, set[bytes]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Entered | Left]:
        """Yield directories, `Entered` before and `Left` after what is below them."""
        self._picks = _picks(self.plan.includes)
        root_fd = os.open(b"/", _OPEN_DIRECTORY)
        stack: list[_Open] = []
        try:
            yield self._enter(stack, b"/", root_fd, selected=b"/" in self.plan.includes)
            while stack:
                top = stack[-1]
                if not top.todo:
                    yield Left(top.path, top.fd, top.stat)
                    os.close(stack.pop().fd)
                elif (entered := self._descend(stack, top, top.todo.pop())) is not None:
                    yield entered
        finally:
            for one in stack:
                os.close(one.fd)

    def _descend(self, stack: list[_Open], parent: _Open, child: Found) -> Entered | None:
        path = join(parent.path, child.name)
        try:
            fd = os.open(child.name, _OPEN_DIRECTORY, dir_fd=parent.fd)
        except OSError as error:
            self.report(Problem(path, words(error)))
            return None
        here = os.fstat(fd)
        if parent.selected and self._left_out(here, parent.stat):
            os.close(fd)
            return None
        return self._enter(stack, path, fd, selected=parent.selected or path in self.plan.includes)

    def _left_out(self, here: os.stat_result, parent: os.stat_result) -> bool:
        plan = self.plan
        if (here.st_dev, here.st_ino) in plan.skip:
            return True
        return plan.one_file_system and here.st_dev != parent.st_dev

    def _enter(self, stack: list[_Open], path: bytes, fd: int, *, selected: bool) -> Entered:
        here = os.fstat(fd)
        stack.append(_Open(path, fd, here, [], selected))
        leaves: list[Found] = []
        directories = stack[-1].todo
        only_tag = selected and self.plan.exclude_caches and is_cache(fd)
        for found in self._list(path, fd, selected=selected):
            if only_tag and found.name != CACHE_TAG:
                continue  # As GNU tar does: the directory and its tag stay, what it caches does not.
            (directories if modes.S_ISDIR(found.stat.st_mode) else leaves).append(found)
        directories.sort(key=_by_name, reverse=True)
        leaves.sort(key=_by_name)
        return Entered(path, fd, here, leaves)

    def _list(self, path: bytes, fd: int, *, selected: bool) -> Iterator[Found]:
        if not selected:
            yield from self._pick(path, fd)
            return
        try:
            listing = os.scandir(fd)
        except OSError as error:
            self.report(Problem(path, words(error)))
            return
        matches = self.plan.exclusions.matches if self.plan.exclusions else None
        biggest = self.plan.max_file_bytes
        with listing:
            for item in listing:
                name = os.fsencode(item.name)
                try:
                    stat = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # Gone between two system calls: it is no longer part of the directory.
                except OSError as error:
                    self.report(Problem(join(path, name), words(error)))
                    continue
                if matches and matches(join(path, name), modes.S_ISDIR(stat.st_mode)):
                    continue
                if biggest is not None and modes.S_ISREG(stat.st_mode) and stat.st_size > biggest:
                    continue
                yield Found(name, stat)

    def _pick(self, path: bytes, fd: int) -> Iterator[Found]:
        for name in sorted(self._picks.get(path, ())):
            try:
                yield Found(name, os.stat(name, dir_fd=fd, follow_symlinks=False))
            except OSError as error:
                self.report(Problem(join(path, name), words(error)))


def _by_name(found: Found) -> bytes:
    return found.name


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


def is_cache(fd: int) -> bool:
    """Return True when the open directory carries a valid CACHEDIR.TAG."""
    try:
        tag = os.open(CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return False
    try:
        return os.read(tag, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        os.close(tag)


def words(error: OSError) -> str:
    """Return an operating system error for people, without the path that the message already names."""
    return (error.strerror or str(error)).lower()
