"""Custody records and chains: frozen bytes, and the error each must cause (order/FORMAT.md)."""

import pytest

from vectors.frozen import Vector, error_name, vectors
from wain.order.custody import RECORD_BYTES, CustodyRecord, check_chain, decode_record, encode_record

VECTORS = vectors("custody")


def read(vector: Vector) -> list[CustodyRecord]:
    body = vector.body
    if "chain" not in vector.facts:
        return [decode_record(body)]
    records = [decode_record(body[at : at + RECORD_BYTES]) for at in range(0, len(body), RECORD_BYTES)]
    check_chain(records)
    return records


def test_there_are_vectors():
    assert len(VECTORS) >= 30


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_custody(vector):
    assert error_name(lambda: read(vector)) == vector.expect
    if vector.expect == "ok":
        assert b"".join(encode_record(record) for record in read(vector)) == vector.body
