"""Seeds: announced, imported, damaged, released, arriving twice."""

import pytest

from unit.vault.ground import ACCOUNT, Server, Shipment, commit, put
from wain.base.errors import Corrupt, DataError, Missing, Refused, RemoteError, WriteFailed
from wain.base.ids import SeedId
from wain.base.progress import Silent
from wain.keys import signing
from wain.pageblob.names import MANIFEST_BLOB, SEAL_BLOB, packs_blob
from wain.storage.memory import MemoryObjects
from wain.tree.receipt import decode_receipt
from wain.vault.rows import SeedState
from wain.wire.vault import PointState, Presence, SeedRef

GO = Silent()


@pytest.fixture
def shipped(ground):
    """Four packs in two blobs, announced and copied."""
    vault = ground.enrolled()
    shipment = Shipment(ground.server, ground.server.packs(4), blob_limit=1 << 16)
    vault.announce_seed(ground.server.rid, shipment.seal)
    return vault, shipment, shipment.arrive(ground.blobs)


def states(vault, server):
    return [point.state for point in vault.points(server.rid)]


def test_a_seed_becomes_a_point_and_a_receipt(ground, shipped):
    vault, shipment, ref = shipped
    rid = ground.server.rid
    assert set(vault.presence(rid, [pack.id for pack in shipment.packs])) == {Presence.IN_TRANSIT}
    report = vault.import_seed(rid, ref, GO)
    assert (report.packs, report.new_packs, report.deficits) == (4, 4, ())
    assert report.new_bytes == sum(len(pack.stored) for pack in shipment.packs)
    assert report.point == shipment.point
    [point] = vault.points(rid)
    assert (point.state, point.seed) == (PointState.COMPLETE, shipment.seed)
    assert set(vault.presence(rid, [pack.id for pack in shipment.packs])) == {Presence.IN_VAULT}
    said = decode_receipt(report.receipt.body)
    assert (said.seed, said.point, said.packs) == (shipment.seed, shipment.point, 4)
    signing.verify(vault.public_key, signing.RECEIPT, report.receipt.body, report.receipt.signature)
    assert [seed.state for seed in vault.seeds(rid)] == [SeedState.IN_VAULT]


def test_a_second_import_brings_no_byte_and_the_same_receipt(ground, shipped):
    vault, _, ref = shipped
    first = vault.import_seed(ground.server.rid, ref, GO)
    ground.clock.pass_(days=5)
    again = vault.import_seed(ground.server.rid, ref, GO)
    assert (again.new_packs, again.new_bytes) == (0, 0)
    assert (again.receipt, again.point) == (first.receipt, first.point)
    ground.blobs.delete_container(ref.container)
    assert vault.import_seed(ground.server.rid, ref, GO) == again, "the account may be cleaned by then"


def test_a_seed_needs_no_announcement_and_may_be_renamed(ground):
    vault, shipment = ground.enrolled(), Shipment(ground.server, ground.server.packs(2))
    report = vault.import_seed(ground.server.rid, shipment.arrive(ground.blobs, "databox-renamed"), GO)
    assert report.point == shipment.point


def test_gap_cover_follows_the_seed_and_becomes_complete(ground, shipped):
    vault, shipment, ref = shipped
    server = ground.server
    extra = server.packs(1)
    put(vault, server, extra)
    cover = vault.commit_point(server.rid, server.manifest([*shipment.packs, *extra], 2, shipment.point))
    later = vault.commit_point(server.rid, server.manifest(shipment.packs, 3, cover.id))
    assert states(vault, server) == [PointState.PROVISIONAL] * 2
    assert cover.state is PointState.PROVISIONAL
    vault.import_seed(server.rid, ref, GO)
    assert [point.id for point in vault.points(server.rid)] == [shipment.point, cover.id, later.id]
    assert states(vault, server) == [PointState.COMPLETE] * 3


def test_only_an_announced_seed_keeps_a_place_free(ground):
    vault, server = ground.enrolled(), ground.server
    packs = server.packs(1)
    put(vault, server, packs)
    with pytest.raises(Refused, match="does not follow"):
        vault.commit_point(server.rid, server.manifest(packs, 2, b"?" * 32))


def test_damage_is_a_deficit_named_to_the_leaf(ground, shipped):
    vault, shipment, ref = shipped
    rid, bad = ground.server.rid, shipment.packs[1]
    shipment.spoil(ground.blobs, bad)
    report = vault.import_seed(rid, ref, GO)
    assert [deficit.pack for deficit in report.deficits] == [bad.id]
    assert "leaf 0 (bytes 0 to 1048575)" in report.deficits[0].where
    assert (report.point, report.receipt, report.new_packs) == (None, None, 3)
    assert vault.points(rid) == []
    [seed] = vault.seeds(rid)
    assert (seed.state, seed.deficits) == (SeedState.PARTIAL, 1)
    here = dict(zip(shipment.packs, vault.presence(rid, [pack.id for pack in shipment.packs]), strict=True))
    assert here.pop(bad) is Presence.ABSENT
    assert set(here.values()) == {Presence.IN_VAULT}


def test_a_lost_blob_is_a_deficit_for_each_of_its_packs(ground, shipped):
    vault, shipment, ref = shipped
    gone = [pack for pack in shipment.packs if shipment.places[pack.id].blob == 0]
    del ground.blobs._containers[ref.container][packs_blob(0)]
    report = vault.import_seed(ground.server.rid, ref, GO)
    assert {deficit.pack for deficit in report.deficits} == {pack.id for pack in gone}


def test_a_partial_seed_is_completed_by_a_later_import(ground, shipped):
    vault, shipment, ref = shipped
    server, bad = ground.server, shipment.packs[2]
    cover = vault.commit_point(server.rid, server.manifest(shipment.packs, 2, shipment.point))
    shipment.spoil(ground.blobs, bad)
    vault.import_seed(server.rid, ref, GO)
    assert states(vault, server) == [PointState.DEGRADED]
    assert vault.import_seed(server.rid, ref, GO).deficits[0].pack == bad.id
    assert len(list(ground.objects.names(f"deficits/{server.rid.hex()}/"))) == 1, "the same list is not kept twice"
    put(vault, server, [bad])
    assert states(vault, server) == [PointState.COMPLETE]
    report = vault.import_seed(server.rid, ref, GO)
    assert (report.point, report.new_bytes) == (shipment.point, 0)
    assert [point.id for point in vault.points(server.rid)] == [shipment.point, cover.id]


def test_a_damaged_manifest_is_a_deficit_and_the_packs_come_in(ground, shipped):
    vault, _, ref = shipped
    page = bytearray(ground.blobs.read(ref.container, MANIFEST_BLOB, 0, 512))
    page[100] ^= 1
    ground.blobs.write_pages(ref.container, MANIFEST_BLOB, 0, bytes(page))
    report = vault.import_seed(ground.server.rid, ref, GO)
    assert (report.new_packs, report.point) == (4, None)
    assert report.deficits[0].where.startswith("manifest: ")


def test_a_damaged_seal_is_replaced_by_the_announced_one(ground, shipped):
    vault, shipment, ref = shipped
    page = bytearray(ground.blobs.read(ref.container, SEAL_BLOB, 0, 512))
    page[60] ^= 1
    ground.blobs.write_pages(ref.container, SEAL_BLOB, 0, bytes(page))
    assert vault.import_seed(ground.server.rid, ref, GO).point == shipment.point
    stranger = Shipment(ground.server, ground.server.packs(1))
    other = stranger.arrive(ground.blobs)
    ground.blobs.write_pages(other.container, SEAL_BLOB, 0, bytes(page))
    with pytest.raises(DataError):
        vault.import_seed(ground.server.rid, other, GO)


def test_an_empty_account_is_no_damaged_seed(ground):
    vault, shipment = ground.enrolled(), Shipment(ground.server, ground.server.packs(1))
    vault.announce_seed(ground.server.rid, shipment.seal)
    with pytest.raises(Missing):
        vault.import_seed(ground.server.rid, SeedRef(ACCOUNT, shipment.container), GO)
    assert [seed.state for seed in vault.seeds(ground.server.rid)] == [SeedState.IN_TRANSIT]


def test_another_servers_seed_is_refused(ground, shipped):
    vault, _, _ = shipped
    stranger = Shipment(Server(2), Server(2).packs(1))
    with pytest.raises(Corrupt):
        vault.announce_seed(ground.server.rid, stranger.seal)
    with pytest.raises(Corrupt):
        vault.import_seed(ground.server.rid, stranger.arrive(ground.blobs), GO)


def test_another_seal_for_the_same_seed_is_refused(ground, shipped):
    vault, shipment, _ = shipped
    other = Shipment(ground.server, ground.server.packs(1), shipment.seed)
    with pytest.raises(Refused, match="another seal"):
        vault.announce_seed(ground.server.rid, other.seal)
    vault.announce_seed(ground.server.rid, shipment.seal)


def test_a_released_seed_leaves_its_packs_absent(ground, shipped):
    vault, shipment, ref = shipped
    server = ground.server
    cover = commit(vault, server, shipment.packs[:1], 2, shipment.point)
    lone = shipment.packs[3]
    road = commit(vault, server, [lone], 3, cover.id)
    assert road.state is PointState.COMPLETE, "its pack was uploaded, though it travels too"
    travelling = vault.commit_point(server.rid, server.manifest(shipment.packs[1:2], 4, road.id))
    assert travelling.state is PointState.PROVISIONAL
    vault.release_seed(server.rid, shipment.seed)
    vault.release_seed(server.rid, shipment.seed)
    assert vault.presence(server.rid, [shipment.packs[1].id, lone.id]) == [Presence.ABSENT, Presence.IN_VAULT]
    assert states(vault, server)[-1] is PointState.DEGRADED
    assert [seed.state for seed in vault.seeds(server.rid)] == [SeedState.ABANDONED]
    with pytest.raises(Missing):
        vault.release_seed(server.rid, SeedId(b"?" * 16))
    with pytest.raises(Refused, match="1 of 1 packs"):
        vault.commit_point(server.rid, server.manifest(shipment.packs[2:3], 5, travelling.id))
    assert vault.import_seed(server.rid, ref, GO).point == shipment.point, "it arrived all the same"
    assert set(states(vault, server)) == {PointState.COMPLETE}
    with pytest.raises(Refused, match="has arrived"):
        vault.release_seed(server.rid, shipment.seed)


class Lying(MemoryObjects):
    """Storage that gives back other bytes than were written."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        body = super().read(name, offset, length)
        return body[:-1] + bytes([body[-1] ^ 1]) if name.startswith("packs/") else body


def test_a_fault_of_the_vaults_storage_is_never_a_deficit(ground, shipped):
    vault, _, ref = shipped
    vault.close()
    lying = Lying()
    lying._bodies = ground.objects._bodies
    with pytest.raises(WriteFailed, match="read back damaged"):
        ground.vault(lying).import_seed(ground.server.rid, ref, GO)
    vault = ground.vault()
    assert [seed.state for seed in vault.seeds(ground.server.rid)] == [SeedState.IN_TRANSIT]
    assert vault.import_seed(ground.server.rid, ref, GO).new_packs == 4


class Unreachable:
    def __init__(self, inner, reads):
        self._inner, self._left = inner, reads

    def read(self, *args):
        self._left -= 1
        if self._left < 0:
            raise WriteFailed("the account", "the line is down")
        return self._inner.read(*args)

    def blobs(self, container):
        return self._inner.blobs(container)


@pytest.mark.parametrize("reads", range(8))
def test_an_account_that_goes_away_is_an_error_and_the_import_goes_on(ground, shipped, reads):
    vault, shipment, ref = shipped
    whole, ground.blobs = ground.blobs, Unreachable(ground.blobs, reads)
    with pytest.raises(RemoteError):
        vault.import_seed(ground.server.rid, ref, GO)
    ground.blobs = whole
    report = vault.import_seed(ground.server.rid, ref, GO)
    assert report.point == shipment.point
    assert report.new_packs <= 4


def test_a_receipt_is_countersigned_once_and_by_the_agent_alone(ground, shipped):
    vault, _, ref = shipped
    server = ground.server
    receipt = vault.import_seed(server.rid, ref, GO).receipt
    with pytest.raises(Corrupt):
        vault.countersign(server.rid, receipt.body, bytes(64))
    signature = signing.sign(server.sign_seed, signing.COUNTERSIGN, receipt.body)
    assert vault.seeds(server.rid)[0].countersigned_at is None
    vault.countersign(server.rid, receipt.body, signature)
    at = vault.seeds(server.rid)[0].countersigned_at
    ground.clock.pass_(days=1)
    vault.countersign(server.rid, receipt.body, signature)
    assert vault.seeds(server.rid)[0].countersigned_at == at
    forged = bytearray(receipt.body)
    forged[-9] ^= 1
    with pytest.raises(Missing):
        vault.countersign(server.rid, bytes(forged), signature)
