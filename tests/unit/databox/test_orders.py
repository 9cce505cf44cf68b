"""Accounts and orders: rules, repeats, and a history that the custody chain agrees with."""

from dataclasses import replace
from pathlib import Path

import pytest

from unit.databox.making import ACCOUNT, ORDER, REQUEST, Clock, delivered, ordered, service
from wain.base.errors import Corrupt, IllegalMove, Missing, Refused
from wain.databox.service import DataBox
from wain.order.custody import Event
from wain.order.order import MOVES, AccountKind, Stage
from wain.wire.databox import DataBoxApi


@pytest.fixture
def databox(tmp_path: Path) -> DataBox:
    return ordered(tmp_path / "home")


def test_it_is_what_agents_expect(databox: DataBox) -> None:
    api: DataBoxApi = databox
    assert [order.name for order in api.orders()] == [ORDER]
    assert api.order(ORDER).stage is Stage.DEVICE_ORDERED
    assert api.order(ORDER).device is None


@pytest.mark.parametrize("name", ["ab", "a" * 25, "Seeds", "see-ds", "see ds", "séeds", ""])
def test_bad_account_names(databox: DataBox, name: str) -> None:
    with pytest.raises(Refused, match="name of a storage account"):
        databox.create_account(name, AccountKind.STORAGE_V2, "x")


def test_the_same_account_again(databox: DataBox) -> None:
    again = databox.create_account(ACCOUNT, AccountKind.STORAGE_V2, "westeurope")
    assert databox.accounts() == [again]
    for kind, region in ((AccountKind.STORAGE, "westeurope"), (AccountKind.STORAGE_V2, "northeurope")):
        with pytest.raises(Refused, match="already"):
            databox.create_account(ACCOUNT, kind, region)


def test_an_order_for_an_account_without_page_blobs(databox: DataBox) -> None:
    databox.create_account("blobs", AccountKind.BLOB_STORAGE, "westeurope")
    with pytest.raises(Refused, match="no page blobs"):
        databox.create_order(replace(REQUEST, name="other", account="blobs"))
    with pytest.raises(Refused, match="no page blobs"):
        databox.account_blobs("blobs")
    assert len(databox.orders()) == 1


def test_the_same_order_again(databox: DataBox) -> None:
    assert databox.create_order(REQUEST) == databox.order(ORDER)
    databox.cancel(ORDER, "not needed")
    assert databox.create_order(REQUEST).stage is Stage.CANCELLED


@pytest.mark.parametrize(
    "change", [{"sku": "DataBox"}, {"account": "other"}, {"subscription": "sub-2"}, {"region": "x"}]
)
def test_another_order_of_that_name(databox: DataBox, change: dict[str, str]) -> None:
    databox.create_account("other", AccountKind.STORAGE_V2, "westeurope")
    with pytest.raises(Refused, match="already"):
        databox.create_order(replace(REQUEST, **change))


@pytest.mark.parametrize(
    "change", [{"sku": "DataBoxHuge"}, {"account": "nobody"}, {"subscription": ""}, {"name": "-x-"}, {"name": "ab"}]
)
def test_bad_orders(databox: DataBox, change: dict[str, str]) -> None:
    with pytest.raises(Refused):
        databox.create_order(replace(REQUEST, **change))
    assert len(databox.orders()) == 1


def test_unknown_names(databox: DataBox) -> None:
    for ask in (databox.order, databox.copied, databox.custody):
        with pytest.raises(Missing, match="nobody"):
            ask("nobody")
    with pytest.raises(Missing):
        databox.account("nobody")


def test_advance_only_by_the_table(databox: DataBox) -> None:
    for stage in Stage:
        if stage not in MOVES[Stage.DEVICE_ORDERED] and stage is not Stage.DEVICE_ORDERED:
            with pytest.raises(IllegalMove):
                databox.advance(ORDER, stage)
    assert databox.advance(ORDER, Stage.DEVICE_ORDERED).stage is Stage.DEVICE_ORDERED
    for stage in (Stage.DEVICE_PREPARED, Stage.CANCELLED):
        with pytest.raises(Refused, match="by being told so"):
            databox.advance(ORDER, stage)


def test_nobody_declares_a_copy_finished(tmp_path: Path) -> None:
    databox = delivered(tmp_path / "home", tmp_path / "disk")
    databox.advance(ORDER, Stage.PICKED_UP)
    databox.advance(ORDER, Stage.AT_AZURE_DC)
    with pytest.raises(Refused, match="DataCopy"):
        databox.advance(ORDER, Stage.DATA_COPY)


def test_cancel(databox: DataBox, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="reason"):
        databox.cancel(ORDER, " ")
    assert databox.cancel(ORDER, "not needed").stage is Stage.CANCELLED
    assert databox.cancel(ORDER, "again") == databox.order(ORDER)
    late = delivered(tmp_path / "home-2", tmp_path / "disk")
    with pytest.raises(IllegalMove):
        late.cancel(ORDER, "too late")


def test_history_never_goes_back_even_if_the_clock_does(tmp_path: Path) -> None:
    databox = delivered(tmp_path / "home", tmp_path / "disk")
    databox.close()
    early = DataBox(tmp_path / "home", Clock())
    moments = [moment.at for moment in early.advance(ORDER, Stage.PICKED_UP).history]
    assert moments == sorted(moments)
    assert early.advance(ORDER, Stage.PICKED_UP).history[-1].at == moments[-1]


def test_everything_survives_a_new_process(tmp_path: Path) -> None:
    databox = delivered(tmp_path / "home", tmp_path / "disk")
    before = databox.order(ORDER), databox.custody(ORDER), databox.public_key
    databox.close()
    again = service(tmp_path / "home")
    assert (again.order(ORDER), again.custody(ORDER), again.public_key) == before


def test_custody_tells_the_journey(tmp_path: Path) -> None:
    databox = delivered(tmp_path / "home", tmp_path / "disk")
    databox.advance(ORDER, Stage.PICKED_UP)
    databox.advance(ORDER, Stage.AT_AZURE_DC)
    events = [record.event for record in databox.custody(ORDER)]
    assert events == [Event.PREPARED, Event.HANDED_OVER, Event.HANDED_OVER, Event.PICKED_UP, Event.RECEIVED]
    databox.check_custody(ORDER)
    assert databox.custody(ORDER)[0].device == databox.order(ORDER).device


@pytest.mark.parametrize("damage", ["removed", "changed", "foreign"])
def test_a_tampered_chain_is_found(tmp_path: Path, damage: str) -> None:
    databox = delivered(tmp_path / "home", tmp_path / "disk")
    with databox._catalog.writing() as rows:
        if damage == "removed":
            rows.change("DELETE FROM custody WHERE seq = 2")
        elif damage == "changed":
            body = rows.value("SELECT record FROM custody WHERE seq = 2")
            other = body[:-1] + bytes([body[-1] ^ 1])
            rows.change("UPDATE custody SET record = :record WHERE seq = 2", record=other)
    if damage == "foreign":
        databox.close()
        (tmp_path / "home" / "keys" / "service.key").write_bytes(b"k" * 32)
        databox = service(tmp_path / "home")
    with pytest.raises(Corrupt, match="record"):
        databox.check_custody(ORDER)


def test_the_key_is_private(tmp_path: Path) -> None:
    service(tmp_path / "home")
    key = tmp_path / "home" / "keys" / "service.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_bytes(b"short")
    with pytest.raises(Corrupt, match=r"service\.key"):
        service(tmp_path / "home")
