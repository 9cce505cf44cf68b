"""Preparing a device: what it gets, what is refused, and a kill at each step."""

import os
from pathlib import Path

import pytest

from unit.databox.making import ORDER, REQUEST, ordered, service
from wain.base.errors import IllegalMove, Refused
from wain.databox import prepare
from wain.databox.orders import Orders
from wain.databox.service import DataBox
from wain.device.find import check_root
from wain.order.custody import Event
from wain.order.order import Stage
from wain.order.sku import SKUS


@pytest.fixture
def databox(tmp_path: Path) -> DataBox:
    return ordered(tmp_path / "home")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def test_a_prepared_device(databox: DataBox, disk: Path) -> None:
    label = databox.prepare_device(ORDER, disk, "WD-1")
    found = check_root(disk)
    assert found.label == label
    assert (label.serial, label.order, label.sku) == ("WD-1", ORDER, "DataBoxDisk")
    assert 0 < label.capacity_bytes <= SKUS["DataBoxDisk"].limit_bytes
    order = databox.order(ORDER)
    assert order.stage is Stage.DEVICE_PREPARED
    assert order.device == label.device
    assert sorted(os.listdir(disk)) == ["PageBlob", "wain-device.label"]


def test_again_is_a_no_op(databox: DataBox, disk: Path) -> None:
    label = databox.prepare_device(ORDER, disk)
    databox.advance(ORDER, Stage.DISPATCHED)
    (disk / "PageBlob" / "something").mkdir()
    assert databox.prepare_device(ORDER, disk) == label
    assert databox.order(ORDER).stage is Stage.DISPATCHED
    assert [record.event for record in databox.custody(ORDER)] == [Event.PREPARED, Event.HANDED_OVER]


def test_a_second_device_is_refused(databox: DataBox, disk: Path, tmp_path: Path) -> None:
    databox.prepare_device(ORDER, disk)
    (tmp_path / "second").mkdir()
    with pytest.raises(Refused, match="has its device already"):
        databox.prepare_device(ORDER, tmp_path / "second")
    assert not os.listdir(tmp_path / "second")


def test_another_orders_device_is_refused(databox: DataBox, disk: Path) -> None:
    databox.prepare_device(ORDER, disk)
    databox.create_order(REQUEST.__class__("other", "DataBoxDisk", "seeds", "sub-1", "westeurope"))
    with pytest.raises(Refused, match=f"prepared for order {ORDER}"):
        databox.prepare_device("other", disk)
    assert databox.order("other").stage is Stage.DEVICE_ORDERED


@pytest.mark.parametrize("stray", ["holiday.jpg", "PageBlob/container", "PageBlob/file"])
def test_a_device_that_is_not_empty_is_refused(databox: DataBox, disk: Path, stray: str) -> None:
    (disk / stray).parent.mkdir(exist_ok=True)
    (disk / stray).write_bytes(b"precious")
    with pytest.raises(Refused, match="not empty"):
        databox.prepare_device(ORDER, disk)
    assert (disk / stray).read_bytes() == b"precious"
    assert databox.order(ORDER).stage is Stage.DEVICE_ORDERED
    assert not (disk / "wain-device.label").exists()


def test_what_a_fresh_file_system_holds_is_no_obstacle(databox: DataBox, disk: Path) -> None:
    (disk / "lost+found").mkdir()
    (disk / "System Volume Information").mkdir()
    databox.prepare_device(ORDER, disk)
    assert (disk / "lost+found").is_dir()


def test_a_damaged_label_is_refused(databox: DataBox, disk: Path) -> None:
    (disk / "wain-device.label").write_bytes(b"?" * 512)
    with pytest.raises(Refused, match="cannot be read"):
        databox.prepare_device(ORDER, disk)


def test_nowhere(databox: DataBox, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not a device"):
        databox.prepare_device(ORDER, tmp_path / "nowhere")
    with pytest.raises(Refused, match="serial"):
        databox.prepare_device(ORDER, tmp_path, "a/b")


def test_a_cancelled_order_gets_no_device(databox: DataBox, disk: Path) -> None:
    databox.cancel(ORDER, "not needed")
    with pytest.raises(IllegalMove):
        databox.prepare_device(ORDER, disk)
    assert not os.listdir(disk)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["_reserve", "_write", "write_atomic_at", "move"])
def test_killed_and_repeated(
    databox: DataBox, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    place = Orders if step == "move" else prepare
    real = getattr(place, step)

    def dies(*given):  # type: ignore[no-untyped-def]
        if when == "after":
            real(*given)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, step, dies)
        with pytest.raises(Killed):
            databox.prepare_device(ORDER, disk)
    databox.close()
    again = service(tmp_path / "home")
    label = again.prepare_device(ORDER, disk)
    assert check_root(disk).label == label
    assert again.order(ORDER).device == label.device
    assert [record.event for record in again.custody(ORDER)] == [Event.PREPARED]


def test_killed_and_repeated_on_another_disk_makes_another_device(
    databox: DataBox, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Orders, "move", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            databox.prepare_device(ORDER, disk)
    abandoned = check_root(disk).label
    (tmp_path / "second").mkdir()
    label = databox.prepare_device(ORDER, tmp_path / "second")
    assert abandoned is not None
    assert label.device != abandoned.device
    assert databox.order(ORDER).device == label.device
