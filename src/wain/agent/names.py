"""Names by the million, in bounded memory: sorted from any order, or kept in the order in which they come.

A name is bytes without NUL, so a block of names is the names with a NUL between each two.
"""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from wain.agent.scratch import Blocks

SORTED_NAMES: Final = 1 << 17
"""So many names are sorted in memory, about 12 MB, and then put into the scratch file as one run."""
BLOCK_NAMES: Final = 1024
"""Of each run, so many are in memory while the runs are merged: 5 MB for ten million names."""
_END: Final = b"\0"


class Batch(NamedTuple):
    """Some of the names, ascending, each once."""

    names: list[bytes]
    newest: frozenset[bytes]
    """Those among them that the newest listing had."""


class _Run:
    """A sorted run: the names at hand, from `at` on, and the blocks that follow them."""

    __slots__ = ("_blocks", "_end", "_next", "at", "listing", "names")

    def __init__(self, names: list[bytes], listing: int, blocks: Blocks | None = None, first: int = 0) -> None:
        self.names = names
        self.at = 0
        self.listing = listing
        self._blocks = blocks
        self._next = first
        self._end = 0 if blocks is None else len(blocks)

    @property
    def more(self) -> bool:
        """True when blocks follow."""
        return self._next < self._end

    def fill(self) -> bool:
        """Read the next block when no name is at hand; False when there is none."""
        if self.at < len(self.names):
            return True
        if self._blocks is None or not self.more:
            return False
        self.names, self.at = self._blocks.read(self._next).split(_END), 0
        self._next += 1
        return True

    def take(self, last: bytes | None) -> list[bytes]:
        """Take the names at hand up to `last`, or all of them."""
        end = len(self.names) if last is None else bisect_right(self.names, last, self.at)
        taken = self.names[self.at : end]
        self.at = end
        return taken


class NameSorter:
    """Sorts the names of one or several listings of a directory, and joins the listings into one.

    Raises (all methods): as `Blocks`.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._blocks: Blocks | None = None
        self._held: list[bytes] = []
        self._runs: list[_Run] = []
        self._listing = 0

    def begin(self) -> None:
        """Say that the names of another listing follow."""
        if self._held:
            self._put(sorted(set(self._held)))
        self._listing += 1

    def add(self, name: bytes) -> None:
        """Take a name."""
        self._held.append(name)
        if len(self._held) >= SORTED_NAMES:
            self._put(sorted(set(self._held)))

    def batches(self) -> Iterator[Batch]:
        """Yield all names, in order. Only once, after the last listing."""
        if self._held:
            self._runs.append(_Run(sorted(set(self._held)), self._listing))
            self._held = []
        runs = [run for run in self._runs if run.fill()]
        while runs:
            # Up to the least of the last names at hand, no run can bring another name.
            last = min((run.names[-1] for run in runs if run.more), default=None)
            taken = [(run.listing, run.take(last)) for run in runs]
            names = [name for _, some in taken for name in some]
            names.sort()  # Runs of sorted names are merged, not sorted.
            newest = frozenset(name for listing, some in taken if listing == self._listing for name in some)
            yield Batch(list(dict.fromkeys(names)), newest)
            runs = [run for run in runs if run.fill()]

    def close(self) -> None:
        """Give memory and room back."""
        self._runs, self._held = [], []
        if self._blocks is not None:
            self._blocks.close()
            self._blocks = None

    def _put(self, names: list[bytes]) -> None:
        if self._blocks is None:
            self._blocks = Blocks(self._scratch)
        first = len(self._blocks)
        for at in range(0, len(names), BLOCK_NAMES):
            self._blocks.add(_END.join(names[at : at + BLOCK_NAMES]))
        self._runs.append(_Run([], self._listing, self._blocks, first))
        self._held = []


class NameQueue:
    """Names, first in, first out. True while there are any.

    Raises (all methods): as `Blocks`.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._blocks: Blocks | None = None
        self._next = 0
        self._front: list[bytes] = []
        """The next names, the very next one last."""
        self._back: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._front or self._back) or self._blocks is not None

    def add(self, name: bytes) -> None:
        """Put a name at the end."""
        self._back.append(name)
        if len(self._back) >= BLOCK_NAMES:
            if self._blocks is None:
                self._blocks = Blocks(self._scratch)
            self._blocks.add(_END.join(self._back))
            self._back = []

    def pop(self) -> bytes:
        """Take the next name. There must be one."""
        if not self._front:
            self._front = self._refill()
            self._front.reverse()
        return self._front.pop()

    def clear(self) -> None:
        """Forget all names."""
        self._front, self._back = [], []
        self._close()

    def _refill(self) -> list[bytes]:
        if self._blocks is None:
            names, self._back = self._back, []
            return names
        names = self._blocks.read(self._next).split(_END)
        self._next += 1
        if self._next == len(self._blocks):
            self._close()
        return names

    def _close(self) -> None:
        if self._blocks is not None:
            self._blocks.close()
            self._blocks, self._next = None, 0
