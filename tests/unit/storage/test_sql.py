"""Plain SQL on a file: what a transaction promises, and what is never left behind."""

import sqlite3
import threading
from contextlib import suppress

import pytest

from wain.storage.sql import BATCH_ROWS, Database, Table

PAIRS = Table("pairs", ("name", "number"), 1)
MADE = (
    "PRAGMA journal_mode=TRUNCATE",
    "CREATE TABLE IF NOT EXISTS pairs (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
)


def opened(path, prepare=(), checks=None):
    return Database(path, prepare, checks or {}, 0.1)


def numbers(database):
    with database.transaction("BEGIN") as rows:
        return rows.column("SELECT number FROM pairs ORDER BY number")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.fixture
def database(path):
    database = opened(path, MADE)
    with database.transaction("BEGIN IMMEDIATE") as rows:
        rows.insert_many(PAIRS.insertion(), ({"name": f"n{number}", "number": number} for number in range(3)))
    yield database
    database.close()


def test_rows_have_names_and_can_be_unpacked(database):
    with database.transaction("BEGIN") as rows:
        found = rows.row("SELECT name, number AS many FROM pairs WHERE number = :number", number=2)
        name, many = found
        assert (found.name, found.many) == (name, many) == ("n2", 2)
        assert rows.row("SELECT * FROM pairs WHERE number = 9") is None
        assert rows.value("SELECT name FROM pairs WHERE number = 9") is None


def test_what_fails_is_undone_and_the_next_one_begins_clean(database):
    with suppress(KeyError), database.transaction("BEGIN IMMEDIATE") as rows:
        assert rows.change("DELETE FROM pairs") == 3
        raise KeyError
    assert numbers(database) == [0, 1, 2]
    with database.transaction("BEGIN IMMEDIATE") as rows:
        assert rows.change("DELETE FROM pairs WHERE number > :least", least=0) == 2
    assert numbers(database) == [0]


def test_what_was_only_tried_is_undone(database):
    with database.transaction("BEGIN IMMEDIATE") as rows:
        rows.change("DELETE FROM pairs")
        rows.rollback()
    assert numbers(database) == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1, BATCH_ROWS, BATCH_ROWS + 1])
def test_every_row_of_every_batch_arrives(database, count):
    with database.transaction("BEGIN IMMEDIATE") as rows:
        more = ({"name": f"m{number}", "number": number} for number in range(count))
        rows.insert_many(PAIRS.insertion("ON CONFLICT DO NOTHING"), more)
    assert len(numbers(database)) == 3 + count


def test_a_writer_is_alone_and_a_reader_beside_it_sees_what_was(database):
    with database.transaction("BEGIN IMMEDIATE") as rows:
        rows.change("DELETE FROM pairs")
        assert numbers(database) == [0, 1, 2], "within the other transaction, as its own"
        with pytest.raises(sqlite3.OperationalError, match="locked"), database.transaction("BEGIN IMMEDIATE"):
            pass
    assert numbers(database) == []


@pytest.mark.parametrize("fails", [False, True])
def test_no_lock_is_left_behind_a_transaction(database, path, fails):
    kept = []
    with suppress(KeyError), database.transaction("BEGIN") as rows:
        kept.append(rows.rows("SELECT * FROM pairs"))
        kept.append(rows.row("SELECT * FROM pairs"))
        if fails:
            raise KeyError
    other = opened(path)
    with other.transaction("BEGIN IMMEDIATE") as rows:
        assert rows.change("DELETE FROM pairs") == 3
    other.close()


def test_all_that_is_read_is_checked_by_its_column(path, database):
    seen = []

    def check(value):
        seen.append(value)
        if value == 1:
            raise ValueError

    strict = opened(path, checks={"number": check})
    with pytest.raises(ValueError), strict.transaction("BEGIN") as rows:  # noqa: PT011 - the test's own
        rows.rows("SELECT name, number FROM pairs ORDER BY number")
    strict.close()
    assert seen == [0, 1]


def test_a_column_renamed_to_other_letter_case_is_the_same_and_is_checked(path, database):
    """To SQLite it is, so no SELECT of ours fails on it: one flipped bit in the schema is enough."""
    database.close()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"number INTEGER", b"nuMber INTEGER"))
    seen = []
    other = opened(path, checks={"number": seen.append})
    with other.transaction("BEGIN") as rows:
        assert [row.number for row in rows.rows(f"{PAIRS.selection} ORDER BY number")] == [0, 1, 2]
    other.close()
    assert seen == [0, 1, 2]


def test_connections_are_used_again_by_any_thread(database):
    assert len(database._idle) == 1
    threads = [threading.Thread(target=numbers, args=[database]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(database._idle) <= 8


def test_a_connection_that_is_lent_is_closed_when_it_comes_back(database):
    with database.transaction("BEGIN") as rows:
        database.close()
        assert rows.value("SELECT COUNT(*) FROM pairs") == 3
    with pytest.raises(sqlite3.ProgrammingError):
        rows.execute("SELECT 1")
