"""Object names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.ids import PackId, RegistrationId, SeedId
from wain.storage.directory import check_name
from wain.vault import objects
from wain.vault.objects import Kind, parse_fact, parse_pack

RID, SEED = RegistrationId(b"\xab" * 16), SeedId(b"\x01" * 16)
FACTS = {
    Kind.REGISTRATION: objects.registration_name(RID),
    Kind.KEYS: objects.keys_name(RID, 7),
    Kind.RETENTION: objects.retention_name(RID, 7),
    Kind.LOSS: objects.loss_name(RID, 7),
    Kind.SEAL: objects.seal_name(RID, SEED),
    Kind.DEFICITS: objects.deficits_name(RID, SEED, 7),
    Kind.RELEASE: objects.release_name(RID, SEED),
    Kind.RECEIPT: objects.receipt_name(RID, SEED),
    Kind.COUNTERSIGNED: objects.countersigned_name(RID, SEED),
    Kind.EXPIRED: objects.expired_name(RID, 7),
    Kind.POINT: objects.point_name(RID, 7),
}
NUMBERED = {Kind.KEYS, Kind.RETENTION, Kind.LOSS, Kind.DEFICITS, Kind.EXPIRED, Kind.POINT}


@pytest.mark.parametrize("kind", Kind)
def test_a_fact_is_known_by_its_name(kind):
    fact = parse_fact(FACTS[kind])
    assert fact is not None
    assert (fact.kind, fact.registration, fact.number) == (kind, RID, 7 if kind in NUMBERED else 0)
    assert fact.name.split("/")[0] in objects.PREFIXES
    check_name(fact.name)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_pack_names_go_both_ways(raw):
    name = objects.pack_name(RID, PackId(raw))
    assert parse_pack(name) == raw
    assert name.startswith(objects.packs_prefix(RID))
    check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "points", "points/ab/00000001", f"points/{RID.hex()}/1", f"points/{RID.hex()}/00000001x",
     f"points/{RID.hex().upper()}/00000001", f"packs/{RID.hex()}/00/{'11' * 32}", f"../points/{RID.hex()}/00000001"],
)  # fmt: skip
def test_other_names_are_nobodys(name):
    assert parse_fact(name) is None
    assert parse_pack(name) is None
