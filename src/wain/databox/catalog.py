"""The Data Box catalog: one SQLite file, written in short transactions, never rewritten in place by hand.

A rollback journal with `synchronous=FULL`: a transaction that returned survives a power cut. Not WAL: its shared memory
is a mapped file, and on a full btrfs the kernel answers a store into it with SIGBUS. Writers begin with
`BEGIN IMMEDIATE`, so that two processes never both read, decide and then collide at the write.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from wain.base.errors import Corrupt, UnknownVersion, WriteFailed
from wain.databox.tables import METADATA, VERSION

BUSY_SECONDS: Final = 30
_WRITING: Final = "wain_writing"


class Catalog:
    """The open catalog. Share it between threads; open it once per process.

    Raises:
        UnknownVersion: the file was written by another Wain.
        WriteFailed: the file cannot be opened, locked or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        url = URL.create("sqlite", database=os.fspath(path))
        self._engine: Engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        self._make()

    def _make(self) -> None:
        with self.writing() as rows:
            found = int(rows.exec_driver_sql("PRAGMA user_version").scalar_one())
            if found == 0:
                METADATA.create_all(rows)
                rows.exec_driver_sql(f"PRAGMA user_version={VERSION}")
            elif found != VERSION:
                raise UnknownVersion(str(self._path), have=found, known=VERSION)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run one writing transaction; it is durable when the block ends, undone when the block raises."""
        with self._transaction(writing=True) as rows:
            yield rows

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run one reading transaction: one consistent view, no lock that a writer would feel."""
        with self._transaction(writing=False) as rows:
            yield rows

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(**{_WRITING: writing}) as rows, rows.begin():
                yield rows
        except OperationalError as error:
            raise WriteFailed(str(self._path), str(error.orig)) from error
        except DBAPIError as error:
            raise Corrupt(str(self._path), str(error.orig)) from error

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _on_connect(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `_on_begin` says how they begin.
    connection.isolation_level = None
    for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(rows: Connection) -> None:
    rows.exec_driver_sql("BEGIN IMMEDIATE" if rows.get_execution_options().get(_WRITING) else "BEGIN")
