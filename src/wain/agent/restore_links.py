"""Remembers the hard-linked entries of one restore: how many of their names were met, and where the first one is.

There may be many millions of them (backups that are trees of hard links are backed up, too), and the further names of
one may be anywhere in the tree. So those not met for the longest time go into a temporary database, which SQLite keeps
in a file that has no name and is gone with the process.
"""

import sqlite3
import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from wain.base.errors import WriteFailed

KEPT_GROUPS: Final = 1 << 15
"""In memory: about 15 MB, and more than a batch of a restore has names. No more than that is kept of entries all of
whose names were met."""
_AT_ONCE: Final = 1024
_IDENTITY: Final = struct.Struct("<QQ")
_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE links (key BLOB PRIMARY KEY, left INTEGER, directory BLOB, name BLOB, identity BLOB) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class First:
    """The first name of a hard-linked entry that was restored, and what the kernel calls it."""

    directory: bytes
    name: bytes
    identity: tuple[int, int]
    """`st_dev`, `st_ino`."""


@dataclass(slots=True)
class _Group:
    """`left` counts the names still to be met. A bind mount shows more names than there are: it may fall below 0."""

    left: int
    first: First | None = None


class LinkGroups:
    """The groups of one restore, by `wain.tree.links.link_key`. Close it, or let it go.

    Raises (all methods):
        WriteFailed: there is no room for temporary files.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[bytes, _Group] = OrderedDict()
        self._spilled: sqlite3.Connection | None = None

    def close(self) -> None:
        """Forget all."""
        self._groups.clear()
        if self._spilled is not None:
            self._spilled.close()
            self._spilled = None

    def meet(self, key: bytes, links: int) -> bool:
        """Count a name of an entry that has `links` of them; True when it is not the first one met."""
        group = self._find(key)
        if group is None:
            self._keep(key, _Group(links - 1))
            return False
        group.left -= 1
        return True

    def first(self, key: bytes) -> First | None:
        """Return where the first name was restored; None when none was so far."""
        group = self._find(key)
        return None if group is None else group.first

    def restored(self, key: bytes, first: First) -> None:
        """Take note of where a name was restored that others can be linked to."""
        group = self._find(key)
        if group is None:
            self._keep(key, _Group(0, first))
        else:
            group.first = first

    def _find(self, key: bytes) -> _Group | None:
        group = self._groups.get(key)
        if group is not None:
            self._groups.move_to_end(key)
            return group
        if self._spilled is None:
            return None
        with _temporary():
            row = self._spilled.execute(
                "SELECT left, directory, name, identity FROM links WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            self._spilled.execute("DELETE FROM links WHERE key = ?", (key,))
        left, directory, name, identity = row
        group = _Group(left, None if name is None else First(directory, name, _IDENTITY.unpack(identity)))
        self._keep(key, group)
        return group

    def _keep(self, key: bytes, group: _Group) -> None:
        self._groups[key] = group
        if len(self._groups) > KEPT_GROUPS:
            oldest = [self._groups.popitem(last=False) for _ in range(min(_AT_ONCE, KEPT_GROUPS))]
            if open_ones := [(key, group) for key, group in oldest if group.left > 0]:
                self._spill(open_ones)

    def _spill(self, groups: list[tuple[bytes, _Group]]) -> None:
        with _temporary():
            if self._spilled is None:
                # No name: a temporary file of SQLite's own. Autocommit costs nothing without journal and sync.
                self._spilled = sqlite3.connect("", isolation_level=None)
                self._spilled.executescript(_SCHEMA)
            self._spilled.executemany("INSERT INTO links VALUES (?, ?, ?, ?, ?)", map(_row, groups))


def _row(one: tuple[bytes, _Group]) -> tuple[bytes, int, bytes | None, bytes | None, bytes | None]:
    key, group = one
    first = group.first
    if first is None:
        return key, group.left, None, None, None
    return key, group.left, first.directory, first.name, _IDENTITY.pack(*first.identity)


@contextmanager
def _temporary() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise WriteFailed("the temporary table of hard links", str(error)) from error
