"""Seeds that were damaged in the account and have their parity beside them."""

import pytest

from unit.vault.ground import Shipment, put
from wain.base.errors import Corrupt, DataError, RemoteError, WriteFailed
from wain.base.progress import Silent
from wain.device.seal import decode_seal
from wain.pageblob.names import packs_blob, parity_blob
from wain.pageblob.parity import Strength
from wain.tree.receipt import decode_receipt
from wain.vault.arriving import ArrivingPacks
from wain.vault.rows import SeedState
from wain.wire.vault import PointState

GO = Silent()
MIB = 1 << 20
STRENGTH = Strength(4, 2)


@pytest.fixture
def shipped(ground):
    """Four packs of two leaves in two blobs, announced and copied, with parity."""
    vault = ground.enrolled()
    shipment = Shipment(ground.server, ground.server.packs(4, 2 * MIB - 50_000), blob_limit=4 * MIB, parity=STRENGTH)
    vault.announce_seed(ground.server.rid, shipment.seal)
    return vault, shipment, shipment.arrive(ground.blobs)


def blobs_of(ground, shipment):
    return ground.blobs._containers[shipment.container]


def whole(report, shipment, repaired):
    assert report.deficits == ()
    assert (report.packs, report.new_packs, report.repaired) == (4, 4, repaired)
    assert report.new_bytes == sum(len(pack.stored) for pack in shipment.packs)
    assert report.point == shipment.point
    said = decode_receipt(report.receipt.body)
    assert (said.packs, said.stored_bytes) == (4, report.new_bytes)
    return True


def test_a_whole_seed_is_not_repaired(ground, shipped):
    vault, shipment, ref = shipped
    assert whole(vault.import_seed(ground.server.rid, ref, GO), shipment, 0)


def test_damaged_packs_are_repaired_and_stored_as_they_were(ground, shipped):
    vault, shipment, ref = shipped
    server = ground.server
    shipment.spoil(ground.blobs, shipment.packs[1], at=MIB + 5)
    shipment.spoil(ground.blobs, shipment.packs[3])
    assert whole(vault.import_seed(server.rid, ref, GO), shipment, 2)
    assert [point.state for point in vault.points(server.rid)] == [PointState.COMPLETE]
    assert [seed.state for seed in vault.seeds(server.rid)] == [SeedState.IN_VAULT]
    for pack in shipment.packs:
        size = vault.pack_size(server.rid, pack.id)
        assert vault.read_pack(server.rid, pack.id, 0, size) == bytes(pack.stored)
    again = vault.import_seed(server.rid, ref, GO)
    assert (again.new_packs, again.repaired) == (0, 0)
    assert not list(ground.objects.names("deficits/"))


def test_a_lost_footer_page_is_repaired(ground, shipped):
    vault, shipment, ref = shipped
    pack = shipment.packs[0]
    shipment.spoil(ground.blobs, pack, at=len(pack.stored) - 100)
    shipment.spoil(ground.blobs, pack)
    assert whole(vault.import_seed(ground.server.rid, ref, GO), shipment, 1)


def test_a_lost_blob_within_the_strength_is_made_again(ground):
    vault = ground.enrolled()
    shipment = Shipment(ground.server, ground.server.packs(4), blob_limit=1 << 15, parity=STRENGTH)
    ref = shipment.arrive(ground.blobs)
    gone = [pack for pack in shipment.packs if shipment.places[pack.id].blob == 0]
    assert len(gone) == 2
    del blobs_of(ground, shipment)[packs_blob(0)]
    assert whole(vault.import_seed(ground.server.rid, ref, GO), shipment, 2)


def test_a_blob_that_lost_its_end_is_made_again(ground, shipped):
    vault, shipment, ref = shipped
    body = blobs_of(ground, shipment)[packs_blob(1)]
    del body[-MIB:]
    assert whole(vault.import_seed(ground.server.rid, ref, GO), shipment, 1)


def test_what_parity_cannot_repair_is_a_deficit_and_the_rest_is_not(ground, shipped):
    vault, shipment, ref = shipped
    server = ground.server
    shipment.spoil(ground.blobs, shipment.packs[0], at=MIB + 5)
    for number in (1, 2, 3):
        shipment.spoil(ground.blobs, shipment.packs[number])
    report = vault.import_seed(server.rid, ref, GO)
    lost = {deficit.pack for deficit in report.deficits}
    assert (report.repaired + len(lost), report.receipt) == (4, None)
    assert 0 < len(lost) < 4
    assert all("leaf" in deficit.where for deficit in report.deficits)
    for pack in shipment.packs:
        if pack.id in lost:
            put(vault, server, [pack])
    healed = vault.import_seed(server.rid, ref, GO)
    assert (healed.point, healed.new_bytes, healed.repaired) == (shipment.point, 0, 0)


@pytest.mark.parametrize("how", ["missing", "zeros", "of another seed"])
def test_parity_that_is_of_no_use(ground, shipped, how):
    vault, shipment, ref = shipped
    blobs = blobs_of(ground, shipment)
    if how == "missing":
        del blobs[parity_blob(0)]
    elif how == "zeros":
        blobs[parity_blob(0)][:] = bytes(len(blobs[parity_blob(0)]))
    else:
        other = Shipment(ground.server, ground.server.packs(4), parity=STRENGTH)
        other.arrive(ground.blobs)
        blobs[parity_blob(0)] = blobs_of(ground, other)[parity_blob(0)]
    shipment.spoil(ground.blobs, shipment.packs[1])
    report = vault.import_seed(ground.server.rid, ref, GO)
    assert [deficit.pack for deficit in report.deficits] == [shipment.packs[1].id]
    assert (report.new_packs, report.repaired) == (3, 0)


class Broken:
    """An account with a sector that cannot be read, or one that goes away."""

    def __init__(self, inner, blob, sector, error):
        self._inner, self._blob, self._sector, self._error = inner, blob, sector, error

    def read(self, container, blob, offset, length):
        if blob == self._blob and offset <= self._sector < offset + length:
            raise self._error
        return self._inner.read(container, blob, offset, length)

    def blobs(self, container):
        return self._inner.blobs(container)


def test_a_sector_that_cannot_be_read_is_an_erasure(ground, shipped):
    vault, shipment, ref = shipped
    ground.blobs = Broken(ground.blobs, packs_blob(0), 70_000, Corrupt("packs-00000", "the medium cannot be read"))
    assert whole(vault.import_seed(ground.server.rid, ref, GO), shipment, 1)


def test_an_account_that_goes_away_during_a_repair_is_an_error_not_a_deficit(ground, shipped):
    vault, shipment, ref = shipped
    shipment.spoil(ground.blobs, shipment.packs[1])
    there = ground.blobs
    ground.blobs = Broken(there, parity_blob(0), 0, WriteFailed("the account", "the line is down"))
    with pytest.raises(RemoteError):
        vault.import_seed(ground.server.rid, ref, GO)
    ground.blobs = there
    assert vault.import_seed(ground.server.rid, ref, GO).deficits == ()


def test_a_repair_reads_only_what_it_needs(ground, shipped):
    _, shipment, _ = shipped
    vault_seal = decode_seal(shipment.seal)
    read = []

    class Counting(Broken):
        def read(self, container, blob, offset, length):
            read.append(length)
            return self._inner.read(container, blob, offset, length)

    shipment.spoil(ground.blobs, shipment.packs[1])
    packs = ArrivingPacks(Counting(ground.blobs, "", 0, None), shipment.container, vault_seal)
    pack = next(each for each in vault_seal.packs if each.id == shipment.packs[1].id)
    with pytest.raises(DataError):
        packs.whole(pack)
    assert packs.repaired(pack) == bytes(shipment.packs[1].stored)
    # The pack three times (judged, to be mended, as it is), one row of four leaves, parity, and small pages.
    assert sum(read) <= 4 * pack.placement.length + 6 * MIB
