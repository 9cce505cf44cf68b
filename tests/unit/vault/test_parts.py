"""The lock, the key, the catalog's settings and the reading ahead."""

import os
import subprocess
import sys
import threading
import time

import pytest

from unit.vault.ground import commit
from wain.base.errors import Refused, Truncated, WriteFailed
from wain.vault.catalog import Catalog, insert_rows, packs
from wain.vault.key import load_signer
from wain.vault.lock import VaultBusy, WriteLock
from wain.vault.reading import read_ahead

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
    threads = [threading.Thread(target=vault.put_pack, args=(server.rid, p.id, p.stored)) for p in some * 2]
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
    path.write_bytes(b"short")
    with pytest.raises(Truncated):
        load_signer(tmp_path)


def test_the_catalog_keeps_its_promises(tmp_path):
    catalog = Catalog(tmp_path / "catalog.sqlite")
    with catalog.read() as connection:
        say = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
               for name in ("journal_mode", "synchronous", "foreign_keys")}  # fmt: skip
    assert say == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert not catalog.filled
    row = {"registration": b"nobody", "pack": b"p", "stored_bytes": 1}
    with pytest.raises(WriteFailed, match="FOREIGN KEY"), catalog.write() as connection:
        insert_rows(connection, packs, [row])
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
