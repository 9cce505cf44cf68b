"""The receipt: round trip, canonical form, cuts."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wain.base.errors import DataError, Malformed, TooLarge, Truncated
from wain.base.ids import NO_POINT, NO_SEED, PointId, RegistrationId, SeedId
from wain.tree.receipt import RECEIPT_BYTES, Receipt, decode_receipt, encode_receipt

RECEIPT = Receipt(
    registration=RegistrationId(b"r" * 16),
    seed=SeedId(b"s" * 16),
    seal_hash=b"h" * 32,
    point=PointId(b"p" * 32),
    packs=107_000,
    stored_bytes=7_200_000_000_000,
    received_at=datetime(2026, 8, 1, 12, 0, 0, 7, UTC),
)
receipts = st.builds(
    Receipt,
    registration=st.binary(min_size=16, max_size=16),
    seed=st.binary(min_size=16, max_size=16).filter(any),
    seal_hash=st.binary(min_size=32, max_size=32),
    point=st.binary(min_size=32, max_size=32).filter(any),
    packs=st.integers(1, 1 << 22),
    stored_bytes=st.integers(1, (1 << 64) - 1),
    received_at=st.datetimes(datetime(1678, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)


@settings(max_examples=60, deadline=None)
@given(receipts)
def test_any_receipt_survives_the_round_trip(receipt: Receipt) -> None:
    body = encode_receipt(receipt)
    assert decode_receipt(body) == receipt
    assert len(body) == RECEIPT_BYTES


def test_every_bit_flip_is_refused_or_canonical() -> None:
    body = encode_receipt(RECEIPT)
    read = 0
    for at in range(len(body)):
        for bit in range(8):
            changed = bytes(byte ^ (1 << bit if at == here else 0) for here, byte in enumerate(body))
            try:
                assert encode_receipt(decode_receipt(changed)) == changed
                read += 1
            except DataError:
                assert at < 10 or at >= 106
    assert read


def test_cut_or_lengthened_receipts_are_refused() -> None:
    body = encode_receipt(RECEIPT)
    for length in range(len(body)):
        with pytest.raises(Truncated):
            decode_receipt(body[:length])
    with pytest.raises(Malformed):
        decode_receipt(body + b"\0")


@pytest.mark.parametrize(
    "receipt",
    [
        replace(RECEIPT, seed=NO_SEED),
        replace(RECEIPT, point=NO_POINT),
        replace(RECEIPT, packs=0),
        replace(RECEIPT, packs=(1 << 22) + 1),
        replace(RECEIPT, stored_bytes=0),
        replace(RECEIPT, stored_bytes=1 << 64),
        replace(RECEIPT, received_at=datetime(2300, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_receipt_that_makes_no_sense_is_not_written(receipt: Receipt) -> None:
    with pytest.raises(Malformed):
        encode_receipt(receipt)


def test_a_moment_finer_than_ours_and_too_many_packs_are_refused() -> None:
    body = encode_receipt(RECEIPT)
    with pytest.raises(Malformed, match="microsecond"):
        decode_receipt(body[:118] + (1).to_bytes(8, "little"))
    with pytest.raises(TooLarge):
        decode_receipt(body[:106] + b"\xff" * 4 + body[110:])
