"""The vault's key file: frozen bytes, and the error each must cause (vault/FORMAT.md, "The key file")."""

import pytest

from vectors.frozen import error_name, vectors
from wain.vault.key import decode_key, encode_key

VECTORS = vectors("vault_key")


def test_there_are_vectors():
    assert len(VECTORS) >= 11
    assert any(vector.expect == "ok" for vector in VECTORS)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vault_key(vector):
    assert error_name(lambda: decode_key(vector.body)) == vector.expect
    if vector.expect == "ok":
        assert encode_key(decode_key(vector.body)) == vector.body
