"""Erasing and cleaning: never without proof, always with a record, and finished after a kill."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

from device.making import make_pack
from unit.databox.making import (
    ACCOUNT,
    ORDER,
    Clock,
    arrive,
    container,
    copied,
    delivered,
    ordered,
    proof,
    seal,
    service,
)
from wain.base.errors import Corrupt, Refused, WriteFailed
from wain.base.ids import SeedId
from wain.base.progress import Silent
from wain.databox import erase, wipe
from wain.databox.erase import EraseRequest, Erasure, ImportProof
from wain.databox.orders import Orders
from wain.databox.service import DataBox
from wain.device.seal import Seal
from wain.keys.secret import Secret
from wain.order.custody import Event
from wain.order.order import Stage

PACKS = [make_pack(number, 1 << 20) for number in range(2)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.fixture
def databox(home: Path, device: Path) -> DataBox:
    return delivered(home, device)


@pytest.fixture
def sealed(databox: DataBox, device: Path) -> Seal:
    """A device whose data copy is finished."""
    found = seal(device, PACKS)
    arrive(databox)
    copied(databox, device)
    return found


def erased(databox: DataBox, device: Path, *proofs: tuple[bytes, ImportProof], **more: object) -> Erasure:
    request = EraseRequest(device, dict(proofs), **more)  # type: ignore[arg-type]
    return databox.erase_device(ORDER, request, Silent())


def test_with_proof(databox: DataBox, device: Path, sealed: Seal) -> None:
    done = erased(databox, device, proof(sealed), operator="Ada")
    assert os.listdir(device) == []
    record = json.loads(done.file.read_text())
    assert record == done.record
    assert record["standard"].startswith("NIST SP 800-88")
    assert (record["sanitization"], record["serial"], record["operator"]) == ("Clear", "WD-1", "Ada")
    assert record["files"] == 4
    assert [one["container"] for one in record["seals"]] == [sealed.container]
    chain = databox.custody(ORDER)
    assert [one.event for one in chain[-2:]] == [Event.CONFIRMED, Event.ERASED]
    assert chain[-1].detail_hash == blake3(done.file.read_bytes()).digest()
    databox.check_custody(ORDER)


def test_files_are_overwritten_before_they_go(databox: DataBox, device: Path, sealed: Seal) -> None:
    watched = {path: os.open(path, os.O_RDONLY) for path in container(device).iterdir()}
    sizes = {path: path.stat().st_size for path in watched}
    erased(databox, device, proof(sealed))
    for path, fd in watched.items():
        assert os.pread(fd, sizes[path] + 1, 0) == bytes(sizes[path])
        os.close(fd)


def test_again_returns_the_record(databox: DataBox, device: Path, sealed: Seal, tmp_path: Path) -> None:
    done = erased(databox, device, proof(sealed))
    done.file.unlink()
    assert erased(databox, tmp_path / "nowhere") == done
    assert done.file.exists()
    assert [record.event for record in databox.custody(ORDER)].count(Event.ERASED) == 1


def test_without_proof(databox: DataBox, device: Path, sealed: Seal) -> None:
    before = {path: path.read_bytes() for path in container(device).iterdir()}
    with pytest.raises(Refused, match="no countersigned receipt"):
        erased(databox, device)
    with pytest.raises(Refused, match="no countersigned receipt"):
        erased(databox, device, given_up=frozenset({sealed.container}))
    with pytest.raises(Refused, match="no countersigned receipt"):
        databox.clean_account(ORDER, {})
    assert {path: path.read_bytes() for path in container(device).iterdir()} == before
    assert databox.account_blobs(ACCOUNT).containers() == [sealed.container]


def wrong_proofs(sealed: Seal) -> dict[str, tuple[bytes, ImportProof]]:
    hashed, good = proof(sealed)
    return {
        "vault": (hashed, replace(good, signature=bytes(64))),
        "agent": (hashed, replace(good, countersignature=bytes(64))),
        "another agent": proof(sealed, agent=Secret(b"x" * 32)),
        "the vault as agent": (hashed, replace(good, countersignature=good.signature)),
        "seed": (hashed, proof(sealed, seed=SeedId(b"x" * 16))[1]),
        "seal": (hashed, proof(sealed, seal_hash=b"x" * 32)[1]),
        "registration": (hashed, proof(sealed, registration=b"x" * 16)[1]),
    }


@pytest.mark.parametrize(
    "wrong", ["vault", "agent", "another agent", "the vault as agent", "seed", "seal", "registration"]
)
def test_with_a_wrong_proof(databox: DataBox, device: Path, sealed: Seal, wrong: str) -> None:
    hashed, bad = wrong_proofs(sealed)[wrong]
    with pytest.raises((Refused, Corrupt)):
        erased(databox, device, (hashed, bad))
    with pytest.raises((Refused, Corrupt)):
        databox.clean_account(ORDER, {hashed: bad})
    assert container(device).is_dir()
    assert databox.account_blobs(ACCOUNT).containers() == [sealed.container]


def test_every_seed_needs_its_proof(databox: DataBox, device: Path) -> None:
    first, second = seal(device, PACKS[:1]), seal(device, PACKS[1:], seed=SeedId(b"T" * 16))
    arrive(databox)
    copied(databox, device)
    with pytest.raises(Refused, match=second.container):
        erased(databox, device, proof(first))
    erased(databox, device, proof(first), proof(second))


def test_a_seed_that_vanished_from_the_device_still_needs_its_proof(
    databox: DataBox, device: Path, sealed: Seal
) -> None:
    for path in container(device).iterdir():
        path.unlink()
    container(device).rmdir()
    with pytest.raises(Refused, match="no countersigned receipt"):
        erased(databox, device)
    erased(databox, device, proof(sealed))


def test_a_broken_seal_must_be_given_up_by_name(databox: DataBox, device: Path) -> None:
    found = seal(device, PACKS)
    stored = container(device) / "seal"
    stored.write_bytes(stored.read_bytes()[:-512] + bytes(512))
    arrive(databox)
    copied(databox, device)
    with pytest.raises(Refused, match="its seal cannot be read"):
        erased(databox, device)
    done = erased(databox, device, given_up=frozenset({found.container}))
    assert [one["container"] for one in done.record["given_up"]] == [found.container]


@pytest.mark.parametrize("stage", [None, Stage.PICKED_UP])
def test_not_while_the_order_runs(databox: DataBox, device: Path, stage: Stage | None) -> None:
    found = seal(device, PACKS)
    if stage is not None:
        databox.advance(ORDER, stage)
    with pytest.raises(Refused, match="over"):
        erased(databox, device, proof(found))


def test_an_aborted_order(databox: DataBox, device: Path) -> None:
    found = seal(device, PACKS)
    databox.advance(ORDER, Stage.ABORTED)
    with pytest.raises(Refused, match="no countersigned receipt"):
        erased(databox, device)
    erased(databox, device, given_up=frozenset({found.container}))
    assert os.listdir(device) == []


def test_cancelled_before_anything_was_sealed(home: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is cancelled when its device is labelled and not yet declared prepared."""
    databox = ordered(home)
    device.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Orders, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            databox.prepare_device(ORDER, device)
    databox.cancel(ORDER, "not needed")
    erased(databox, device)
    assert os.listdir(device) == []


def test_another_device_is_not_erased(databox: DataBox, device: Path, sealed: Seal, tmp_path: Path) -> None:
    other = tmp_path / "other"
    delivered(tmp_path / "home-2", other).close()
    with pytest.raises(Refused, match="another order's device"):
        erased(databox, other, proof(sealed))
    assert (other / "wain-device.label").exists()


def test_links_are_removed_and_never_followed(databox: DataBox, device: Path, sealed: Seal, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"precious")
    os.symlink(precious, device / "PageBlob" / "link")
    os.symlink(precious / "file", container(device) / "link")
    os.link(precious / "file", container(device) / "hard")
    erased(databox, device, proof(sealed))
    assert (precious / "file").read_bytes() == b"precious"
    assert os.listdir(device) == []


@pytest.mark.parametrize("files", range(4))
def test_killed_and_repeated(
    home: Path, databox: DataBox, device: Path, sealed: Seal, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    real, left = wipe._remove, files

    def dies(*given):  # type: ignore[no-untyped-def]
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(wipe, "_remove", dies)
        with pytest.raises(KeyboardInterrupt):
            erased(databox, device, proof(sealed))
    databox.close()
    again = DataBox(home, Clock())
    assert erased(again, device).record["files"] == 4
    assert os.listdir(device) == []


@pytest.mark.parametrize("step", ["_finish", "_tidy", "_written"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_near_the_end_and_repeated(
    home: Path, databox: DataBox, device: Path, sealed: Seal, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    real = getattr(erase, step)

    def dies(*given):  # type: ignore[no-untyped-def]
        if when == "after":
            real(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erase, step, dies)
        with pytest.raises(KeyboardInterrupt):
            erased(databox, device, proof(sealed))
    databox.close()
    again = service(home)
    done = erased(again, device)
    assert done.file.exists()
    assert os.listdir(device) == []
    events = [record.event for record in again.custody(ORDER)]
    assert events.count(Event.ERASED) == events.count(Event.CONFIRMED) == 1


def test_an_empty_mount_point_does_not_pass_for_the_device(
    databox: DataBox, device: Path, sealed: Seal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(erase, "wipe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            erased(databox, device, proof(sealed))
    (tmp_path / "mount" / "PageBlob").mkdir(parents=True)
    for nothing in (tmp_path / "mount", tmp_path / "mount" / "PageBlob"):
        with pytest.raises(Refused, match="not the one whose erasure began"):
            erased(databox, nothing)


def test_a_device_that_does_not_read_back_as_zeros(
    databox: DataBox, device: Path, sealed: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(wipe, "write_all", lambda *_: None)
        with pytest.raises(WriteFailed, match="do not read back as zeros"):
            erased(databox, device, proof(sealed))
    erased(databox, device)


def test_s85_d8_clean_account(databox: DataBox, device: Path, sealed: Seal) -> None:
    others = databox.account_blobs(ACCOUNT)
    others.create("others", "a.vhd", 512)
    hashed, good = proof(sealed)
    assert databox.clean_account(ORDER, {hashed: good}) == [sealed.container]
    assert databox.account_blobs(ACCOUNT).containers() == ["others"]
    assert databox.clean_account(ORDER, {}) == []
