"""Locked devices, for real: LUKS images and BitLocker volumes, unlocked, refused, partly unlocked, locked again."""

import os
import subprocess
from pathlib import Path

import pytest

from device.locks import OTHER, PASSKEY, SAMPLE_PASSKEY, bitlocker_sample, image, needs_bitlocker, needs_luks
from wain.base.errors import Refused
from wain.device import lock as locks
from wain.device.blank import locked_devices
from wain.device.lock_bitlocker import Dislocker
from wain.device.lock_luks import WrongPasskey
from wain.device.programs import ProgramMissing


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.setattr("wain.device.lock_luks.KEY_MS", 20)
    yield tmp_path / "devices"
    for one in locks.unlocked(tmp_path / "devices"):
        locks.lock(one.source, tmp_path / "devices")


@needs_luks
def test_a_disk_is_locked_and_only_its_passkey_opens_it(tmp_path, at):
    disk = image(tmp_path)
    made = locks.format_locked(disk, PASSKEY, at)
    (made.root / "kept").write_bytes(b"what the lorry carries" * 1000)
    with pytest.raises(Refused, match="unlocked already"):
        locks.unlock_all([disk], PASSKEY, at)
    with open(made.root / "kept", "rb"), pytest.raises(Refused, match="cannot be unmounted"):
        locks.lock(disk, at)
    assert locks.lock(made.root, at) == disk
    assert list(at.iterdir()) == []
    assert b"what the lorry carries" not in disk.read_bytes()
    before = disk.stat().st_mtime_ns
    with pytest.raises(WrongPasskey) as error:
        locks.unlock_all([disk], OTHER, at)
    assert str(error.value) == f"the passkey does not open {disk}"
    assert OTHER not in str(error.value) + error.value.hint
    assert (list(at.iterdir()), disk.stat().st_mtime_ns) == ([], before)
    (again,) = locks.unlock_all([disk], PASSKEY, at)
    assert (again.root / "kept").read_bytes() == b"what the lorry carries" * 1000
    said = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert PASSKEY not in said
    assert all(PASSKEY.encode() not in path.read_bytes() for path in again.root.parent.iterdir() if path.is_file())
    with pytest.raises(Refused, match="not a device that was unlocked here"):
        locks.lock(tmp_path / "other", at)


@needs_luks
def test_a_partly_unlocked_set_names_both_kinds(tmp_path, at):
    good, gone, plain = image(tmp_path), tmp_path / "gone.img", image(tmp_path, "plain.img")
    locks.format_locked(good, PASSKEY, at)
    locks.lock(good, at)
    subprocess.run(["mkfs.ext4", "-q", "-F", plain], check=True)
    with pytest.raises(locks.NoneUnlocked) as none:
        locks.unlock_all([gone, plain], PASSKEY, at)
    assert f"{gone} is not there" in str(none.value)
    assert f"{plain} carries no lock: it holds ext4" in str(none.value)
    with pytest.raises(locks.PartlyUnlocked) as error:
        locks.unlock_all([good, gone, plain], PASSKEY, at)
    assert [one.source for one in error.value.opened] == [good]
    assert [path for path, _ in error.value.failed] == [gone, plain]
    assert str(good) in str(error.value)
    assert os.path.ismount(error.value.opened[0].root)


@needs_luks
def test_only_a_blank_device_is_formatted(tmp_path, at):
    disk = image(tmp_path)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    before = disk.read_bytes()
    for typed in ("", "yes", str(tmp_path)):
        with pytest.raises(Refused, match="not blank: it holds a file system or lock"):
            locks.format_locked(disk, PASSKEY, at, typed)
    with pytest.raises(Refused, match="passkey is not one"):
        locks.format_locked(disk, "tooshort", at, str(disk))
    assert disk.read_bytes() == before
    table = image(tmp_path, "table.img")
    partition = bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    with open(table, "r+b") as file:
        os.pwrite(file.fileno(), partition + bytes(48) + b"\x55\xaa", 446)
    with pytest.raises(Refused, match="a partition table"):
        locks.format_locked(table, PASSKEY, at)
    made = locks.format_locked(disk, PASSKEY, at, str(disk))
    assert os.path.ismount(made.root)


@needs_luks
def test_a_device_in_use_is_never_formatted(tmp_path, at):
    disk = image(tmp_path)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    said = subprocess.run(["losetup", "--find", "--show", disk], check=True, capture_output=True, text=True)
    loop = said.stdout.strip()
    point = tmp_path / "mnt"
    point.mkdir()
    try:
        subprocess.run(["mount", loop, point], check=True)
        with pytest.raises(Refused, match="cannot be formatted"):
            locks.format_locked(loop, PASSKEY, at, loop)
    finally:
        subprocess.run(["umount", point], check=False)
        subprocess.run(["losetup", "--detach", loop], check=True)


@needs_luks
def test_a_locked_block_device_is_found_and_unlocked_by_its_passkey(tmp_path, at):
    disk = image(tmp_path)
    locks.format_locked(disk, PASSKEY, at)
    locks.lock(disk, at)
    said = subprocess.run(["losetup", "--find", "--show", disk], check=True, capture_output=True, text=True)
    loop = said.stdout.strip()
    try:
        assert str(locked_devices().get(Path(loop))) == "LUKS"
        (found,) = locks.unlock_all([loop], PASSKEY, at)
        assert os.path.ismount(found.root)
        locks.lock(loop, at)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


@needs_luks
def test_a_missing_program_is_named_with_its_package(tmp_path, at, monkeypatch):
    disk = image(tmp_path)
    locks.format_locked(disk, PASSKEY, at)
    locks.lock(disk, at)
    real = locks.need

    def without(programs, purpose):
        monkeypatch.setattr("wain.device.programs.find_program", lambda name: None if name == "cryptsetup" else name)
        real(programs, purpose)

    monkeypatch.setattr(locks, "need", without)
    with pytest.raises(ProgramMissing) as error:
        locks.unlock_all([disk], PASSKEY, at)
    assert str(error.value) == "cryptsetup is not installed, and it is needed to unlock LUKS"
    assert error.value.hint == "Install it: apt install cryptsetup-bin"
    assert not at.exists() or list(at.iterdir()) == []


@needs_bitlocker
def test_a_bitlocker_volume_opens_with_its_passkey_only(tmp_path, at):
    disk, slot = bitlocker_sample(tmp_path), tmp_path / "slot"
    slot.mkdir()
    backend = Dislocker()
    with pytest.raises(WrongPasskey):
        backend.open(disk, OTHER, slot)
    plain = backend.open(disk, SAMPLE_PASSKEY, slot)
    try:
        with open(plain, "rb") as file:
            assert file.read(11)[3:] == b"NTFS    "
    finally:
        backend.close(slot)
    # Windows' sample holds a blanked file system: opened, it cannot be mounted, and is closed again.
    with pytest.raises(Refused, match=r"the passkey opens .* cannot be mounted"):
        locks.unlock_all([disk], SAMPLE_PASSKEY, at)
    assert list(at.iterdir()) == []
