"""The Data Box catalog: one SQLite file, written in short transactions, never rewritten in place by hand.

A rollback journal with `synchronous=FULL`: a transaction that returned survives a power cut. Not WAL: its shared memory
is a mapped file, and on a full btrfs the kernel answers a store into it with SIGBUS. Writers begin with
`BEGIN IMMEDIATE`, so that two processes never both read, decide and then collide at the write.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from wain.base.errors import Corrupt, UnknownVersion, WriteFailed
from wain.databox.tables import DEFINITIONS, UPGRADES, VERSION
from wain.storage.sql import Connection, Database

BUSY_SECONDS: Final = 30
_PREPARE: Final = ("PRAGMA journal_mode=TRUNCATE", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


class Catalog:
    """The open catalog. Share it between threads; open it once per process.

    Raises:
        UnknownVersion: the file was written by another Wain.
        WriteFailed: the file cannot be opened, locked or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = Database(path, _PREPARE, {}, BUSY_SECONDS)
        self._make()

    def _make(self) -> None:
        with self.writing() as rows:
            found = int(rows.value("PRAGMA user_version") or 0)
            if found == 0:
                for definition in DEFINITIONS:
                    rows.execute(definition)
                rows.execute(f"PRAGMA user_version={VERSION}")
            elif found > VERSION:
                raise UnknownVersion(str(self._path), have=found, known=VERSION)
            while 0 < found < VERSION:
                for definition in UPGRADES[found]:
                    rows.execute(definition)
                found += 1
                rows.execute(f"PRAGMA user_version={found}")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run one writing transaction; it is durable when the block ends, undone when the block raises."""
        with self._transaction("BEGIN IMMEDIATE") as rows:
            yield rows

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run one reading transaction: one consistent view, no lock that a writer would feel."""
        with self._transaction("BEGIN") as rows:
            yield rows

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        try:
            with self._database.transaction(begin) as rows:
                yield rows
        except sqlite3.OperationalError as error:
            raise WriteFailed(str(self._path), str(error)) from error
        except sqlite3.Error as error:
            raise Corrupt(str(self._path), str(error)) from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
