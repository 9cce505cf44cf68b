"""Damage in the storage account after the data copy: what `verify_account` must say, without keys."""

import re
import shutil
from pathlib import Path

import pytest

from damage.test_device_damage import ACTIONS, PACKS
from unit.databox.making import ACCOUNT, ORDER, arrive, copied, delivered, proof, seal, service
from wain.base.errors import Refused
from wain.base.progress import Silent
from wain.databox.account_check import AccountReport
from wain.databox.service import DataBox
from wain.order.order import Stage

SMALL = ("seal", "manifest", "journal")
FOREIGN = "My_Photos"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.fixture
def databox(tmp_path: Path, device: Path) -> DataBox:
    databox = delivered(tmp_path / "home", device)
    seal(device, PACKS)
    photos = device / "PageBlob" / FOREIGN
    photos.mkdir()
    (photos / "a.vhd").write_bytes(b"\0" * 4096 + b"x" * 1024)
    arrive(databox)
    assert copied(databox, device).stage is Stage.COMPLETED_WITH_WARNINGS
    return databox


def account(tmp_path: Path) -> Path:
    return tmp_path / "home" / "accounts" / ACCOUNT


def sealed_in(tmp_path: Path) -> Path:
    return next(account(tmp_path).glob("wain-*"))


def foreign_in(tmp_path: Path) -> Path:
    return next(account(tmp_path).glob("databox-*"))


def said(report: AccountReport) -> str:
    return "\n".join(finding.message for finding in report.findings)


def test_a_whole_account(databox: DataBox) -> None:
    report = databox.verify_account(ORDER, Silent())
    assert not report.findings
    assert (report.account, report.containers, report.blobs) == (ACCOUNT, 2, 5)
    assert report.size > 6 << 20


WORDS = {
    ("seal", "flip"): "the seal of wain-.* is damaged: its hash does not match",
    ("manifest", "flip"): "the manifest is damaged",
    ("journal", "flip"): r"the journal is damaged: record 0 \(START",
    ("packs-00000", "flip"): rf"pack {PACKS[1].id.hex()} is damaged: leaf 1 \(bytes",
    ("a.vhd", "flip"): "its CRC-64 is [0-9a-f]{16}; the data copy put [0-9a-f]{16} there",
    ("packs-00000", "zero"): rf"pack {PACKS[0].id.hex()} is damaged",
    ("a.vhd", "zero"): "its CRC-64 is",
    **{(blob, "halve"): "the data copy put" for blob in (*SMALL, "packs-00000", "a.vhd")},
    **{(blob, "cut odd"): "the data copy put" for blob in (*SMALL, "packs-00000", "a.vhd")},
    **{(blob, "grow"): "the data copy put" for blob in (*SMALL, "packs-00000", "a.vhd")},
    **{(blob, "remove"): "is not in the account any more" for blob in (*SMALL, "packs-00000", "a.vhd")},
}


@pytest.mark.parametrize("action", ["flip", "halve", "cut odd", "zero", "grow", "remove"])
@pytest.mark.parametrize("blob", [*SMALL, "packs-00000", "a.vhd"])
def test_damage(databox: DataBox, tmp_path: Path, blob: str, action: str) -> None:
    where = foreign_in(tmp_path) if blob == "a.vhd" else sealed_in(tmp_path)
    ACTIONS[action](where / blob)
    report = databox.verify_account(ORDER, Silent())
    path = where.name if (blob, action) == ("a.vhd", "remove") else f"{where.name}/{blob}"  # No blob, no container.
    assert any(finding.path == path.encode() for finding in report.findings), report.findings
    assert re.search(WORDS.get((blob, action), "."), said(report)), said(report)
    assert databox.copy_report(ORDER).stage is Stage.COMPLETED_WITH_WARNINGS


def test_every_page_of_every_blob_is_watched(databox: DataBox, tmp_path: Path) -> None:
    for path in [*sealed_in(tmp_path).iterdir(), *foreign_in(tmp_path).iterdir()]:
        size = path.stat().st_size
        for at in {*range(0, size, 512), size - 1} if size < 65536 else (0, 4096, 1 << 20, size - 1):
            body = path.read_bytes()
            path.write_bytes(body[:at] + bytes([body[at] ^ 16]) + body[at + 1 :])
            assert databox.verify_account(ORDER, Silent()).findings, (path.name, at)
            path.write_bytes(body)
    assert not databox.verify_account(ORDER, Silent()).findings


def test_what_the_copy_did_not_put_there_is_named_in_a_sealed_container(databox: DataBox, tmp_path: Path) -> None:
    (sealed_in(tmp_path) / "packs-00007").write_bytes(bytes(512))
    (foreign_in(tmp_path) / "mine.vhd").write_bytes(bytes(512))
    (finding,) = databox.verify_account(ORDER, Silent()).findings
    assert finding.path.endswith(b"/packs-00007")
    assert "the data copy did not put it there" in finding.message


def test_damage_that_came_with_the_device_is_told_from_damage_since(tmp_path: Path, device: Path) -> None:
    databox = delivered(tmp_path / "home", device)
    sealed = seal(device, PACKS)
    ACTIONS["flip"](device / "PageBlob" / sealed.container / "packs-00000")
    arrive(databox)
    copied(databox, device)
    (finding,) = databox.verify_account(ORDER, Silent()).findings
    assert finding.message.endswith("; so it came from the device")
    ACTIONS["flip"](sealed_in(tmp_path) / "journal")
    assert "so it came" not in said(databox.verify_account(ORDER, Silent())).splitlines()[-1]


def test_a_seal_of_somebody_else_is_named(databox: DataBox, tmp_path: Path) -> None:
    """A whole, well signed seal, but not the one that was copied."""
    other = tmp_path / "other"
    elsewhere = delivered(tmp_path / "home-2", other)
    sealed = seal(other, PACKS[:1])
    elsewhere.close()
    shutil.copy(other / "PageBlob" / sealed.container / "seal", sealed_in(tmp_path) / "seal")
    assert "it is not the one that was copied" in said(databox.verify_account(ORDER, Silent()))


def test_a_container_that_went_away_is_named_unless_it_was_cleaned(tmp_path: Path, device: Path) -> None:
    databox = delivered(tmp_path / "home", device)
    sealed = seal(device, PACKS)
    arrive(databox)
    copied(databox, device)
    sealed_in(tmp_path).rename(tmp_path / "kept")
    (finding,) = databox.verify_account(ORDER, Silent()).findings
    assert "is not in the account any more" in finding.message
    (tmp_path / "kept").rename(account(tmp_path) / sealed.container)
    assert databox.clean_account(ORDER, dict([proof(sealed)])) == [sealed.container]
    report = databox.verify_account(ORDER, Silent())
    assert not report.findings
    assert report.cleaned == (sealed.container,)


def test_an_unfinished_copy_is_refused(tmp_path: Path) -> None:
    databox = service(tmp_path / "home")
    delivered(tmp_path / "home", tmp_path / "disk").close()
    with pytest.raises(Refused, match="not finished"):
        databox.verify_account(ORDER, Silent())
