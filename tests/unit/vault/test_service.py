"""The verbs an agent calls."""

import pytest

from unit.vault.ground import Server, Shipment, commit, damage, put, put_pack
from wain.base.errors import Corrupt, DataError, Missing, Refused
from wain.base.ids import PackId, RegistrationId
from wain.base.progress import Silent
from wain.pack.verify import verify_pack
from wain.vault.service import Vault
from wain.vault.storing import LEASE
from wain.wire.vault import PointState, Presence, ProtectionState, Registration, SeedRef, VaultApi


def test_the_vault_is_a_vault_api(ground):
    api: VaultApi = ground.vault()
    assert api.registrations() == []


def test_registering_twice_changes_nothing(ground):
    vault, server = ground.vault(), ground.server
    first = vault.register(server.registration, server.slots)
    assert first.state is ProtectionState.IR_PENDING
    assert first.registered_at == ground.clock.now, "the agent's clock must not count"
    ground.clock.pass_(days=1)
    assert vault.register(server.registration, server.slots) == first
    assert vault.key_slots(server.rid) == server.slots
    assert vault.registrations() == [first]


def test_other_content_under_a_registered_id_is_refused(ground):
    vault, server = ground.enrolled(), ground.server
    other = Registration(server.rid, "other", *[getattr(server.registration, name) for name in
                         ("sign_key", "restore_key", "state", "registered_at")])  # fmt: skip
    with pytest.raises(Refused, match="another server"):
        vault.register(other, server.slots)
    with pytest.raises(Refused, match="key slots"):
        vault.register(Server(2).registration, server.slots)


def test_slots_of_a_killed_registration_are_replaced(ground):
    vault, server = ground.vault(), ground.server
    ground.objects.create(f"registrations/{server.rid.hex()}/keys-00000001", b"left over")
    vault.register(server.registration, server.slots)
    assert vault.key_slots(server.rid) == server.slots


def test_unknown_and_foreign_are_missing_alike(ground):
    vault, server, other = ground.enrolled(), ground.server, Server(2)
    vault.register(other.registration, other.slots)
    [pack] = server.packs(1)
    put(vault, server, [pack])
    answers = []
    for rid in (other.rid, RegistrationId(b"?" * 16)):
        with pytest.raises(Missing) as caught:
            vault.read_pack(rid, pack.id, 0, 10)
        answers.append(str(caught.value))
        with pytest.raises(Missing):
            vault.pack_size(rid, pack.id)
    assert answers[0] == answers[1]
    assert vault.presence(other.rid, [pack.id]) == [Presence.ABSENT]
    with pytest.raises(Missing):
        vault.presence(RegistrationId(b"?" * 16), [pack.id])


def test_a_pack_is_verified_before_it_is_stored(ground):
    vault, server = ground.enrolled(), ground.server
    [pack] = server.packs(1)
    wrong = bytearray(pack.stored)
    wrong[4100] ^= 1
    with pytest.raises(Corrupt, match="leaf 0"):
        put_pack(vault, server.rid, pack.id, bytes(wrong))
    with pytest.raises(DataError):
        put_pack(vault, server.rid, pack.id, pack.stored[:-4096])
    with pytest.raises(DataError):
        put_pack(vault, server.rid, PackId(bytes(32)), pack.stored)
    with pytest.raises(Refused, match="over the cap"):
        put_pack(vault, server.rid, pack.id, bytes(82 << 20))
    assert vault.presence(server.rid, [pack.id]) == [Presence.ABSENT]
    assert put_pack(vault, server.rid, pack.id, pack.stored) is True
    assert put_pack(vault, server.rid, pack.id, pack.stored) is False
    assert vault.presence(server.rid, [pack.id]) == [Presence.IN_VAULT]
    assert vault.pack_size(server.rid, pack.id) == len(pack.stored)
    assert vault.read_pack(server.rid, pack.id, 100, 50) == pack.stored[100:150]


def test_a_pack_sealed_for_another_server_is_refused(ground):
    vault, server = ground.enrolled(), ground.server
    [pack] = Server(2).packs(1)
    with pytest.raises(Refused, match="another registration"):
        put_pack(vault, server.rid, pack.id, pack.stored)


def test_presence_answers_in_order_and_repeats(ground):
    vault, server = ground.enrolled(), ground.server
    here, there, nowhere = server.packs(3)
    put(vault, server, [here])
    vault.announce_seed(server.rid, Shipment(server, [there]).seal)
    asked = [nowhere.id, here.id, there.id, here.id]
    states = [Presence.ABSENT, Presence.IN_VAULT, Presence.IN_TRANSIT, Presence.IN_VAULT]
    assert vault.presence(server.rid, asked) == states


def test_a_pack_whose_row_was_never_written_is_found_by_asking(ground):
    vault, server = ground.enrolled(), ground.server
    whole, broken = server.packs(2)
    for pack in (whole, broken):
        ground.objects.create(f"packs/{server.rid.hex()}/{pack.id.hex()[:2]}/{pack.id.hex()}", pack.stored)
    damage(ground.objects, server, broken.id)
    assert vault.presence(server.rid, [whole.id, broken.id]) == [Presence.IN_VAULT, Presence.ABSENT]
    assert put_pack(vault, server.rid, broken.id, broken.stored) is True
    verify_pack(vault.read_pack(server.rid, broken.id, 0, len(broken.stored)), broken.id)


def test_a_point_needs_all_its_packs(ground):
    vault, server = ground.enrolled(), ground.server
    packs = server.packs(3)
    put(vault, server, packs[:1])
    with pytest.raises(Refused, match="2 of 3 packs"):
        vault.commit_point(server.rid, server.manifest(packs))
    assert vault.points(server.rid) == []
    put(vault, server, packs)
    point = vault.commit_point(server.rid, server.manifest(packs))
    assert (point.state, point.seq, point.packs) == (PointState.COMPLETE, 1, 3)
    assert point.stored_bytes == sum(len(pack.stored) for pack in packs)
    assert vault.registration(server.rid).state is ProtectionState.PROTECTED
    assert vault.manifest(server.rid, point.id) == server.manifest(packs)


def test_committing_twice_gives_the_same_point(ground):
    vault, server = ground.enrolled(), ground.server
    packs = server.packs(1)
    point = commit(vault, server, packs)
    ground.clock.pass_(days=1)
    assert vault.commit_point(server.rid, server.manifest(packs)) == point


def test_the_chain_cannot_fork_or_skip(ground):
    vault, server = ground.enrolled(), ground.server
    one, two = server.packs(2)
    first = commit(vault, server, [one])
    put(vault, server, [two])
    for manifest in (
        server.manifest([two]),
        server.manifest([two], 2, b"x" * 32),
        server.manifest([two], 3, first.id),
    ):
        with pytest.raises(Refused, match=r"chain|follow"):
            vault.commit_point(server.rid, manifest)
    second = vault.commit_point(server.rid, server.manifest([one, two], 2, first.id))
    assert [point.id for point in vault.points(server.rid)] == [first.id, second.id]


def test_a_manifest_of_another_hand_is_refused(ground):
    vault, server, thief = ground.enrolled(), ground.server, Server(2)
    packs = server.packs(1)
    put(vault, server, packs)
    thief.rid = server.rid
    with pytest.raises(Corrupt, match="signature"):
        vault.commit_point(server.rid, thief.manifest(packs))
    changed = bytearray(server.manifest(packs))
    changed[-1] ^= 1
    with pytest.raises(Corrupt, match="signature"):
        vault.commit_point(server.rid, bytes(changed))


def test_the_receive_time_never_goes_back(ground):
    vault, server = ground.enrolled(), ground.server
    one, two = server.packs(2)
    first = commit(vault, server, [one])
    ground.clock.pass_(days=-3)
    second = commit(vault, server, [two], 2, first.id)
    assert second.received_at == first.received_at


def test_the_lease_is_shorter_than_the_least_grace():
    from wain.vault.collect import GRACE  # noqa: PLC0415

    assert LEASE < GRACE


def test_a_vault_in_a_directory_needs_nothing_else(tmp_path, ground):
    server = ground.server
    packs = server.packs(2)
    with Vault.open(tmp_path / "srv" / "vault", clock=ground.clock) as vault:
        vault.register(server.registration, server.slots)
        point = commit(vault, server, packs)
        with pytest.raises(Refused, match="not known here"):
            vault.import_seed(server.rid, SeedRef("nowhere", "container"), Silent())
    (tmp_path / "srv/vault/catalog.sqlite").unlink()
    with Vault.open(tmp_path / "srv" / "vault", clock=ground.clock) as vault:
        assert vault.points(server.rid) == [point]
        assert vault.verify().findings == ()
        assert vault.read_pack(server.rid, packs[0].id, 0, len(packs[0].stored)) == packs[0].stored
