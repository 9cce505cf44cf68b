"""The agent's key file: frozen bytes, laid out from agent/FORMAT.md, and the error each must cause."""

import pytest

from vectors.frozen import Vector, error_name, vectors
from wain.agent.write_keys import decode_keys, encode_keys

KEYS = vectors("agent_keys")


@pytest.mark.parametrize("vector", KEYS, ids=lambda vector: vector.name)
def test_key_files(vector: Vector) -> None:
    assert error_name(lambda: decode_keys(vector.body)) == vector.expect
    if vector.expect == "ok":
        assert encode_keys(decode_keys(vector.body)) == vector.body


def test_there_are_good_and_bad_vectors() -> None:
    assert {vector.expect for vector in KEYS} == {
        "ok", "Truncated", "WrongMagic", "UnknownVersion", "Malformed", "TooLarge",
    }  # fmt: skip


def test_a_key_file_shows_no_key() -> None:
    keys = decode_keys(next(vector.body for vector in KEYS if vector.name == "ok"))
    for secret in (*keys.write.chunk_keys, keys.sign_seed.raw):
        assert repr(secret) not in repr(keys)
        assert secret.hex() not in repr(keys)
