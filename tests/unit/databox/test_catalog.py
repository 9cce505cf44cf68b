"""The catalog: what a transaction promises, and which files it refuses."""

import sqlite3
import threading
from pathlib import Path

import pytest

from wain.base.errors import DataError, UnknownVersion, WriteFailed
from wain.databox import catalog as module
from wain.databox.catalog import Catalog
from wain.databox.tables import ACCOUNTS
from wain.storage.sql import Connection

ROW = {"name": "seeds", "kind": "StorageV2", "region": "x", "created_ns": 1}


def add_and_fail(rows: Connection) -> None:
    rows.execute(ACCOUNTS.insertion(), ROW)
    raise KeyError


def names(catalog: Catalog) -> list[str]:
    with catalog.reading() as rows:
        return rows.column("SELECT name FROM accounts ORDER BY name")


def test_durable_settings(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c") as catalog, catalog.reading() as rows:
        assert rows.value("PRAGMA journal_mode") == "truncate"
        assert rows.value("PRAGMA synchronous") == 2
        assert rows.value("PRAGMA foreign_keys") == 1


def test_all_or_nothing(tmp_path: Path) -> None:
    with Catalog(tmp_path / "c") as catalog:
        with pytest.raises(KeyError), catalog.writing() as rows:
            add_and_fail(rows)
        assert names(catalog) == []
        with catalog.writing() as rows:
            rows.execute(ACCOUNTS.insertion(), ROW)
    with Catalog(tmp_path / "c") as again:
        assert names(again) == ["seeds"]


def test_writers_wait_for_each_other_and_readers_for_nobody(tmp_path: Path) -> None:
    """Read, decide, write: without BEGIN IMMEDIATE, two of these would collide."""
    path = tmp_path / "c"
    Catalog(path).close()

    def add() -> None:
        with Catalog(path) as catalog:
            for _ in range(10):
                with catalog.writing() as rows:
                    count = len(rows.rows(ACCOUNTS.selection))
                    rows.execute(ACCOUNTS.insertion(), {**ROW, "name": f"a{count}"})

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    with Catalog(path) as catalog:
        names(catalog)
        for thread in threads:
            thread.join()
        assert len(names(catalog)) == 30


def test_a_locked_catalog_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    with Catalog(tmp_path / "c") as one, Catalog(tmp_path / "c") as other, one.writing():
        assert names(other) == []
        with pytest.raises(WriteFailed, match="locked"), other.writing():
            pass


def test_another_version_is_refused(tmp_path: Path) -> None:
    Catalog(tmp_path / "c").close()
    with sqlite3.connect(tmp_path / "c") as raw:
        raw.execute("PRAGMA user_version=99")
    with pytest.raises(UnknownVersion):
        Catalog(tmp_path / "c")


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(DataError):
        Catalog(tmp_path / "c")
