from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.keys.forgery import forge
from wain.base.errors import CommitmentMismatch, Corrupt, DataError, Refused
from wain.base.ids import RegistrationId
from wain.keys import slots as room
from wain.keys.secret import Secret, write_keys
from wain.keys.slots import (
    CHEAPEST,
    DEFAULT,
    NO_COST,
    Argon2,
    KeySlots,
    Slot,
    SlotKind,
    WrongPassphrase,
    WrongRecoveryKey,
    decode_slots,
    encode_slots,
    open_with_passphrase,
    open_with_recovery,
    passphrase_slot,
    recovery_slot,
)

SECRET = Secret(bytes(range(32)))
RECOVERY = Secret(b"r" * 32)
REGISTRATION = RegistrationId(b"registration-id-")
PUBLIC = write_keys(SECRET).restore_public
PHRASE = "correct horse battery staple"


def with_slots(*slots: Slot) -> KeySlots:
    return KeySlots(REGISTRATION, 1, PUBLIC, slots)


@pytest.fixture(scope="module")
def both() -> KeySlots:
    return with_slots(
        passphrase_slot(SECRET, PHRASE, b"salt of slot one", REGISTRATION, CHEAPEST),
        recovery_slot(SECRET, RECOVERY, b"salt of slot two", REGISTRATION),
    )


def test_both_ways_open_the_secret(both):
    kept = decode_slots(encode_slots(both))
    assert kept == both
    assert open_with_passphrase(kept, PHRASE) == SECRET
    assert open_with_recovery(kept, RECOVERY) == SECRET


def test_the_wrong_passphrase_is_the_users_to_mend(both):
    with pytest.raises(WrongPassphrase) as caught:
        open_with_passphrase(both, PHRASE + " ")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "\u00fc" * 20, "\udcff" * 20, "\ud800"])
def test_passphrases_that_nobody_could_have_set_are_wrong(both, text):
    with pytest.raises(WrongPassphrase):
        open_with_passphrase(both, text)


def test_the_wrong_recovery_key(both):
    with pytest.raises(WrongRecoveryKey):
        open_with_recovery(both, SECRET)


def test_a_slot_of_the_other_kind_is_not_tried(both):
    passphrase, recovery = both.slots
    with pytest.raises(WrongPassphrase):
        open_with_passphrase(with_slots(recovery), PHRASE)
    with pytest.raises(WrongRecoveryKey):
        open_with_recovery(with_slots(passphrase), RECOVERY)


def test_default_cost_is_accepted_by_the_decoder():
    slot = replace(recovery_slot(SECRET, RECOVERY, b"s" * 16, REGISTRATION), kind=SlotKind.PASSPHRASE, argon2=DEFAULT)
    assert decode_slots(encode_slots(with_slots(slot))).slots[0].argon2 == Argon2(64 * 1024, 10, 4)


@pytest.mark.parametrize(
    "cost",
    [
        NO_COST,
        Argon2(65535, 1, 1),
        Argon2(1024 * 1024 + 1, 1, 1),
        Argon2(65536, 0, 1),
        Argon2(65536, 17, 1),
        Argon2(65536, 1, 0),
        Argon2(65536, 1, 9),
    ],
)
def test_costs_outside_the_range_are_refused(cost):
    with pytest.raises(Refused, match="Argon2 cost"):
        passphrase_slot(SECRET, PHRASE, b"s" * 16, REGISTRATION, cost)


def test_weak_passphrases_make_no_slot():
    with pytest.raises(Refused, match="at least 16"):
        passphrase_slot(SECRET, "too short", b"s" * 16, REGISTRATION, CHEAPEST)


@pytest.mark.parametrize("count", [0, 9])
def test_the_encoder_refuses_what_the_decoder_refuses(count):
    slots = [recovery_slot(SECRET, RECOVERY, bytes([at]) * 16, REGISTRATION) for at in range(count)]
    with pytest.raises(DataError):
        encode_slots(with_slots(*slots))


def test_a_forged_secret_under_two_keys_opens_for_neither():
    """The forgery is real: AES-GCM itself opens it under both keys. Only the commitment stops it."""
    slot = recovery_slot(SECRET, RECOVERY, b"salt of slot two", REGISTRATION)
    other = Secret(b"o" * 32)
    bound = room._bound_to(REGISTRATION, SlotKind.RECOVERY)
    (first, commitment), (second, _) = (room._wrapping_key(slot, key.raw) for key in (RECOVERY, other))
    wrapped = forge(first, second, bound)
    plains = [AESGCM(kek).decrypt(bytes(12), wrapped, bound) for kek in (first, second)]
    assert plains[0] != plains[1]

    with pytest.raises(WrongRecoveryKey):
        open_with_recovery(with_slots(replace(slot, wrapped=wrapped, commitment=commitment)), other)
    with pytest.raises(Corrupt, match="restore public key"):
        open_with_recovery(with_slots(replace(slot, wrapped=wrapped, commitment=commitment)), RECOVERY)
    for key in (RECOVERY, other):
        with pytest.raises(WrongRecoveryKey):
            open_with_recovery(with_slots(replace(slot, wrapped=wrapped, commitment=bytes(32))), key)


def test_a_slot_is_bound_to_its_registration(both):
    moved = replace(both, registration=RegistrationId(b"another one here"))
    with pytest.raises(CommitmentMismatch):
        open_with_recovery(moved, RECOVERY)


def test_a_slot_is_bound_to_its_restore_key(both):
    with pytest.raises(Corrupt, match="restore public key"):
        open_with_recovery(replace(both, restore_public=write_keys(RECOVERY).restore_public), RECOVERY)


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_flipped_bit_yields_another_secret(at, bit):
    body = bytearray(encode_slots(with_slots(recovery_slot(SECRET, RECOVERY, b"salt of slot two", REGISTRATION))))
    body[at % len(body)] ^= 1 << bit
    try:
        opened = open_with_recovery(decode_slots(bytes(body)), RECOVERY)
    except (DataError, WrongRecoveryKey):
        return
    assert 26 <= at % len(body) < 30, "only the epoch may change unnoticed"
    assert opened == SECRET


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=1500))
def test_noise_is_refused(noise):
    for body in (noise, b"WAINKEYS\x01\x00" + noise):
        with pytest.raises(DataError):
            decode_slots(body)
