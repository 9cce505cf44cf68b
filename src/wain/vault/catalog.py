"""The catalog: SQLite in WAL mode with `synchronous=FULL` (reliability.md 4.5). A cache; `rebuild` makes it again.

Tables come in two sorts. *Facts* add up from the objects alone: `rebuild` gives the same rows. *Sessions* (leases,
condemned packs, scrub times) live here only; losing them delays deletion and nothing else.

Migrations are a plain forward table: a cache that can be rebuilt needs no more, and alembic would be the larger half.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from wain.base.errors import UnknownVersion, WriteFailed
from wain.base.ids import PackId
from wain.storage.sql import Connection, Database, Table
from wain.vault.columns import CHECKS, WHAT, CatalogDamaged

_OWNER: Final = "FOREIGN KEY(registration) REFERENCES registrations (id)"
_DEFINITIONS: list[str] = []


def _table(name: str, keys: int, columns: dict[str, str], *constraints: str) -> Table:
    """Define a table. The text is kept by SQLite, and a catalog with another one is not ours: it never changes."""
    names = tuple(columns)
    parts = [f"{column} {kind}" for column, kind in columns.items()]
    parts.append(f"PRIMARY KEY ({', '.join(names[:keys])})")
    parts += constraints
    _DEFINITIONS.append(f"CREATE TABLE {name} (\n\t" + ", \n\t".join(parts) + "\n)\n WITHOUT ROWID\n\n")
    return Table(name, names, keys)


registrations: Final = _table(
    "registrations",
    1,
    {
        "id": "BLOB NOT NULL",
        "name": "TEXT NOT NULL",
        "sign_key": "BLOB NOT NULL",
        "restore_key": "BLOB NOT NULL",
        "registered_at": "BIGINT NOT NULL",
        "key_epoch": "INTEGER NOT NULL",
        "retention_number": "INTEGER NOT NULL",
        "daily": "INTEGER",
        "weekly": "INTEGER",
        "monthly": "INTEGER",
        "yearly": "INTEGER",
        "generation": "INTEGER NOT NULL",
    },
)
"""Generation: the number of the newest loss record, 0 before the first."""

packs: Final = _table(
    "packs",
    2,
    {"registration": "BLOB NOT NULL", "pack": "BLOB NOT NULL", "stored_bytes": "BIGINT NOT NULL"},
    _OWNER,
)
"""The packs that are in the vault, verified and durable. A pack without a row counts as absent."""

points: Final = _table(
    "points",
    2,
    {
        "registration": "BLOB NOT NULL",
        "seq": "INTEGER NOT NULL",
        "point": "BLOB NOT NULL",
        "previous": "BLOB NOT NULL",
        "received_at": "BIGINT NOT NULL",
        "created_at": "BIGINT NOT NULL",
        "packs": "INTEGER NOT NULL",
        "stored_bytes": "BIGINT NOT NULL",
        "seed": "BLOB",
        "state": "TEXT NOT NULL",
    },
    "UNIQUE (registration, point)",
    _OWNER,
)

gaps: Final = _table(
    "gaps",
    3,
    {
        "registration": "BLOB NOT NULL",
        "seq": "INTEGER NOT NULL",
        "pack": "BLOB NOT NULL",
        "lost": "BOOLEAN NOT NULL",
    },
    _OWNER,
)
"""The packs a point needs and the vault has not got. `lost`: no announced seed carries it either."""
_DEFINITIONS.append("CREATE INDEX gaps_by_pack ON gaps (registration, pack)")
_DEFINITIONS.append("CREATE INDEX gaps_by_lost ON gaps (registration, seq, lost)")

seeds: Final = _table(
    "seeds",
    2,
    {
        "registration": "BLOB NOT NULL",
        "seed": "BLOB NOT NULL",
        "device": "BLOB NOT NULL",
        "order_name": "TEXT NOT NULL",
        "container": "TEXT NOT NULL",
        "seal_hash": "BLOB NOT NULL",
        "manifest_hash": "BLOB NOT NULL",
        "packs": "INTEGER NOT NULL",
        "stored_bytes": "BIGINT NOT NULL",
        "deficit_number": "INTEGER NOT NULL",
        "deficits": "INTEGER NOT NULL",
        "deficits_at": "BIGINT",
        "released_at": "BIGINT",
        "received_at": "BIGINT",
        "countersigned_at": "BIGINT",
        "state": "TEXT NOT NULL",
    },
    _OWNER,
)

transit: Final = _table(
    "transit",
    3,
    {"registration": "BLOB NOT NULL", "pack": "BLOB NOT NULL", "seed": "BLOB NOT NULL"},
    _OWNER,
)
"""The packs of every seed that is announced and neither imported nor released."""

expired: Final = _table(
    "expired",
    2,
    {
        "registration": "BLOB NOT NULL",
        "seq": "INTEGER NOT NULL",
        "point": "BLOB NOT NULL",
        "expired_at": "BIGINT NOT NULL",
    },
    _OWNER,
)

facts: Final = _table("facts", 2, {"registration": "BLOB NOT NULL", "name": "TEXT NOT NULL"}, _OWNER)
"""The names of the small objects this catalog has taken in."""

_OF_A_PACK: Final = {"registration": "BLOB NOT NULL", "pack": "BLOB NOT NULL"}
leases: Final = _table("leases", 2, {**_OF_A_PACK, "until": "BIGINT NOT NULL"}, _OWNER)
condemned: Final = _table("condemned", 2, {**_OF_A_PACK, "since": "BIGINT NOT NULL"}, _OWNER)
scrubs: Final = _table("scrubs", 2, {**_OF_A_PACK, "verified_at": "BIGINT NOT NULL"}, _OWNER)

FACT_TABLES: Final = (registrations, packs, points, gaps, seeds, transit, expired, facts)
SESSION_TABLES: Final = (leases, condemned, scrubs)

_PREPARE: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA foreign_keys=ON",
    # Pack ids of the current request, one table for each connection.
    "CREATE TEMPORARY TABLE IF NOT EXISTS asked (pack BLOB PRIMARY KEY) WITHOUT ROWID",
)


def create_tables(connection: Connection) -> None:
    """Make every table of version 1."""
    for definition in _DEFINITIONS:
        connection.execute(definition)


_MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (create_tables,)
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
        sync = f"PRAGMA synchronous={'FULL' if durable else 'OFF'}"
        self._database = Database(path, (*_PREPARE, sync), CHECKS)
        try:
            self._migrate()
            if unclean:
                self.check("quick_check")  # After an unclean stop (a write-ahead log was left), once.
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment of the catalog."""
        with self._guard(), self._database.transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may write (BEGIN IMMEDIATE); durable when the block ends, undone when it raises."""
        with self._guard(), self._database.transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise _translated(self._path, error) from error

    @property
    def filled(self) -> bool:
        """True once a rebuild, even of an empty vault, went through: what the tables say is the whole truth."""
        with self.read() as connection:
            return bool(connection.value("PRAGMA application_id"))

    def replace_facts(self, other: Path) -> None:
        """Take over the facts of another, closed catalog file, in one transaction; sessions begin anew."""
        with self._guard(), self._database.connection() as connection:
            connection.execute("ATTACH DATABASE :other AS fresh", {"other": str(other)})
            try:
                connection.execute("BEGIN IMMEDIATE")
                for table in reversed((*FACT_TABLES, *SESSION_TABLES)):
                    connection.execute(f"DELETE FROM main.{table.name}")  # noqa: S608 - our own table names
                for table in FACT_TABLES:
                    connection.execute(f"INSERT INTO {table.name} SELECT * FROM fresh.{table.name}")  # noqa: S608 - the same
                connection.execute(f"PRAGMA application_id={_FILLED + len(_MIGRATIONS)}")
                connection.execute("COMMIT")
            finally:
                with suppress(sqlite3.Error):
                    connection.rollback()
                connection.execute("DETACH DATABASE fresh")

    def _migrate(self) -> None:
        with self.write() as connection:
            found = connection.value("PRAGMA user_version") or 0
            mark = connection.value("PRAGMA application_id") or 0
            if mark and mark != _FILLED + found:
                raise CatalogDamaged(WHAT, f"its version is {found}, and its application id {mark:#x} says otherwise")
            if found > len(_MIGRATIONS) or found < 0:
                raise UnknownVersion(WHAT, have=found, known=len(_MIGRATIONS))
            for step in _MIGRATIONS[found:]:
                step(connection)
            if found < len(_MIGRATIONS):
                connection.execute(f"PRAGMA user_version={len(_MIGRATIONS)}")
                connection.execute(f"PRAGMA application_id={mark and _FILLED + len(_MIGRATIONS)}")

    def check(self, pragma: str = "integrity_check") -> None:
        """Have SQLite look at every page, row and index.

        Raises:
            CatalogDamaged: the first thing that is wrong.
        """
        with self.read() as connection:
            verdict = connection.value(f"PRAGMA {pragma}(1)")
        if verdict != "ok":
            raise CatalogDamaged(WHAT, " ".join(str(verdict).split()))


def fill_asked(connection: Connection, ids: Iterable[PackId]) -> None:
    """Make `asked` hold exactly these ids."""
    connection.execute("DELETE FROM asked")
    connection.insert_many("INSERT INTO asked (pack) VALUES (:pack) ON CONFLICT DO NOTHING", ({"pack": p} for p in ids))


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
