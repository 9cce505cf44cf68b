"""Appends packs to the page blobs of a container and records them, by the durability protocol.

A pack counts when its journal record is durable, which follows after its bytes are. Until then it stays in memory,
so that a failed write or sync is repaired in another page blob without asking the source again.
"""

import contextlib
import os
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from wain.base.errors import OutOfSpace, WainError, WriteFailed
from wain.base.ids import PackId
from wain.base.sizes import BLOCK_BYTES, MIB
from wain.chunk.names import ChunkType
from wain.device.journal import End, JournalPack, Start
from wain.device.journal_file import JournalFile
from wain.device.medium import Medium
from wain.device.parity_file import ParityFile
from wain.device.resume import RESERVE_FILE, cut_blobs
from wain.pack.writer import SealedPack
from wain.pageblob.layout import Layout, Placement
from wain.pageblob.names import packs_blob
from wain.storage.durable import FULL, out_of_space, unlink_at, write_past_cache

GROUP_PACKS: Final = 2
GROUP_BYTES: Final = 128 * MIB
"""A group is made durable when it has so many packs, or bytes: this bounds what memory holds and a cut loses."""
RESERVE_BYTES: Final = 64 * MIB
_RESERVE_PART: Final = 32
"""On a small device the reserve is this part of what is free."""


class Condemned(WriteFailed):
    """A second page blob failed too: the device is not to be trusted."""

    hint = "Have the device replaced, then start the seed again on the new one."


@dataclass(frozen=True, slots=True)
class _Pending:
    """A pack whose record is not durable yet."""

    id: PackId
    kind: ChunkType
    placement: Placement
    stored: memoryview

    @property
    def record(self) -> JournalPack:
        return JournalPack(self.id, self.kind, self.placement)


@dataclass(frozen=True, slots=True)
class Files:
    """What lies beside the packs: the journal and the parity."""

    journal: JournalFile
    parity: ParityFile


class Appender:
    """The unsealed container. After an error that leaves the device in doubt every further method repeats it.

    Raises (all methods that write):
        OutOfSpace: the device is full; what was journalled is valid and can be resumed.
        DeviceLost: the device went away.
        Condemned: it failed twice.
    """

    def __init__(self, medium: Medium, start: Start, files: Files, written: list[JournalPack], limit: int) -> None:
        self._medium = medium
        self._start = start
        self._file = files.journal
        self.parity = files.parity
        self.written = written
        self._known = {pack.id for pack in written}
        last = written[-1].placement if written else Placement(0, 0, 0)
        self._layout = Layout(limit, (last.blob, last.end))
        self._broken: WainError | None = None
        self._rescued = False
        self._pending: list[_Pending] = []
        self._fresh: list[PackId] = []
        self._blobs: dict[int, int] = {}
        with medium.errors():
            self._take_reserve()

    def _take_reserve(self) -> None:
        """Reserve room for closing cleanly; a device without that much room does without. Raises `OSError`."""
        self._drop_reserve()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        size = min(RESERVE_BYTES, self._medium.free_bytes() // _RESERVE_PART)
        try:
            fd = os.open(RESERVE_FILE, flags, 0o644, dir_fd=self._medium.dirfd)
            try:
                os.posix_fallocate(fd, 0, max(size - size % BLOCK_BYTES, BLOCK_BYTES))
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._drop_reserve()

    def _drop_reserve(self) -> None:
        unlink_at(self._medium.dirfd, RESERVE_FILE)

    def close(self) -> None:
        """Let go of the files. Packs that were not committed are not promised."""
        self._close_blobs()
        self.parity.close()
        self._file.close()

    def _close_blobs(self) -> None:
        for fd in self._blobs.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._blobs.clear()

    def put(self, pack: SealedPack) -> None:
        """Append a pack; one that is there already is left out. Every group is committed as it fills."""
        self._ready()
        if pack.id in self._known:
            return
        piece = _Pending(pack.id, pack.kind, self._layout.place(len(pack.stored)), pack.stored)
        self._known.add(pack.id)
        self._pending.append(piece)
        try:
            self._write(piece)
        except OSError as error:
            if error.errno in FULL:
                self._fail(self._full(piece), error)
            self._rescue(error)
        if len(self._pending) >= GROUP_PACKS or sum(len(one.stored) for one in self._pending) >= GROUP_BYTES:
            self._commit_group()

    def commit(self) -> tuple[PackId, ...]:
        """Make all packs durable; return those that became so since the last call."""
        self._ready()
        self._commit_group()
        fresh, self._fresh = tuple(self._fresh), []
        return fresh

    def finish(self, manifest_blob: tuple[str, bytes], end: End) -> None:
        """Commit, write the manifest (name and stored bytes), end the journal, and leave nothing else behind."""
        self._ready()
        self._commit_group()
        self._close_blobs()
        self._medium.check()
        with self._medium.errors(len(manifest_blob[1])):
            self._drop_reserve()
            cut_blobs(self._medium, tuple(self.written))
            self.parity.finish()
            self._medium.write_small(*manifest_blob)
            self._file.finish(end)
            self._medium.sync()

    def _ready(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _fail(self, failure: WainError, cause: BaseException) -> NoReturn:
        self._broken = failure
        raise failure from cause

    def _blob(self, number: int) -> int:
        if number not in self._blobs:
            begun = bool(self.written) and self.written[-1].placement.blob == number
            name = packs_blob(number)
            self._blobs[number] = self._medium.blob(name) if begun else self._medium.new_blob(name)
        return self._blobs[number]

    def _write(self, piece: _Pending) -> None:
        place = piece.placement
        fd = self._blob(place.blob)
        write_past_cache(fd, piece.stored, place.offset)
        # Where it went into the cache after all: starts writing back at once, so that the sync has little left to do.
        os.posix_fadvise(fd, place.offset, place.length, os.POSIX_FADV_DONTNEED)

    def _full(self, piece: _Pending) -> OutOfSpace:
        """Undo a pack that did not fit, and make those before it durable. Return the exact shortfall."""
        place = piece.placement
        failure = OutOfSpace(f"the device at {self._medium.where}", place.length, 0)
        self._pending.remove(piece)
        with self._medium.errors():
            fd = self._blobs.get(place.blob)
            if fd is not None:
                taken = max(0, min(os.fstat(fd).st_size - place.offset, place.length))
                failure = out_of_space(failure.where, place.length, taken, fd)
                os.ftruncate(fd, place.offset)
            self._drop_reserve()
        # Without parity, which would take room that was just said to be free.
        self._settle_group()
        return failure

    def _commit_group(self) -> None:
        """Write the parity of the group and make both durable; parity that does not fit ends the writing."""
        if not self._pending:
            return
        self._check()
        try:
            self._write_parity()
        except OSError as error:
            if error.errno in FULL:
                self._fail(self._full_of_parity(), error)
            self._rescue(error)
        self._settle_group()

    def _write_parity(self) -> None:
        self.parity.write([(piece.id, piece.stored) for piece in self._pending])

    def _full_of_parity(self) -> OutOfSpace:
        """Make the packs durable without the parity that did not fit. Return its exact shortfall."""
        with self._medium.errors():
            failure = self.parity.undo(f"the device at {self._medium.where} (parity)")
            self._drop_reserve()
        self._settle_group()
        return failure

    def _settle_group(self) -> None:
        if not self._pending:
            return
        self._check()
        try:
            self._sync_pending()
        except OSError as error:
            self._rescue(error)
        self._check()
        self.parity.commit()
        self._record([piece.record for piece in self._pending])
        self._fresh += [piece.id for piece in self._pending]
        self._pending.clear()
        for number in [number for number in self._blobs if number != self._layout.next[0]]:
            os.close(self._blobs.pop(number))

    def _check(self) -> None:
        try:
            self._medium.check()
        except WainError as error:
            self._fail(error, error)

    def _sync_pending(self) -> None:
        for number in sorted({piece.placement.blob for piece in self._pending}):
            os.fdatasync(self._blob(number))
        self.parity.sync()

    def _record(self, packs: list[JournalPack]) -> None:
        """Journal packs whose bytes are durable; a journal that fails is made anew, once, in another file."""
        try:
            self._file.append(packs)
        except OSError as error:
            failure = self._medium.failure(error)
            if not isinstance(failure, WriteFailed | OutOfSpace):
                self._fail(failure, error)
            try:
                self._drop_reserve()
                self._file = self._file.rewrite(self._start, [*self.written, *packs])
            except OSError as second:
                self._fail(self._medium.failure(second), second)
            except WriteFailed as second:
                self._fail(Condemned(second.where, second.why), second)
            except WainError as second:
                self._fail(second, error)
        self.written += packs

    def _rescue(self, error: OSError) -> None:
        """Leave the page blob that failed as it was last journalled; write its other packs to a new one.

        A file whose sync failed is never synced again: the kernel has dropped the pages and would call it clean.
        Parity that was begun moves as well, whichever of the two failed: one rule, and one rescue.
        """
        failure = self._medium.failure(error, sum(len(piece.stored) for piece in self._pending))
        if not isinstance(failure, WriteFailed):
            self._fail(failure, error)
        if self._rescued:
            self._fail(Condemned(failure.where, failure.why), error)
        self._rescued = True
        for number in {piece.placement.blob for piece in self._pending} & self._blobs.keys():
            with contextlib.suppress(OSError):  # What stays behind its last record is cut off by `finish`.
                os.close(self._blobs.pop(number))
        self._layout.skip()
        again = self.parity.begun
        if again:
            self.parity.skip()
        self._pending = [replace(one, placement=self._layout.place(len(one.stored))) for one in self._pending]
        try:
            for piece in self._pending:
                self._write(piece)
            if again:
                self._write_parity()
            self._sync_pending()
        except OSError as second:
            self._rescue(second)
