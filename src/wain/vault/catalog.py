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
    Column,
    Connection,
    ForeignKey,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
    create_engine,
    delete,
    event,
    insert,
)
from sqlalchemy.exc import DBAPIError

from wain.base.errors import UnknownVersion, WriteFailed
from wain.base.ids import PackId
from wain.vault.columns import FLAG, HASH, NUMBER, RESTORE_KEY, UUID, WHAT, WHOLE, WORDS, CatalogDamaged

BUSY_SECONDS: Final = 60.0
BATCH_ROWS: Final = 5000

metadata: Final = MetaData()


def _registration(*, primary: bool = True) -> Column[bytes]:
    return Column("registration", UUID, ForeignKey("registrations.id"), primary_key=primary, nullable=False)


registrations: Final = Table(
    "registrations",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("name", WORDS, nullable=False),
    Column("sign_key", HASH, nullable=False),
    Column("restore_key", RESTORE_KEY, nullable=False),
    Column("registered_at", WHOLE, nullable=False),
    Column("key_epoch", NUMBER, nullable=False),
    Column("retention_number", NUMBER, nullable=False),
    Column("daily", NUMBER),
    Column("weekly", NUMBER),
    Column("monthly", NUMBER),
    Column("yearly", NUMBER),
    Column("generation", NUMBER, nullable=False),
    sqlite_with_rowid=False,
)
"""Generation: the number of the newest loss record, 0 before the first."""

packs: Final = Table(
    "packs",
    metadata,
    _registration(),
    Column("pack", HASH, primary_key=True),
    Column("stored_bytes", WHOLE, nullable=False),
    sqlite_with_rowid=False,
)
"""The packs that are in the vault, verified and durable. A pack without a row counts as absent."""

points: Final = Table(
    "points",
    metadata,
    _registration(),
    Column("seq", NUMBER, primary_key=True),
    Column("point", HASH, nullable=False),
    Column("previous", HASH, nullable=False),
    Column("received_at", WHOLE, nullable=False),
    Column("created_at", WHOLE, nullable=False),
    Column("packs", NUMBER, nullable=False),
    Column("stored_bytes", WHOLE, nullable=False),
    Column("seed", UUID),
    Column("state", WORDS, nullable=False),
    UniqueConstraint("registration", "point"),
    sqlite_with_rowid=False,
)

gaps: Final = Table(
    "gaps",
    metadata,
    _registration(),
    Column("seq", NUMBER, primary_key=True),
    Column("pack", HASH, primary_key=True),
    Column("lost", FLAG, nullable=False),
    Index("gaps_by_pack", "registration", "pack"),
    Index("gaps_by_lost", "registration", "seq", "lost"),
    sqlite_with_rowid=False,
)
"""The packs a point needs and the vault has not got. `lost`: no announced seed carries it either."""

seeds: Final = Table(
    "seeds",
    metadata,
    _registration(),
    Column("seed", UUID, primary_key=True),
    Column("device", UUID, nullable=False),
    Column("order_name", WORDS, nullable=False),
    Column("container", WORDS, nullable=False),
    Column("seal_hash", HASH, nullable=False),
    Column("manifest_hash", HASH, nullable=False),
    Column("packs", NUMBER, nullable=False),
    Column("stored_bytes", WHOLE, nullable=False),
    Column("deficit_number", NUMBER, nullable=False),
    Column("deficits", NUMBER, nullable=False),
    Column("deficits_at", WHOLE),
    Column("released_at", WHOLE),
    Column("received_at", WHOLE),
    Column("countersigned_at", WHOLE),
    Column("state", WORDS, nullable=False),
    sqlite_with_rowid=False,
)

transit: Final = Table(
    "transit",
    metadata,
    _registration(),
    Column("pack", HASH, primary_key=True),
    Column("seed", UUID, primary_key=True),
    sqlite_with_rowid=False,
)
"""The packs of every seed that is announced and neither imported nor released."""

expired: Final = Table(
    "expired",
    metadata,
    _registration(),
    Column("seq", NUMBER, primary_key=True),
    Column("point", HASH, nullable=False),
    Column("expired_at", WHOLE, nullable=False),
    sqlite_with_rowid=False,
)

facts: Final = Table(
    "facts",
    metadata,
    _registration(),
    Column("name", WORDS, primary_key=True),
    sqlite_with_rowid=False,
)
"""The names of the small objects this catalog has taken in."""

leases: Final = Table(
    "leases",
    metadata,
    _registration(),
    Column("pack", HASH, primary_key=True),
    Column("until", WHOLE, nullable=False),
    sqlite_with_rowid=False,
)

condemned: Final = Table(
    "condemned",
    metadata,
    _registration(),
    Column("pack", HASH, primary_key=True),
    Column("since", WHOLE, nullable=False),
    sqlite_with_rowid=False,
)

scrubs: Final = Table(
    "scrubs",
    metadata,
    _registration(),
    Column("pack", HASH, primary_key=True),
    Column("verified_at", WHOLE, nullable=False),
    sqlite_with_rowid=False,
)

FACT_TABLES: Final = (registrations, packs, points, gaps, seeds, transit, expired, facts)
SESSION_TABLES: Final = (leases, condemned, scrubs)

asked: Final = Table("asked", MetaData(), Column("pack", HASH, primary_key=True), prefixes=["TEMPORARY"])
"""Pack ids of the current request, one table for each connection."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA foreign_keys=ON",
    "CREATE TEMPORARY TABLE IF NOT EXISTS asked (pack BLOB PRIMARY KEY) WITHOUT ROWID",
)
_MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (metadata.create_all,)
"""Step n takes a catalog from version n to n + 1. Steps are only ever added."""
_FILLED: Final = int.from_bytes(b"WAI\0", "big")
"""SQLite's application id of a catalog that a rebuild has gone through is this plus the version: one flipped bit in
either number makes them differ, and is not taken for a newer Wain or an empty catalog."""

_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_ERROR,  # Our statements are right: then the schema is not ours, or the file's format unknown.
        sqlite3.SQLITE_CONSTRAINT,  # Our verbs keep all rules: then a row is there, or not there, that nobody wrote.
        sqlite3.SQLITE_MISMATCH,
    }
)
"""What SQLite says of a file that was changed from outside."""


class Catalog:
    """One catalog file. `read` and `write` are its transactions; both may be used from any thread."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Open or create. One that is not `durable` is for scratch work: nothing is synced.

        Raises:
            UnknownVersion: written by a newer Wain.
            CatalogDamaged: not a sound SQLite file; the caller may set it aside and rebuild.
            WriteFailed: it cannot be opened or written.
        """
        self._path = path
        unclean = _has_bytes(path.with_name(f"{path.name}-wal"))
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
        self._durable = durable
        event.listen(self._engine, "connect", self._on_connect)
        event.listen(self._engine, "begin", _on_begin)
        try:
            self._migrate()
            if unclean:
                self.check("quick_check")  # After an unclean stop (a write-ahead log was left), once.
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
            raise _translated(self._path, error.orig) from error
        except (sqlite3.Error, UnicodeDecodeError) as error:  # From a new connection's first statements.
            raise _translated(self._path, error) from error

    @property
    def filled(self) -> bool:
        """True once a rebuild, even of an empty vault, went through: what the tables say is the whole truth."""
        with self.read() as connection:
            return bool(connection.exec_driver_sql("PRAGMA application_id").scalar_one())

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
                    connection.exec_driver_sql(f"PRAGMA application_id={_FILLED + len(_MIGRATIONS)}")
            finally:
                raw.execute("DETACH DATABASE fresh")

    def _migrate(self) -> None:
        with self.write() as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            mark = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
            if mark and mark != _FILLED + found:
                raise CatalogDamaged(WHAT, f"its version is {found}, and its application id {mark:#x} says otherwise")
            if found > len(_MIGRATIONS) or found < 0:
                raise UnknownVersion(WHAT, have=found, known=len(_MIGRATIONS))
            for step in _MIGRATIONS[found:]:
                step(connection)
            if found < len(_MIGRATIONS):
                connection.exec_driver_sql(f"PRAGMA user_version={len(_MIGRATIONS)}")
                connection.exec_driver_sql(f"PRAGMA application_id={mark and _FILLED + len(_MIGRATIONS)}")

    def check(self, pragma: str = "integrity_check") -> None:
        """Have SQLite look at every page, row and index.

        Raises:
            CatalogDamaged: the first thing that is wrong.
        """
        with self.read() as connection:
            verdict = connection.exec_driver_sql(f"PRAGMA {pragma}(1)").scalar_one()
        if verdict != "ok":
            raise CatalogDamaged(WHAT, " ".join(str(verdict).split()))

    def _on_connect(self, raw: sqlite3.Connection, _record: object) -> None:
        # The driver must not begin transactions by itself: `_on_begin` says which sort.
        raw.isolation_level = None
        for pragma in (*_PRAGMAS, f"PRAGMA synchronous={'FULL' if self._durable else 'OFF'}"):
            raw.execute(pragma)


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


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("wain_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _has_bytes(path: Path) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _translated(path: Path, error: BaseException | None) -> CatalogDamaged | WriteFailed:
    code = getattr(error, "sqlite_errorcode", None)
    # Without a code it is the driver's word: text that is not UTF-8. A file that we may write and SQLite may not has
    # a number in its header that asks for a newer SQLite.
    barred = code is not None and code & 0xFF == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
    if code is None or barred or code & 0xFF in _DAMAGE:
        return CatalogDamaged(WHAT, str(error))
    return WriteFailed(f"the vault's catalog at {path}", str(error))
