"""The parity blobs of a container while it is written: one record for each group of packs (pageblob/FORMAT.md, Parity).

Parity is computed and written between the packs of a group and their sync, while the kernel is writing those out, and
it is durable before the journal names them. So every pack of the journal has its parity, unless that was off or did
not fit.
"""

import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from blake3 import blake3

from wain.base.errors import OutOfSpace
from wain.base.ids import PackId
from wain.base.progress import Progress
from wain.device.journal import JournalPack
from wain.device.medium import Medium
from wain.pageblob.names import parity_blob, parity_number
from wain.pageblob.parity import Strength
from wain.pageblob.parity_code import encode_group
from wain.pageblob.parity_record import ParityRecord, ParityVerifier, Place, blank_record, encode_header, locate
from wain.storage.durable import out_of_space, read_exactly, write_all


@dataclass(frozen=True, slots=True)
class Shape:
    """How parity is made: its strength, None for none, and the greatest size of a page blob in bytes."""

    strength: Strength | None
    blob_limit: int


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """The record that does not count yet: where it begins in the present blob, and its size; 0 when there is none."""

    start: int
    size: int


class ParityFile:
    """The parity of one container. A record counts from `commit` on.

    `ends` says where the records that count end, by the number of the blob. After a failed method only `undo`, `skip`
    and `close` make sense.

    Raises (all methods): `OSError` as it comes.
    """

    def __init__(self, medium: Medium, shape: Shape, ends: Mapping[int, int]) -> None:
        self._medium = medium
        self._shape = shape
        self._ends = dict(ends)
        self._number = max(ends, default=0)
        self._fd = -1
        self._last = _Unsettled(0, 0)

    @property
    def ends(self) -> Mapping[int, int]:
        """Where the records that count end, by the number of the blob."""
        return self._ends

    @property
    def begun(self) -> bool:
        """Whether a record was written, or tried, that does not count yet."""
        return bool(self._last.size)

    def write(self, packs: Sequence[tuple[PackId, memoryview]]) -> None:
        """Write the parity of a group behind what counts. A group whose record a page blob cannot hold has none."""
        strength = self._shape.strength
        if strength is None:
            return
        record = blank_record([(pack, len(stored)) for pack, stored in packs], strength)
        if record.stored_bytes > self._shape.blob_limit:
            return
        if self._end + record.stored_bytes > self._shape.blob_limit:
            self.skip()
        start = self._end
        self._last = _Unsettled(start, record.stored_bytes)
        if self._fd < 0:
            name = parity_blob(self._number)
            self._fd = self._medium.blob(name) if start else self._medium.new_blob(name)
        self._write(start, record, [stored for _, stored in packs])
        os.posix_fadvise(self._fd, start, record.stored_bytes, os.POSIX_FADV_DONTNEED)

    @property
    def _end(self) -> int:
        return self._ends.get(self._number, 0)

    def _write(self, start: int, blank: ParityRecord, packs: Sequence[memoryview]) -> None:
        at = start
        hashes: list[bytes] = []
        # The first header is written last, when the cells are known; its room is taken in its turn.
        write_all(self._fd, bytes(blank.header_bytes), at)
        at += blank.header_bytes
        for cell in encode_group(packs, blank.strength):
            write_all(self._fd, cell, at)
            hashes.append(blake3(cell).digest())
            at += len(cell)
        record = replace(blank, cells=tuple(hashes))
        write_all(self._fd, encode_header(record, Place.BEHIND), at)
        write_all(self._fd, encode_header(record, Place.BEFORE), start)

    def sync(self) -> None:
        """Return when what `write` wrote is durable."""
        if self._last.size:
            os.fdatasync(self._fd)

    def commit(self) -> None:
        """Let what was written and synced count."""
        if self._last.size:
            self._ends[self._number] = self._last.start + self._last.size
        self._last = _Unsettled(0, 0)

    def undo(self, where: str) -> OutOfSpace:
        """Take back a record that did not fit; return the exact shortfall."""
        failure = OutOfSpace(where, self._last.size, 0)
        if self._fd >= 0:
            taken = max(0, min(os.fstat(self._fd).st_size - self._last.start, self._last.size))
            failure = out_of_space(where, self._last.size, taken, self._fd)
            os.ftruncate(self._fd, self._last.start)
        self._last = _Unsettled(0, 0)
        return failure

    def skip(self) -> None:
        """Leave the present blob as it is; the next record opens a new one."""
        if self._end or self._last.size:
            self.close()
            self._number += 1
        self._last = _Unsettled(0, 0)

    def finish(self) -> None:
        """Cut the blobs behind what counts, and remove those in which nothing does."""
        self.close()
        cut_parity(self._medium, self._ends)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd = -1


def cut_parity(medium: Medium, ends: Mapping[int, int]) -> None:
    """Make the parity blobs end where `ends` says; those that it does not name go. Raises `OSError`."""
    for name in medium.names():
        number = parity_number(name)
        if number is not None:
            medium.cut_blob(name, ends.get(number, 0))


def parity_ends(medium: Medium, kept: Collection[PackId]) -> dict[int, int]:
    """Return where the parity blobs end that has its packs, all of them, among `kept`. Raises `OSError`.

    What lies behind it was written for a group that was never journalled, or was dropped.
    """
    ends: dict[int, int] = {}
    for name in medium.names():
        number = parity_number(name)
        if number is None:
            continue
        fd = medium.blob(name)
        try:
            size = os.fstat(fd).st_size
            for found in locate(lambda at, length, fd=fd: _look(fd, at, length), size):  # type: ignore[misc]
                if found.end <= size and all(pack in kept for pack, _ in found.record.packs):
                    ends[number] = found.end
        finally:
            os.close(fd)
    return ends


def _look(fd: int, at: int, length: int) -> bytes:
    body = read_exactly(fd, length, at)
    return body + bytes(length - len(body))


def check_parity(medium: Medium, parity: ParityFile, packs: Sequence[JournalPack], progress: Progress) -> None:
    """Read all parity from the medium and prove it. Advances `progress` by bytes.

    Raises:
        DataError: the medium does not return what was written.
    """
    known = {pack.id: pack.placement.length for pack in packs}
    for number, end in sorted(parity.ends.items()):
        verifier = ParityVerifier(known)
        with medium.uncached(parity_blob(number)) as file:
            for piece in file.pieces(0, end):
                verifier.feed(piece)
                progress.advance(len(piece))
        verifier.finish()
