"""The catalog against the objects: a second catalog is made of the objects alone, and both are read side by side.

Memory is one row of each. What cannot be compared is the sessions, which follow from nothing; of them only SQLite's
own check and the registrations and packs they name are judged.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from wain.base.ids import PackId, RegistrationId
from wain.storage.sql import Table
from wain.vault.adopting import Problem
from wain.vault.catalog import FACT_TABLES, SESSION_TABLES, packs
from wain.vault.columns import CatalogDamaged
from wain.vault.objects import pack_name
from wain.vault.rebuild import CATALOG_FILE, FRESH_FILE, count_packs, drop_fresh, fresh_catalog
from wain.vault.site import Site

CURE: Final = "run `wain vault rebuild`"
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
_Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first row in which the catalog is not what the objects say. `registration` is None in the schema."""

    registration: RegistrationId | None
    where: str


def difference(
    site: Site, root: Path, *, judged: frozenset[PackId], skipped: frozenset[RegistrationId]
) -> Difference | None:
    """Return the first difference between the catalog and the objects, or None. The caller holds the lock.

    `judged` packs have findings of their own: they count as the catalog counts them. `skipped` registrations have
    damaged records, which would show here a second time.

    Raises:
        CatalogDamaged: SQLite cannot read the catalog.
    """

    def count(beside: Site, rid: RegistrationId) -> list[Problem]:
        problems = count_packs(beside, rid)
        _settle(site, beside, rid, judged)
        return problems

    try:
        with fresh_catalog(site, root, count):
            pass
        return _schema(root) or _facts(root, skipped) or _sessions(site)
    finally:
        drop_fresh(root)


def _settle(site: Site, beside: Site, rid: RegistrationId, judged: frozenset[PackId]) -> None:
    """Give judged packs in the fresh catalog the rows they have in the catalog."""
    for pack in judged:
        here = "FROM packs WHERE registration = :rid AND pack = :pack"
        with site.catalog.read() as connection:
            row = connection.row(f"SELECT stored_bytes {here}", rid=rid, pack=pack)
        with beside.catalog.write() as connection:
            connection.change(f"DELETE {here}", rid=rid, pack=pack)
            if row is not None:
                size = site.objects.size(pack_name(rid, pack))
                stored = row.stored_bytes if size is None else size
                values = {"registration": rid, "pack": pack, "stored_bytes": stored}
                connection.execute(packs.insertion(), values)


def check_schema(site: Site, root: Path) -> None:
    """Refuse a catalog whose tables are not defined as Wain defines them. The caller holds the lock.

    Raises:
        CatalogDamaged: they are not.
    """
    try:
        with fresh_catalog(site, root, lambda *_: []):
            pass
        found = _schema(root)
    finally:
        drop_fresh(root)
    if found is not None:
        raise CatalogDamaged("the vault's catalog", found.where)


def _schema(root: Path) -> Difference | None:
    """Compare what SQLite holds as the tables' definitions: a bit flipped there can change what a column is."""
    with closing(_open(root / CATALOG_FILE)) as one, closing(_open(root / FRESH_FILE)) as other:
        try:
            have, want = (list(base.execute(_SCHEMA)) for base in (one, other))
        except sqlite3.Error as error:
            raise CatalogDamaged("the vault's catalog", str(error)) from error
    if have == want:
        return None
    wrong = next((row for row in have + want if row not in have or row not in want), have[0])
    return Difference(None, f"its schema: {_text(wrong[1])} is not defined as Wain defines it; {CURE}")


def _facts(root: Path, skipped: frozenset[RegistrationId]) -> Difference | None:
    with closing(_open(root / CATALOG_FILE)) as one, closing(_open(root / FRESH_FILE)) as other:
        for table in FACT_TABLES:
            found = _first(table, _stream(one, table, skipped), _stream(other, table, skipped))
            if found is not None:
                return found
    return None


def _stream(base: sqlite3.Connection, table: Table, skipped: frozenset[RegistrationId]) -> Iterator[_Row]:
    """Yield the rows of a table in the order of its key, the key first; values as the file holds them."""
    names, keys = table.columns, table.keys
    words = f"SELECT {', '.join(names)} FROM {table.name} ORDER BY {', '.join(names[:keys])}"  # noqa: S608 - our own names
    try:
        for row in base.execute(words):
            if row[0] not in skipped:
                yield row
    except sqlite3.Error as error:
        raise CatalogDamaged("the vault's catalog", f"table {table.name}: {error}") from error


def _first(table: Table, have: Iterator[_Row], want: Iterator[_Row]) -> Difference | None:
    names, keys = table.columns, table.keys
    one, other = next(have, None), next(want, None)
    while one is not None or other is not None:
        if one is None or other is None or _key(one, keys) != _key(other, keys):
            extra = other is None or (one is not None and _key(one, keys) < _key(other, keys))
            row = one if extra else other
            assert row is not None
            words = "is in the catalog alone" if extra else "is missing in the catalog"
            return _difference(table, row, keys, words)
        for name, mine, theirs in zip(names, one, other, strict=True):
            if type(mine) is not type(theirs) or mine != theirs:
                words = f"{name} is {_text(mine)}, and {_text(theirs)} by the objects"
                return _difference(table, one, keys, words)
        one, other = next(have, None), next(want, None)
    return None


def _difference(table: Table, row: _Row, keys: int, words: str) -> Difference:
    known = isinstance(row[0], bytes) and len(row[0]) == 16
    rid = RegistrationId(row[0]) if known else None
    return Difference(rid, f"table {table.name}, row {' '.join(_text(value) for value in row[:keys])}: {words}; {CURE}")


def _sessions(site: Site) -> Difference | None:
    """Look for sessions of packs that are not there: nobody wrote those rows."""
    with site.catalog.read() as connection:
        for table in SESSION_TABLES:
            words = f"""
                {table.selection} AS one WHERE NOT (
                    EXISTS (SELECT 1 FROM packs WHERE packs.registration = one.registration AND packs.pack = one.pack)
                    AND EXISTS (SELECT 1 FROM registrations WHERE registrations.id = one.registration))
                LIMIT 1
                """  # noqa: S608 - our own names
            row = connection.row(words)
            if row is not None:
                return _difference(table, tuple(row), 2, "no such pack is in the vault")
    return None


def _key(row: _Row, keys: int) -> tuple[tuple[int, Any], ...]:
    """Return a row's key in SQLite's order: nothing, numbers, text, bytes."""
    return tuple((_RANK[type(value)], 0 if value is None else value) for value in row[:keys])


_RANK: Final[Mapping[type, int]] = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}


def _open(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    base.text_factory = _lenient
    return base


def _lenient(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 64 else f"{len(value)} bytes {value[:16].hex()}..."
    return repr(value) if isinstance(value, str) else str(value)
