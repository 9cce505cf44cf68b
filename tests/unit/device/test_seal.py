from dataclasses import replace
from datetime import UTC, datetime

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import Corrupt, DataError, Malformed
from wain.base.ids import DeviceId, PackId, RegistrationId, SeedId
from wain.chunk.names import ChunkType
from wain.device.journal import JournalPack
from wain.device.seal import Seal, check_seal, decode_seal, encode_seal, leaves_root, seal_hash, seal_part, signed_part
from wain.keys.secret import Secret
from wain.keys.signing import MANIFEST, SEAL, public_key, sign
from wain.pageblob.layout import Placement
from wain.pageblob.names import container_name

SIGNER = Secret(b"k" * 32)
SEED, REGISTRATION = SeedId(b"S" * 16), RegistrationId(b"R" * 16)
BLOCK = 4096


def packs(count):
    return tuple(
        JournalPack(
            PackId(bytes([number]) * 32), ChunkType(number % 3 + 1), Placement(0, number * 2 * BLOCK, 2 * BLOCK)
        )
        for number in range(count)
    )


def signed(domain=SEAL, signer=SIGNER, **changes):
    seal = Seal(
        device=DeviceId(b"D" * 16),
        seed=SEED,
        registration=REGISTRATION,
        order="branch-7",
        container=container_name(REGISTRATION, SEED),
        created_at=datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC),
        sign_key=public_key(SIGNER),
        manifest_hash=b"M" * 32,
        manifest_bytes=77,
        custody_previous=b"C" * 32,
        packs=packs(5),
    )
    seal = replace(seal, **changes)
    return replace(seal, signature=sign(signer, domain, seal_part(seal)))


@pytest.mark.parametrize("count", [0, 1, 100])
def test_a_seal_comes_back(count):
    seal = signed(packs=packs(count))
    body = encode_seal(seal)
    assert check_seal(body) == seal
    assert check_seal(body, public_key(SIGNER)) == seal
    assert decode_seal(body) == seal
    assert seal.stored_bytes == count * 2 * BLOCK
    assert seal.leaves_root == leaves_root(pack.id for pack in seal.packs)
    assert seal_hash(body) == blake3(body).digest()
    assert signed_part(body) + seal.signature == body


def test_another_signer_is_found():
    other = Secret(b"o" * 32)
    with pytest.raises(Corrupt):
        check_seal(encode_seal(signed(signer=other)))
    own = signed(sign_key=public_key(other), signer=other)
    assert check_seal(encode_seal(own)) == own
    with pytest.raises(Corrupt):
        check_seal(encode_seal(own), public_key(SIGNER))


def test_a_signature_made_for_something_else_is_no_seal():
    with pytest.raises(Corrupt):
        check_seal(encode_seal(signed(domain=MANIFEST)))


def test_the_container_belongs_to_the_ids():
    with pytest.raises(Malformed):
        check_seal(encode_seal(signed(container="wain-0000000000000000-0000000000000000")))


def test_packs_are_there_once_and_in_order():
    one, two, *_ = packs(5)
    for wrong in ((two,), (one, replace(two, id=one.id)), (one, replace(two, placement=Placement(0, 0, 2 * BLOCK)))):
        with pytest.raises(Malformed):
            check_seal(encode_seal(signed(packs=wrong)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_flipped_bit_and_every_cut_is_found(data):
    body = bytearray(encode_seal(signed()))
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DataError):
        check_seal(bytes(body), public_key(SIGNER))
    whole = encode_seal(signed())
    with pytest.raises(DataError):
        check_seal(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError):
        check_seal(whole + b"\0")
