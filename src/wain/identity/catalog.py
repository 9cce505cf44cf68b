"""The directory's catalog: one SQLite file, written in short transactions.

A rollback journal with `synchronous=FULL`, as in the Data Box catalog and for the same reasons. Writers begin with
`BEGIN IMMEDIATE`: two processes never both read, decide and then collide at the write.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from wain.base.errors import Corrupt, UnknownVersion, WriteFailed
from wain.identity.tables import DEFINITIONS, VERSION
from wain.storage.sql import Connection, Database

BUSY_SECONDS: Final = 30
_PREPARE: Final = ("PRAGMA journal_mode=TRUNCATE", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")
_TEXT: Final = ("id", "name", "display_name", "app_id", "owner", "key_id", "principal", "role", "scope", "kid", "state")
_NUMBERS: Final = (
    "created_ns",
    "retired_ns",
    "until_ns",
    "last_ns",
    "starts_ns",
    "ends_ns",
    "version",
    "epoch",
    "used",
)


class WrongType(sqlite3.DatabaseError):
    """A column holds a value that nobody of ours wrote."""


def _checker(kind: type) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if type(value) is not kind:
            raise WrongType(f"a value is {type(value).__name__}, not {kind.__name__}")

    return check


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    **dict.fromkeys(_TEXT, _checker(str)),
    **dict.fromkeys(_NUMBERS, _checker(int)),
    "certificate": _checker(bytes),
}


class Catalog:
    """The open catalog. Share it between threads; open it once per process.

    Raises:
        UnknownVersion: the file was written by another Wain.
        WriteFailed: the file cannot be opened, locked or written.
        Corrupt: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = Database(path, _PREPARE, _CHECKS, BUSY_SECONDS)
        with self.writing() as rows:
            found = int(rows.value("PRAGMA user_version") or 0)
            if found == 0:
                for definition in DEFINITIONS:
                    rows.execute(definition)
                rows.execute(f"PRAGMA user_version={VERSION}")
            elif found != VERSION:
                raise UnknownVersion(str(path), have=found, known=VERSION)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run one writing transaction; it is durable when the block ends, undone when the block raises."""
        with self._transaction("BEGIN IMMEDIATE") as rows:
            yield rows

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run one reading transaction: one consistent view."""
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
