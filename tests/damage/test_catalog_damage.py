"""The vault's catalog with flipped bits: found and cured by a rebuild, or harmless; it never lies and never crashes.

`WAIN_FLIPS` places (default 60) are drawn with `WAIN_SEED` all over the file, and every byte of SQLite's header.
"""

import os
import random
import sqlite3
import time
from contextlib import closing, suppress

import pytest

from damage.test_vault_damage import full
from unit.vault.ground import Ground, commit
from wain.base.errors import WainError
from wain.base.moment import to_ns
from wain.vault.catalog import FACT_TABLES, SESSION_TABLES, Catalog
from wain.vault.checking import FindingKind

FLIPS = int(os.environ.get("WAIN_FLIPS", "60"))
SEED = int(os.environ.get("WAIN_SEED", str(time.time_ns() % 1_000_000)))
HEADER = 100


@pytest.fixture
def ground(tmp_path):
    ground = Ground(tmp_path / "vault")
    yield ground
    ground.close()


CHANGES = {
    "registrations": "UPDATE registrations SET registered_at = registered_at + 1000",
    "sign key": "UPDATE registrations SET sign_key = zeroblob(32)",
    "packs": "UPDATE packs SET stored_bytes = stored_bytes + 1 WHERE pack = (SELECT max(pack) FROM packs)",
    "packs, one more": "INSERT INTO packs SELECT registration, zeroblob(32), 8192 FROM packs LIMIT 1",
    "points": "UPDATE points SET received_at = received_at - 1000000 WHERE seq = (SELECT max(seq) FROM points)",
    "points, state": "UPDATE points SET state = 'degraded' WHERE state = 'complete'",
    "points, kind": "UPDATE points SET packs = 'x'",
    "gaps": "DELETE FROM gaps",
    "seeds": "UPDATE seeds SET order_name = 'order-2'",
    "transit": "DELETE FROM transit",
    "expired": "UPDATE expired SET point = zeroblob(32)",
    "facts": "DELETE FROM facts WHERE name LIKE 'expired/%'",
    "leases": "UPDATE leases SET pack = zeroblob(32) WHERE pack = (SELECT max(pack) FROM leases)",
    "schema": "DROP INDEX gaps_by_pack",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_row_is_named_and_cured(ground, change):
    vault = full(ground)
    before = ground.facts()
    with closing(sqlite3.connect(ground.root / "catalog.sqlite", isolation_level=None)) as base:
        assert base.execute(CHANGES[change]).rowcount != 0
    findings = vault.verify().findings
    assert findings
    if change != "packs, one more":  # A row alone looks like a lost pack, and is reported as that.
        assert FindingKind.CATALOG in {found.kind for found in findings}, findings
        assert any("wain vault rebuild" in found.where for found in findings)
    vault.rebuild()
    if change != "leases":
        assert ground.facts() == before
    assert vault.verify().findings == ()


def test_the_first_differing_row_and_column_are_named(ground):
    vault, server = ground.enrolled(), ground.server
    point = commit(vault, server, server.packs(2))
    with closing(sqlite3.connect(ground.root / "catalog.sqlite", isolation_level=None)) as base:
        base.execute("UPDATE points SET created_at = 5000")
    [found] = vault.verify().findings
    assert (found.kind, found.what, found.registration) == (FindingKind.CATALOG, "catalog.sqlite", server.rid)
    words = f"created_at is 5000, and {to_ns(point.created_at)} by the objects"
    assert f"table points, row {server.rid.hex()} 1: {words}" in found.where


def answers(vault, rid):
    """What a reader is told, all that a restore goes by. Objects prove themselves."""
    points = vault.points(rid)
    return points, [vault.manifest(rid, point.id) for point in points], vault.seeds(rid), vault.registrations()


def test_flipped_bits_are_found_or_harmless(ground):
    print(f"WAIN_SEED={SEED} WAIN_FLIPS={FLIPS}")
    dice = random.Random(SEED)
    vault = full(ground)
    before, rid = ground.facts(), ground.server.rid
    right = answers(vault, rid)
    vault.close()
    path = ground.root / "catalog.sqlite"
    whole = path.read_bytes()
    places = [(at, dice.randrange(8)) for at in range(HEADER)]
    used = [at for at in range(HEADER, len(whole)) if whole[at]]
    places += [(dice.choice(used), dice.randrange(8)) for _ in range(FLIPS)]
    found = 0
    for at, bit in places:
        told = f"byte {at} bit {bit}"
        for side in ("-wal", "-shm"):
            path.with_name(path.name + side).unlink(missing_ok=True)
        for aside in ground.root.glob("catalog.sqlite.damaged-*"):
            aside.unlink()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        found += flip_is_no_lie(ground, right, before, told)
    print(f"{found} of {len(places)} flips were found, the others harmless")
    assert found > FLIPS // 3


def flip_is_no_lie(ground, right, before, told):
    """Return True when a flip was found. Judge what is told before and after the cure."""
    rid = ground.server.rid
    try:
        vault = ground.vault()
    except WainError as error:
        pytest.fail(f"{told}: the vault does not open: {type(error).__name__} {error}")
    try:
        aside = any(ground.root.glob("catalog.sqlite.damaged-*"))
        report = vault.verify()
        found = bool(report.findings) or any("damaged" in stray.name for stray in report.strays)
        assert found or not aside, told
        if not found:
            assert ground.facts() == before, told
            assert answers(vault, rid) == right, told
        else:
            vault.rebuild()
            assert ground.facts() == before, told
            assert answers(vault, rid) == right, told
            assert vault.verify().findings == (), told
    finally:
        vault.close()
    return found


def test_reading_a_flipped_catalog_ends_in_words(ground):
    """No flip makes a reading verb end in anything but an answer or an error of ours."""
    dice = random.Random(SEED + 1)
    vault = full(ground)
    rid = ground.server.rid
    vault.close()
    path = ground.root / "catalog.sqlite"
    whole = path.read_bytes()
    used = [at for at in range(HEADER, len(whole)) if whole[at]]
    for _ in range(FLIPS):
        at, bit = dice.choice(used), dice.randrange(8)
        for side in ("-wal", "-shm"):
            path.with_name(path.name + side).unlink(missing_ok=True)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        with suppress(WainError), ground.vault() as vault:
            answers(vault, rid)
            vault.presence(rid, [])


def test_every_table_is_a_fact_or_a_session(tmp_path):
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog, catalog.read() as connection:
        made = connection.column("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert sorted(made) == sorted(table.name for table in (*FACT_TABLES, *SESSION_TABLES))
