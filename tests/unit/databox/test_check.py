"""Status and verification of a device, without keys."""

from pathlib import Path

import pytest

from device.making import make_pack
from unit.databox.making import ORDER, container, delivered, seal
from wain.base.errors import Refused
from wain.base.ids import SeedId
from wain.base.progress import Silent
from wain.databox.check import ContainerState, device_status, verify_device

PACKS = [make_pack(number, 2 << 20) for number in range(2)]


@pytest.fixture
def device(tmp_path: Path) -> Path:
    delivered(tmp_path / "home", tmp_path / "disk").close()
    return tmp_path / "disk"


def test_status(device: Path) -> None:
    sealed = seal(device, PACKS)
    broken = seal(device, PACKS, seed=SeedId(b"B" * 16)).container
    (device / "PageBlob" / broken / "seal").write_bytes(bytes(512))
    unsealed = seal(device, PACKS, seed=SeedId(b"U" * 16)).container
    (device / "PageBlob" / unsealed / "seal").unlink()
    (device / "PageBlob" / "photos").mkdir()
    status = device_status(device)
    assert status.label is not None
    assert status.label.order == ORDER
    states = {one.name: one.state for one in status.containers}
    assert states == {
        sealed.container: ContainerState.SEALED,
        broken: ContainerState.BROKEN,
        unsealed: ContainerState.UNSEALED,
        "photos": ContainerState.FOREIGN,
    }
    (good,) = (one for one in status.containers if one.name == sealed.container)
    assert (good.order, good.packs, good.size) == (ORDER, 2, 4 << 20)


def test_a_whole_device(device: Path) -> None:
    seal(device, PACKS)
    report = verify_device(device, Silent())
    assert report.findings == ()
    assert (report.serial, report.containers, report.blobs) == ("WD-1", 1, 4)


def test_three_ways_to_name_a_device(device: Path, tmp_path: Path) -> None:
    seal(device, PACKS)
    assert device_status(device / "PageBlob").label == device_status(device).label
    (device / "PageBlob").rename(tmp_path / "seeds_PageBlob")
    share = device_status(tmp_path / "seeds_PageBlob")
    assert share.label is None
    assert share.containers[0].state is ContainerState.SEALED
    with pytest.raises(Refused, match="holds no PageBlob"):
        device_status(device)


def test_every_damaged_leaf_is_named(device: Path) -> None:
    sealed = seal(device, PACKS)
    blob = container(device) / "packs-00000"
    body = bytearray(blob.read_bytes())
    body[10] ^= 1
    body[(1 << 20) + 10] ^= 1
    body[sealed.packs[1].placement.offset + 10] ^= 1
    blob.write_bytes(body)
    first, second = verify_device(device, Silent()).findings
    assert PACKS[0].id.hex() in first.message
    assert "leaf 0 " in first.message
    assert "leaf 1 " in first.message
    assert PACKS[1].id.hex() in second.message
