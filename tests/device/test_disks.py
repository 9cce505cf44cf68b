"""The device protocol on real file systems: power cuts, a full disk, lying caches, a pulled plug."""

import ctypes
import os
import subprocess

import pytest

from device.disks import KINDS, SIZES, Disk
from device.making import MANIFEST, PARITY, assert_whole, container_of, make_device, make_pack, open_writer, sign_seal
from wain.base.errors import DeviceLost, OutOfSpace, Refused
from wain.base.progress import Silent
from wain.device.readback import ReadBackFailed
from wain.storage.uncached import UncachedFile

PACKS = [make_pack(number, 4096 * (3 + number % 4)) for number in range(9)]
BLOB_LIMIT = 4096 * 20


@pytest.fixture
def disk(request, tmp_path):
    made = Disk(request.param, tmp_path, size=SIZES[request.param])
    made.mount()
    yield made
    made.drop()


on_every_file_system = pytest.mark.parametrize("disk", KINDS, indirect=True)


class Cuts:
    """Keeps a copy of the disk before every sync, with what had been promised by then."""

    def __init__(self, disk, folder, every):
        self.disk, self.folder, self.every = disk, folder, every
        self.seen = 0
        self.taken = []
        self.promised = frozenset()
        self.sealed = False

    def take(self):
        self.seen += 1
        if self.seen % self.every == 0:
            image = self.folder / f"cut-{self.seen}.img"
            self.disk.cut(image)
            self.taken.append((image, self.promised, self.sealed))

    def wrap(self, monkeypatch):
        for name in ("fsync", "fdatasync"):
            real = getattr(os, name)
            monkeypatch.setattr(os, name, lambda fd, real=real: (self.take(), real(fd))[1])


def finish(root):
    with open_writer(root, blob_limit=BLOB_LIMIT, parity=PARITY) as writer:
        for pack in [] if writer.sealed else PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)


@on_every_file_system
def test_power_cut_before_any_sync(disk, tmp_path, monkeypatch):
    root = make_device(disk.point / "dev")
    os.sync()
    cuts = Cuts(disk, tmp_path, every=3 if disk.kind == "ext4" else 7)
    cuts.wrap(monkeypatch)
    with open_writer(root, blob_limit=BLOB_LIMIT, parity=PARITY) as writer:
        for pack in PACKS:
            writer.put(pack)
            cuts.promised = frozenset(made.id for made in writer.written)
        writer.finish(MANIFEST, sign_seal, Silent())
    cuts.sealed = True
    cuts.every = 1
    cuts.take()
    monkeypatch.undo()
    disk.unmount()
    assert len(cuts.taken) > 4
    for image, promised, sealed in cuts.taken:
        os.replace(image, disk.image)
        disk.mount()
        with open_writer(root, blob_limit=BLOB_LIMIT, parity=PARITY) as writer:
            there = {pack.id for pack in writer.written}
            assert promised <= there, f"{image.name}: {len(promised - there)} promised packs are gone"
            assert not sealed or writer.sealed, image.name
        finish(root)
        disk.unmount()


@on_every_file_system
def test_a_full_disk_keeps_what_it_took_and_goes_on_when_there_is_room(disk):
    root = make_device(disk.point / "dev")
    with open(disk.point / "ballast", "wb") as ballast:
        room = os.statvfs(disk.point)
        os.posix_fallocate(ballast.fileno(), 0, room.f_bavail * room.f_frsize - (8 << 20))
    os.sync()
    packs = [make_pack(number, 1 << 20) for number in range(20)]
    with open_writer(root) as writer:
        with pytest.raises(OutOfSpace) as error:
            put_all(writer, packs)
        kept = [pack.id for pack in writer.written]
        assert error.value.need_bytes in (1 << 20, 4 << 20)  # One pack, or the group where a sync was refused.
        assert 0 <= error.value.free_bytes < error.value.need_bytes
    assert kept == [pack.id for pack in packs[: len(kept)]]
    assert len(kept) >= 2
    with open_writer(root) as writer, pytest.raises(OutOfSpace):
        put_all(writer, packs)
    os.unlink(disk.point / "ballast")
    os.sync()
    with open_writer(root) as writer:
        assert [pack.id for pack in writer.written][: len(kept)] == kept
        for pack in packs:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, packs)


@on_every_file_system
def test_a_seed_that_just_fits_is_sealed_from_the_reserve(disk):
    """Once no further pack fits, manifest and seal still do."""
    root = make_device(disk.point / "dev")
    with open(disk.point / "ballast", "wb") as ballast:
        room = os.statvfs(disk.point)
        os.posix_fallocate(ballast.fileno(), 0, room.f_bavail * room.f_frsize - (10 << 20))
    os.sync()
    packs = [make_pack(number, 256 << 10) for number in range(80)]
    with open_writer(root) as writer, pytest.raises(OutOfSpace):
        put_all(writer, packs)
    with open_writer(root) as writer:
        kept = len(writer.written)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert kept
    assert_whole(root, packs[:kept])


def put_all(writer, packs):
    for pack in packs:
        writer.put(pack)


def find_in_image(disk, body):
    with open(disk.image, "rb") as image:
        at = image.read().find(body)
    assert at >= 0
    return at


@on_every_file_system
def test_the_read_back_sees_the_medium_and_not_the_cache(disk):
    root = make_device(disk.point / "dev")
    with open_writer(root) as writer:
        for pack in PACKS:
            writer.put(pack)
        writer.commit()
        os.sync()
        blob = container_of(root) / "packs-00000"
        good = blob.read_bytes()
        with open(disk.image, "r+b") as image:
            os.pwrite(image.fileno(), b"decayed!", find_in_image(disk, PACKS[3].stored[:4096]))
        assert blob.read_bytes() == good, "the cache must still hold the good bytes, or this proves nothing"
        with UncachedFile(blob, "blob") as file:
            assert file.direct
        with pytest.raises(ReadBackFailed) as error:
            writer.finish(MANIFEST, sign_seal, Silent())
        assert [finding.pack for finding in error.value.findings] == [PACKS[3].id]
    assert not (container_of(root) / "seal").exists()


@on_every_file_system
def test_a_pulled_plug(disk):
    """A lazy unmount takes the path away while the writer still holds the disk, as pulling a cable does."""
    root = make_device(disk.point / "dev")
    writer = open_writer(root)
    for pack in PACKS[:5]:
        writer.put(pack)
    disk.unmount("-l")
    with pytest.raises(DeviceLost):
        writer.commit()
    assert os.listdir(disk.point) == []
    with pytest.raises(Refused):
        open_writer(root)
    (disk.point / "dev").mkdir()
    with pytest.raises(Refused, match="PageBlob"):
        open_writer(root)
    assert os.listdir(disk.point / "dev") == []
    (disk.point / "dev").rmdir()
    writer.close()
    subprocess.run(["sync"], check=True)
    disk.mount()
    with open_writer(root) as again:
        assert [pack.id for pack in again.written] == [pack.id for pack in PACKS[:4]]


@on_every_file_system
def test_a_disk_that_goes_read_only(disk):
    root = make_device(disk.point / "dev")
    with open_writer(root) as writer:
        for pack in PACKS[:4]:
            writer.put(pack)
    subprocess.run(["mount", "-o", "remount,ro", str(disk.point)], check=True)
    with pytest.raises(Refused, match="read-only"):
        open_writer(root)


@pytest.mark.parametrize("disk", [kind for kind in KINDS if kind.values != ("btrfs",)], indirect=True)
def test_a_file_system_that_gives_up_is_a_lost_device(disk):
    """FS_IOC_SHUTDOWN: every write fails from here on, as after a controller died; btrfs has no such switch."""
    root = make_device(disk.point / "dev")
    with open_writer(root) as writer:
        for pack in PACKS[:4]:
            writer.put(pack)
        fd = os.open(disk.point, os.O_RDONLY)
        shutdown = ctypes.CDLL(None, use_errno=True).ioctl(fd, 0x8004587D, ctypes.byref(ctypes.c_uint32(2)))
        os.close(fd)
        assert shutdown == 0, os.strerror(ctypes.get_errno())
        with pytest.raises(DeviceLost):
            put_all(writer, PACKS[4:])
    disk.unmount()
    disk.mount()
    finish_default(root)


def finish_default(root):
    with open_writer(root) as writer:
        assert len(writer.written) == 4
        for pack in PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)
