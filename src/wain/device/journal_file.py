"""The journal on the device: pre-allocated, appended to and synced as one step, made anew when the medium errs."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Final

from wain.base.sizes import KIB
from wain.device.journal import RECORD_BYTES, Chain, End, Journal, JournalPack, Start
from wain.device.medium import Medium
from wain.pageblob.names import JOURNAL_BLOB
from wain.storage.durable import write_all

GROW_BYTES: Final = 64 * KIB
"""Room for 128 records is reserved at a time, so that a full device still takes the record of a pack it holds."""


class JournalFile:
    """The open journal of one container. After a failed method only `rewrite` or `close` make sense.

    Raises (all methods): `OSError` as it comes; `rewrite` and `create` also what `Medium.write_small` does.
    """

    def __init__(self, medium: Medium, chain: Chain) -> None:
        self._medium = medium
        self._chain = chain
        self._end: tuple[End, Chain] | None = None
        self._fd = os.open(JOURNAL_BLOB, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=medium.dirfd)
        self._room = os.fstat(self._fd).st_size

    @classmethod
    def create(cls, medium: Medium, start: Start, packs: Iterable[JournalPack] = ()) -> "JournalFile":
        """Make (or replace) the journal, whole and durable, with its start and these packs."""
        chain = Chain()
        records = chain.start(start) + b"".join(chain.pack(pack) for pack in packs)
        medium.write_small(JOURNAL_BLOB, records + bytes(-len(records) % GROW_BYTES))
        return cls(medium, chain)

    @classmethod
    def resume(cls, medium: Medium, journal: Journal) -> "JournalFile":
        """Open the journal and cut it behind the records that `journal` keeps."""
        file = cls(medium, Chain(journal.records, journal.head))
        try:
            file._cut()
        except OSError:
            file.close()
            raise
        return file

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._at)
        os.fsync(self._fd)
        self._room = self._at

    @property
    def _at(self) -> int:
        return self._chain.records * RECORD_BYTES

    def _append(self, records: bytes) -> None:
        at = self._at - len(records)
        if self._at > self._room:
            grown = -(-self._at // GROW_BYTES) * GROW_BYTES
            os.posix_fallocate(self._fd, self._room, grown - self._room)
            os.fsync(self._fd)
            self._room = grown
        write_all(self._fd, records, at)
        os.fdatasync(self._fd)

    def append(self, packs: Sequence[JournalPack]) -> None:
        """Record packs whose bytes are durable; they count when this returns."""
        self._reopen()
        self._append(b"".join([self._chain.pack(pack) for pack in packs]))

    def _reopen(self) -> None:
        """Take the last record back."""
        if self._end is not None:
            self._chain, self._end = self._end[1], None
            self._cut()

    def finish(self, end: End) -> None:
        """Write the last record and give back the reserved room. Another end replaces the one before."""
        if self._end is not None and self._end[0] == end:
            return
        self._reopen()
        before = Chain(self._chain.records, self._chain.head)
        self._append(self._chain.end(end))
        self._cut()
        self._end = (end, before)

    def rewrite(self, start: Start, packs: Iterable[JournalPack]) -> "JournalFile":
        """Return a journal with the same content in a new file: a file whose sync failed is never synced again."""
        self.close()
        return JournalFile.create(self._medium, start, packs)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._fd)
