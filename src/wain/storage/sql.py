"""SQLite as the catalogs use it: connections, transactions, and rows that are looked at before anybody believes them.

Statements are plain SQL with named parameters, kept where they are used, in the part of the language that SQLite (3.35
or newer) and PostgreSQL share; what differs between the two has its home here and in the schemas. SQLite keeps any
value in any column, so a flipped bit can make a number of a name: every value that is read is checked by its column's
name.
"""

import sqlite3
import threading
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BUSY_SECONDS: Final = 60.0
"""How long a transaction waits for another process's."""
BATCH_ROWS: Final = 5000

Check = Callable[[Any], None]
"""Looks at a value of a column; raises when nobody of ours wrote it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's name, its columns in order, and how many of the first make its key."""

    name: str
    columns: tuple[str, ...]
    keys: int

    @property
    def selection(self) -> str:
        """The statement that selects every column of every row, for a WHERE to follow.

        By their names: a column of another name, as a flipped bit in the file makes it, is then SQLite's error; one in
        other letter case is the same to SQLite, and to `_Shapes`.
        """
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"  # noqa: S608 - our own names

    def insertion(self, conflict: str = "") -> str:
        """Return the statement that inserts a row, given as a mapping by column; every column must be in it."""
        values = ", ".join(f":{column}" for column in self.columns)
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({values}) {conflict}"  # noqa: S608 - our own names

    def filled(self, **values: object) -> dict[str, object]:
        """Return a whole row: what is not given is null."""
        return {**dict.fromkeys(self.columns), **values}


class Connection(sqlite3.Connection):
    """A connection within a transaction. Parameters are given by name."""

    def rows(self, statement: str, **values: object) -> list[Any]:
        """Return every row, each with its columns as attributes."""
        return self.execute(statement, values).fetchall()

    def row(self, statement: str, **values: object) -> Any | None:
        """Return the first row, or None."""
        return self.execute(statement, values).fetchone()

    def column(self, statement: str, **values: object) -> list[Any]:
        """Return the first column of every row."""
        return [row[0] for row in self.execute(statement, values)]

    def value(self, statement: str, **values: object) -> Any | None:
        """Return the first column of the first row, or None."""
        found = self.execute(statement, values).fetchone()
        return None if found is None else found[0]

    def change(self, statement: str, **values: object) -> int:
        """Run a statement that changes rows, and return how many it changed."""
        return self.execute(statement, values).rowcount

    def insert_many(self, statement: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Run a statement for each row, in batches, so that a million of them need no list."""
        batch: list[Mapping[str, object]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH_ROWS:
                self.executemany(statement, batch)
                batch = []
        if batch:
            self.executemany(statement, batch)


class Database:
    """One SQLite file. Transactions may run in several threads, each with a connection of its own.

    `prepare` are the statements that every new connection begins with; `checks` look at values by their column's name.

    Raises (all methods): `sqlite3.Error` as it comes, and what a check raises.
    """

    def __init__(
        self, path: Path, prepare: Sequence[str], checks: Mapping[str, Check], busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._prepare = prepare
        self._shapes = _Shapes(checks)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @contextmanager
    def transaction(self, begin: str) -> Iterator[Connection]:
        """Run one transaction: committed when the block ends, undone when it raises. `begin` is how it starts."""
        with self.connection() as connection:
            try:
                connection.execute(begin)
                yield connection
                if connection.in_transaction:
                    connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                raise

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection outside any transaction."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _connect(self) -> Connection:
        # The driver must not begin transactions by itself: `transaction` says which sort.
        connection = sqlite3.connect(
            self._path, self._busy_seconds, isolation_level=None, check_same_thread=False, factory=Connection
        )
        assert isinstance(connection, Connection)
        try:
            for statement in self._prepare:
                connection.execute(statement)
            connection.row_factory = self._shapes.row
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close every connection; one that is lent out, when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class _Shapes:
    """Makes rows: tuples with a column's name for each value, every value checked."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._known: dict[tuple[str, ...], tuple[Callable[..., Any], tuple[Check | None, ...]]] = {}

    def row(self, cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Any:
        names = tuple([column[0].lower() for column in cursor.description])
        shape = self._known.get(names)
        if shape is None:
            checks = tuple(self._checks.get(name) for name in names)
            shaped: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
            shape = self._known[names] = (shaped._make, checks)
        make, checks = shape
        for value, check in zip(values, checks, strict=True):
            if check is not None and value is not None:
                check(value)
        return make(values)
