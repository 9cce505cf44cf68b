"""Compares two recovery points: a merge of their trees in path order, in constant memory.

Pieces are named by their content, so a directory whose pieces have the same ids on both sides is the same all the way
down and is not read; of a large directory only the pieces that differ are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from wain.agent.browse import Damage, PointView, split_path
from wain.base.errors import Refused
from wain.tree.entry import Entry, Kind


class Difference(Enum):
    """What became of an entry. The value is what is printed."""

    ADDED = "+"
    REMOVED = "-"
    CONTENT = "M"
    METADATA = "U"
    """Mode, owner, time of change or attributes, and nothing else."""
    TYPE = "T"
    """It is another kind of thing now."""


class Change(NamedTuple):
    """One entry that differs: `old` is None when it was added, `new` when it was removed."""

    what: Difference
    path: bytes
    old: Entry | None
    new: Entry | None


class Side(NamedTuple):
    """One of the two points. With `damage`, its directories that cannot be read are reported, and count as empty."""

    view: PointView
    damage: Damage | None = None


@dataclass(slots=True)
class _Pair:
    """A directory that is being compared: the rest of its entries on each side, and the next one of each."""

    path: bytes
    old: Iterator[Entry]
    new: Iterator[Entry]
    next_old: Entry | None = None
    next_new: Entry | None = None

    def __post_init__(self) -> None:
        self.next_old, self.next_new = next(self.old, None), next(self.new, None)

    def step(self) -> tuple[Entry | None, Entry | None]:
        """Take the next name, with its entry on each side that has it. Two Nones: there are no more."""
        old, new = self.next_old, self.next_new
        if old is not None and new is not None and old.name != new.name:
            if old.name < new.name:
                new = None
            else:
                old = None
        if old is not None:
            self.next_old = next(self.old, None)
        if new is not None:
            self.next_new = next(self.new, None)
        return old, new


def compare(old: Side, new: Side, path: bytes = b"/") -> Iterator[Change]:
    """Iterate over what differs at `path` and below, in path order.

    Raises:
        Refused: neither point has the path.
        DataError, StillTravelling, RemoteError: a listing cannot be read, and the side does not take reports.
    """
    before, after = _entry(old.view, path), _entry(new.view, path)
    if before is None and after is None:
        shown = path.decode(errors="replace")
        raise Refused(f"{shown} is in neither of the two recovery points", "List what they hold with: wain ls")
    merge = _Merge(old, new)
    names = split_path(path)
    clean = b"/" + b"/".join(names) if names else b""
    if clean:
        yield from merge.judge(clean, before, after)
    yield from merge.below(clean, before, after)


def difference(old: Entry, new: Entry) -> Difference | None:
    """Say how two entries of one name differ, or None. Times of status change and inode numbers do not count."""
    if old.kind is not new.kind:
        return Difference.TYPE
    if old.kind is not Kind.DIRECTORY and not same_content(old, new):
        return Difference.CONTENT
    return Difference.METADATA if _metadata(old) != _metadata(new) else None


def same_content(old: Entry, new: Entry) -> bool:
    """Say whether two entries hold the same: bytes and holes, a link's target, a device's numbers."""
    return (old.kind, old.content, old.target, old.rdev) == (new.kind, new.content, new.target, new.rdev) and (
        old.kind is not Kind.FILE or old.stat.size == new.stat.size
    )


def _metadata(entry: Entry) -> tuple[object, ...]:
    stat = entry.stat
    return stat.mode, stat.uid, stat.gid, stat.mtime_ns, entry.xattrs


def _entry(view: PointView, path: bytes) -> Entry | None:
    try:
        return view.entry(path)
    except Refused:
        split_path(path)  # A path that climbs is refused by its own words.
        return None


class _Merge:
    def __init__(self, old: Side, new: Side) -> None:
        self._old = old
        self._new = new

    def judge(self, path: bytes, old: Entry | None, new: Entry | None) -> Iterator[Change]:
        """Yield what is different about one entry, if anything is."""
        if old is None or new is None:
            yield Change(Difference.ADDED if old is None else Difference.REMOVED, path, old, new)
            return
        what = difference(old, new)
        if what is not None:
            yield Change(what, path, old, new)

    def below(self, path: bytes, old: Entry | None, new: Entry | None) -> Iterator[Change]:
        """Yield what differs below a path, whose entries are not judged."""
        stack = list(self._pair(path, old, new))
        while stack:
            pair = stack[-1]
            before, after = pair.step()
            one = before or after
            if one is None:
                stack.pop()
                continue
            here = pair.path + b"/" + one.name
            yield from self.judge(here, before, after)
            stack += self._pair(here, before, after)

    def _pair(self, path: bytes, old: Entry | None, new: Entry | None) -> Iterator[_Pair]:
        """Yield the comparison of two directories; none when nothing below them can differ."""
        before = old.content.chunks if old is not None and old.kind is Kind.DIRECTORY else ()
        after = new.content.chunks if new is not None and new.kind is Kind.DIRECTORY else ()
        shared = set(before) & set(after)
        # A shared piece has the same entries on both sides, and no other piece has a name of theirs.
        before = tuple(chunk for chunk in before if chunk not in shared)
        after = tuple(chunk for chunk in after if chunk not in shared)
        if before or after:
            yield _Pair(
                path,
                self._old.view.entries(before, path, self._old.damage),
                self._new.view.entries(after, path, self._new.damage),
            )
