"""Manifest and details: round trips, canonical form, signature before parsing, caps."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.tree.samples import chunk
from wain.base.errors import CommitmentMismatch, Corrupt, DataError, Malformed, TooLarge, Truncated
from wain.base.ids import NO_POINT, NO_SEED, PackId, PointId, RegistrationId, SeedId, SeriesId
from wain.chunk.names import ChunkType
from wain.keys import signing
from wain.keys.secret import Secret, restore_key
from wain.tree import manifest as module
from wain.tree.manifest import (
    MANIFEST_FIXED_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_STORED_BYTES,
    Counts,
    Details,
    Manifest,
    PackRef,
    check_signature,
    decode_details,
    decode_manifest,
    encode_details,
    encode_manifest,
    open_details,
    point_id,
    seal_details,
    sign_manifest,
    signed_part,
)

SEED = Secret(bytes(range(32)))
SIGN_KEY = signing.public_key(SEED)
FIRST = Manifest(
    registration=RegistrationId(b"r" * 16),
    seq=1,
    previous=NO_POINT,
    created_at=datetime(2026, 8, 1, 12, 0, 0, 123456, UTC),
    seed=SeedId(b"s" * 16),
    packs=(
        PackRef(PackId(b"\x01" * 32), ChunkType.DATA, 64 << 20),
        PackRef(PackId(b"\x02" * 32), ChunkType.TREE, 12288),
        PackRef(PackId(b"\xfe" * 32), ChunkType.INDEX, MAX_STORED_BYTES),
    ),
    details=b"sealed",
)
LATER = replace(FIRST, seq=2, previous=PointId(b"p" * 32), seed=NO_SEED)
DETAILS = Details(
    root=(chunk(1), chunk(2)),
    index=((chunk(3),), (chunk(4), chunk(5))),
    host="büro-server",
    roots=(b"/srv", b"/home/\xff"),
    counts=Counts(1, 2, 3, 4, 5, 6, (1 << 64) - 1),
    tool="wain 0.1.0",
)

_ids = st.binary(min_size=32, max_size=32)
_refs = st.builds(
    PackRef, _ids.filter(any), st.sampled_from(ChunkType), st.integers(1, 20480).map(lambda blocks: blocks * 4096)
)
_packs = st.lists(_refs, max_size=6, unique_by=lambda ref: ref.id).map(lambda r: tuple(sorted(r, key=lambda x: x.id)))
manifests = st.builds(
    Manifest,
    registration=st.binary(min_size=16, max_size=16),
    seq=st.integers(2, (1 << 32) - 1),
    previous=_ids.filter(any),
    created_at=st.datetimes(datetime(1678, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    seed=st.binary(min_size=16, max_size=16),
    packs=_packs,
    details=st.binary(max_size=60),
    signature=st.binary(min_size=64, max_size=64),
)
_u64 = st.integers(0, (1 << 64) - 1)
_chunks = st.lists(_ids, min_size=1, max_size=3).map(tuple)
details = st.builds(
    Details,
    root=_chunks,
    index=st.lists(_chunks, max_size=3).map(tuple),
    host=st.text(max_size=20),
    roots=st.lists(st.binary(min_size=1, max_size=9).filter(lambda p: b"\0" not in p), max_size=3).map(tuple),
    counts=st.builds(Counts, _u64, _u64, _u64, _u64, _u64, _u64, _u64),
    tool=st.text(max_size=20),
)
FEW = settings(max_examples=60, deadline=None)


@FEW
@given(manifests)
def test_any_manifest_survives_the_round_trip(manifest: Manifest) -> None:
    assert decode_manifest(encode_manifest(manifest)) == manifest


@FEW
@given(details)
def test_any_details_survive_the_round_trip(plain: Details) -> None:
    assert decode_details(encode_details(plain)) == plain


@pytest.mark.parametrize("manifest", [FIRST, LATER], ids=["first", "later"])
def test_every_bit_flip_of_a_manifest_breaks_the_signature_and_is_refused_or_canonical(manifest: Manifest) -> None:
    body = sign_manifest(manifest, SEED)
    for at in range(len(body)):
        for bit in range(8):
            changed = bytes(byte ^ (1 << bit if at == here else 0) for here, byte in enumerate(body))
            with suppress(DataError):
                assert encode_manifest(decode_manifest(changed)) == changed
            assert point_id(changed) != point_id(body)
        with pytest.raises(Corrupt):
            check_signature(changed, SIGN_KEY)


def test_every_bit_flip_of_details_is_refused_or_canonical() -> None:
    body = encode_details(DETAILS)
    for at in range(len(body)):
        for bit in range(8):
            changed = bytes(byte ^ (1 << bit if at == here else 0) for here, byte in enumerate(body))
            with suppress(DataError):
                assert encode_details(decode_details(changed)) == changed


def test_cut_or_lengthened_bodies_are_refused() -> None:
    for body, decode in ((encode_manifest(FIRST), decode_manifest), (encode_details(DETAILS), decode_details)):
        for length in range(len(body)):
            with pytest.raises(Truncated):
                decode(body[:length])  # type: ignore[operator]
        with pytest.raises(Malformed, match="follow the end"):
            decode(body + b"\0")  # type: ignore[operator]


def test_an_empty_manifest_has_the_fixed_size() -> None:
    assert len(encode_manifest(replace(FIRST, packs=(), details=b""))) == MANIFEST_FIXED_BYTES


def test_only_a_series_has_the_second_version() -> None:
    in_series = replace(LATER, series=SeriesId(b"v" * 16))
    body, plain = encode_manifest(in_series), encode_manifest(LATER)
    assert (plain[8:10], body[8:10]) == (b"\1\0", b"\2\0")
    assert len(body) == len(plain) + 16
    assert decode_manifest(body) == in_series
    for length in range(len(body)):
        with pytest.raises(Truncated):
            decode_manifest(body[:length])


@FEW
@given(manifests, st.binary(min_size=16, max_size=16).filter(any))
def test_a_series_comes_back(manifest: Manifest, series: bytes) -> None:
    in_series = replace(manifest, seed=NO_SEED, series=SeriesId(series))
    assert decode_manifest(encode_manifest(in_series)) == in_series
    if manifest.seed != NO_SEED:
        with pytest.raises(Malformed, match="no seed carries one"):
            encode_manifest(replace(manifest, series=SeriesId(series)))


def test_a_signature_stands_over_everything_before_it() -> None:
    body = sign_manifest(FIRST, SEED)
    signed = check_signature(body, SIGN_KEY)
    assert replace(signed, signature=bytes(64)) == FIRST
    assert signed_part(body) == body[:-64]
    assert signed.signature == body[-64:] == signing.sign(SEED, b"wain manifest v1", body[:-64])
    assert point_id(body) == blake3(body).digest()
    assert sign_manifest(signed, SEED) == body


def test_another_key_or_another_domain_does_not_pass() -> None:
    body = sign_manifest(FIRST, SEED)
    with pytest.raises(Corrupt):
        check_signature(body, signing.public_key(Secret(b"x" * 32)))
    for domain in (signing.SEAL, signing.RECEIPT, signing.COUNTERSIGN, signing.CUSTODY, signing.REGISTRATION):
        with pytest.raises(Corrupt):
            check_signature(body[:-64] + signing.sign(SEED, domain, body[:-64]), SIGN_KEY)


def test_nothing_is_parsed_before_the_signature_is_good() -> None:
    unsigned = b"WAINPOIN" + b"\xff" * 200
    with pytest.raises(Corrupt):
        check_signature(unsigned + bytes(64), SIGN_KEY)
    with pytest.raises(DataError) as refused:
        check_signature(unsigned + signing.sign(SEED, signing.MANIFEST, unsigned), SIGN_KEY)
    assert not isinstance(refused.value, Corrupt)


def test_a_body_of_impossible_length_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Truncated):
        check_signature(b"WAINPOIN", SIGN_KEY)
    monkeypatch.setattr(module, "MAX_MANIFEST_BYTES", 300)
    with pytest.raises(TooLarge):
        check_signature(bytes(301), SIGN_KEY)
    assert MAX_MANIFEST_BYTES < 1 << 28


REFUSED = {
    "seq 0": replace(FIRST, seq=0),
    "seq over 32 bits": replace(LATER, seq=1 << 32),
    "first with a predecessor": replace(FIRST, previous=PointId(b"p" * 32)),
    "later without a predecessor": replace(LATER, previous=NO_POINT),
    "packs out of order": replace(FIRST, packs=FIRST.packs[::-1]),
    "pack twice": replace(FIRST, packs=(FIRST.packs[0], FIRST.packs[0])),
    "pack id of 31 bytes": replace(FIRST, packs=(replace(FIRST.packs[0], id=PackId(b"x" * 31)),)),
    "empty pack": replace(FIRST, packs=(replace(FIRST.packs[0], stored_bytes=0),)),
    "uneven pack": replace(FIRST, packs=(replace(FIRST.packs[0], stored_bytes=4097),)),
    "oversized pack": replace(FIRST, packs=(replace(FIRST.packs[0], stored_bytes=MAX_STORED_BYTES + 4096),)),
    "unknown chunk type": replace(FIRST, packs=(replace(FIRST.packs[0], kind=4),)),  # type: ignore[arg-type]
    "too late": replace(FIRST, created_at=datetime(2300, 1, 1, tzinfo=UTC)),
}


@pytest.mark.parametrize("manifest", REFUSED.values(), ids=REFUSED)
def test_a_manifest_that_makes_no_sense_is_not_written(manifest: Manifest) -> None:
    with pytest.raises(Malformed):
        encode_manifest(manifest)


def test_moments_of_other_zones_are_written_in_utc() -> None:
    there = FIRST.created_at.astimezone(timezone(timedelta(hours=5)))
    assert encode_manifest(replace(FIRST, created_at=there)) == encode_manifest(FIRST)


REFUSED_DETAILS = {
    "no root": replace(DETAILS, root=()),
    "index segment without a chunk": replace(DETAILS, index=((chunk(1),), ())),
    "empty path": replace(DETAILS, roots=(b"",)),
    "path with a NUL": replace(DETAILS, roots=(b"/a\0",)),
    "negative count": replace(DETAILS, counts=Counts(files=-1)),
    "host with a lone surrogate": replace(DETAILS, host="\udcff"),
}
LARGE_DETAILS = {
    "host": replace(DETAILS, host="ü" * 513),
    "tool": replace(DETAILS, tool="x" * 256),
    "root pieces": replace(DETAILS, root=(chunk(1),) * 65537),
    "index segments": replace(DETAILS, index=((chunk(1),),) * 65537),
    "index chunks": replace(DETAILS, index=((chunk(1),) * 65537,)),
    "paths": replace(DETAILS, roots=(b"/",) * 65537),
    "path": replace(DETAILS, roots=(b"/" * 65537,)),
    "count": replace(DETAILS, counts=Counts(files=1 << 64)),
    "whole": replace(DETAILS, index=((chunk(1),) * 65536,) * 33),
}


@pytest.mark.parametrize("plain", REFUSED_DETAILS.values(), ids=REFUSED_DETAILS)
def test_details_that_make_no_sense_are_not_written(plain: Details) -> None:
    with pytest.raises(Malformed):
        encode_details(plain)


@pytest.mark.parametrize("plain", LARGE_DETAILS.values(), ids=LARGE_DETAILS)
def test_details_over_a_cap_are_not_written(plain: Details) -> None:
    with pytest.raises(TooLarge):
        encode_details(plain)


def test_details_open_with_the_restore_key_alone() -> None:
    key = restore_key(Secret(b"k" * 32))
    body = sign_manifest(replace(FIRST, details=seal_details(DETAILS, key.public)), SEED)
    manifest = check_signature(body, SIGN_KEY)
    assert open_details(manifest, key) == DETAILS
    for part in (b"ro-server", b"/srv", chunk(1), b"wain 0.1.0"):
        assert part in encode_details(DETAILS)
        assert part not in body
    with pytest.raises(CommitmentMismatch):
        open_details(manifest, restore_key(Secret(b"j" * 32)))
    changed = bytearray(manifest.details)
    changed[-20] ^= 1
    with pytest.raises(CommitmentMismatch):
        open_details(replace(manifest, details=bytes(changed)), key)
