"""A vault's own storage, damaged: every place of a pack, every small object, the catalog; then every next step."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from unit.vault.ground import Ground, Shipment, commit, damage, put, put_pack
from wain.base.errors import DataError, Refused
from wain.base.progress import Silent
from wain.keys import signing
from wain.pack.slices import Slice
from wain.policy.retention import Retention
from wain.vault.collect import CollectOptions
from wain.wire.vault import PointState, Presence

BIG = 2_500_000
PLACES = {
    "header": (10, "leaf 0 "),
    "first segment": (5000, "leaf 0 "),
    "second leaf": ((1 << 20) + 77, "leaf 1 "),
    "last leaf": ((2 << 20) + 77, "leaf 2 "),
    "footer": (-4000, "footer page"),
    "last byte": (-1, "footer page"),
}


@pytest.fixture
def ground(tmp_path):
    ground = Ground(tmp_path / "vault")
    yield ground
    ground.close()


def name_of(ground, pack):
    return f"packs/{ground.server.rid.hex()}/{pack.id.hex()[:2]}/{pack.id.hex()}"


def rebuilt_is_the_same(vault, ground):
    before = ground.facts()
    report = vault.rebuild()
    assert ground.facts() == before
    return report


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_is_named_set_aside_and_healed(ground, place):
    vault, server = ground.enrolled(), ground.server
    bad, good = server.pack(BIG), server.pack()
    first = commit(vault, server, [good])
    second = commit(vault, server, [bad, good], 2, first.id)
    at, where = PLACES[place]
    damage(ground.objects, server, bad.id, at)
    generation = vault.generation(server.rid)

    [finding] = vault.verify().findings
    assert (finding.pack, finding.registration) == (bad.id, server.rid)
    assert where in finding.where
    assert vault.generation(server.rid) == generation, "verifying changes nothing"

    [again] = vault.scrub(Slice()).findings
    assert again == finding
    assert vault.generation(server.rid) == generation + 1
    assert vault.presence(server.rid, [bad.id, good.id]) == [Presence.ABSENT, Presence.IN_VAULT]
    assert [point.state for point in vault.points(server.rid)] == [PointState.COMPLETE, PointState.DEGRADED]
    assert any(name.startswith("set-aside/") for name in ground.objects._bodies), "never deleted"
    rebuilt_is_the_same(vault, ground)
    with pytest.raises(Refused):
        vault.commit_point(server.rid, server.manifest([bad], 3, second.id))

    assert put_pack(vault, server.rid, bad.id, bad.stored) is True
    assert [point.state for point in vault.points(server.rid)] == [PointState.COMPLETE] * 2
    assert vault.verify().findings == ()
    assert vault.generation(server.rid) == generation + 1
    rebuilt_is_the_same(vault, ground)


@pytest.mark.parametrize("how", ["cut", "longer", "empty", "gone", "another pack's bytes"])
def test_a_pack_of_another_shape_is_found(ground, how):
    vault, server = ground.enrolled(), ground.server
    bad, other = server.packs(2)
    commit(vault, server, [bad, other])
    bodies, name = ground.objects._bodies, name_of(ground, bad)
    shapes = {
        "cut": bytes(bad.stored[:-4096]),
        "longer": bytes(bad.stored) + bytes(4096),
        "empty": b"",
        "another pack's bytes": bytes(other.stored),
    }
    if how == "gone":
        del bodies[name]
    else:
        bodies[name] = shapes[how]
    assert [finding.pack for finding in vault.scrub(Slice()).findings] == [bad.id]
    assert [point.state for point in vault.points(server.rid)] == [PointState.DEGRADED]
    rebuilt_is_the_same(vault, ground)
    put(vault, server, [bad])
    assert [point.state for point in vault.points(server.rid)] == [PointState.COMPLETE]
    assert vault.verify().findings == ()


def test_a_second_import_heals_what_was_set_aside(ground):
    vault, server = ground.enrolled(), ground.server
    shipment = Shipment(server, server.packs(3))
    ref = shipment.arrive(ground.blobs)
    receipt = vault.import_seed(server.rid, ref, Silent()).receipt
    damage(ground.objects, server, shipment.packs[0].id)
    vault.scrub(Slice())
    report = vault.import_seed(server.rid, ref, Silent())
    assert (report.new_packs, report.receipt, report.deficits) == (1, receipt, ())
    assert [point.state for point in vault.points(server.rid)] == [PointState.COMPLETE]


def test_a_lost_pack_that_a_newly_announced_device_carries_is_in_transit(ground):
    vault, server = ground.enrolled(), ground.server
    packs = server.packs(1)
    point = commit(vault, server, packs)
    damage(ground.objects, server, packs[0].id)
    vault.scrub(Slice())
    shipment = Shipment(server, packs, seq=2, previous=point.id)
    vault.announce_seed(server.rid, shipment.seal)
    assert [point.state for point in vault.points(server.rid)] == [PointState.PROVISIONAL]
    assert vault.presence(server.rid, [packs[0].id]) == [Presence.IN_TRANSIT]
    rebuilt_is_the_same(vault, ground)
    vault.import_seed(server.rid, shipment.arrive(ground.blobs), Silent())
    assert [point.state for point in vault.points(server.rid)] == [PointState.COMPLETE] * 2


def test_slices_see_every_pack_once(ground):
    vault, server = ground.enrolled(), ground.server
    commit(vault, server, server.packs(12))
    assert sum(vault.scrub(Slice(n, 5)).packs for n in range(1, 6)) == 12
    for n, t in ((0, 5), (6, 5), (1, 0)):
        with pytest.raises(Refused):
            Slice(n, t)


def test_a_check_counts_whole_packs_that_nobody_counted(ground):
    vault, server = ground.enrolled(), ground.server
    whole, broken = server.packs(2)
    for pack in (whole, broken):
        ground.objects.create(name_of(ground, pack), pack.stored)
    damage(ground.objects, server, broken.id)
    report = vault.verify()
    assert (report.adopted, [finding.pack for finding in report.findings]) == (1, [broken.id])
    assert vault.scrub(Slice()).findings
    assert vault.scrub(Slice()).findings == ()


def full(ground):
    """A vault with an object of every kind."""
    vault, server = ground.enrolled(), ground.server
    rid = server.rid
    shipment = Shipment(server, server.packs(2))
    ref = shipment.arrive(ground.blobs)
    body = vault.import_seed(rid, ref, Silent()).receipt.body
    vault.countersign(rid, body, signing.sign(server.sign_seed, signing.COUNTERSIGN, body))
    previous = shipment.point
    for seq in range(2, 5):
        ground.clock.pass_(days=1)
        previous = commit(vault, server, server.packs(1), seq, previous).id
    vault.set_retention(rid, Retention(7, 0, 0, 0))
    ground.clock.pass_(days=40)
    vault.expire()
    partial = Shipment(server, server.packs(2))
    half = partial.arrive(ground.blobs)
    partial.spoil(ground.blobs, partial.packs[0])
    vault.import_seed(rid, half, Silent())
    lost = Shipment(server, server.packs(1))
    vault.announce_seed(rid, lost.seal)
    vault.release_seed(rid, lost.seed)
    travelling = Shipment(server, server.packs(2))
    vault.announce_seed(rid, travelling.seal)
    vault.commit_point(rid, server.manifest(travelling.packs, 5, previous))
    extra = server.packs(1)
    put(vault, server, extra)
    damage(ground.objects, server, extra[0].id)
    vault.scrub(Slice())
    put(vault, server, server.packs(1))  # What a running job has sent: pinned, and in no point yet.
    return vault


KINDS = (
    "registrations/*/registration", "registrations/*/keys-00000001", "registrations/*/retention-", "losses/", "seals/",
    "deficits/", "releases/", "receipts/", "expired/", "points/",
)  # fmt: skip


def test_rebuild_gives_the_same_catalog_row_by_row(ground):
    vault = full(ground)
    rid = ground.server.rid.hex()
    for kind in KINDS:
        assert any(n.startswith(kind.replace("*", rid)) for n in ground.objects._bodies), kind
    report = rebuilt_is_the_same(vault, ground)
    assert report.problems == ()
    assert (report.registrations, report.points) == (1, 2)
    vault.close()
    for side in ("", "-wal", "-shm"):
        (ground.root / f"catalog.sqlite{side}").unlink(missing_ok=True)
    before = ground.objects._bodies.copy()
    fresh = ground.vault()
    assert ground.objects._bodies == before, "a rebuild writes no object"
    assert len(fresh.points(ground.server.rid)) == 2


def test_a_damaged_small_object_is_named_and_stops_the_collection(ground):
    vault = full(ground)
    facts = ground.facts()
    for name in [name for name in ground.objects._bodies if name.split("/")[0] not in ("packs", "set-aside")]:
        whole = ground.objects._bodies[name]
        for at in (0, len(whole) // 2, len(whole) - 1):
            ground.objects._bodies[name] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
            found = [finding.what for finding in vault.verify().findings]
            assert found == [name], f"{name} at {at}"
        ground.objects._bodies[name] = whole
    assert ground.facts() == facts
    assert vault.verify().findings == ()


@pytest.mark.parametrize("prefix", ["points/", "seals/"])
def test_without_a_point_or_seal_nobody_collects(ground, prefix):
    vault = full(ground)
    packs = {name for name in ground.objects._bodies if name.startswith("packs/")}
    live = {f"points/{ground.server.rid.hex()}/{point.seq:08}" for point in vault.points(ground.server.rid)}
    pinning = {f"seals/{ground.server.rid.hex()}/{seed.seed.hex()}" for seed in vault.seeds(ground.server.rid)
               if seed.state.value in ("in transit",)}  # fmt: skip
    for name in live if prefix == "points/" else pinning:
        ground.objects._bodies[name] = b"WAIN" + ground.objects._bodies[name][4:-1]
    ground.clock.pass_(days=99)
    for _ in range(2):
        with pytest.raises(DataError):
            vault.gc(CollectOptions(override=True))
        ground.clock.pass_(days=20)
    assert {name for name in ground.objects._bodies if name.startswith("packs/")} == packs
    report = vault.rebuild()
    assert report.problems
    with pytest.raises(Refused, match="cannot be read"):
        vault.gc(CollectOptions(override=True))


@pytest.mark.parametrize("how", ["garbage", "half", "pages"])
def test_a_catalog_that_cannot_be_read_is_set_aside_and_rebuilt(ground, how):
    vault = full(ground)
    facts = ground.facts()
    vault.close()
    path = ground.root / "catalog.sqlite"
    body = path.read_bytes()
    ways = {
        "garbage": os.urandom(len(body)),
        "half": body[: len(body) // 2 + 100],
        "pages": body[:100] + bytes(4096) + body[4196:],
    }
    path.write_bytes(ways[how])
    ground.vault()
    assert ground.facts() == facts
    assert (ground.root / "catalog.sqlite.damaged-0").exists()


def test_damage_in_use_is_cured_by_a_rebuild(ground):
    vault = full(ground)
    facts = ground.facts()
    vault.close()
    path = ground.root / "catalog.sqlite"
    body = bytearray(path.read_bytes())
    for page in range(2 * 4096, len(body), 4096):
        body[page : page + 8] = b"\xff" * 8
    vault = ground.vault()
    path.write_bytes(bytes(body))
    vault.rebuild()
    assert ground.facts() == facts
    assert len(vault.points(ground.server.rid)) == 2


def test_an_old_copy_of_the_catalog_catches_up(ground):
    vault, server = ground.enrolled(), ground.server
    first = commit(vault, server, server.packs(2))
    vault.close()
    shutil.copy(ground.root / "catalog.sqlite", ground.root / "old")
    vault = ground.vault()
    two = server.packs(2)
    second = commit(vault, server, two, 2, first.id)
    vault.set_retention(server.rid, Retention(7, 0, 0, 0))
    damage(ground.objects, server, two[0].id)
    vault.scrub(Slice())
    vault.close()
    shutil.copy(ground.root / "old", ground.root / "catalog.sqlite")
    vault = ground.vault()
    assert vault.generation(server.rid) == 1
    assert [point.id for point in vault.points(server.rid)] == [first.id, second.id]
    assert vault.presence(server.rid, [pack.id for pack in two]) == [Presence.ABSENT, Presence.IN_VAULT]
    rebuilt_is_the_same(vault, ground)


def test_a_catalog_of_a_newer_wain_is_left_alone(ground):
    from wain.base.errors import UnknownVersion  # noqa: PLC0415

    ground.enrolled().close()
    with closing(sqlite3.connect(ground.root / "catalog.sqlite", isolation_level=None)) as base:
        base.execute("PRAGMA user_version=99")
        base.execute(f"PRAGMA application_id={int.from_bytes(b'WAI' + bytes([99]), 'big')}")
    with pytest.raises(UnknownVersion):
        ground.vault()
