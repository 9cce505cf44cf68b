"""When packs were last read: frozen bytes, laid out from agent/FORMAT.md, and the error each must cause."""

import pytest

from vectors.frozen import Vector, error_name, vectors
from wain.agent.pack_checks import decode_checks, encode_checks

CHECKS = vectors("pack_checks")


@pytest.mark.parametrize("vector", CHECKS, ids=lambda vector: vector.name)
def test_pack_checks(vector: Vector) -> None:
    assert error_name(lambda: decode_checks(vector.body)) == vector.expect
    if vector.expect == "ok":
        assert encode_checks(*decode_checks(vector.body)) == vector.body


def test_there_are_good_and_bad_vectors() -> None:
    assert {vector.expect for vector in CHECKS} == {
        "ok", "Truncated", "WrongMagic", "UnknownVersion", "TooLarge", "Malformed", "Corrupt",
    }  # fmt: skip


def test_the_first_vector_says_what_it_says() -> None:
    _, checks = decode_checks(next(vector.body for vector in CHECKS if vector.name == "ok"))
    assert [(one.whole, one.whole_ns > 0) for one in checks.values()] == [(True, True), (False, True), (False, False)]
