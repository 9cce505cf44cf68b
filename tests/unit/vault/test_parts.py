"""The lock, the key, the catalog's settings and the reading ahead."""

import os
import subprocess
import sys
import threading
import time

import pytest

from unit.vault.ground import commit, put_pack
from wain.base.errors import DataError, Refused, WriteFailed
from wain.pack.slices import Slice
from wain.policy.retention import Retention
from wain.vault.catalog import Catalog, packs
from wain.vault.checking import FindingKind
from wain.vault.columns import CatalogDamaged
from wain.vault.key import KeyDamaged, check_key, load_signer
from wain.vault.lock import VaultBusy, WriteLock
from wain.vault.reading import read_ahead
from wain.vault.records import KeptSlots, decode
from wain.vault.strays import StrayKind
from wain.wire.vault import Presence

HOLD = """
import sys, time
from pathlib import Path
from wain.vault.lock import WriteLock
with WriteLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_keeps_the_lock(tmp_path):
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(VaultBusy), WriteLock(path, 0.1):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with WriteLock(path, 0.1):
        pass  # A killed process holds nothing.


def test_the_lock_may_be_entered_again_by_its_thread_alone(tmp_path):
    lock, seen = WriteLock(tmp_path / "lock"), []
    before = len(os.listdir("/proc/self/fd"))

    def other():
        with lock:
            seen.append("other")

    with lock, lock:
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.05)
        assert not seen
    thread.join()
    assert seen == ["other"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_reading_goes_on_while_a_writer_holds_the_lock(ground):
    vault, server = ground.enrolled(), ground.server
    point = commit(vault, server, server.packs(1))
    with WriteLock(ground.root / "lock"):
        assert [one.id for one in vault.points(server.rid)] == [point.id]
        assert vault.manifest(server.rid, point.id)
        assert vault.registrations()


def test_threads_may_put_at_once(ground):
    vault, server = ground.enrolled(), ground.server
    some = server.packs(8)
    threads = [threading.Thread(target=put_pack, args=(vault, server.rid, p.id, p.stored)) for p in some * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert commit(vault, server, some).packs == 8


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    first = load_signer(tmp_path)
    assert load_signer(tmp_path).public == first.public
    path = tmp_path / "key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(Refused, match="other users"):
        load_signer(tmp_path)
    path.chmod(0o600)
    path.unlink()
    assert load_signer(tmp_path).public != first.public, "a lost key is replaced"


def test_every_flipped_bit_of_the_key_is_found_and_nothing_is_signed(tmp_path):
    load_signer(tmp_path)
    path = tmp_path / "key"
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        body = bytearray(whole)
        body[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(body))
        broken = load_signer(tmp_path)
        for use in (lambda: broken.public, lambda: broken.sign(b"d", b"b"), broken.check):  # noqa: B023
            with pytest.raises(KeyDamaged, match="is damaged") as caught:
                use()
            assert "Put back a copy" in caught.value.hint
        with pytest.raises(DataError):
            check_key(tmp_path)
    for body in (b"", b"short", bytes(32), whole + b"x"):
        path.write_bytes(body)
        with pytest.raises(KeyDamaged):
            load_signer(tmp_path).check()


def test_a_vault_with_a_damaged_key_reads_and_signs_nothing(ground):
    vault, server = ground.enrolled(), ground.server
    packs = server.packs(1)
    point = commit(vault, server, packs)
    vault.close()
    path = ground.root / "key"
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + bytes([whole[20] ^ 4]) + whole[21:])
    vault, before = ground.vault(), ground.objects._bodies.copy()
    assert vault.manifest(server.rid, point.id)
    assert vault.read_pack(server.rid, packs[0].id, 0, 10) == packs[0].stored[:10]
    assert vault.presence(server.rid, [packs[0].id]) == [Presence.IN_VAULT]
    assert vault.key_slots(server.rid) == server.slots
    extra = server.pack()
    verbs = (
        lambda: put_pack(vault, server.rid, extra.id, extra.stored),
        lambda: vault.commit_point(server.rid, server.manifest([extra], 2, point.id)),
        lambda: vault.set_retention(server.rid, Retention(7, 0, 0, 0)),
        lambda: vault.scrub(Slice()),
        vault.expire,
        vault.gc,
    )
    for verb in verbs:
        with pytest.raises(KeyDamaged):
            verb()
    assert ground.objects._bodies == before
    [found] = vault.verify().findings
    assert (found.kind, found.what) == (FindingKind.KEY, "key")
    path.write_bytes(whole)
    assert ground.vault().verify().findings == ()
    path.rename(ground.root / "key.damaged")
    fresh = ground.vault()
    commit(fresh, server, [extra], 2, point.id)
    report = fresh.verify()
    assert report.findings == (), "what the old key signed stays good"
    assert [(stray.name, stray.kind) for stray in report.strays] == [("key.damaged", StrayKind.SET_ASIDE)]


def test_damaged_key_slots_are_found_without_a_passphrase_and_may_still_open(ground):
    vault, server = ground.enrolled(), ground.server
    name = f"registrations/{server.rid.hex()}/keys-00000001"
    whole = ground.objects._bodies[name]
    for bit in range(0, len(whole) * 8, 5):
        body = bytearray(whole)
        body[bit // 8] ^= 1 << bit % 8
        ground.objects._bodies[name] = bytes(body)
        [found] = vault.verify().findings if bit % 500 == 0 else [None]
        assert found is None or (found.kind, found.what) == (FindingKind.RECORD, name)
        with pytest.raises(DataError):
            decode(KeptSlots, bytes(body))
    assert body != whole
    assert vault.key_slots(server.rid) == server.slots, "a wrong signature alone takes nothing from the agent"


def test_files_that_are_no_part_of_a_vault_are_named(ground):
    vault, server = ground.enrolled(), ground.server
    commit(vault, server, server.packs(1))
    rid = server.rid.hex()
    assert vault.verify().strays == ()
    (ground.root / "objects" / "set-aside" / "packs").mkdir(parents=True)
    for name in ("notes.txt", "objects/.new-1234", "objects/.hidden", "objects/set-aside/packs/x.0", "catalog.fresh"):
        (ground.root / name).write_bytes(b"x")
    (ground.root / "catalog.sqlite.damaged-0").write_bytes(b"x")
    (ground.root / "lock").write_bytes(b"x")
    (ground.root / "link").symlink_to("key")
    (ground.root / "lost+found").mkdir()
    for name in ("oddity", f"points/{rid}/1", f"points/{'ab' * 16}/00000001", f"packs/{rid}/00/{'ab' * 32}"):
        ground.objects.create(name, b"x")
    report = vault.verify()
    assert {found.kind for found in report.findings} == {FindingKind.UNKNOWN_FILE}
    assert [found.what for found in report.findings] == [
        "link", "lock", "notes.txt", "objects/.hidden", "objects/oddity", f"objects/packs/{rid}/00/{'ab' * 32}",
        f"objects/points/{rid}/1", f"objects/points/{'ab' * 16}/00000001",
    ]  # fmt: skip
    assert {(stray.name, stray.kind.value) for stray in report.strays} == {
        ("catalog.sqlite.damaged-0", "set aside"),
        ("objects/set-aside/packs/x.0", "set aside"),
        ("objects/.new-1234", "temporary"),
    }
    assert not (ground.root / "catalog.fresh").exists(), "the comparison uses that file, and removes it"


def test_the_catalog_keeps_its_promises(tmp_path):
    catalog = Catalog(tmp_path / "catalog.sqlite")
    with catalog.read() as connection:
        say = {name: connection.value(f"PRAGMA {name}")
               for name in ("journal_mode", "synchronous", "foreign_keys")}  # fmt: skip
    assert say == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert not catalog.filled
    row = {"registration": b"nobody", "pack": b"p", "stored_bytes": 1}
    with pytest.raises(CatalogDamaged, match="FOREIGN KEY"), catalog.write() as connection:
        connection.insert_many(packs.insertion(), [row])
    catalog.close()


def test_reading_ahead_keeps_order_and_bounds():
    begun, taken = [], []

    def read(item):
        begun.append(item)
        return item * 10

    for item, value in read_ahead(range(20), read, 2):
        taken.append((item, value))
        assert len(begun) - len(taken) <= 2
    assert taken == [(n, 10 * n) for n in range(20)]


def test_what_reading_raises_comes_out():
    def read(item):
        if item == 3:
            raise WriteFailed("there", "why")
        return item

    seen = []
    with pytest.raises(WriteFailed):
        seen.extend(item for item, _ in read_ahead(range(9), read))
    stream = read_ahead(range(9), read)
    assert [next(stream)[0], next(stream)[0]] == [0, 1]
    stream.close()
