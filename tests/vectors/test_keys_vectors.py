"""Key slots and sealed texts: frozen bytes, and the error each must cause (keys/FORMAT.md)."""

import pytest

from vectors.frozen import Vector, error_name, vectors
from wain.keys.sealing import open_sealed
from wain.keys.secret import Secret, restore_key
from wain.keys.slots import decode_slots, encode_slots, open_with_passphrase, open_with_recovery

SLOTS = vectors("keys")
SEALED = vectors("sealed")
AT_OPENING = {"WrongPassphrase", "WrongRecoveryKey", "CommitmentMismatch", "Corrupt"}


def open_slots(vector: Vector) -> Secret | None:
    slots = decode_slots(vector.body)
    if "passphrase" in vector.facts:
        return open_with_passphrase(slots, vector.facts["passphrase"])
    if "recovery" in vector.facts:
        return open_with_recovery(slots, Secret(bytes.fromhex(vector.facts["recovery"])))
    return None


def test_there_are_vectors():
    assert len(SLOTS) >= 40
    assert len(SEALED) >= 12


@pytest.mark.parametrize("vector", SLOTS, ids=lambda vector: vector.name)
def test_key_slots(vector):
    if vector.expect in AT_OPENING | {"ok"}:
        assert encode_slots(decode_slots(vector.body)) == vector.body
    if vector.expect == "ok":
        assert open_slots(vector) == Secret(bytes.fromhex(vector.facts["secret"]))
    else:
        assert error_name(lambda: open_slots(vector)) == vector.expect


@pytest.mark.parametrize("vector", SEALED, ids=lambda vector: vector.name)
def test_sealed_texts(vector):
    key = restore_key(Secret(bytes.fromhex(vector.facts["secret"])))
    label = bytes.fromhex(vector.facts["label"])
    if vector.expect == "ok":
        assert open_sealed(key, vector.body, label) == bytes.fromhex(vector.facts["plain"])
    else:
        assert error_name(lambda: open_sealed(key, vector.body, label)) == vector.expect
