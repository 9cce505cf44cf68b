"""Blocks of bytes in a file without a name: where what does not belong in memory waits while a job runs.

The file never has a name that outlives the process (`O_TMPFILE`, or unlinked at once), so that a crash leaves nothing;
where only the latter can be, a power cut between the two calls leaves an empty file, which `sweep` removes.
"""

import os
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final
from zlib import crc32

from wain.base.errors import Corrupt
from wain.storage.durable import make_dirs, read_exactly, reading, write_all, writing

PREFIX: Final = "wain-scratch-"


class Blocks:
    """Blocks in the order in which they were added. Close it, or let it go.

    Raises (all methods):
        OutOfSpace, WriteFailed, Refused: there is no room in the directory, or it cannot be written.
        Corrupt, RemoteError: what was written does not read back.
    """

    def __init__(self, directory: Path) -> None:
        self._where = f"the scratch file in {directory}"
        make_dirs(directory)
        with writing(self._where):
            self._file = TemporaryFile(prefix=PREFIX, dir=directory, buffering=0)  # noqa: SIM115 (closed by close)
        self._ends = array("Q", [0])
        self._sums = array("I")

    def __len__(self) -> int:
        return len(self._sums)

    def __iter__(self) -> Iterator[bytes]:
        return map(self.read, range(len(self)))

    def add(self, block: bytes) -> None:
        """Append a block."""
        fd, end = self._file.fileno(), self._ends[-1]
        with writing(self._where, len(block), fd):
            write_all(fd, block, end)
        self._ends.append(end + len(block))
        self._sums.append(crc32(block))

    def read(self, number: int) -> bytes:
        """Return a block; 0 is the one that was added first."""
        start, end = self._ends[number], self._ends[number + 1]
        with reading(self._where):
            block = read_exactly(self._file.fileno(), end - start, start)
        if len(block) != end - start or crc32(block) != self._sums[number]:
            raise Corrupt(self._where, "it does not read back as it was written")
        return block

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


def sweep(directory: Path) -> None:
    """Remove what a power cut left in a directory of scratch files. Call while no job runs."""
    with suppress(OSError):
        for name in os.listdir(directory):
            if name.startswith(PREFIX):
                (directory / name).unlink(missing_ok=True)
