import errno
import os
import shutil
from collections.abc import Iterator

import pytest

from device.making import (
    DEVICE,
    MANIFEST,
    REGISTRATION,
    SEED,
    assert_whole,
    container_of,
    make_device,
    make_pack,
    make_pack_of,
    manifest_hash,
    open_writer,
    seal_device,
    sign_seal,
)
from wain.base.errors import Corrupt, DataError, DeviceLost, Missing, OutOfSpace, Refused
from wain.base.ids import DeviceId, RegistrationId, SeedId
from wain.base.progress import Silent
from wain.device import appender
from wain.device.journal import RECORD_BYTES
from wain.device.readback import ReadBackFailed
from wain.device.writer import Condemned
from wain.keys.secret import Secret
from wain.keys.signing import SEAL, sign

PACKS = [make_pack(number, 4096 * (3 + number % 5)) for number in range(12)]


@pytest.fixture(autouse=True)
def groups_of_four() -> Iterator[None]:
    """What holds for a group holds for any size of it; these stories count to four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appender, "GROUP_PACKS", 4)
        yield


@pytest.fixture
def root(tmp_path):
    return make_device(tmp_path / "dev")


def put_all(writer):
    for pack in PACKS:
        writer.put(pack)


def written(root, **changes):
    with open_writer(root, **changes) as writer:
        return [pack.id for pack in writer.written]


def test_a_seed_is_written_and_sealed(root):
    seal = seal_device(root, PACKS)
    assert assert_whole(root, PACKS) == seal
    assert seal.device == DEVICE
    assert seal.manifest_hash == manifest_hash()
    assert [pack.id for pack in seal.packs] == [pack.id for pack in PACKS]


def test_a_seed_without_packs_is_a_seed(root):
    seal_device(root, [])
    assert_whole(root, [])


def test_packs_become_durable_by_groups_and_on_commit(root):
    with open_writer(root) as writer:
        for number, pack in enumerate(PACKS[:6]):
            writer.put(pack)
            assert len(writer.written) == number // 4 * 4 + (4 if number % 4 == 3 else 0)
        assert writer.commit() == tuple(pack.id for pack in PACKS[:6])
        assert writer.commit() == ()
        assert [pack.id for pack in writer.written] == [pack.id for pack in PACKS[:6]]


def test_a_group_is_bounded_by_bytes_too(root, monkeypatch):
    monkeypatch.setattr(appender, "GROUP_BYTES", 40960)
    with open_writer(root) as writer:
        writer.put(make_pack(0, 36864))
        assert writer.written == ()
        writer.put(make_pack(1, 12288))
        assert len(writer.written) == 2


def test_the_same_pack_is_written_once(root):
    with open_writer(root) as writer:
        for pack in (PACKS[0], PACKS[0], PACKS[1]):
            writer.put(pack)
        writer.commit()
        writer.put(PACKS[1])
    assert len(written(root)) == 2


def test_packs_that_were_not_committed_are_gone_after_closing_and_the_rest_goes_on(root):
    with open_writer(root) as writer:
        for pack in PACKS[:7]:
            writer.put(pack)
    with open_writer(root) as writer:
        assert [pack.id for pack in writer.written] == [pack.id for pack in PACKS[:4]]
        blob = container_of(root) / "packs-00000"
        assert blob.stat().st_size == writer.written[-1].placement.end
        for pack in PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)


def test_blobs_roll_over_and_resume_in_the_right_one(root):
    for first in range(0, 12, 3):
        with open_writer(root, blob_limit=65536) as writer:
            for pack in PACKS[first : first + 3]:
                writer.put(pack)
            writer.commit()
    with open_writer(root, blob_limit=65536) as writer:
        seal = writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)
    assert seal.packs[-1].placement.blob > 2


def test_finish_again_changes_nothing_and_a_sealed_device_is_closed(root):
    seal = seal_device(root, PACKS[:3])
    with open_writer(root) as writer:
        assert writer.sealed == seal
        assert writer.written == seal.packs
        assert writer.sealed_manifest() == MANIFEST
        assert writer.finish(MANIFEST, sign_seal, Silent()) == seal
        for call in (lambda: writer.put(PACKS[4]), writer.commit, lambda: writer.finish(b"x", sign_seal, Silent())):
            with pytest.raises(Refused, match="sealed"):
                call()
    assert_whole(root, PACKS[:3])


def test_an_unsealed_container_has_no_sealed_manifest(root):
    with open_writer(root) as writer, pytest.raises(Missing):
        writer.sealed_manifest()


def test_a_failing_signer_leaves_a_device_that_can_still_be_sealed_or_written(root):
    def refuse(_):
        raise Refused("no")

    with open_writer(root) as writer:
        writer.put(PACKS[0])
        with pytest.raises(Refused):
            writer.finish(MANIFEST, refuse, Silent())
        assert not (container_of(root) / "seal").exists()
        writer.put(PACKS[1])
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS[:2])


def test_another_signer_does_not_seal(root):
    with open_writer(root) as writer:
        writer.put(PACKS[0])
        with pytest.raises(Corrupt):
            writer.finish(MANIFEST, lambda body: sign(Secret(b"o" * 32), SEAL, body), Silent())
    assert not (container_of(root) / "seal").exists()


def test_s23_several_registrations_share_a_device(root):
    others = [RegistrationId(bytes([number]) * 16) for number in range(3)]
    for number, other in enumerate(others):
        seal_device(root, PACKS[number : number + 3], registration=other)
    for number, other in enumerate(others):
        assert_whole(root, PACKS[number : number + 3], registration=other)


def test_two_writers_at_once_are_refused(root):
    with open_writer(root), pytest.raises(Refused, match="another process"):
        open_writer(root)


def test_a_closed_writer_says_so(root):
    writer = open_writer(root)
    writer.close()
    writer.close()
    with pytest.raises(Refused, match="closed"):
        writer.put(PACKS[0])


def test_s22_another_device_is_refused_and_both_are_named(root):
    other = DeviceId(b"E" * 16)
    with pytest.raises(Refused) as error:
        open_writer(root, expected_device=other)
    assert other.hex() in str(error.value)
    assert DEVICE.hex() in str(error.value)
    assert os.listdir(root / "PageBlob") == []
    with pytest.raises(Refused, match="belongs to order branch-7"):
        open_writer(root, order="branch-8")
    assert os.listdir(root / "PageBlob") == []
    open_writer(root, expected_device=DEVICE).close()


def test_a_device_without_a_label_is_known_by_its_container(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "PageBlob").mkdir(parents=True)
    with open_writer(tmp_path / "a") as writer:
        device = writer.device
        writer.put(PACKS[0])
        writer.commit()
    with open_writer(tmp_path / "a", expected_device=device) as writer:
        assert writer.device == device
        writer.finish(MANIFEST, sign_seal, Silent())
    with open_writer(tmp_path / "a", expected_device=device) as writer:
        assert writer.sealed
    with pytest.raises(Refused, match=device.hex()):
        open_writer(tmp_path / "b", expected_device=device)
    assert os.listdir(tmp_path / "b" / "PageBlob") == []
    with pytest.raises(Refused, match=(b"E" * 16).hex()):
        open_writer(tmp_path / "a", expected_device=DeviceId(b"E" * 16))


def test_a_share_is_written_directly(tmp_path):
    share = tmp_path / "acct_PageBlob"
    share.mkdir()
    with open_writer(share) as writer:
        writer.put(PACKS[0])
        writer.finish(MANIFEST, sign_seal, Silent())
        assert (share / writer.sealed.container / "seal").exists()


def test_a_container_of_another_order_is_refused(tmp_path):
    (tmp_path / "PageBlob").mkdir()
    open_writer(tmp_path).close()
    with pytest.raises(Refused, match="order"):
        open_writer(tmp_path, order="other-1")


def test_ids_that_share_eight_bytes_are_told_apart(root):
    open_writer(root).close()
    with pytest.raises(Refused, match="seed"):
        open_writer(root, seed=SeedId(SEED[:8] + b"x" * 8))
    with pytest.raises(Refused, match="registration"):
        open_writer(root, registration=RegistrationId(REGISTRATION[:8] + b"x" * 8))


def test_the_last_packs_are_proven_on_resume_and_dropped_from_the_first_bad_one(root):
    with open_writer(root) as writer:
        for pack in PACKS:
            writer.put(pack)
        writer.commit()
        places = [pack.placement for pack in writer.written]
    with open(container_of(root) / "packs-00000", "r+b") as file:
        os.pwrite(file.fileno(), b"!", places[7].offset + 100)
    with open_writer(root) as writer:
        assert [pack.id for pack in writer.written] == [pack.id for pack in PACKS[:7]]
        for pack in PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)


def test_a_blob_that_lost_its_end_loses_its_packs(root):
    with open_writer(root, blob_limit=65536) as writer:
        for pack in PACKS:
            writer.put(pack)
        writer.commit()
        last = [pack for pack in writer.written if pack.placement.blob == 0][-1]
    os.truncate(container_of(root) / "packs-00000", last.placement.end - 4096)
    with open_writer(root, blob_limit=65536) as writer:
        assert last not in writer.written
        assert [pack.id for pack in writer.written] == [pack.id for pack in PACKS[: len(writer.written)]]
        assert not (container_of(root) / "packs-00001").exists()


def test_a_torn_journal_tail_is_ignored_and_cut(root):
    with open_writer(root) as writer:
        for pack in PACKS[:8]:
            writer.put(pack)
    journal = container_of(root) / "journal"
    body = bytearray(journal.read_bytes())
    body[8 * RECORD_BYTES + 3 :] = os.urandom(len(body) - 8 * RECORD_BYTES - 3)
    journal.write_bytes(body)
    with open_writer(root) as writer:
        assert [pack.id for pack in writer.written] == [pack.id for pack in PACKS[:7]]
        writer.put(PACKS[7])
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS[:8])


def test_packs_without_a_journal_are_not_touched(root):
    with open_writer(root) as writer:
        writer.put(PACKS[0])
        writer.commit()
    (container_of(root) / "journal").unlink()
    with pytest.raises(DataError):
        open_writer(root)
    assert (container_of(root) / "packs-00000").stat().st_size == len(PACKS[0].stored)


def test_damage_before_the_last_packs_is_found_by_the_read_back(root):
    big = make_pack_of(3 << 20, 99)
    with open_writer(root) as writer:
        for pack in (big, *PACKS):
            writer.put(pack)
        writer.commit()
    with open(container_of(root) / "packs-00000", "r+b") as file:
        os.pwrite(file.fileno(), b"!", (2 << 20) + 5)
    with open_writer(root) as writer:
        with pytest.raises(ReadBackFailed) as error:
            writer.finish(MANIFEST, sign_seal, Silent())
        assert [finding.pack for finding in error.value.findings] == [big.id]
        assert "leaf 2" in error.value.findings[0].where
    assert not (container_of(root) / "seal").exists()


def test_an_unplugged_device_is_lost_and_nothing_lands_in_its_mount_point(root, tmp_path):
    writer = open_writer(root)
    for pack in PACKS[:5]:
        writer.put(pack)
    away = tmp_path / "away"
    os.rename(root, away)
    root.mkdir()
    with pytest.raises(DeviceLost):
        writer.commit()
    with pytest.raises(DeviceLost):
        writer.put(PACKS[6])
    writer.close()
    assert os.listdir(root) == []
    with pytest.raises(Refused):
        open_writer(root)
    assert os.listdir(root) == []
    root.rmdir()
    os.rename(away, root)
    with open_writer(root) as writer:
        assert len(writer.written) == 4


def test_another_device_at_the_same_path_is_lost_too(root, tmp_path):
    writer = open_writer(root)
    writer.put(PACKS[0])
    os.rename(root, tmp_path / "away")
    make_device(root, device=DeviceId(b"E" * 16))
    with pytest.raises(DeviceLost):
        writer.commit()
    writer.close()
    assert os.listdir(root / "PageBlob") == []


def fail_at(monkeypatch, name, number, calls, error=errno.EIO):
    """Make the given calls (counted from 1, on pack blobs only) of an os function fail."""
    real = getattr(os, name)
    seen = []

    def failing(fd, *args):
        if "/packs-" in os.readlink(f"/proc/self/fd/{fd}"):
            seen.append(os.readlink(f"/proc/self/fd/{fd}"))
            if number <= len(seen) < number + calls:
                raise OSError(error, os.strerror(error))
        return real(fd, *args)

    monkeypatch.setattr(os, name, failing)
    return seen


@pytest.mark.parametrize("name", ["pwrite", "fdatasync"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_one_failure_moves_the_open_packs_to_a_new_blob(root, monkeypatch, name, number):
    fail_at(monkeypatch, name, number, 1)
    with open_writer(root) as writer:
        for pack in PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    monkeypatch.undo()
    seal = assert_whole(root, PACKS)
    assert {pack.placement.blob for pack in seal.packs} <= {0, 1}
    assert seal.packs[-1].placement.blob == 1


def test_a_file_whose_sync_failed_gets_no_second_one_for_its_packs(root, monkeypatch):
    seen = fail_at(monkeypatch, "fdatasync", 2, 1)
    with open_writer(root) as writer:
        for pack in PACKS[:8]:
            writer.put(pack)
    names = [os.path.basename(path) for path in seen]
    assert names == ["packs-00000", "packs-00000", "packs-00001"]


@pytest.mark.parametrize("name", ["pwrite", "fdatasync"])
def test_a_second_failure_condemns(root, monkeypatch, name):
    fail_at(monkeypatch, name, 2, 99)
    with open_writer(root) as writer:
        with pytest.raises(Condemned):
            put_all(writer)
        with pytest.raises(Condemned):
            writer.commit()
    monkeypatch.undo()
    with open_writer(root) as writer:
        assert len(writer.written) in (0, 4)
        for pack in PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)


@pytest.mark.parametrize("error", [errno.ENODEV, errno.EROFS, errno.ENXIO])
def test_a_device_that_vanishes_during_a_write(root, monkeypatch, error):
    fail_at(monkeypatch, "pwrite", 6, 99, error)
    with open_writer(root) as writer, pytest.raises(DeviceLost):
        put_all(writer)
    monkeypatch.undo()
    assert len(written(root)) == 4


def test_a_full_device_keeps_what_fitted_and_names_the_shortfall(root, monkeypatch):
    real = os.pwrite

    def short(fd, body, at):
        if "/packs-" in os.readlink(f"/proc/self/fd/{fd}"):
            room = 80_000 - at
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, body[:room], at)
        return real(fd, body, at)

    monkeypatch.setattr(os, "pwrite", short)
    with open_writer(root) as writer:
        with pytest.raises(OutOfSpace) as error:
            put_all(writer)
        kept = len(writer.written)
        end = writer.written[-1].placement.end
        assert (error.value.need_bytes, error.value.free_bytes) == (len(PACKS[kept].stored), 80_000 - end)
        with pytest.raises(OutOfSpace):
            writer.put(PACKS[11])
    monkeypatch.undo()
    with open_writer(root) as writer:
        assert [pack.id for pack in writer.written] == [pack.id for pack in PACKS[:kept]]
        for pack in PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)


def test_a_journal_that_fails_once_is_made_anew_in_another_file(root, monkeypatch):
    real = os.fdatasync
    failed = []

    def failing(fd):
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path.endswith("/journal"):
            if not failed:
                failed.append(os.fstat(fd).st_ino)
                raise OSError(errno.EIO, "Input/output error")
            assert os.fstat(fd).st_ino not in failed
        real(fd)

    monkeypatch.setattr(os, "fdatasync", failing)
    with open_writer(root) as writer:
        for pack in PACKS:
            writer.put(pack)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert failed
    assert_whole(root, PACKS)


def test_a_pack_that_is_not_whole_blocks_is_refused(root):
    odd = make_pack(1)
    with open_writer(root) as writer, pytest.raises(Refused):
        writer.put(type(odd)(odd.id, odd.kind, odd.stored[:-1], ()))


def test_the_reserve_is_taken_and_given_back(root):
    with open_writer(root) as writer:
        reserve = container_of(root) / "reserve"
        assert 0 < reserve.stat().st_size <= appender.RESERVE_BYTES
        writer.put(PACKS[0])
        writer.finish(MANIFEST, sign_seal, Silent())
        assert not reserve.exists()


def test_leftovers_of_a_cut_go(root):
    with open_writer(root) as writer:
        writer.put(PACKS[0])
        writer.commit()
    container = container_of(root)
    for name in (".new-seal", ".new-journal", "manifest"):
        (container / name).write_bytes(bytes(512))
    (container / "packs-00007").write_bytes(bytes(4096))
    open_writer(root).close()
    assert set(os.listdir(container)) == {"journal", "packs-00000", "reserve"}


def test_a_damaged_seal_is_said_and_nothing_is_changed(root):
    seal_device(root, PACKS[:2])
    seal = container_of(root) / "seal"
    body = bytearray(seal.read_bytes())
    body[200] ^= 1
    seal.write_bytes(body)
    with pytest.raises(DataError):
        open_writer(root)
    assert seal.read_bytes() == body


def test_a_copied_device_is_the_same_device(root, tmp_path):
    """A byte copy carries label and journal: it goes on where the original was (the vault sees clones by the seal)."""
    with open_writer(root) as writer:
        writer.put(PACKS[0])
        writer.commit()
    shutil.copytree(root, tmp_path / "copy")
    assert len(written(tmp_path / "copy", expected_device=DEVICE)) == 1
