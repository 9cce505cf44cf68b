"""The data copy of a whole device: what arrives, what is reported, and what a repeated or killed copy does."""

import os
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from device.making import make_pack
from unit.databox.making import (
    ACCOUNT,
    MANIFEST,
    ORDER,
    SEED,
    arrive,
    container,
    copied,
    delivered,
    ordered,
    reseal,
    seal,
    service,
)
from wain.base.errors import DeviceLost, OutOfSpace, Refused
from wain.base.ids import SeedId
from wain.base.progress import Silent
from wain.databox import datacopy, transfer
from wain.databox.copylog import Category
from wain.databox.transfer import crc64
from wain.databox.untrusted import DeviceFile, Read
from wain.order.custody import Event
from wain.order.order import Stage
from wain.pageblob.paged import encode_paged
from wain.storage.blobs import DirectoryPageBlobs

PACKS = [make_pack(number, 1 << 20) for number in range(5)]


def account_bytes(home: Path, name: str) -> dict[str, bytes]:
    blobs = DirectoryPageBlobs(home / "accounts" / ACCOUNT)
    return {blob.name: blobs.read(name, blob.name, 0, blob.length) for blob in blobs.blobs(name)}


def device_bytes(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def fragments(log: Path) -> ET.Element:
    return ET.fromstring(f"<log>{log.read_text()}</log>")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "disk"


def test_everything_arrives_byte_for_byte(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    sealed = seal(device, PACKS)
    arrive(databox)
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED
    assert databox.order(ORDER).stage is Stage.COMPLETED
    assert not report.findings
    assert account_bytes(home, sealed.container) == device_bytes(container(device))
    assert [(one.name, one.copied_to) for one in databox.copied(ORDER)] == [(sealed.container, sealed.container)]


def test_the_logs_say_what_arrived(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    sealed = seal(device, PACKS)
    arrive(databox)
    report = copied(databox, device)
    assert report.log.name.startswith(f"{ORDER}_WD-1_CopyLog_")
    summary = fragments(report.log).find("CopyLog")
    assert summary is not None
    assert summary.findtext("Status") == "Succeeded"
    assert summary.findtext("TotalFiles_Blobs") == "4"
    assert summary.findtext("FilesErrored") == "0"
    lines = ET.fromstring(f"<bom>{report.bom.read_text()}</bom>").findall("file")
    there = account_bytes(home, sealed.container)
    want = {(f"\\{sealed.container}\\{name}", str(len(body)), f"0x{crc64(body):016x}") for name, body in there.items()}
    assert {(line.text, line.get("size"), line.get("crc64")) for line in lines} == want
    (verbose,) = report.log.parent.glob(f"{ORDER}_WD-1_VerboseLog_*.xml")
    decimal = {(f"\\{one.get('Path')}", one.get("Size"), int(one.get("crc64") or "")) for one in fragments(verbose)}
    assert decimal == {(path, size, int(checksum, 16)) for path, size, checksum in want}


def test_crc64_is_azures(tmp_path: Path) -> None:
    assert crc64(b"123456789") == 0xAE8B14860A799888
    body = random.Random(1).randbytes(100_000)
    assert crc64(body[777:], crc64(body[:777])) == crc64(body)


def test_again_returns_the_same_report_without_the_device(home: Path, device: Path, tmp_path: Path) -> None:
    databox = delivered(home, device)
    seal(device, PACKS)
    arrive(databox)
    report = copied(databox, device)
    records = databox.custody(ORDER)
    assert databox.copy_data(ORDER, tmp_path / "nowhere", Silent()) == report
    assert databox.custody(ORDER) == records


@pytest.mark.parametrize("stage", [Stage.DELIVERED, Stage.PICKED_UP])
def test_not_before_it_was_received(home: Path, device: Path, stage: Stage) -> None:
    databox = delivered(home, device)
    databox.advance(ORDER, stage)
    with pytest.raises(Refused, match=stage.value):
        copied(databox, device)


def test_another_orders_device_is_refused(home: Path, device: Path, tmp_path: Path) -> None:
    databox = delivered(home, device)
    arrive(databox)
    other = tmp_path / "other"
    elsewhere = delivered(tmp_path / "elsewhere", other)
    elsewhere.close()
    with pytest.raises(Refused, match="not of order"):
        copied(databox, other)
    assert databox.order(ORDER).stage is Stage.AT_AZURE_DC


def test_an_unsealed_container_is_left_and_reported(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    seal(device, PACKS)
    (container(device) / "seal").unlink()
    arrive(databox)
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert "not sealed" in report.findings[0].message
    assert not databox.copied(ORDER)
    assert not databox.account_blobs(ACCOUNT).containers()


def test_a_damaged_pack_arrives_as_it_is_and_is_named(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    packs = [make_pack(number, 3 << 20) for number in range(3)]
    sealed = seal(device, packs)
    blob = container(device) / "packs-00000"
    body = bytearray(blob.read_bytes())
    body[sealed.packs[1].placement.offset + (1 << 20) + 5] ^= 1
    blob.write_bytes(body)
    arrive(databox)
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    (finding,) = report.findings
    assert finding.category is Category.DAMAGED
    assert packs[1].id.hex() in finding.message
    assert "leaf 1 " in finding.message
    assert account_bytes(home, sealed.container)["packs-00000"] == bytes(body)
    (entry,) = fragments(report.log).findall("ErroredEntity")
    assert entry.get("Path") == f"{sealed.container}\\packs-00000"
    assert entry.findtext("Category") == "UploadErrorDataValidationError"
    assert entry.findtext("Type") == "File"


def test_containers_of_others_come_along_and_bad_names_are_renamed(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    seal(device, PACKS)
    photos = device / "PageBlob" / "My_Photos"
    (photos / "2026").mkdir(parents=True)
    (photos / "2026" / "a.vhd").write_bytes(b"x" * 1024)
    (photos / "bad.").write_bytes(b"y" * 512)
    arrive(databox)
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED_WITH_WARNINGS
    assert {finding.category for finding in report.findings} == {Category.CONTAINER_RENAMED, Category.BLOB_RENAMED}
    renamed = {one.name: one.copied_to for one in databox.copied(ORDER)}["My_Photos"]
    assert renamed.startswith("databox-")
    there = account_bytes(home, renamed)
    assert there.pop("2026/a.vhd") == b"x" * 1024
    ((name, body),) = there.items()
    assert name.startswith("databox-0x")
    assert body == b"y" * 512


def test_a_container_that_is_there_already_is_never_written_to(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    mine = databox.account_blobs(ACCOUNT)
    mine.create("photos", "a.vhd", 512)
    mine.write_pages("photos", "a.vhd", 0, b"m" * 512)
    mine.flush("photos", "a.vhd")
    (device / "PageBlob" / "photos").mkdir()
    (device / "PageBlob" / "photos" / "a.vhd").write_bytes(b"t" * 512)
    arrive(databox)
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED_WITH_WARNINGS
    assert account_bytes(home, "photos")["a.vhd"] == b"m" * 512
    assert account_bytes(home, report.containers[0].copied_to)["a.vhd"] == b"t" * 512


def test_zero_pages_are_not_written(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    (device / "PageBlob" / "sparse").mkdir()
    with open(device / "PageBlob" / "sparse" / "a.vhd", "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"x" * 512)
    arrive(databox)
    copied(databox, device)
    facts = (home / "accounts" / ACCOUNT / "sparse" / "a.vhd").stat()
    assert facts.st_size == 64 << 20
    assert facts.st_blocks * 512 <= 8 << 20


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


@pytest.mark.parametrize("point", range(1, 35))
def test_killed_at_any_step_and_repeated_it_ends_the_same(
    home: Path, device: Path, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    monkeypatch.setattr(transfer, "WINDOW_BYTES", 2 << 20)
    databox = delivered(home, device)
    sealed = seal(device, PACKS)
    blob = container(device) / "packs-00000"
    body = bytearray(blob.read_bytes())
    body[100_000] ^= 1
    blob.write_bytes(body)
    arrive(databox)
    steps = 0

    def dies(real):  # type: ignore[no-untyped-def]
        def step(*given, **named):  # type: ignore[no-untyped-def]
            nonlocal steps
            steps += 1
            if steps == point:
                raise Killed
            result = real(*given, **named)
            steps += 1
            if steps == point:
                raise Killed
            return result

        return step

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryPageBlobs, "create", dies(DirectoryPageBlobs.create))
        patch.setattr(DirectoryPageBlobs, "flush", dies(DirectoryPageBlobs.flush))
        patch.setattr(datacopy, "_write_logs", dies(datacopy._write_logs))
        patch.setattr(datacopy.CopyRows, "reached", dies(datacopy.CopyRows.reached))
        with pytest.raises(Killed):
            copied(databox, device)
    databox.close()
    again = service(home)
    report = copied(again, device)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert len(report.findings) == 1
    assert account_bytes(home, sealed.container) == device_bytes(container(device))
    events = [record.event for record in again.custody(ORDER)]
    assert events.count(Event.COPIED) == 1
    again.check_custody(ORDER)
    assert len(list((home / "logs").glob("*CopyLog*"))) == 1


def test_what_a_killed_copy_wrote_wrongly_does_not_stay(
    home: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that a first try read as junk and wrote, and the second reads as zeros, must be zeros in the account."""
    databox = delivered(home, device)
    (device / "PageBlob" / "disks").mkdir()
    (device / "PageBlob" / "disks" / "a.vhd").write_bytes(bytes(8 << 20))
    arrive(databox)
    real = DeviceFile.read

    def junk(file: DeviceFile, offset: int, length: int) -> Read:
        read = real(file, offset, length)
        return Read(b"j" * length) if length > 4096 else read

    monkeypatch.setattr(DeviceFile, "read", junk)
    monkeypatch.setattr(DirectoryPageBlobs, "flush", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        copied(databox, device)
    monkeypatch.undo()
    databox.close()
    report = copied(service(home), device)
    assert report.stage is Stage.COMPLETED
    assert account_bytes(home, "disks")["a.vhd"] == bytes(8 << 20)


def test_a_full_account_halts_the_copy_and_it_goes_on(
    home: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    databox = delivered(home, device)
    sealed = seal(device, PACKS)
    arrive(databox)

    def full(*_: object) -> None:
        raise OutOfSpace("the account", 4096, 0)

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryPageBlobs, "write_pages", full)
        with pytest.raises(OutOfSpace):
            copied(databox, device)
    assert databox.order(ORDER).stage is Stage.DATA_COPY
    assert copied(databox, device).stage is Stage.COMPLETED
    assert account_bytes(home, sealed.container) == device_bytes(container(device))


def test_a_device_that_goes_away_halts_the_copy(home: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    databox = delivered(home, device)
    seal(device, PACKS)
    arrive(databox)
    left = 6

    def unplugged(real: Callable[..., object]) -> Callable[..., object]:
        def read(*args: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(5, "Input/output error")
            return real(*args)

        return read

    with monkeypatch.context() as patch:
        for name in ("pread", "preadv"):
            patch.setattr(os, name, unplugged(getattr(os, name)))
        with pytest.raises(DeviceLost):
            copied(databox, device)
    assert copied(databox, device).stage is Stage.COMPLETED


def test_s23_d9_two_servers_on_one_device(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    first = seal(device, PACKS[:2])
    second = seal(device, PACKS[2:], seed=SeedId(b"T" * 16))
    arrive(databox)
    report = copied(databox, device)
    assert {one.copied_to for one in report.containers} == {first.container, second.container}
    assert first.seed == SEED


def test_only_one_process_copies_a_device(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    seal(device, PACKS)
    arrive(databox)
    other = service(home)
    with databox._parts.home.exclusive(ORDER), pytest.raises(Refused, match="another process"):
        copied(other, device)


def test_an_empty_device_is_an_error(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    arrive(databox)
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert "holds nothing" in report.findings[0].message


def test_an_unfinished_copy_has_no_report(home: Path) -> None:
    databox = ordered(home)
    assert databox.copied(ORDER) == []
    with pytest.raises(Refused, match="not finished"):
        databox.copy_report(ORDER)


def test_a_seal_for_another_order_on_this_device_is_left(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    reseal(device, seal(device, PACKS), order="other")
    arrive(databox)
    report = copied(databox, device)
    assert "is for order other" in report.findings[0].message
    assert not databox.copied(ORDER)


def test_a_seal_that_changes_during_the_copy_stops_the_container(
    home: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    databox = delivered(home, device)
    sealed = seal(device, PACKS)
    arrive(databox)
    with monkeypatch.context() as patch:
        patch.setattr(DirectoryPageBlobs, "flush", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            copied(databox, device)
    reseal(device, sealed, created_at=sealed.created_at.replace(year=2027))
    report = copied(databox, device)
    assert report.stage is Stage.COMPLETED_WITH_ERRORS
    assert "another one than when the copy began" in report.findings[0].message
    names = [blob.name for blob in databox.account_blobs(ACCOUNT).blobs(sealed.container)]
    assert "seal" not in names


def test_another_manifest_than_the_sealed_one_is_named(home: Path, device: Path) -> None:
    databox = delivered(home, device)
    seal(device, PACKS)
    (container(device) / "manifest").write_bytes(encode_paged(MANIFEST[::-1]))
    arrive(databox)
    report = copied(databox, device)
    assert "it is not the one that was sealed" in report.findings[0].message
