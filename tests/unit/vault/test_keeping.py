"""Retention and the two-step collection."""

from dataclasses import replace
from datetime import timedelta

import pytest

from unit.vault.ground import Shipment, commit, put, put_pack
from wain.base.errors import Refused
from wain.base.progress import Silent
from wain.policy.retention import Retention
from wain.vault.collect import BreakerTripped, CollectOptions
from wain.vault.expiring import doomed
from wain.wire.vault import PointState, Presence

WEEK = Retention(7, 0, 0, 0)
ANYWAY = CollectOptions(override=True)


def chain(ground, vault, days):
    """One point a day, each with its own pack."""
    points, packs = [], []
    for seq in range(1, days + 1):
        packs.append(ground.server.pack())
        previous = points[-1].id if points else bytes(32)
        points.append(commit(vault, ground.server, packs[-1:], seq, previous))
        ground.clock.pass_(days=1)
    return points, packs


def test_nothing_expires_without_a_rule(ground):
    vault = ground.enrolled()
    chain(ground, vault, 12)
    assert vault.retention(ground.server.rid) is None
    assert vault.expire() == ()


def test_points_expire_by_the_receive_time(ground):
    vault, rid = ground.enrolled(), ground.server.rid
    points, _ = chain(ground, vault, 12)
    ground.clock.pass_(days=-1)
    vault.set_retention(rid, WEEK)
    gone = vault.expire()
    assert [one.point for one in gone] == [point.id for point in points[:5]]
    assert [point.seq for point in vault.points(rid)] == list(range(6, 13))
    assert vault.expire() == ()
    ground.clock.pass_(days=400)
    vault.expire()
    assert [point.id for point in vault.points(rid)] == [points[-1].id], "the newest stays"


def test_the_chain_goes_on_after_expiry(ground):
    vault, rid = ground.enrolled(), ground.server.rid
    points, _ = chain(ground, vault, 9)
    vault.set_retention(rid, WEEK)
    vault.expire()
    commit(vault, ground.server, ground.server.packs(1), 10, points[-1].id)
    with pytest.raises(Refused, match="place 1"):
        commit(vault, ground.server, ground.server.packs(1), 1)


def test_a_cut_of_the_retention_waits(ground):
    vault, rid = ground.enrolled(), ground.server.rid
    vault.set_retention(rid, Retention(30, 0, 0, 0))
    chain(ground, vault, 20)
    vault.set_retention(rid, WEEK)
    vault.set_retention(rid, WEEK)
    assert len(list(ground.objects.names(f"registrations/{rid.hex()}/"))) == 4
    assert vault.retention(rid) == Retention(30, 0, 0, 0)
    assert vault.expire() == ()
    ground.clock.pass_(days=14)
    assert vault.retention(rid) == WEEK
    assert vault.expire()
    vault.set_retention(rid, Retention(9, 0, 0, 5))
    assert vault.retention(rid) == Retention(9, 0, 0, 5), "more counts at once"


def test_the_last_complete_point_never_expires(ground):
    vault, server = ground.enrolled(), ground.server
    whole = commit(vault, server, server.packs(1))
    shipment = Shipment(server, server.packs(1), seq=99, previous=b"x" * 32)
    vault.announce_seed(server.rid, shipment.seal)
    vault.set_retention(server.rid, WEEK)
    previous = whole.id
    for seq in range(2, 12):
        ground.clock.pass_(days=1)
        point = vault.commit_point(server.rid, server.manifest(shipment.packs, seq, previous))
        assert point.state is PointState.PROVISIONAL
        previous = point.id
    ground.clock.pass_(days=300)
    vault.expire()
    assert [point.seq for point in vault.points(server.rid)] == [1, 11]


def test_only_provisional_points_all_stay(ground):
    vault, server = ground.enrolled(), ground.server
    shipment = Shipment(server, server.packs(1))
    vault.announce_seed(server.rid, shipment.seal)
    vault.set_retention(server.rid, WEEK)
    first = vault.commit_point(server.rid, server.manifest(shipment.packs, 2, shipment.point))
    ground.clock.pass_(days=100)
    vault.commit_point(server.rid, server.manifest(shipment.packs, 3, first.id))
    ground.clock.pass_(days=100)
    assert vault.expire() == ()


def test_a_later_point_that_cannot_be_restored_pushes_no_whole_one_out(ground):
    points, _ = chain(ground, ground.enrolled(), 2)
    spoilt = replace(points[0], id=b"s" * 32, seq=2, state=PointState.DEGRADED,
                     received_at=points[0].received_at + timedelta(hours=1))  # fmt: skip
    newest = replace(points[1], seq=3)
    assert doomed([points[0], spoilt, newest], WEEK, points[1].received_at) == []


def test_the_newest_complete_point_of_the_chain_stays_though_an_older_one_came_later(ground):
    points, _ = chain(ground, ground.enrolled(), 3)
    late = replace(points[0], received_at=points[0].received_at + timedelta(days=20))  # A seed's point fills its place.
    travelling = replace(points[2], state=PointState.PROVISIONAL)
    assert doomed([late, points[1], travelling], WEEK, late.received_at + timedelta(days=99)) == []


def test_each_series_is_judged_by_itself(ground):
    vault, server = ground.enrolled(), ground.server
    vault.set_retention(server.rid, WEEK)
    dump, last = b"dump" * 4, bytes(32)
    for seq in range(1, 21):  # Each day the files, and two hours later a dump.
        put(vault, server, [pack := server.pack()])
        series = dump if seq % 2 == 0 else bytes(16)
        last = vault.commit_point(server.rid, server.manifest([pack], seq, last, series=series)).id
        ground.clock.pass_(hours=22 if seq % 2 == 0 else 2)
    ground.clock.pass_(hours=-22)
    gone = vault.expire()
    assert [one.seq for one in gone] == [1, 2, 3, 4, 5, 6]
    ground.clock.pass_(days=100)
    vault.expire()
    assert [point.seq for point in vault.points(server.rid)] == [19, 20]  # The newest of each is never let go.


def test_collection_condemns_first_and_deletes_after_the_grace(ground):
    vault, server = ground.enrolled(), ground.server
    points, packs = chain(ground, vault, 20)
    vault.set_retention(server.rid, WEEK)
    generation = vault.generation(server.rid)
    ground.clock.pass_(days=2)
    vault.expire()
    first = vault.gc()
    assert (first.condemned, first.deleted, first.waiting) == (16, 0, 16)
    assert vault.generation(server.rid) == generation
    vault.read_pack(server.rid, packs[0].id, 0, 10)
    ground.clock.pass_(days=13)
    assert vault.gc().deleted == 0
    ground.clock.pass_(days=1)
    with pytest.raises(BreakerTripped) as caught:
        vault.gc()
    assert (caught.value.packs, caught.value.all_packs) == (16, 20)
    assert vault.gc(CollectOptions(dry_run=True)).deleted == 16
    assert vault.pack_size(server.rid, packs[0].id)
    done = vault.gc(ANYWAY)
    assert (done.deleted, done.waiting) == (16, 0)
    assert done.deleted_bytes == sum(len(pack.stored) for pack in packs[:16])
    assert vault.generation(server.rid) == generation + 1
    assert vault.presence(server.rid, [packs[0].id, packs[-1].id]) == [Presence.ABSENT, Presence.IN_VAULT]
    assert vault.gc(ANYWAY).deleted == 0
    assert vault.verify().findings == ()
    assert points[-1].id in [point.id for point in vault.points(server.rid)]


def test_a_dry_run_changes_nothing(ground):
    vault, server = ground.enrolled(), ground.server
    put(vault, server, server.packs(3))
    ground.clock.pass_(days=5)
    assert vault.gc(CollectOptions(dry_run=True)).condemned == 3
    assert vault.gc(CollectOptions(dry_run=True)).condemned == 3
    assert vault.gc().condemned == 3


def test_within_the_breaker_deletion_needs_no_override(ground):
    vault, server = ground.enrolled(), ground.server
    commit(vault, server, server.packs(19))
    put(vault, server, server.packs(1))
    ground.clock.pass_(days=5)
    assert vault.gc().condemned == 1
    ground.clock.pass_(days=14)
    assert vault.gc().deleted == 1


def test_a_lease_pins_a_pack_nobody_refers_to(ground):
    vault, server = ground.enrolled(), ground.server
    [pack] = server.packs(1)
    put(vault, server, [pack])
    ground.clock.pass_(hours=95)
    assert vault.gc().condemned == 0
    vault.presence(server.rid, [pack.id])
    ground.clock.pass_(hours=95)
    assert vault.gc().condemned == 0, "asking renews the lease"
    ground.clock.pass_(hours=2)
    assert vault.gc().condemned == 1


@pytest.mark.parametrize("verb", ["presence", "put", "commit"])
def test_who_asks_for_a_condemned_pack_gets_it_back(ground, verb):
    vault, server = ground.enrolled(), ground.server
    [pack] = server.packs(1)
    put(vault, server, [pack])
    ground.clock.pass_(days=5)
    assert vault.gc().condemned == 1
    ground.clock.pass_(days=20)
    if verb == "presence":
        assert vault.presence(server.rid, [pack.id]) == [Presence.IN_VAULT]
    elif verb == "put":
        assert put_pack(vault, server.rid, pack.id, pack.stored) is False
    else:
        vault.commit_point(server.rid, server.manifest([pack]))
    report = vault.gc(ANYWAY)
    assert (report.deleted, report.waiting) == (0, 0 if verb == "commit" else 1), "asking keeps it, a point saves it"
    assert vault.pack_size(server.rid, pack.id)


def test_a_daily_job_does_not_keep_for_ever_what_only_an_expired_point_needed(ground):
    """Every job asks for all packs it knows: that must pin them for the job, and no longer."""
    vault, server = ground.enrolled(), ground.server
    vault.set_retention(server.rid, WEEK)
    old, kept = server.packs(2)
    point = commit(vault, server, [old, kept])
    for seq in range(2, 40):
        ground.clock.pass_(days=1)
        assert vault.presence(server.rid, [kept.id]) == [Presence.IN_VAULT]
        vault.presence(server.rid, [old.id])
        point = vault.commit_point(server.rid, server.manifest([kept], seq, point.id))
        vault.expire()
        vault.gc(ANYWAY)
    assert vault.presence(server.rid, [old.id, kept.id]) == [Presence.ABSENT, Presence.IN_VAULT]


def test_what_a_seed_brought_stays_until_a_later_point_is_complete(ground):
    vault, server = ground.enrolled(), ground.server
    shipment = Shipment(server, server.packs(3))
    ref = shipment.arrive(ground.blobs)
    shipment.spoil(ground.blobs, shipment.packs[0])
    vault.import_seed(server.rid, ref, Silent())
    ground.clock.pass_(days=60)
    assert vault.gc().condemned == 0, "pinned: the seed is partial"
    kept, unused = shipment.packs[1:]
    healed = server.packs(1)
    point = commit(vault, server, [kept, *healed], 2, shipment.point)
    assert point.state is PointState.COMPLETE
    ground.clock.pass_(days=5)
    report = vault.gc()
    assert report.condemned == 1
    ground.clock.pass_(days=15)
    assert vault.gc(ANYWAY).deleted == 1
    assert vault.presence(server.rid, [kept.id, unused.id]) == [Presence.IN_VAULT, Presence.ABSENT]


def test_packs_of_an_announced_seed_are_pinned(ground):
    vault, server = ground.enrolled(), ground.server
    shipment = Shipment(server, server.packs(2))
    vault.announce_seed(server.rid, shipment.seal)
    put(vault, server, shipment.packs)
    ground.clock.pass_(days=60)
    assert vault.gc().condemned == 0
    vault.release_seed(server.rid, shipment.seed)
    assert vault.gc().condemned == 2


def test_a_clock_that_went_back_begins_the_wait_anew(ground):
    vault, server = ground.enrolled(), ground.server
    put(vault, server, server.packs(1))
    ground.clock.pass_(days=900)
    assert vault.gc().condemned == 1
    ground.clock.pass_(days=-850)
    assert vault.gc(ANYWAY).deleted == 0
    ground.clock.pass_(days=13)
    assert vault.gc(ANYWAY).deleted == 0
    ground.clock.pass_(days=1)
    assert vault.gc(ANYWAY).deleted == 1


def test_a_grace_shorter_than_a_lease_is_refused(ground):
    with pytest.raises(Refused, match="grace"):
        ground.enrolled().gc(CollectOptions(grace=timedelta(days=1)))


def test_an_expired_points_object_outlives_the_grace_and_no_longer(ground):
    vault, rid = ground.enrolled(), ground.server.rid
    chain(ground, vault, 9)
    vault.set_retention(rid, WEEK)
    vault.expire()
    ground.clock.pass_(days=13)
    vault.gc(ANYWAY)
    assert len(list(ground.objects.names(f"points/{rid.hex()}/"))) == 9
    ground.clock.pass_(days=1)
    vault.gc(ANYWAY)
    assert len(list(ground.objects.names(f"points/{rid.hex()}/"))) == len(vault.points(rid)) < 9
