"""Finds entries of recovery points by glob, kind, size and age; in one point, or in which of all points each is.

One point is searched in constant memory. Through all points, only what differs from one to the next is looked at, and
memory grows with what is found.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from wain.agent.browse import Damage, PointView
from wain.agent.compare_points import Side, compare, same_content
from wain.agent.point_packs import StillTravelling
from wain.base.errors import DataError, WainError
from wain.base.ids import PointId
from wain.policy.exclusion import Exclusions
from wain.tree.entry import Entry, Kind
from wain.wire.vault import RecoveryPoint

KIND_LETTERS: Final = {
    "f": Kind.FILE,
    "d": Kind.DIRECTORY,
    "l": Kind.SYMLINK,
    "p": Kind.FIFO,
    "s": Kind.SOCKET,
    "c": Kind.CHAR_DEVICE,
    "b": Kind.BLOCK_DEVICE,
}
"""As `find -type` has them."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to find: any of the globs (all that there is when there are none), and all of the rest.

    Sizes are of files: with one given, nothing else is found. Times are of the last change, in ns since 1970.
    """

    globs: Exclusions
    kinds: frozenset[Kind] = frozenset(Kind)
    min_size: int = 0
    max_size: int | None = None
    newer_ns: int | None = None
    """Changed after this."""
    older_ns: int | None = None
    """Changed before this."""

    def matches(self, path: bytes, entry: Entry) -> bool:
        """Tell whether the entry at an absolute path is wanted."""
        if entry.kind not in self.kinds or not self._in_time(entry.stat.mtime_ns) or not self._in_size(entry):
            return False
        return not self.globs or self.globs.matches(path, entry.kind is Kind.DIRECTORY)

    def _in_time(self, mtime_ns: int) -> bool:
        after = self.newer_ns is None or mtime_ns > self.newer_ns
        return after and (self.older_ns is None or mtime_ns < self.older_ns)

    def _in_size(self, entry: Entry) -> bool:
        if self.min_size == 0 and self.max_size is None:
            return True
        size = entry.stat.size
        return entry.kind is Kind.FILE and self.min_size <= size and (self.max_size is None or size <= self.max_size)


def search(view: PointView, query: Query, damage: Damage | None = None) -> Iterator[tuple[bytes, Entry]]:
    """Iterate over what one point holds of what is wanted, in path order.

    Raises:
        DataError, StillTravelling, RemoteError: a listing cannot be read (without `damage`).
    """
    return ((path, entry) for path, entry in view.walk(b"/", damage) if query.matches(path, entry))


@dataclass(slots=True)
class Version:
    """One content that a path had, as the newest point that has it shows it; `points` have it, newest first."""

    path: bytes
    entry: Entry
    points: list[RecoveryPoint] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Who is told of what could not be searched: points that do not open, directories that cannot be read."""

    point: Callable[[RecoveryPoint, WainError], None]
    directory: Callable[[RecoveryPoint, bytes, WainError], None]


def search_all(
    points: Sequence[RecoveryPoint], open_point: Callable[[PointId], PointView], query: Query, trouble: Trouble
) -> list[Version]:
    """Return every version of what is wanted, by path and newest first. `points` are oldest first.

    Raises:
        RemoteError: the vault cannot be read.
    """
    found: dict[bytes, list[Version]] = {}
    alive: dict[bytes, Version] = {}
    newer: PointView | None = None
    try:
        for point in reversed(points):
            try:
                view = open_point(point.id)
            except (DataError, StillTravelling) as error:
                trouble.point(point, error)
                continue
            for path, entry in _differing(newer, Side(view, partial(trouble.directory, point))):
                alive.pop(path, None)
                if entry is not None and query.matches(path, entry):
                    alive[path] = _version(found, path, entry)
            for version in alive.values():
                version.points.append(point)
            if newer is not None:
                newer.close()
            newer = view
    finally:
        if newer is not None:
            newer.close()
    return [version for path in sorted(found, key=lambda path: path.split(b"/")) for version in found[path]]


def _differing(newer: PointView | None, side: Side) -> Iterator[tuple[bytes, Entry | None]]:
    """Iterate over what a point has otherwise than the one searched before it; None for what it has not."""
    if newer is None:
        yield from side.view.walk(b"/", side.damage)
        return
    # What is wrong with the newer one was said when it was searched.
    for change in compare(Side(newer, lambda path, error: None), side):
        yield change.path, change.new


def _version(found: dict[bytes, list[Version]], path: bytes, entry: Entry) -> Version:
    """Return the version that has this content; only its metadata may have been another meanwhile."""
    versions = found.setdefault(path, [])
    for version in versions:
        if same_content(version.entry, entry):
            return version
    versions.append(Version(path, entry))
    return versions[-1]
