"""Parity while a device is written: when it counts, what a cut or a failure leaves, and what the read-back says."""

import errno
import os
from collections.abc import Iterator

import pytest

from device.making import (
    MANIFEST,
    PARITY,
    assert_whole,
    container_of,
    make_device,
    make_pack,
    open_writer,
    parity_of,
    seal_device,
    sign_seal,
)
from wain.base.errors import OutOfSpace
from wain.base.progress import Silent
from wain.device import appender
from wain.device.writer import Condemned
from wain.pageblob.parity import STRENGTHS
from wain.pageblob.parity_repair import Repairer

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


def groups(root):
    """The packs of each record of parity on a device."""
    return [
        [pack for pack, _ in found.record.packs] for rows in parity_of(container_of(root)).values() for found in rows
    ]


def names(packs):
    return [pack.id for pack in packs]


def test_every_group_has_its_parity(root):
    seal = seal_device(root, PACKS[:10], parity=PARITY)
    assert_whole(root, PACKS[:10])
    assert groups(root) == [names(PACKS[:4]), names(PACKS[4:8]), names(PACKS[8:10])]
    for found in parity_of(container_of(root))["parity-00000"]:
        assert found.record.strength == PARITY
    body = bytearray((container_of(root) / "packs-00000").read_bytes())
    places = {pack.id: pack.placement for pack in seal.packs}
    lost = seal.packs[5].placement
    body[lost.offset : lost.end] = bytes(lost.length)
    blobs = {"packs-00000": body, "parity-00000": (container_of(root) / "parity-00000").read_bytes()}
    repairer = Repairer(
        lambda blob, at, n: bytes(blobs[blob][at : at + n]), places, [("parity-00000", len(blobs["parity-00000"]))]
    )
    assert repairer.repair(seal.packs[5].id).over(0, bytes(lost.length)) == PACKS[5].stored


@pytest.mark.parametrize("packs", [1, 2, 3, 5])
def test_a_group_may_have_any_size(root, monkeypatch, packs):
    monkeypatch.setattr(appender, "GROUP_PACKS", packs)
    seal_device(root, PACKS, parity=PARITY)
    assert_whole(root, PACKS)
    assert groups(root) == [names(PACKS[at : at + packs]) for at in range(0, 12, packs)]


def test_without_parity_there_is_none(root):
    seal_device(root, PACKS)
    assert groups(root) == []


def test_it_may_be_turned_on_and_off_between_openings(root):
    for at, parity in enumerate((PARITY, None, STRENGTHS[12])):
        with open_writer(root, parity=parity) as writer:
            for pack in PACKS[at * 4 : at * 4 + 4]:
                writer.put(pack)
            writer.commit()
    with open_writer(root) as writer:
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)
    assert groups(root) == [names(PACKS[:4]), names(PACKS[8:])]


def test_parity_of_a_group_that_was_never_journalled_is_cut_off(root):
    with open_writer(root, parity=PARITY) as writer:
        for pack in PACKS[:8]:
            writer.put(pack)
    journal = container_of(root) / "journal"
    body = bytearray(journal.read_bytes())
    body[512 * 5 :] = bytes(len(body) - 512 * 5)
    journal.write_bytes(body)
    with open_writer(root, parity=PARITY) as writer:
        assert len(writer.written) == 4
        assert groups(root) == [names(PACKS[:4])]
        assert writer.parity_bytes == (container_of(root) / "parity-00000").stat().st_size
        put_all(writer)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)
    assert len(groups(root)) == 3


def test_a_record_whose_end_is_torn_goes_and_the_one_before_stays(root):
    with open_writer(root, parity=PARITY) as writer:
        for pack in PACKS[:8]:
            writer.put(pack)
    blob = container_of(root) / "parity-00000"
    os.truncate(blob, blob.stat().st_size - 4096)
    with open_writer(root, parity=PARITY) as writer:
        assert len(writer.written) == 8
        assert groups(root) == [names(PACKS[:4])]
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS[:8])


def test_junk_behind_what_counts_goes(root):
    with open_writer(root, parity=PARITY) as writer:
        for pack in PACKS[:4]:
            writer.put(pack)
    with open(container_of(root) / "parity-00000", "ab") as file:
        file.write(os.urandom(100_000))
    (container_of(root) / "parity-00009").write_bytes(bytes(4096))
    with open_writer(root, parity=PARITY) as writer:
        writer.put(PACKS[5])
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, [*PACKS[:4], PACKS[5]])
    assert sorted(parity_of(container_of(root))) == ["parity-00000"]


def test_blobs_roll_over_at_the_same_limit(root):
    seal_device(root, PACKS, parity=PARITY, blob_limit=4096 * 20)
    assert_whole(root, PACKS)
    found = parity_of(container_of(root))
    assert len(found) > 1
    assert [len(rows) for rows in found.values()] == [1] * len(found)


def test_a_group_whose_record_no_blob_can_hold_has_none(root):
    seal_device(root, PACKS, parity=STRENGTHS[12], blob_limit=4096 * 8)
    assert_whole(root, PACKS)
    assert groups(root) == []


def strike(monkeypatch, name, number, calls, error):
    """Make calls of an os function on blobs of parity fail, counted from 1."""
    real = getattr(os, name)
    seen = []

    def failing(fd, *args):
        if "/parity-" in os.readlink(f"/proc/self/fd/{fd}"):
            seen.append(fd)
            if number <= len(seen) < number + calls:
                raise OSError(error, os.strerror(error))
        return real(fd, *args)

    monkeypatch.setattr(os, name, failing)
    return seen


@pytest.mark.parametrize(
    ("name", "number"), [("pwrite", 1), ("pwrite", 3), ("pwrite", 7), ("fdatasync", 1), ("fdatasync", 2)]
)
def test_one_failure_moves_group_and_parity_to_new_blobs(root, monkeypatch, name, number):
    strike(monkeypatch, name, number, 1, errno.EIO)
    with open_writer(root, parity=PARITY) as writer:
        put_all(writer)
        writer.finish(MANIFEST, sign_seal, Silent())
    monkeypatch.undo()
    seal = assert_whole(root, PACKS)
    assert seal.packs[-1].placement.blob == 1
    assert sorted(parity_of(container_of(root)))[-1] == "parity-00001"
    assert groups(root) == [names(PACKS[at : at + 4]) for at in (0, 4, 8)]


@pytest.mark.parametrize("name", ["pwrite", "fdatasync"])
def test_a_second_failure_condemns(root, monkeypatch, name):
    strike(monkeypatch, name, 2, 99, errno.EIO)
    with open_writer(root, parity=PARITY) as writer, pytest.raises(Condemned):
        put_all(writer)
    monkeypatch.undo()
    with open_writer(root, parity=PARITY) as writer:
        put_all(writer)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)


def test_parity_that_does_not_fit_ends_with_the_exact_shortfall_and_its_packs_stay(root, monkeypatch):
    real = os.pwrite

    def short(fd, body, at):
        if "/parity-" in os.readlink(f"/proc/self/fd/{fd}"):
            room = 100_000 - at
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, body[:room], at)
        return real(fd, body, at)

    monkeypatch.setattr(os, "pwrite", short)
    with open_writer(root, parity=PARITY) as writer:
        with pytest.raises(OutOfSpace) as error:
            put_all(writer)
        end = writer.parity_bytes
        want = parity_size(PACKS[4:8])
        assert (error.value.need_bytes, error.value.free_bytes) == (want, 100_000 - end)
        assert "parity" in str(error.value)
        assert [pack.id for pack in writer.written] == names(PACKS[:8])
    monkeypatch.undo()
    assert groups(root) == [names(PACKS[:4])]
    with open_writer(root, parity=PARITY) as writer:
        put_all(writer)
        writer.finish(MANIFEST, sign_seal, Silent())
    assert_whole(root, PACKS)
    assert groups(root) == [names(PACKS[:4]), names(PACKS[8:])]


def parity_size(packs):
    from wain.pageblob.parity_record import blank_record  # noqa: PLC0415

    return blank_record([(pack.id, len(pack.stored)) for pack in packs], PARITY).stored_bytes


def test_a_full_device_keeps_what_fitted_and_takes_no_room_for_parity(root, monkeypatch):
    real = os.pwrite

    def short(fd, body, at):
        if "/packs-" in os.readlink(f"/proc/self/fd/{fd}"):
            room = 110_000 - at
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, body[:room], at)
        return real(fd, body, at)

    monkeypatch.setattr(os, "pwrite", short)
    with open_writer(root, parity=PARITY) as writer:
        with pytest.raises(OutOfSpace) as error:
            put_all(writer)
        kept = len(writer.written)
        assert error.value.need_bytes == len(PACKS[kept].stored)
        assert error.value.free_bytes == 110_000 - writer.written[-1].placement.end
    assert groups(root) == [names(PACKS[:4])]
    assert kept > 4


@pytest.mark.parametrize("where", ["first header", "cell", "second header"])
def test_parity_that_does_not_read_back_condemns_the_device(root, where):
    with open_writer(root, parity=PARITY) as writer:
        for pack in PACKS[:8]:
            writer.put(pack)
        blob = container_of(root) / "parity-00000"
        (first, _) = parity_of(container_of(root))["parity-00000"]
        at = {"first header": 20, "cell": first.cells_at + 5000, "second header": first.end - 4096 + 30}[where]
        body = bytearray(blob.read_bytes())
        body[at] ^= 1
        blob.write_bytes(body)
        with pytest.raises(Condemned, match="parity does not read back"):
            writer.finish(MANIFEST, sign_seal, Silent())
        assert writer.sealed is None
    assert not (container_of(root) / "seal").exists()


def test_the_read_back_counts_parity(root):
    class Counting(Silent):
        total = done = 0

        def phase(self, name, total_bytes=None):
            self.total = total_bytes

        def advance(self, done_bytes, items=0):
            self.done += done_bytes

    progress = Counting()
    with open_writer(root, parity=PARITY) as writer:
        put_all(writer)
        writer.finish(MANIFEST, sign_seal, progress)
        parity = (container_of(root) / "parity-00000").stat().st_size
    assert progress.total == progress.done == sum(len(pack.stored) for pack in PACKS) + parity
