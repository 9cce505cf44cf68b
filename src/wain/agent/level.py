"""The entries of one directory between the way down and the way up: in memory, or in a scratch file when they are many.

They come in two ascending rows: what is no directory, all at once, and then the subdirectories, each when all below it
is stored. So two rows on disk, merged as they are read back, are the whole directory in order.
"""

from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Final

from wain.agent.scratch import Blocks
from wain.base.sizes import MIB
from wain.tree.compare import split_entries

HELD_ENTRIES: Final = 1 << 15
"""So many entries are held, about 10 MB,"""
HELD_BYTES: Final = 8 * MIB
"""or, of files of very many chunks, so many bytes."""
_BLOCK_BYTES: Final = MIB // 2
_NAME: Final = itemgetter(0)

Named = tuple[bytes, bytes]
"""A name and its encoded entry."""


class Level:
    """One directory's encoded entries.

    Raises (all methods):
        OutOfSpace, WriteFailed, Refused, Corrupt, RemoteError: the scratch files.
    """

    __slots__ = ("_below", "_directories", "_leaves", "_scratch", "_size", "entries", "path")

    def __init__(self, path: bytes, scratch: Path) -> None:
        self.path = path
        self.entries: list[Named] = []
        """What is in memory. Append what is no directory here, and call `relieve` now and then."""
        self._scratch = scratch
        self._leaves: Blocks | None = None
        self._directories: Blocks | None = None
        self._below: int | None = None
        """How many of the entries in memory are no directories; None while such are still coming."""
        self._size = 0
        """Bytes of the subdirectories' entries in memory."""

    @property
    def spilled(self) -> bool:
        """True when some of the entries are not in memory."""
        return self._leaves is not None or self._directories is not None

    def descend(self) -> None:
        """Say that all that is no directory is there."""
        self._below = len(self.entries)

    def add(self, name: bytes, encoded: bytes) -> None:
        """Take a subdirectory's entry."""
        self.entries.append((name, encoded))
        self._size += len(encoded)
        if self._size >= HELD_BYTES:
            self.spill()
        else:
            self.relieve()

    def relieve(self) -> None:
        """Free memory when many entries are held."""
        if len(self.entries) >= HELD_ENTRIES:
            self.spill()

    def spill(self) -> None:
        """Put all entries into scratch files."""
        leaves, directories = self.entries[: self._below], []
        if self._below is not None:
            directories, self._below = self.entries[self._below :], 0
        self._leaves = self._put(leaves, self._leaves)
        self._directories = self._put(directories, self._directories)
        self.entries.clear()
        self._size = 0

    def in_order(self) -> Iterator[Named]:
        """Iterate over all entries by name."""
        if not self.spilled:
            self.entries.sort(key=_NAME)
            return iter(self.entries)
        self.spill()
        return merge(_read(self._leaves), _read(self._directories), key=_NAME)

    def close(self) -> None:
        """Give memory and room back."""
        self.entries.clear()
        for blocks in (self._leaves, self._directories):
            if blocks is not None:
                blocks.close()
        self._leaves = self._directories = None

    def _put(self, entries: list[Named], blocks: Blocks | None) -> Blocks | None:
        if not entries:
            return blocks
        if blocks is None:
            blocks = Blocks(self._scratch)
        piece: list[bytes] = []
        size = 0
        for _, encoded in entries:
            piece.append(encoded)
            size += len(encoded)
            if size >= _BLOCK_BYTES:
                blocks.add(b"".join(piece))
                piece, size = [], 0
        if piece:
            blocks.add(b"".join(piece))
        return blocks


def _read(blocks: Blocks | None) -> Iterator[Named]:
    for block in () if blocks is None else blocks:
        yield from split_entries(block).items()
