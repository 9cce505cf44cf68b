"""Catalogs that an earlier Wain made, kept as SQL with the very words of their tables: this Wain reads them right.

`v1/vault.sql` was made by `damage.test_vault_damage.full` and a collection, `v1/databox.sql` by a device that was
copied with findings and erased, and by an order that was cancelled.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wain.base.errors import Missing
from wain.base.ids import RegistrationId
from wain.databox.orders import OrderRequest
from wain.databox.service import DataBox
from wain.order.custody import Event, check_chain
from wain.order.order import Stage
from wain.storage.memory import MemoryObjects
from wain.vault.catalog import FACT_TABLES, SESSION_TABLES
from wain.vault.columns import CatalogDamaged
from wain.vault.comparing import check_schema
from wain.vault.rows import SeedState
from wain.vault.service import Vault
from wain.wire.vault import PointState

KEPT = Path(__file__).parent / "v1"
TABLES = [table.name for table in (*FACT_TABLES, *SESSION_TABLES)]
RID = RegistrationId(b"\1" * 16)


def remade(name: str, path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as base:
        base.executescript((KEPT / name).read_text())


@pytest.fixture
def vault(tmp_path):
    remade("vault.sql", tmp_path / "vault" / "catalog.sqlite")
    with Vault.open(tmp_path / "vault", objects=MemoryObjects()) as vault:
        yield vault


def test_a_vaults_catalog_tells_what_it_told(vault):
    [server] = vault.registrations()
    assert (server.id, server.name) == (RID, "server-1")
    assert vault.generation(RID) == 1
    points = [(point.seq, point.state, point.packs, point.stored_bytes) for point in vault.points(RID)]
    assert points == [(4, PointState.COMPLETE, 1, 12288), (5, PointState.PROVISIONAL, 2, 24576)]
    assert sorted((seed.state.value, seed.packs, seed.deficits) for seed in vault.seeds(RID)) == [
        ("abandoned", 1, 0), ("in transit", 2, 0), ("in vault", 2, 0), ("partial", 2, 1),
    ]  # fmt: skip
    [countersigned] = [seed for seed in vault.seeds(RID) if seed.countersigned_at is not None]
    assert countersigned.state is SeedState.IN_VAULT


def test_a_vaults_catalog_is_defined_as_ours_and_was_not_made_anew(vault, tmp_path):
    check_schema(vault._site, tmp_path / "vault")
    assert not list((tmp_path / "vault").glob("*.damaged-*"))
    with closing(sqlite3.connect(tmp_path / "vault" / "catalog.sqlite")) as base:
        before = {table: base.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
        base.execute("DROP INDEX gaps_by_lost")
        base.execute("CREATE INDEX gaps_by_lost ON gaps (registration, seq, pack)")
    assert all(before.values())
    with vault._site.catalog.read() as connection:
        for table, rows in before.items():
            assert connection.rows(f"SELECT * FROM {table}") == rows
    with pytest.raises(CatalogDamaged, match="gaps_by_lost"):
        check_schema(vault._site, tmp_path / "vault")


def test_a_data_box_catalog_tells_what_it_told(tmp_path):
    remade("databox.sql", tmp_path / "home" / "catalog.sqlite")
    with DataBox.open(tmp_path / "home") as databox:
        shipped, cancelled = databox.orders()
        assert (shipped.name, shipped.stage) == ("branch-7", Stage.COMPLETED_WITH_ERRORS)
        assert (cancelled.name, cancelled.stage) == ("branch-8", Stage.CANCELLED)
        assert [account.name for account in databox.accounts()] == ["files", "seeds"]
        report = databox.copy_report("branch-7")
        assert (report.blobs, report.size, len(report.findings)) == (5, 2101248, 3)
        assert {category.value: count for category, count in report.counts.items()} == {
            "ContainerRenamed": 1, "UploadErrorCloudHttp": 1, "UploadErrorUnknownType": 1,
        }  # fmt: skip
        chain = databox.custody("branch-7")
        check_chain(chain, frozenset({chain[0].public_key}))
        assert chain[-1].event is Event.ERASED
        with databox._catalog.reading() as rows:
            assert json.loads(rows.value("SELECT record FROM erasures"))["operator"] == "Ada"
        again = OrderRequest("branch-9", "DataBoxDisk", "seeds", "sub-1", "westeurope")
        assert databox.create_order(again).stage is Stage.DEVICE_ORDERED
        with pytest.raises(Missing):
            databox.order("branch-10")
