"""Kinds of device that an operator defines: kept, ordered, never changed, and removed only while nothing needs them."""

from dataclasses import replace
from pathlib import Path

import pytest

from unit.databox.making import ACCOUNT, ORDER, REQUEST, ordered, service
from wain.base.errors import Missing, Refused
from wain.base.sizes import TB
from wain.databox.service import DataBox
from wain.order.order import AccountKind
from wain.order.sku import DATA_BOX, DATA_BOX_DISK, Sku

OWN = Sku("Archive-18TB", 18 * TB, 18 * TB, 500)


@pytest.fixture
def databox(tmp_path: Path) -> DataBox:
    return ordered(tmp_path / "home")


def test_an_own_sku_is_kept_and_can_be_ordered(databox: DataBox, tmp_path: Path) -> None:
    assert databox.add_sku(OWN) == databox.add_sku(OWN) == OWN
    databox.close()
    again = service(tmp_path / "home")
    assert again.skus() == [DATA_BOX_DISK, DATA_BOX, OWN]
    assert again.create_order(replace(REQUEST, name="large", sku=OWN.name)).sku == OWN.name


def test_an_unknown_sku_names_the_own_ones(databox: DataBox) -> None:
    databox.add_sku(OWN)
    with pytest.raises(Refused) as refused:
        databox.create_order(replace(REQUEST, name="large", sku="Archive"))
    assert OWN.name in refused.value.hint


@pytest.mark.parametrize("name", ["", "18TB", "a b", "a" * 33, "a/b", "disk\n"])
def test_bad_names(databox: DataBox, name: str) -> None:
    with pytest.raises(Refused, match="name"):
        databox.add_sku(replace(OWN, name=name) if name else Sku(name, 1, 1, 1))


@pytest.mark.parametrize("other", [replace(OWN, limit_bytes=TB, usable_bytes=TB), replace(OWN, name="ARCHIVE-18tb")])
def test_a_name_never_changes_its_meaning(databox: DataBox, other: Sku) -> None:
    databox.add_sku(OWN)
    with pytest.raises(Refused, match="already"):
        databox.add_sku(other)
    assert databox.skus()[-1] == OWN


@pytest.mark.parametrize("name", ["DataBoxDisk", "databox"])
def test_azures_kinds_cannot_be_taken(databox: DataBox, name: str) -> None:
    with pytest.raises(Refused, match="already"):
        databox.add_sku(replace(OWN, name=name))


def test_removing(databox: DataBox) -> None:
    databox.add_sku(OWN)
    databox.create_order(replace(REQUEST, name="large", sku=OWN.name))
    databox.cancel("large", "not needed")
    with pytest.raises(Refused, match="order large is for a device of kind"):
        databox.remove_sku(OWN.name)
    with pytest.raises(Refused, match="of Azure's"):
        databox.remove_sku("DataBox")
    databox.add_sku(replace(OWN, name="unused"))
    databox.remove_sku("unused")
    with pytest.raises(Missing):
        databox.remove_sku("unused")
    assert databox.skus()[-1] == OWN


def test_the_label_promises_what_the_kind_takes(databox: DataBox, tmp_path: Path) -> None:
    small = Sku("Small", 5_000_000, 5_000_000, 10)
    databox.add_sku(small)
    databox.create_order(replace(REQUEST, name="small", sku="Small"))
    (tmp_path / "device").mkdir()
    label = databox.prepare_device("small", tmp_path / "device")
    assert (label.sku, label.capacity_bytes) == ("Small", 5_000_000)
    assert databox.order(ORDER).sku == "DataBoxDisk"
    assert databox.account(ACCOUNT).kind is AccountKind.STORAGE_V2
