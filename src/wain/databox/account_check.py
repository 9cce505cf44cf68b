"""Looks at what a data copy put into a storage account: whether every byte of it is still as it was copied.

What is known: the catalog has the length and CRC-64 of every blob as it was written, and the hash of every seal; a seal
vouches for packs, manifest and journal. Where the seal vouches the damage is named to the pack and its leaf; anywhere
else the CRC-64 says that a blob differs, not where. Everything is read from the medium, without any key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from wain.base.errors import Corrupt, DataError, Missing, Refused, TooLarge
from wain.base.progress import Progress
from wain.databox.copylog import Category, EntityType, Finding
from wain.databox.copyrows import BlobRow, ContainerRow, CopyRows
from wain.databox.erase import cleaned
from wain.databox.home import Parts
from wain.databox.loads import Loader
from wain.databox.opened import MAX_RECORD_BYTES, FoundSeal, read_seal
from wain.databox.transfer import Eye, Start, transfer
from wain.databox.untrusted import STEP_BYTES, Read
from wain.order.order import FINISHED
from wain.pageblob.names import SEAL_BLOB
from wain.storage.api import PageBlobs, StoredBlob
from wain.storage.durable import ReadFailed

_GONE: Final = "it is not in the account any more"


@dataclass(frozen=True, slots=True)
class AccountReport:
    """What a check of the account found: nothing wrong when `findings` is empty. `size` in bytes.

    Paths of findings are the account's. `cleaned` are the containers that were deleted after their import.
    """

    order: str
    account: str
    containers: int
    blobs: int
    size: int
    cleaned: tuple[str, ...]
    findings: tuple[Finding, ...]


class _Stored:
    """A blob of the account as `transfer` reads it; a sector that cannot be read costs its 64 KiB."""

    def __init__(self, file: StoredBlob) -> None:
        self._file = file

    def read(self, offset: int, length: int) -> Read:
        have = max(0, min(length, self._file.size - offset))
        holes: list[tuple[int, int]] = []
        try:
            body = self._file.read(offset, have)
        except Corrupt:
            body, holes = self._slowly(offset, have)
        if have < length:
            holes.append((offset + have, offset + length))
        return Read(body + bytes(length - have), tuple(holes))

    def _slowly(self, offset: int, length: int) -> tuple[bytes, list[tuple[int, int]]]:
        pieces: list[bytes] = []
        holes: list[tuple[int, int]] = []
        for at in range(offset, offset + length, STEP_BYTES):
            size = min(STEP_BYTES, offset + length - at)
            try:
                pieces.append(self._file.read(at, size))
            except Corrupt:
                pieces.append(bytes(size))
                holes.append((at, at + size))
        return b"".join(pieces), holes


class _InAccount:
    """A container of the account, as `Loader` opens its blobs."""

    def __init__(self, account: PageBlobs, container: str) -> None:
        self._account = account
        self._container = container

    def record(self, path: bytes) -> bytes:
        with self._account.uncached(self._container, path.decode()) as file:
            if file.size > MAX_RECORD_BYTES:
                raise TooLarge(file.where, have=file.size, cap=MAX_RECORD_BYTES)
            return file.read(0, file.size)

    @contextmanager
    def source(self, path: bytes) -> Iterator[_Stored]:
        with self._account.uncached(self._container, path.decode()) as file:
            yield _Stored(file)


def verify_account(parts: Parts, name: str, progress: Progress) -> AccountReport:
    """Read every byte that an order's data copy put into its account, and check it, without any key.

    Raises:
        Missing: there is no such order.
        Refused: its data copy is not finished.
        ReadFailed, DeviceLost: the account cannot be listed, or went away.
    """
    held = parts.orders.find(name)
    if held.order.stage not in FINISHED:
        raise Refused(f"the data copy of order {name} is not finished: it is {held.order.stage.value}")
    account = parts.blobs(held.order.account)
    with parts.catalog.reading() as rows:
        copy = CopyRows(rows, held.id)
        containers, blobs = copy.containers(), copy.blobs()
    gone = frozenset(cleaned(parts, name)) - frozenset(account.containers())
    filled = {blob.container for blob in blobs}
    todo = [row for row in containers if row.number in filled and row.copied_to not in gone]
    mine = {row.number: [blob for blob in blobs if blob.container == row.number] for row in todo}
    size = sum(blob.length for row in mine.values() for blob in row)
    progress.phase("Verify account", size)
    findings: list[Finding] = []
    for row in todo:
        findings += _Check(account, row, mine[row.number], progress).findings()
    count = sum(map(len, mine.values()))
    return AccountReport(name, held.order.account, len(todo), count, size, tuple(sorted(gone)), tuple(findings))


class _Check:
    """Checks one container of the account."""

    def __init__(self, account: PageBlobs, row: ContainerRow, blobs: list[BlobRow], progress: Progress) -> None:
        self._account = account
        self._row = row
        self._blobs = blobs
        self._progress = progress
        self._container = _InAccount(account, row.copied_to)

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the container, blob by blob."""
        lengths = {blob.name: blob.length for blob in self._account.blobs(self._row.copied_to)}
        if not lengths:
            yield Finding(self._row.copied_to.encode(), Category.FILE_SYSTEM, _GONE, EntityType.CONTAINER)
            return
        found, why = self._seal() if self._row.seal_hash is not None else (None, "")
        loader = Loader(self._container, found)
        for blob in self._blobs:
            have = lengths.pop(blob.copied_to, None)
            seal_problem = why if blob.copied_to == SEAL_BLOB else ""
            yield from self._say(blob, self._blob(loader, blob, have, seal_problem))
            self._progress.advance(0, 1)
        if self._row.seal_hash is not None:
            for name in lengths:
                path = f"{self._row.copied_to}/{name}".encode()
                yield Finding(path, Category.UNKNOWN_TYPE, "the data copy did not put it there whole, or not at all")

    def _say(self, blob: BlobRow, problems: Iterator[str]) -> Iterator[Finding]:
        path = f"{self._row.copied_to}/{blob.copied_to}".encode()
        for problem in problems:
            yield Finding(path, Category.DAMAGED, problem)

    def _seal(self) -> tuple[FoundSeal | None, str]:
        """Return the seal that was copied; without one, why. Then only checksums can tell what is damaged."""
        try:
            found = read_seal(self._container.record(SEAL_BLOB.encode()), self._row.copied_to)
        except Missing:
            return None, ""  # It is named with the blobs that are not there.
        except (DataError, ReadFailed) as error:
            return None, str(error)
        if found.hash != self._row.seal_hash:
            return None, f"the seal of {self._row.copied_to} is damaged: it is not the one that was copied"
        return found, ""

    def _blob(self, loader: Loader, blob: BlobRow, have: int | None, problem: str) -> Iterator[str]:
        if problem:
            yield problem
        if have is None:
            yield _GONE
            return
        if have != blob.length:
            yield f"it has {have} bytes; the data copy put {blob.length} there"
        try:
            problems, crc64 = self._read(loader, blob)
        except (DataError, ReadFailed) as error:
            yield str(error)
            return
        if crc64 == blob.crc64 and have == blob.length:
            yield from (f"{each}; so it came from the device" for each in problems)
            return
        yield from problems
        if not problems and not problem and have == blob.length:
            yield f"its CRC-64 is {crc64:016x}; the data copy put {blob.crc64 or 0:016x} there"

    def _read(self, loader: Loader, blob: BlobRow) -> tuple[list[str], int]:
        """Read a blob to its end; return what the seal has against it, and its CRC-64."""
        crc64, problems = 0, []
        with loader.load(blob.copied_to.encode(), blob.length) as load:
            if load.finding is not None:
                problems.append(load.finding)
            for checkpoint in transfer(load, Eye(), Start(), self._progress):
                problems += [found.words for found in checkpoint.findings]
                crc64 = checkpoint.crc64
        return problems, crc64
