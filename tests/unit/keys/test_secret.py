import hashlib
import hmac
import pickle

import pytest
from blake3 import blake3

from wain.base.errors import Malformed
from wain.keys.secret import CUTTER_SEED_CAP, RESTORE_PUBLIC_BYTES, Secret, restore_key, write_keys

SECRET = Secret(bytes(range(32)))


def expand_by_hand(label: bytes, size: int) -> bytes:
    out = block = b""
    for counter in range(1, 256):
        block = hmac.new(SECRET.raw, block + b"wain v1 " + label + bytes([counter]), hashlib.sha256).digest()
        out += block
        if len(out) >= size:
            break
    return out[:size]


@pytest.mark.parametrize(("at", "kind"), [(0, b"data"), (1, b"tree"), (2, b"index")])
def test_chunk_keys_are_those_of_the_format(at, kind):
    assert write_keys(SECRET).chunk_keys[at] == expand_by_hand(b"chunk name " + kind, 32)


def test_cutter_seed_is_that_of_the_format():
    draw = int.from_bytes(expand_by_hand(b"cutter seed", 16), "little")
    assert write_keys(SECRET).cutter_seed == 1 + draw % CUTTER_SEED_CAP == 438565577559935221


@pytest.mark.parametrize("number", range(40))
def test_cutter_seed_is_in_range(number):
    seed = write_keys(Secret(bytes([number]) * 32)).cutter_seed
    assert 1 <= seed <= 2**63 - 1


def test_restore_public_is_frozen():
    public = write_keys(SECRET).restore_public
    assert len(public) == RESTORE_PUBLIC_BYTES == 1216
    assert public == restore_key(SECRET).public
    assert blake3(public).hexdigest() == "463af86d1c63623f119490bc7878a25f6c97c342f4cdf54ccb17e0337f4c451d"


def test_write_keys_hold_no_secret():
    keys = write_keys(SECRET)
    held = b"".join(keys.chunk_keys) + keys.restore_public + keys.cutter_seed.to_bytes(8, "little")
    for private in (SECRET.raw, expand_by_hand(b"restore x25519", 32), expand_by_hand(b"restore ml-kem-768", 64)):
        assert private not in held


@pytest.mark.parametrize("held", [SECRET, write_keys(SECRET), restore_key(SECRET)])
def test_nothing_secret_is_shown(held):
    shown = f"{held} {held!r} {[held]} {(held, 1)}"
    assert SECRET.raw.hex() not in shown
    assert str(SECRET.raw) not in shown
    assert str(write_keys(SECRET).chunk_keys[0]) not in shown
    assert "(...)" in shown


def test_secrets_compare_by_content_and_cannot_be_keys():
    assert Secret(bytes(32)) == Secret(bytes(32))
    assert Secret(bytes(32)) != SECRET
    assert Secret(bytes(32)) != bytes(32)
    with pytest.raises(TypeError):
        hash(SECRET)


def test_secrets_are_not_pickled():
    with pytest.raises(TypeError):
        pickle.dumps(SECRET)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_other_sizes_are_refused(size):
    with pytest.raises(Malformed):
        Secret(bytes(size))
