"""Damage on the road that parity can repair, and damage that it cannot: what the data copy puts into the account.

Packs are small and rows short (4 cells of data, 2 of parity), so that a few MiB have several rows.
"""

import errno
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.making import make_pack, parity_of
from unit.databox.making import ACCOUNT, ORDER, arrive, container, copied, delivered, seal, service
from wain.base.ids import SeedId
from wain.base.progress import Silent
from wain.databox import transfer
from wain.databox.copylog import Category
from wain.databox.datacopy import CopyReport, CopyRows
from wain.databox.service import DataBox
from wain.databox.transfer import crc64
from wain.databox.untrusted import DeviceFile
from wain.device import appender
from wain.device.seal import Seal
from wain.order.order import Stage
from wain.pageblob.parity import Strength
from wain.pageblob.parity_record import Located
from wain.storage.blobs import DirectoryPageBlobs

MIB = 1 << 20
STRENGTH = Strength(4, 2)
PACKS = [make_pack(number, 3 * MIB) for number in range(5)]
REPAIRED, LOST, BOTH = {Category.REPAIRED}, {Category.PARITY_LOST}, {Category.REPAIRED, Category.PARITY_LOST}
DAMAGED = {Category.DAMAGED}


@dataclass
class World:
    """A sealed device that is on its way back, and what was on it."""

    databox: DataBox
    device: Path
    sealed: Seal
    before: dict[str, bytes]

    @property
    def here(self) -> Path:
        return self.device / "PageBlob" / self.sealed.container

    def start(self, pack: int) -> int:
        return self.sealed.packs[pack].placement.offset

    def spoil(self, blob: str, offset: int, length: int, *, zero: bool = False) -> None:
        with open(self.here / blob, "r+b") as file:
            body = os.pread(file.fileno(), length, offset)
            os.pwrite(file.fileno(), bytes(length) if zero else bytes(byte ^ 0xA5 for byte in body), offset)

    def record(self, number: int = 0) -> Located:
        return parity_of(self.here)["parity-00000"][number]

    def account(self) -> dict[str, bytes]:
        blobs = self.databox.account_blobs(ACCOUNT)
        name = self.sealed.container
        return {blob.name: blobs.read(name, blob.name, 0, blob.length) for blob in blobs.blobs(name)}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(appender, "GROUP_PACKS", 4)  # A group of four and one of one.
    device = tmp_path / "disk"
    databox = delivered(tmp_path / "home", device)
    sealed = seal(device, PACKS, parity=STRENGTH)
    arrive(databox)
    return World(databox, device, sealed, {path.name: path.read_bytes() for path in container(device).iterdir()})


def flip(world: World) -> None:
    world.spoil("packs-00000", world.start(1) + 12345, 1)


def two_flips_in_a_row(world: World) -> None:
    leaf_rows = world.record().record.rows
    for cell in leaf_rows[0].cells[:2]:
        world.spoil("packs-00000", world.start(cell.pack) + cell.offset + 7, 1)


def zeroed(world: World) -> None:
    world.spoil("packs-00000", world.start(2) + 500_000, 700_000, zero=True)


def header_page(world: World) -> None:
    world.spoil("packs-00000", world.start(0), 4096, zero=True)


def footer_page(world: World) -> None:
    world.spoil("packs-00000", world.start(1) - 4096, 4096)


def footer_and_leaf(world: World) -> None:
    world.spoil("packs-00000", world.start(1) - 4096 - 1000, 5096)


def burst(world: World) -> None:
    """As many leaves one after the other as all rows together have parity, footer page between them."""
    world.spoil("packs-00000", world.start(1), 6 * MIB, zero=True)


def whole_last_pack(world: World) -> None:
    """The last group has one pack of three leaves: two of them go, and its footer."""
    world.spoil("packs-00000", world.start(4) + MIB, 2 * MIB)


def end_of_blob(world: World) -> None:
    os.truncate(world.here / "packs-00000", world.start(4) + MIB)


def first_header_of_parity(world: World) -> None:
    world.spoil("parity-00000", world.record().start, 4096, zero=True)
    flip(world)


def second_header_of_parity(world: World) -> None:
    world.spoil("parity-00000", world.record().end - 4096, 4096)
    flip(world)


def parity_cell_and_leaf(world: World) -> None:
    (row,) = [
        at
        for at, row in enumerate(world.record().record.rows)
        if any(cell.pack == 1 and cell.offset == 0 for cell in row.cells)
    ]
    lengths = world.record().record.cell_lengths
    world.spoil("parity-00000", world.record().cells_at + sum(lengths[: row * 2]) + 5, 1)
    flip(world)


def parity_alone(world: World) -> None:
    world.spoil("parity-00000", world.record(1).cells_at, 10)


def parity_over_and_over(world: World) -> None:
    """More records than there are packs: each good by itself, and no more than the seal explains."""
    found = world.record(1)
    with open(world.here / "parity-00000", "r+b") as file:
        body = os.pread(file.fileno(), found.end - found.start, found.start)
        os.pwrite(file.fileno(), body * 4, found.end)
    flip(world)


def parity_longer(world: World) -> None:
    with open(world.here / "parity-00000", "ab") as file:
        file.write(b"\1" * 4096)


REPAIRS: dict[Callable[[World], None], set[Category]] = {
    flip: REPAIRED,
    two_flips_in_a_row: REPAIRED,
    zeroed: REPAIRED,
    header_page: REPAIRED,
    footer_page: REPAIRED,
    footer_and_leaf: REPAIRED,
    burst: REPAIRED,
    whole_last_pack: REPAIRED,
    end_of_blob: REPAIRED,
    first_header_of_parity: BOTH,
    second_header_of_parity: BOTH,
    parity_cell_and_leaf: BOTH,
    parity_over_and_over: REPAIRED,
    parity_alone: LOST,
    parity_longer: LOST,
}


def same_packs(world: World) -> bool:
    there = world.account()
    return all(there[name] == body for name, body in world.before.items() if not name.startswith("parity-"))


def check_logs(world: World, report: CopyReport) -> None:
    """What the logs say of the account is so."""
    lines = ET.fromstring(f"<bom>{report.bom.read_text()}</bom>").findall("file")
    want = {(f"\\{world.sealed.container}\\{name}", f"0x{crc64(body):016x}") for name, body in world.account().items()}
    assert {(line.text, line.get("crc64")) for line in lines} == want


@pytest.mark.parametrize("damage", REPAIRS, ids=lambda damage: damage.__name__)
def test_what_is_within_the_strength_arrives_as_it_was_sealed(world: World, damage: Callable[[World], None]) -> None:
    damage(world)
    report = copied(world.databox, world.device)
    assert report.stage is Stage.COMPLETED_WITH_WARNINGS
    assert {finding.category for finding in report.findings} == REPAIRS[damage]
    assert same_packs(world)
    check_logs(world, report)
    for finding in report.findings:
        if finding.category is Category.REPAIRED:
            assert "was damaged and is repaired from parity: " in finding.message
            assert "leaf " in finding.message or "the footer page" in finding.message
    log = ET.fromstring(f"<log>{report.log.read_text()}</log>")
    assert log.findtext("CopyLog/FilesErrored") == "0"
    assert len(log.findall("ErroredEntity")) == len(report.findings)
    assert [each.category for each in world.databox.verify_account(ORDER, Silent()).findings] == [
        Category.DAMAGED for finding in report.findings if finding.category is Category.PARITY_LOST
    ], "what is in the account now is whole, but for parity that came damaged"


@pytest.mark.parametrize("damage", REPAIRS, ids=lambda damage: damage.__name__)
def test_verify_finds_it_and_changes_nothing(world: World, damage: Callable[[World], None]) -> None:
    assert not world.databox.verify_device(world.device, Silent()).findings
    damage(world)
    before = {path.name: path.read_bytes() for path in world.here.iterdir()}
    found = {finding.category for finding in world.databox.verify_device(world.device, Silent()).findings}
    assert found >= {Category.DAMAGED if Category.REPAIRED in REPAIRS[damage] else Category.PARITY_LOST}
    assert {path.name: path.read_bytes() for path in world.here.iterdir()} == before


def three_in_a_row(world: World) -> None:
    for cell in world.record().record.rows[0].cells[:3]:
        world.spoil("packs-00000", world.start(cell.pack) + cell.offset + 7, 1)


def no_parity(world: World) -> None:
    (world.here / "parity-00000").unlink()
    flip(world)


def parity_of_another_seed(world: World) -> None:
    other = SeedId(b"T" * 16)
    sealed = seal(world.device, [make_pack(number, 3 * MIB) for number in range(50, 55)], seed=other, parity=STRENGTH)
    theirs = world.device / "PageBlob" / sealed.container
    shutil.copy(theirs / "parity-00000", world.here / "parity-00000")
    shutil.rmtree(theirs)
    flip(world)


def both_headers_of_parity(world: World) -> None:
    found = world.record()
    world.spoil("parity-00000", found.start, 4096)
    world.spoil("parity-00000", found.end - 4096, 4096)
    flip(world)


def three_footers(world: World) -> None:
    for number in (1, 2, 3):
        world.spoil("packs-00000", world.start(number) - 100, 1)


BEYOND = {
    three_in_a_row: "row 0 of its group lost 3 cells and has 2 whole cells of parity",
    no_parity: "leaf 0",
    parity_of_another_seed: "there is none for it",
    both_headers_of_parity: "there is none for it",
    three_footers: "its footer page is lost",
}


@pytest.mark.parametrize("damage", BEYOND, ids=lambda damage: damage.__name__)
def test_what_is_beyond_it_arrives_as_it_is_and_is_an_error(world: World, damage: Callable[[World], None]) -> None:
    damage(world)
    report = copied(world.databox, world.device)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    said = [finding.message for finding in report.findings if finding.category is Category.DAMAGED]
    assert any(BEYOND[damage] in each for each in said), said
    assert not any(finding.category is Category.REPAIRED for finding in report.findings)
    there = world.account()
    assert there["packs-00000"] == (world.here / "packs-00000").read_bytes()
    check_logs(world, report)


def test_unreadable_sectors_are_erasures_like_any_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = range(world.start(2) + 300_000, world.start(2) + 1_500_000)

    def broken(real: Callable[[DeviceFile, int, int], bytes]) -> Callable[[DeviceFile, int, int], bytes]:
        def read(file: DeviceFile, offset: int, length: int) -> bytes:
            if file._where.endswith("packs-00000") and offset < bad.stop and offset + length > bad.start:
                raise OSError(errno.EIO, "Input/output error")
            return real(file, offset, length)

        return read

    for way in ("_pread", "_large"):
        monkeypatch.setattr(DeviceFile, way, broken(getattr(DeviceFile, way)))
    report = copied(world.databox, world.device)
    assert report.stage is Stage.COMPLETED_WITH_WARNINGS
    (finding,) = report.findings
    assert "leaf 0 (bytes 0 to 1048575), leaf 1 " in finding.message
    assert same_packs(world)


def test_a_device_that_reads_differently_every_time_is_believed_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was hashed is what is written, in the second pass too."""
    flip(world)
    real = DeviceFile.read
    passes = 0

    def lying(file: DeviceFile, offset: int, length: int) -> transfer.Read:
        nonlocal passes
        read = real(file, offset, length)
        if file._where.endswith("packs-00000") and length > MIB and offset == world.start(1):
            passes += 1
            if passes == 2:
                return transfer.Read(bytes(byte ^ 1 for byte in read.body))
        return read

    monkeypatch.setattr(DeviceFile, "read", lying)
    report = copied(world.databox, world.device)
    assert passes == 2
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert "it reads differently every time" in report.findings[0].message
    check_logs(world, report)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("point", range(1, 16))
def test_killed_at_any_step_of_a_repair_and_repeated_it_ends_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    monkeypatch.setattr(transfer, "WINDOW_BYTES", 2 * MIB)
    zeroed(world)
    burst(world)
    steps = 0

    def dies(real):  # type: ignore[no-untyped-def]
        def step(*given):  # type: ignore[no-untyped-def]
            nonlocal steps
            steps += 1
            if steps == point:
                raise Killed
            return real(*given)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryPageBlobs, "flush", dies(DirectoryPageBlobs.flush))
        patch.setattr(CopyRows, "reached", dies(CopyRows.reached))
        with pytest.raises(Killed):
            copied(world.databox, world.device)
    world.databox.close()
    world.databox = service(world.device.parent / "home")
    report = copied(world.databox, world.device)
    assert report.stage is Stage.COMPLETED_WITH_WARNINGS
    assert len(report.findings) == 2
    assert same_packs(world)
    check_logs(world, report)
