"""The embedded service's home directory, and the parts that every verb works with.

`catalog.sqlite`, `accounts/<account>/` (page blobs), `logs/`, `keys/service.key`, `locks/<order>`.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from wain.base.errors import Refused
from wain.databox.catalog import Catalog
from wain.databox.custody import Book
from wain.databox.orders import Clock, Orders
from wain.order.rules import check_account_kind
from wain.storage.api import OpenAzure, PageBlobs
from wain.storage.blobs import DirectoryPageBlobs
from wain.storage.durable import fsync_dir, make_dirs, reading, write_all, writing

_BUFFER_BYTES: Final = 1 << 20
_TRIES: Final = 5
_TRY_SECONDS: Final = 0.02


class Home:
    """Where the service keeps its files. The directories are made when they are missing."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self.logs = self.root / "logs"
        self.keys = self.root / "keys"
        self._locks = self.root / "locks"
        for directory in (self.root, self.logs, self.keys, self._locks, self.root / "accounts"):
            make_dirs(directory)

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        return self.root / "catalog.sqlite"

    def account(self, name: str) -> Path:
        """Return the directory of a storage account, whose name was checked when it was created."""
        return self.root / "accounts" / name

    @contextmanager
    def exclusive(self, order: str) -> Iterator[None]:
        """Be the only process that works on the device of an order. The lock goes with the process that holds it.

        Raises:
            Refused: another process holds it.
        """
        with writing(str(self._locks)):
            fd = os.open(self._locks / order, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(fd, _TRIES):
                hint = "Wait until it has ended, or end it; it can be resumed."
                raise Refused(f"another process is working on the device of order {order}", hint)
            yield
        finally:
            os.close(fd)

    def is_worked_on(self, order: str) -> bool:
        """Tell whether a process works on the device of an order. Looking takes the lock for an instant."""
        with writing(str(self._locks)):
            fd = os.open(self._locks / order, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            return not _locked(fd, 1)
        finally:
            os.close(fd)

    def write_log(self, name: str, lines: Iterable[str]) -> bytes:
        """Write a log line by line, durably and at once; return the BLAKE3 of its bytes. Replaces an earlier try."""
        path, coming = self.logs / name, self.logs / f".{name}.new"
        with writing(str(path)):
            fd = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                digest = _write_lines(fd, lines)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(coming, path)
            fsync_dir(self.logs)
        return digest

    def read_log(self, name: str) -> bytes | None:
        """Return a small log, or None when it was not written."""
        path = self.logs / name
        with reading(str(path)):
            return path.read_bytes() if path.exists() else None


def _locked(fd: int, tries: int) -> bool:
    """Lock a file, and tell whether that worked. Who only looks whether somebody works is gone by the next try."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(_TRY_SECONDS)
        else:
            return True
    return False


def _write_lines(fd: int, lines: Iterable[str]) -> bytes:
    digest, buffer, at = blake3(), bytearray(), 0
    for line in lines:
        buffer += line.encode()
        if len(buffer) >= _BUFFER_BYTES:
            write_all(fd, memoryview(buffer), at)
            digest.update(buffer)
            at += len(buffer)
            buffer = bytearray()
    write_all(fd, memoryview(buffer), at)
    return digest.update(buffer).digest()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the verbs work with."""

    home: Home
    catalog: Catalog
    book: Book
    orders: Orders
    clock: Clock
    open_azure: OpenAzure

    def blobs(self, account: str) -> PageBlobs:
        """Return a fresh view of a storage account's page blobs.

        Raises:
            Missing: there is no such account.
            Refused: its kind has no page blobs, or its secret does not open it.
            RemoteError: it lies in Azure and cannot be reached.
        """
        found = self.orders.account(account)
        check_account_kind(found.kind)
        if found.azure is not None:
            return self.open_azure(found.azure)
        return DirectoryPageBlobs(self.home.account(found.name))
