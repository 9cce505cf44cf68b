"""The vault's small records: frozen bytes, and the error each must cause (vault/FORMAT.md)."""

import pytest

from vectors.frozen import error_name, vectors
from wain.keys.secret import Secret
from wain.vault.records import KINDS, Signer, decode, encode

VECTORS = vectors("vault")
SIGNER = Signer(Secret(bytes(range(32))))
"""Ed25519 is deterministic: a record encoded again has the same signature."""


def kind_of(vector):
    return KINDS[vector.facts["record"].encode()]


def test_there_is_a_good_vector_of_every_record():
    assert {kind_of(vector) for vector in VECTORS if vector.expect == "ok"} == set(KINDS.values())
    assert len(VECTORS) >= 40


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vault_record(vector):
    assert error_name(lambda: decode(kind_of(vector), vector.body)) == vector.expect
    if vector.expect == "ok":
        assert encode(decode(kind_of(vector), vector.body), SIGNER) == vector.body
