import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import CommitmentMismatch, Malformed
from wain.keys.sealing import SEAL_OVERHEAD_BYTES, open_sealed, seal_to
from wain.keys.secret import Secret, restore_key

KEY = restore_key(Secret(bytes(range(32))))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=2000), st.binary(max_size=60))
def test_what_is_sealed_opens(plain, label):
    sealed = seal_to(KEY.public, plain, label)
    assert len(sealed) == len(plain) + SEAL_OVERHEAD_BYTES
    assert open_sealed(KEY, sealed, label) == plain


def test_sealing_twice_differs():
    assert seal_to(KEY.public, b"same", b"x") != seal_to(KEY.public, b"same", b"x")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, SEAL_OVERHEAD_BYTES + 9), st.integers(0, 7))
def test_every_bit_counts(at, bit):
    # The top bit of an X25519 key is ignored by X25519 itself, yet HPKE hashes the capsule into the key.
    sealed = bytearray(seal_to(KEY.public, b"0123456789", b"x"))
    sealed[at] ^= 1 << bit
    with pytest.raises(CommitmentMismatch):
        open_sealed(KEY, bytes(sealed), b"x")


def test_another_key_does_not_open():
    with pytest.raises(CommitmentMismatch, match="'x'"):
        open_sealed(restore_key(Secret(bytes(32))), seal_to(KEY.public, b"plain", b"x"), b"x")


@pytest.mark.parametrize(
    "public", [b"", KEY.public[:-1], KEY.public + b"\0", b"\xff" * 1216, KEY.public[:-32] + bytes(32)]
)
def test_unusable_keys_are_refused(public):
    with pytest.raises(Malformed):
        seal_to(public, b"plain", b"x")
