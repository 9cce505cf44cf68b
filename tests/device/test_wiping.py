"""Erasing real disks: a full one is erased, and none of what lay on it is left anywhere in its image."""

from pathlib import Path

import pytest

from device.disks import KINDS, SIZES, Disk
from wain.base.progress import Silent
from wain.databox.opened import opened
from wain.databox.wipe import FREE_SPACE, IN_PLACE, wipe

MARK = b"nobody may find this again      "
HOW = {"ext4": IN_PLACE, "xfs": IN_PLACE, "btrfs": FREE_SPACE}


def fill(folder: Path) -> None:
    """Write marked files until nothing more fits."""
    folder.mkdir(parents=True)
    size, number = 8 << 20, 0
    while size >= 4096:
        try:
            (folder / f"blob-{number}").write_bytes(MARK * (size // len(MARK)))
        except OSError:
            size //= 2
        number += 1


def marks(image: Path) -> int:
    found = 0
    with image.open("rb") as file:
        while block := file.read(8 << 20):
            found += block.count(MARK)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_a_full_disk(kind: str, tmp_path: Path) -> None:
    disk = Disk(kind, tmp_path, size=SIZES[kind])
    disk.mount()
    try:
        fill(disk.point / "PageBlob" / "container")
        disk.unmount()
        assert marks(disk.image) > 100_000
        disk.mount()
        with opened(disk.point) as device:
            assert wipe(device, Silent()) == HOW[kind]
        assert list((disk.point / "PageBlob").iterdir()) == []
        disk.unmount()
        assert marks(disk.image) == 0
    finally:
        disk.drop()
