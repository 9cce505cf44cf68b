"""Recognises what an earlier walk saw.

An unchanged file is taken over without being read, and an unchanged directory without any of its chunks being looked
up: its history names the packs that all of them lie in.
"""

import os
import stat as modes
from collections.abc import Callable
from typing import Final

from wain.agent.history import Seen
from wain.agent.known import KnownChunks
from wain.agent.listing import Found
from wain.agent.pipeline import Pipeline
from wain.agent.reading import KINDS
from wain.base.ids import PackId
from wain.tree.compare import chunks_of, is_listed, same, stat_key
from wain.tree.entry import Kind

_WITH_SIZE: Final = frozenset((Kind.FILE, Kind.SYMLINK))
_DIRECTORY: Final = modes.S_IFDIR

StatValues = tuple[int, int, int, int, int, int, int, int, int]


def stat_values(stat: os.stat_result, device: Callable[[int], int]) -> StatValues:
    """Return what `wain.tree.entry.Stat` keeps, in its order. A link's size is its text's; others but files have none.

    `device` numbers file systems in the order in which the walk met them.
    """
    mode = stat.st_mode
    kind = modes.S_IFMT(mode)
    return (
        mode & 0o7777,
        stat.st_uid,
        stat.st_gid,
        stat.st_size if KINDS.get(kind) in _WITH_SIZE else 0,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
        stat.st_ino,
        device(stat.st_dev),
        stat.st_nlink if kind != _DIRECTORY else 1,
    )


class Unchanged:
    """Compares a directory's files with what histories remember of them."""

    def __init__(self, known: KnownChunks, pipeline: Pipeline, device: Callable[[int], int]) -> None:
        self._known = known
        self._pipeline = pipeline
        self._device = device

    def of(
        self, leaves: list[Found], histories: list[Seen], listed: dict[bytes, tuple[PackId, ...]]
    ) -> list[bytes | None]:
        """Return, for each leaf, its earlier entry when that still holds and all its content exists.

        `histories` come newest first, without empty ones. The packs that these entries need are noted in the pipeline,
        those of files whose chunks stand in lists also in `listed`.
        """
        if not histories:
            return [None] * len(leaves)
        newest = histories[0]
        found = self._matches(leaves, newest.entries)
        if len(found) - found.count(None) == len(newest.entries) and self._take_whole(newest):
            listed.update(newest.listed)
            return found
        return [self._present(one, old, histories, listed) for one, old in zip(leaves, found, strict=True)]

    def _take_whole(self, seen: Seen) -> bool:
        """Take over a directory of which nothing that was remembered has changed: it needs what it needed."""
        packs = seen.packs
        if packs is None or not all(map(self._known.exists, packs)):
            return False
        self._pipeline.used |= packs
        self._pipeline.needs.packs |= packs
        return True

    def _present(
        self, found: Found, old: bytes | None, histories: list[Seen], listed: dict[bytes, tuple[PackId, ...]]
    ) -> bytes | None:
        """Return the newest entry that holds and whose content exists; `old` is what the newest history says."""
        for seen in histories:
            if seen is not histories[0]:
                old = self._matches([found], seen.entries)[0]
            if old is not None and self._exists(found.name, old, seen):
                if is_listed(old):
                    listed[found.name] = seen.listed[found.name]
                return old
        return None

    def _matches(self, leaves: list[Found], entries: dict[bytes, bytes]) -> list[bytes | None]:
        """Return, for each leaf, the earlier entry that has exactly its kind and stat."""
        earlier, device = entries.get, self._device
        matches: list[bytes | None] = []
        for name, stat in leaves:
            old = earlier(name)
            if old is not None:
                kind = KINDS.get(modes.S_IFMT(stat.st_mode))
                if kind is None or not same(old, kind, stat_key(stat_values(stat, device))):
                    old = None
            matches.append(old)
        return matches

    def _exists(self, name: bytes, old: bytes, seen: Seen) -> bool:
        """Tell whether all content of an earlier entry exists, and note the packs that it needs."""
        known, pipeline = self._known, self._pipeline
        packs = {known.pack_of(chunk) for chunk in chunks_of(old)}
        if is_listed(old):
            packs.update(seen.listed.get(name, (None,)))
        present = {pack for pack in packs if pack is not None and known.exists(pack)}
        if len(present) != len(packs):
            return False
        pipeline.used |= present
        pipeline.needs.packs |= present
        return True
