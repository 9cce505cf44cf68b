"""The catalog: SQLite in WAL mode with `synchronous=FULL` (reliability.md 4.5). A cache; `rebuild` makes it again.

Tables come in two sorts. *Facts* add up from the objects alone: `rebuild` gives the same rows. *Sessions* (leases,
condemned packs, scrub times) live here only; losing them delays deletion and nothing else.

Migrations are a plain forward table: a cache that can be rebuilt needs no more, and alembic would be the larger half.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    delete,
    event,
    insert,
)
from sqlalchemy.exc import DBAPIError

from wain.base.errors import Corrupt, UnknownVersion, WriteFailed
from wain.base.ids import PackId

BUSY_SECONDS: Final = 60.0
BATCH_ROWS: Final = 5000

metadata: Final = MetaData()


def _registration(*, primary: bool = True) -> Column[bytes]:
    return Column("registration", LargeBinary, ForeignKey("registrations.id"), primary_key=primary, nullable=False)


registrations: Final = Table(
    "registrations",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sign_key", LargeBinary, nullable=False),
    Column("restore_key", LargeBinary, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("key_epoch", Integer, nullable=False),
    Column("retention_number", Integer, nullable=False),
    Column("daily", Integer),
    Column("weekly", Integer),
    Column("monthly", Integer),
    Column("yearly", Integer),
    Column("generation", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Generation: the number of the newest loss record, 0 before the first."""

packs: Final = Table(
    "packs",
    metadata,
    _registration(),
    Column("pack", LargeBinary, primary_key=True),
    Column("stored_bytes", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The packs that are in the vault, verified and durable. A pack without a row counts as absent."""

points: Final = Table(
    "points",
    metadata,
    _registration(),
    Column("seq", Integer, primary_key=True),
    Column("point", LargeBinary, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("packs", Integer, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("seed", LargeBinary),
    Column("state", Text, nullable=False),
    UniqueConstraint("registration", "point"),
    sqlite_with_rowid=False,
)

gaps: Final = Table(
    "gaps",
    metadata,
    _registration(),
    Column("seq", Integer, primary_key=True),
    Column("pack", LargeBinary, primary_key=True),
    Column("lost", Boolean, nullable=False),
    Index("gaps_by_pack", "registration", "pack"),
    Index("gaps_by_lost", "registration", "seq", "lost"),
    sqlite_with_rowid=False,
)
"""The packs a point needs and the vault has not got. `lost`: no announced seed carries it either."""

seeds: Final = Table(
    "seeds",
    metadata,
    _registration(),
    Column("seed", LargeBinary, primary_key=True),
    Column("device", LargeBinary, nullable=False),
    Column("order_name", Text, nullable=False),
    Column("container", Text, nullable=False),
    Column("seal_hash", LargeBinary, nullable=False),
    Column("manifest_hash", LargeBinary, nullable=False),
    Column("packs", Integer, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("deficit_number", Integer, nullable=False),
    Column("deficits", Integer, nullable=False),
    Column("deficits_at", BigInteger),
    Column("released_at", BigInteger),
    Column("received_at", BigInteger),
    Column("countersigned_at", BigInteger),
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
)

transit: Final = Table(
    "transit",
    metadata,
    _registration(),
    Column("pack", LargeBinary, primary_key=True),
    Column("seed", LargeBinary, primary_key=True),
    sqlite_with_rowid=False,
)
"""The packs of every seed that is announced and neither imported nor released."""

expired: Final = Table(
    "expired",
    metadata,
    _registration(),
    Column("seq", Integer, primary_key=True),
    Column("point", LargeBinary, nullable=False),
    Column("expired_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

facts: Final = Table(
    "facts",
    metadata,
    _registration(),
    Column("name", Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""The names of the small objects this catalog has taken in."""

leases: Final = Table(
    "leases",
    metadata,
    _registration(),
    Column("pack", LargeBinary, primary_key=True),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

condemned: Final = Table(
    "condemned",
    metadata,
    _registration(),
    Column("pack", LargeBinary, primary_key=True),
    Column("since", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

scrubs: Final = Table(
    "scrubs",
    metadata,
    _registration(),
    Column("pack", LargeBinary, primary_key=True),
    Column("verified_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

FACT_TABLES: Final = (registrations, packs, points, gaps, seeds, transit, expired, facts)
SESSION_TABLES: Final = (leases, condemned, scrubs)

asked: Final = Table("asked", MetaData(), Column("pack", LargeBinary, primary_key=True), prefixes=["TEMPORARY"])
"""Pack ids of the current request, one table for each connection."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "CREATE TEMPORARY TABLE IF NOT EXISTS asked (pack BLOB PRIMARY KEY) WITHOUT ROWID",
)
_MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (metadata.create_all,)
"""Step n takes a catalog from version n to n + 1. Steps are only ever added."""
_FILLED: Final = int.from_bytes(b"WAIN", "big")
"""SQLite's application id of a catalog that a rebuild has gone through."""


class CatalogDamaged(Corrupt):
    """SQLite cannot read the catalog. The objects are the truth: nothing is lost."""

    hint = "Rebuild the vault's catalog: it is made again from the objects."


class Catalog:
    """One catalog file. `read` and `write` are its transactions; both may be used from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create.

        Raises:
            UnknownVersion: written by a newer Wain.
            CatalogDamaged: not a sound SQLite file; the caller may set it aside and rebuild.
            WriteFailed: it cannot be opened or written.
        """
        self._path = path
        unclean = _has_bytes(path.with_name(f"{path.name}-wal"))
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        try:
            self._migrate()
            if unclean:
                self._check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment of the catalog."""
        with self._guard(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may write (BEGIN IMMEDIATE); durable when the block ends, undone when it raises."""
        with self._guard(), self._engine.execution_options(wain_write=True).begin() as connection:
            yield connection

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _translated(self._path, error) from error

    @property
    def filled(self) -> bool:
        """True once a rebuild, even of an empty vault, went through: what the tables say is the whole truth."""
        with self.read() as connection:
            return bool(connection.exec_driver_sql("PRAGMA application_id").scalar_one() == _FILLED)

    def replace_facts(self, other: Path) -> None:
        """Take over the facts of another, closed catalog file, in one transaction; sessions begin anew."""
        with self._guard(), self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.execute("ATTACH DATABASE ? AS fresh", (str(other),))
            try:
                with connection.execution_options(wain_write=True).begin():
                    for table in reversed((*FACT_TABLES, *SESSION_TABLES)):
                        connection.execute(delete(table))
                    for table in FACT_TABLES:
                        connection.exec_driver_sql(f"INSERT INTO {table.name} SELECT * FROM fresh.{table.name}")  # noqa: S608 - our own table names
                    connection.exec_driver_sql(f"PRAGMA application_id={_FILLED}")
            finally:
                raw.execute("DETACH DATABASE fresh")

    def _migrate(self) -> None:
        with self.write() as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if found > len(_MIGRATIONS):
                raise UnknownVersion("the vault's catalog", have=found, known=len(_MIGRATIONS))
            for step in _MIGRATIONS[found:]:
                step(connection)
            connection.exec_driver_sql(f"PRAGMA user_version={len(_MIGRATIONS)}")

    def _check(self) -> None:
        """After an unclean stop (a write-ahead log was left), look at the whole file once."""
        with self.read() as connection:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if verdict != "ok":
            raise CatalogDamaged("the vault's catalog", str(verdict))


def fill_asked(connection: Connection, ids: Iterable[PackId]) -> None:
    """Make `asked` hold exactly these ids."""
    connection.exec_driver_sql("DELETE FROM asked")
    insert_rows(connection, asked, ({"pack": pack} for pack in ids), ignore=True)


def insert_rows(connection: Connection, table: Table, rows: Iterable[dict[str, Any]], *, ignore: bool = False) -> None:
    """Insert rows in batches, so that a million of them need no list."""
    statement = insert(table)
    if ignore:
        statement = statement.prefix_with("OR IGNORE")
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            connection.execute(statement, batch)
            batch = []
    if batch:
        connection.execute(statement, batch)


def _on_connect(raw: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: `_on_begin` says which sort.
    raw.isolation_level = None
    for pragma in _PRAGMAS:
        raw.execute(pragma)


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("wain_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _has_bytes(path: Path) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _translated(path: Path, error: DBAPIError) -> Corrupt | WriteFailed:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CatalogDamaged("the vault's catalog", str(error.orig))
    return WriteFailed(f"the vault's catalog at {path}", str(error.orig))
